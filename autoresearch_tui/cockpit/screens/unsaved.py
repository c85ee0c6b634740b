"""Leaving an editor whose text is not saved."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

Way = Literal["save", "discard"]


class UnsavedScreen(ModalScreen[Way | None]):
    """Ends with what is to become of the text; None: on with the editing."""

    DEFAULT_CSS = """
    UnsavedScreen {
        align: center middle;
        & > Static {
            width: auto; max-width: 100%; height: auto; padding: 1 2; background: $surface; border: round $warning;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s,ctrl+s", "dismiss('save')", "Save"),
        Binding("d", "dismiss('discard')", "Discard"),
        Binding("escape", "dismiss(None)", "Back"),
    ]

    def compose(self) -> ComposeResult:
        """The question and its keys."""
        yield Static(
            Content("program.md has changes that are not saved\n\ns save · d discard them · Esc go on editing")
        )
