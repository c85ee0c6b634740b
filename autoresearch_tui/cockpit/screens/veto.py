"""Why a proposal is not to be trained, or a verdict does not stand: a short list, or the human's own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static

from autoresearch_tui.text import clean_line

REASONS = (
    "tried before",
    "games the metric or touches the evaluation",
    "seed or noise, not an idea",
    "will not fit the memory or the time budget",
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
    "a base for what is to come next",
    "its score is honest; the referee was too strict",
)


class ReasonScreen(ModalScreen[str | None]):
    """Ends with the reason; None where it was thought better of."""

    DEFAULT_CSS = """
    ReasonScreen {
        align: center middle;
        & > Vertical {
            width: 64; max-width: 100%; height: auto; max-height: 100%; padding: 0 1;
            background: $surface; border: round $warning;
        }
        & OptionList { height: auto; max-height: 10; padding: 0; background: $surface; }
        & OptionList, & OptionList:focus { border: none; }
        & Input { margin: 1 0; }
        & Static { margin: 0 0 1 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        # At once, so that words that were typed with the Tab in one breath come after it.
        Binding("tab,shift+tab", "own_words", show=False, priority=True),
        *(Binding(str(n), f"reason({n})", show=False) for n in range(1, 10)),
    ]

    # Digits choose, so the list comes first. (A focus by hand would come late, over what was typed ahead.)
    AUTO_FOCUS = "OptionList"

    def __init__(self, title: str, reasons: Sequence[str], text: str = "") -> None:
        super().__init__()
        self._heading, self._reasons, self._text = title, reasons, text

    def compose(self) -> ComposeResult:
        """The list has the keys; Tab leads to the free text."""
        with Vertical() as box:
            box.border_title = Content(clean_line(self._heading))
            box.border_subtitle = Content(f"1-{len(self._reasons)} or Enter: that reason · Tab: own words · Esc: back")
            if self._text:
                yield Static(Content(self._text))
            yield OptionList(*(Content(f"{n}  {reason}") for n, reason in enumerate(self._reasons, 1)))
            # Selecting what is there when the keys arrive would swallow what was typed ahead.
            yield Input(placeholder="or in your own words", max_length=500, compact=True, select_on_focus=False)

    def action_own_words(self) -> None:
        """To the free text, or back to the list."""
        line = self.query_one(Input)
        self.set_focus(self.query_one(OptionList) if line.has_focus else line)

    def action_reason(self, number: int) -> None:
        """The reason with that number."""
        if number <= len(self._reasons):
            self.dismiss(self._reasons[number - 1])

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._reasons[event.option_index])

    @on(Input.Submitted)
    def _said(self, event: Input.Submitted) -> None:
        reason = clean_line(event.value).strip()
        if reason:
            self.dismiss(reason)


class VetoScreen(ReasonScreen):
    """Why this proposal is not to be trained; the researcher is told."""

    def __init__(self, what: str = "") -> None:
        super().__init__(f"veto {what}".rstrip(), REASONS)
