"""Every key and what it does, from the same table that the keys come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from autoresearch_tui.text import clean_line


class HelpScreen(ModalScreen[None]):
    """Rows of key, title and help; any of Escape, q and ? closes it."""

    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > Vertical {
            width: 90; max-width: 100%; height: auto; max-height: 100%; padding: 0 1;
            background: $surface; border: round $primary;
        }
        & VerticalScroll { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss(None)", "Close"),
    ]

    def __init__(self, rows: Sequence[tuple[str, str, str]]) -> None:
        super().__init__()
        self._table = tuple(rows)

    def compose(self) -> ComposeResult:
        """One grid in a pane that scrolls."""
        with Vertical() as box:
            box.border_title = Content("keys")
            box.border_subtitle = Content("Esc: back · all of it is in the command palette too")
            with VerticalScroll():
                yield Static(self._grid())

    def _grid(self) -> Table:
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(style="bold", no_wrap=True, justify="right")
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1, style="dim")
        for row in self._table:
            grid.add_row(*(Text(clean_line(cell)) for cell in row))
        return grid
