"""Why a proposal is not to be trained: a short list, or the human's own words."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList

from autoresearch_tui.text import clean_line

REASONS = (
    "tried before",
    "games the metric or touches the evaluation",
    "seed or noise, not an idea",
    "will not fit the memory or the time budget",
    "too complex for what it can gain",
    "wrong direction",
)


class VetoScreen(ModalScreen[str | None]):
    """Ends with the reason, which the researcher is told; None where the veto was thought better of."""

    DEFAULT_CSS = """
    VetoScreen {
        align: center middle;
        & > Vertical {
            width: 64; max-width: 100%; height: auto; max-height: 100%; padding: 0 1;
            background: $surface; border: round $warning;
        }
        & OptionList { height: auto; max-height: 10; padding: 0; background: $surface; }
        & OptionList, & OptionList:focus { border: none; }
        & Input { margin: 1 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        *(Binding(str(n), f"reason({n})", show=False) for n in range(1, len(REASONS) + 1)),
    ]

    def __init__(self, what: str = "") -> None:
        super().__init__()
        self._what = what

    def compose(self) -> ComposeResult:
        """The list has the keys; Tab leads to the free text."""
        with Vertical() as box:
            box.border_title = Content(clean_line(f"veto {self._what}".rstrip()))
            box.border_subtitle = Content("1-6 or Enter: that reason · Tab: own words · Esc: back")
            yield OptionList(*(Content(f"{n}  {reason}") for n, reason in enumerate(REASONS, 1)))
            yield Input(placeholder="or in your own words", max_length=500, compact=True)

    def on_mount(self) -> None:
        """Digits choose, so the list comes first."""
        self.query_one(OptionList).focus()

    def action_reason(self, number: int) -> None:
        """The reason with that number."""
        self.dismiss(REASONS[number - 1])

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(REASONS[event.option_index])

    @on(Input.Submitted)
    def _said(self, event: Input.Submitted) -> None:
        reason = clean_line(event.value).strip()
        if reason:
            self.dismiss(reason)
