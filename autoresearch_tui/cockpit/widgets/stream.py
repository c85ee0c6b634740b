"""The researcher's output while it works: thinking, text, tool calls, and the human's notes between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message

from autoresearch_tui.cockpit.actions import bindings
from autoresearch_tui.cockpit.widgets.painted import Row, Scroller, fit, marked, occurrences, wrap
from autoresearch_tui.session.state import State
from autoresearch_tui.session.stream_marks import CALL, CRITIC, HUMAN, RESULT, TEXT, THINKING, mark_of
from autoresearch_tui.util.text import clean_text

KEPT_CHARS = 60_000
_NOTHING = "What the researcher thinks and does appears here live."


class ResearcherStream(Scroller):
    """The end of an append-only text, wrapped; follows it until the reader scrolls up."""

    class Turned(Message):
        """Asks for the next stream, or the previous one."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("stream")]
    called = "what the researcher said"
    left_out = f" (the last {KEPT_CHARS:,} characters are kept)"

    def __init__(self) -> None:
        super().__init__(id="stream", classes="pane")
        self.query_text = ""
        self._match: int | None = None
        self._text = ""
        self._lines: list[tuple[str, str]] = []
        self._width = 0
        self._following = True
        self._folded = True

    @property
    def count(self) -> int:
        return len(self._lines)

    def add(self, text: str, *, anew: bool = False) -> None:
        """Appends `text`; `anew` replaces all of it."""
        if not text and not anew:
            return
        self._text = (("" if anew else self._text) + clean_text(text))[-KEPT_CHARS:]
        self._wrap(max(10, self.content_size.width - 2))
        self.repaint()

    def _wrap(self, width: int) -> None:
        self._width, self._match = width, None
        self._lines = list(_toned(self._text.rstrip("\n"), width, fold=self._folded)) if self._text else []
        if self._following:
            self.top = self.last_top

    def moved(self) -> None:
        """Follows again at the end."""
        self._following = self.top >= self.last_top

    def paint(self, size: Size) -> Sequence[Row]:
        width = size.width
        if self._width != width - 2:
            self._wrap(max(10, width - 2))
        return super().paint(size)

    def rows(self, start: int, end: int, width: int) -> Sequence[Row]:
        if not self._lines:
            return [[(f" {line}", "dim")] for line in wrap(_NOTHING, width - 2)]
        made: list[Row] = []
        for row, (line, tone) in enumerate(self._lines[start:end], start):
            made.append([("▶" if row == self._match else " ", "accent"), *marked(line, tone, self.query_text)])
        return made

    def action_next_stream(self) -> None:
        self.post_message(self.Turned(1))

    def action_previous_stream(self) -> None:
        self.post_message(self.Turned(-1))

    def action_fold(self) -> None:
        """Shows each tool call on one line, or in full with its result."""
        self._folded = not self._folded
        share = self.top / max(1, self.last_top)
        self._wrap(self._width)
        self.top = self.last_top if self._following else round(share * self.last_top)
        self.repaint()

    def find(self, text: str) -> int:
        """Marks `text` and goes to its last occurrence; returns the number of rows with it. Unfolds calls if only
        they have it."""
        self.query_text, self._match = text, None
        found = self._matches()
        if not found and text and self._folded and occurrences(self._text, text):
            self.action_fold()
            found = self._matches()
        if found:
            self._go(found[-1])
        self.repaint()
        return len(found)

    def find_step(self, step: int) -> bool:
        """Goes to the next or the previous occurrence; returns whether there is one."""
        here = self._match if self._match is not None else len(self._lines)
        beyond = [row for row in self._matches() if (row > here if step > 0 else row < here)]
        if beyond:
            self._go(beyond[0] if step > 0 else beyond[-1])
        return bool(beyond)

    def _matches(self) -> list[int]:
        return [row for row, (line, _) in enumerate(self._lines) if occurrences(line, self.query_text)]

    def _go(self, row: int) -> None:
        self._match, self._following = row, False
        self.top = max(0, min(self.last_top, row - self.page // 2))
        self.repaint()


def of_several(state: State, stream: int) -> tuple[str, str]:
    """The label of a stream, and the number of open requests; both empty if there is a single researcher.

    `stream` counts from 0, the label from 1: ` 2, #15`.
    """
    ask, making = state.asking.of(stream), len(state.asks)
    if not stream and making < 2:
        return "", ""
    which = f" {stream + 1}" + (f", #{ask.number}" if ask is not None else "")
    return which, f"{making} in the making" if making > 1 else ""


_TONES = {THINKING: "dim", TEXT: "text", CALL: "accent", RESULT: "dim", HUMAN: "good-strong", CRITIC: "warn-strong"}


class _Part(NamedTuple):
    """Lines under one mark; `begun`: they begin the part, rather than continue it after a note."""

    mark: str
    begun: bool
    lines: list[str]


def _toned(text: str, width: int, *, fold: bool) -> Iterator[tuple[str, str]]:
    """Wrapped lines with their tones: a part keeps its tone to its end, and is indented below its mark.

    `fold`: a tool call and its result take one line; a call at the end is still being written, and shown in full.
    """
    parts = _parts(text)
    if fold and parts[-1].mark == CALL:
        parts = [*_folded(parts[:-1], width), parts[-1]]
    elif fold:
        parts = _folded(parts, width)
    for mark, begun, lines in parts:
        if not mark:
            yield from ((one, _tone(lines[0]) or "text") for one in wrap(lines[0], width))
            continue
        rows = [one for line in lines for one in wrap(line, width - 2)]
        for n, one in enumerate(rows):
            yield f"{mark if begun and n == 0 else ' '} {one}", _TONES[mark]


def _parts(text: str) -> list[_Part]:
    """A note of the human is one line; the lines after it continue the part around it."""
    parts: list[_Part] = []
    mark = ""
    for line in text.split("\n"):
        begins = mark_of(line)
        if begins:
            mark = mark if begins == HUMAN else begins
            parts.append(_Part(begins, True, [line[2:]]))
        elif _tone(line) or not mark:
            mark = ""
            parts.append(_Part("", True, [line]))
        elif parts[-1].mark == mark:
            parts[-1].lines.append(line)
        else:
            parts.append(_Part(mark, False, [line]))
    return parts


def _folded(parts: Sequence[_Part], width: int) -> list[_Part]:
    folded: list[_Part] = []
    open_call = False
    for part in parts:
        if part.mark not in (CALL, RESULT):
            folded.append(part)
        elif part.begun:
            words = " ".join(" ".join(part.lines).split())
            if part.mark == RESULT and open_call:
                # Leaves at least a third of the line to the result.
                call = fit(folded.pop().lines[0], width * 2 // 3).rstrip()
                words = f"{call} {RESULT} {words}"
            folded.append(_Part(CALL if open_call else part.mark, True, [fit(words, width - 2).rstrip()]))
        open_call = part.mark == CALL
    return folded


def _tone(line: str) -> str:
    """The tone of a line written by the loop; empty for the researcher's own."""
    if line.startswith(("── experiment", "── a second opinion")):
        return "second-strong"
    if line.startswith(("preflight:", "── error:")):
        return "warn"
    return "dim" if line.startswith("── ") else ""
