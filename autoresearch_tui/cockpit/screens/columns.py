"""The dialog that chooses the columns of the results and the order of their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from autoresearch_tui.cockpit.widgets.cells import cut
from autoresearch_tui.cockpit.widgets.table import USUAL, shown, sortable

if TYPE_CHECKING:
    from autoresearch_tui.cockpit.widgets.experiments import Results


class ColumnsScreen(ModalScreen[None]):
    """Enter sorts by a column, Space shows or hides it; the table behind follows at once."""

    DEFAULT_CSS = """
    ColumnsScreen {
        align: center middle;
        & > Vertical {
            width: 44; max-width: 100%; height: auto; max-height: 100%;
            background: $surface; border: round $primary;
        }
        & OptionList {
            height: auto; max-height: 100%; background: $surface; padding: 0 1; scrollbar-size-vertical: 1;
            &, &:focus { border: none; }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,x", "show_or_hide", "Show or hide", priority=True),
        Binding("escape,q,w", "dismiss(None)", "Close"),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    def __init__(self, results: Results) -> None:
        super().__init__()
        self._results = results
        self._shown = [column.id for column in shown(results.state)]
        self._sortable = sortable(results.state)
        # By default the table has the usual columns and the lab's own.
        usual = [column.id for column in shown(results.state) if column.usual]
        self._columns = usual if results.columns == USUAL else list(results.columns)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content("Columns")
            box.border_subtitle = Content("Enter: sort · Space: show · Esc: back")
            yield OptionList(*(Option(self._line(i), id=column.id) for i, column in enumerate(self._sortable)))

    def _line(self, index: int) -> Content:
        column, order = self._sortable[index], self._results.order
        shown = "[x]" if column.id in self._columns else "[ ]" if column.id in self._shown else "   "
        sorted_by = f"  {order.name}" if column.id == order.column else ""
        return Content.assemble(f"{shown} {cut(column.title, 20):<9}", (sorted_by, "bold"))

    def _update(self) -> None:
        options = self.query_one(OptionList)
        for index in range(len(self._sortable)):
            options.replace_option_prompt_at_index(index, self._line(index))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Sorts by the column; by the same one again, in the other direction."""
        self._results.sort_by(str(event.option_id))
        self._update()

    def action_cursor(self, step: int) -> None:
        options = self.query_one(OptionList)
        options.action_cursor_down() if step > 0 else options.action_cursor_up()

    def action_show_or_hide(self) -> None:
        index = self.query_one(OptionList).highlighted
        if index is None or self._sortable[index].id not in self._shown:
            return
        name, columns = self._sortable[index].id, self._columns
        # The distance to the best has no row of its own here: it is shown and hidden with the score.
        names = {name, "best"} if name == "score" else {name}
        chosen = set(columns) - names if name in columns else set(columns) | names
        self._columns = [column for column in self._shown if column in chosen]
        self._results.choose_columns(self._columns)
        self._update()
