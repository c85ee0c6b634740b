"""A line to the researcher."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input

from autoresearch_tui.text import clean_line


class NoteScreen(ModalScreen[str | None]):
    """Ends with the note; None where there is none."""

    DEFAULT_CSS = """
    NoteScreen {
        align: center middle;
        & > Vertical {
            width: 72; max-width: 100%; height: auto; padding: 1 1;
            background: $surface; border: round $primary;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(
        self,
        title: str = "note to the researcher",
        hint: str = "Enter: send with the next request · Esc: back",
    ) -> None:
        super().__init__()
        self._heading = title
        self._hint = hint

    def compose(self) -> ComposeResult:
        """One line is enough for a nudge; the program is the place for more."""
        with Vertical() as box:
            box.border_title = Content(clean_line(self._heading))
            box.border_subtitle = Content(clean_line(self._hint))
            yield Input(
                placeholder="for example: smaller steps; mind the data loader",
                max_length=2000,
                compact=True,
                select_on_focus=False,
            )

    @on(Input.Submitted)
    def _said(self, event: Input.Submitted) -> None:
        text = clean_line(event.value).strip()
        if text:
            self.dismiss(text)
