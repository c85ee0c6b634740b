"""What the researcher says while it works: thinking, text, tool calls. Text, never markup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.geometry import Size

from autoresearch_tui.cockpit.widgets.canvas import Row, wrap
from autoresearch_tui.cockpit.widgets.scroller import Scroller
from autoresearch_tui.parts import CALL, RESULT, TEXT, THINKING, mark_of
from autoresearch_tui.text import clean_text

KEPT_CHARS = 60_000
_NOTHING = "What the researcher thinks and does appears here, as it comes."


class ResearcherStream(Scroller):
    """The end of an append-only text, wrapped; follows it until the reader scrolls up."""

    def __init__(self) -> None:
        super().__init__(id="stream", classes="pane")
        self._text = ""
        self._lines: list[tuple[str, str]] = []
        self._width = 0
        self._following = True

    @property
    def count(self) -> int:
        """Wrapped lines."""
        return len(self._lines)

    def add(self, text: str) -> None:
        """More of it."""
        if not text:
            return
        self._text = (self._text + clean_text(text))[-KEPT_CHARS:]
        self._wrap(max(10, self.content_size.width - 2))
        self.repaint()

    def _wrap(self, width: int) -> None:
        self._width = width
        self._lines = list(_toned(self._text.rstrip("\n"), width)) if self._text else []
        if self._following:
            self.top = self.last_top

    def moved(self) -> None:
        """At the end it follows again."""
        self._following = self.top >= self.last_top

    def paint(self, size: Size) -> Sequence[Row]:
        """Wrapped for this width."""
        width = size.width
        if self._width != width - 2:
            self._wrap(max(10, width - 2))
        return super().paint(size)

    def rows(self, start: int, end: int, width: int) -> Sequence[Row]:
        """Lines of the text."""
        if not self._lines:
            return [[(f" {line}", "dim")] for line in wrap(_NOTHING, width - 2)]
        return [[(f" {line}", tone)] for line, tone in self._lines[start:end]]


_TONES = {THINKING: "dim", TEXT: "text", CALL: "accent", RESULT: "dim"}


def _toned(text: str, width: int) -> Iterator[tuple[str, str]]:
    """Wrapped lines with their tones: a part keeps its own to its end, and hangs below its mark."""
    mark = ""
    for line in text.split("\n"):
        begins = mark_of(line)
        tone = _tone(line)
        if tone or begins:
            mark = begins
        if not mark:
            yield from ((one, tone or "text") for one in wrap(line, width))
            continue
        first, *rest = wrap(line[2:] if begins else line, width - 2)
        yield f"{mark if begins else ' '} {first}", _TONES[mark]
        yield from ((f"  {one}", _TONES[mark]) for one in rest)


def _tone(line: str) -> str:
    """What the loop says between the researcher's words stands out from them; empty for theirs."""
    if line.startswith("── experiment"):
        return "second-strong"
    if line.startswith(("preflight:", "── error:")):
        return "warn"
    return "dim" if line.startswith("── ") else ""
