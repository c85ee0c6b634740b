"""A question in a box: answers chosen by key, a line for free text, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from autoresearch_tui.cockpit.widgets.bars import KeyLine
from autoresearch_tui.cockpit.widgets.line import Line
from autoresearch_tui.util.text import clean_line

REASONS = (
    "tried before",
    "games the metric or touches the evaluation",
    "seed or noise, not an idea",
    "will not fit in memory or in the time budget",
    "too complex for what it can gain",
    "wrong direction",
)
NOT_WORTH_KEEPING = (
    "inside the noise of equal runs",
    "does not carry over to the sealed split",
    "games the metric or touches the evaluation",
    "too complex for what it gains",
    "costs too much memory or time",
)
WORTH_KEEPING = (
    "simpler at about the same score",
    "inside the noise, and the better idea",
    "a better base for what comes next",
    "its score is honest; the referee was too strict",
)
STOP_REASONS = (
    "the loss diverges or does not fall",
    "too slow: it will see too little data",
    "it will not fit in memory",
    "the change is wrong",
    "nothing to do with the change: I need the machine",
)

# Limits for the notes listed above the line, so that a small screen still shows it.
_NOTES_LISTED, _NOTE_CHARS = 4, 100


class Dialog(ModalScreen[str | None]):
    """Returns an answer's key, or the text of a reason or of the line; None on Escape.

    No answer is selected at first: Enter takes the selected one, or the line's text. `blank` labels Enter while there
    is neither, and the result is then an empty text; without `blank`, Enter does nothing.
    """

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        & > VerticalScroll {
            width: 72; max-width: 100%; height: auto; max-height: 100%; padding: 0 1;
            background: $surface; border: round $warning; scrollbar-size-vertical: 1;
        }
        & Static { height: auto; }
        & #text { margin: 0 0 1 0; }
        & #answers { margin: 0 0 1 0; }
        & Input { margin: 0 0 1 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        # With priority, so that text typed right after the Tab goes into the line.
        Binding("tab,shift+tab", "own_words", show=False, priority=True),
    ]
    # A line alone has the focus; beside answers, whose digits are keys, it gets the focus by Tab.
    AUTO_FOCUS = "#alone"

    def __init__(
        self,
        title: str,
        text: str = "",
        answers: Sequence[tuple[str, str]] = (),
        *,
        reasons: Sequence[str] = (),
        line: str | None = None,
        value: str = "",
        enter: str = "choose",
        blank: str = "",
    ) -> None:
        """`answers` are pairs of key and text, `reasons` texts to be numbered; `line` is the placeholder of the line
        for free text, `value` its text at first, `enter` what Enter does with it."""
        super().__init__()
        self._heading, self._words = title, text
        self._answers = [(key, words, key) for key, words in answers]
        self._answers += [(str(number), words, words) for number, words in enumerate(reasons, 1)]
        self._line, self._value, self._enter, self._blank = line, value, enter, blank
        self._row: int | None = None

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False) as box:
            box.border_title = Content(clean_line(self._heading))
            if self._words:
                yield Static(Content(self._words), id="text")
            if self._answers:
                yield Static(self._list(), id="answers")
            if self._line is not None:
                beside = bool(self._answers)
                yield Line(
                    self._value,
                    placeholder=self._line,
                    limit=500 if beside else 2000,
                    id="own" if beside else "alone",
                )
        yield KeyLine(self._keys())

    def _list(self) -> Content:
        rows = []
        for row, (key, words, _) in enumerate(self._answers):
            here = row == self._row
            mark = "▸" if here else " "
            style = "bold" if here else ""
            rows.append(Content.assemble((f"{mark}{key}  ", "bold $primary"), (clean_line(words), style)))
        return Content("\n").join(rows)

    def _keys(self) -> str:
        keys = [key for key, _, _ in self._answers]
        words: list[str] = []
        if keys:
            words.append(f"{one_of(keys)}: choose")
        if keys and self._line is not None:
            words.append("Tab: own words")
        enter = "choose" if self._row is not None else self._blank if keys else self._enter
        return " · ".join([*words, *([f"Enter: {enter}"] if enter else []), "Esc: back"])

    def on_key(self, event: events.Key) -> None:
        """Takes an answer's key, arrows and Enter; any other letter starts the line of own words."""
        if not self._answers or isinstance(self.focused, Input):
            return
        letters = {} if self._line is not None else {"j": 1, "k": -1}
        step = {"down": 1, "up": -1, **letters}.get(event.key)
        result = next((result for key, _, result in self._answers if event.character == key), None)
        if result is not None:
            event.stop()
            self.dismiss(result)
        elif step is not None:
            event.stop()
            before = self._row if self._row is not None else (-1 if step > 0 else 0)
            self._row = (before + step) % len(self._answers)
            self.query_one("#answers", Static).update(self._list())
            self.query_one(KeyLine).tell(self._keys())
        elif self._line is not None and event.is_printable and event.character and event.character.isalpha():
            event.stop()
            line = self.query_one(Input)
            self.set_focus(line)
            line.insert_text_at_cursor(event.character)
        elif event.key == "enter":
            event.stop()
            if self._row is not None or self._blank:
                self.dismiss("" if self._row is None else self._answers[self._row][2])

    def on_click(self, event: events.Click) -> None:
        widget = event.widget
        if widget is not None and widget.id == "answers":
            self.dismiss(self._answers[min(int(event.screen_y) - widget.region.y, len(self._answers) - 1)][2])

    def action_own_words(self) -> None:
        """Focuses the free text, or the list again."""
        line = self.query_one(Input) if self._line is not None and self._answers else None
        if line is not None:
            self.set_focus(None if line.has_focus else line)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if text := clean_line(event.value).strip():
            self.dismiss(text)


def one_of(keys: Sequence[str]) -> str:
    """`1`, `y or n`, `1-6`, `r, h, d or p`."""
    if len(keys) > 3 and list(keys) == [str(number) for number in range(1, len(keys) + 1)]:
        return f"1-{keys[-1]}"
    return " or ".join(filter(None, [", ".join(keys[:-1]), keys[-1]]))


def veto_dialog(what: str) -> Dialog:
    """Asks why a proposal is vetoed; the researcher gets the reason, if there is one."""
    return Dialog(f"Veto {what}", reasons=REASONS, line="or in your own words", blank="no reason")


def note_dialog(waiting: Sequence[str]) -> Dialog:
    """Asks for one line; longer instructions belong in the program. `waiting`: notes not sent yet."""
    hint = "for example: smaller steps; watch the data loader"
    text = ""
    if waiting:
        listed = [f"· {clean_line(note)[:_NOTE_CHARS]}" for note in waiting[-_NOTES_LISTED:]]
        others = len(waiting) - len(listed)
        more = [f"· and {others} before"] if others else []
        text = "\n".join(["These wait for the next request; N takes one back:", *more, *listed])
    return Dialog("Note to the researcher", text, line=hint, enter="send with the next request")


def waiting_notes_dialog(waiting: Sequence[str]) -> Dialog:
    """Asks which unsent note to withdraw; returns its place in `waiting`, from 1, at most 9."""
    answers = [(str(place), note[:_NOTE_CHARS]) for place, note in enumerate(waiting[:9], 1)]
    return Dialog("Take back which note?", "They wait for the researcher's next request.", answers)
