"""The branch tree: kept commits as the trunk, everything else as leaves at the commit it was based on."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from autoresearch_tui.cockpit.widgets import tree_model as model
from autoresearch_tui.cockpit.widgets.canvas import tones
from autoresearch_tui.cockpit.widgets.cells import cells
from autoresearch_tui.cockpit.widgets.tree_model import Node
from autoresearch_tui.engine.state import State


class BranchTree(ScrollView, can_focus=True):
    """Draws only the rows on the screen, and of them only those that changed."""

    class Selected(Message):
        """Enter, or a click on the row that has the cursor."""

        def __init__(self, number: int) -> None:
            self.number = number
            super().__init__()

    class Highlighted(Message):
        """The cursor came to another experiment."""

        def __init__(self, number: int) -> None:
            self.number = number
            super().__init__()

    DEFAULT_CSS = """
    BranchTree {
        background: $background; overflow-x: hidden; overflow-y: auto;
        scrollbar-size-vertical: 1; scrollbar-gutter: stable;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "cursor(-1)", "Up", show=False),
        Binding("down,j", "cursor(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(-1)", "Newest", show=False),
        Binding("end,G", "edge(1)", "Oldest", show=False),
        Binding("enter", "select", "Open", id="tree.open"),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._state = State()
        self._tree: tuple[Node, ...] = ()
        self._row_of: dict[int, int] = {}
        self._cursor: int | None = None
        # Until the reader moves it, the cursor stays with the newest.
        self._held = False

    @property
    def selected(self) -> int | None:
        """The number of the experiment that has the cursor."""
        return self._cursor

    def show(self, state: State) -> None:
        """Draws what differs from the state shown before; the cursor stays on its experiment."""
        before, self._state = self._state, state
        unchanged = before.experiments is state.experiments and before.frontier == state.frontier
        if unchanged and before.session is state.session:
            return
        old, old_row = self._tree, self._row
        self._tree = model.build(state)
        self._row_of = {node.number: row for row, node in enumerate(self._tree) if node.number is not None}
        if not self._held or self._cursor not in self._row_of:
            self._cursor = self._tree[0].number if self._tree else None
        if len(old) != len(self._tree):
            self._grown(old_row)
            return
        for row, (was, now) in enumerate(zip(old, self._tree, strict=True)):
            if was != now:
                self.refresh_line(row)
        if self._row != old_row:
            self.refresh_line(old_row)
            self.refresh_line(self._row)

    def move_to(self, number: int) -> None:
        """Puts the cursor on an experiment."""
        if number not in self._row_of or number == self._cursor:
            return
        old, self._cursor, self._held = self._row, number, True
        self.refresh_line(old)
        self.refresh_line(self._row)
        self._into_view()
        self.post_message(self.Highlighted(number))

    def on_resize(self) -> None:
        """Rows are cut to the width."""
        self.virtual_size = Size(self._columns, len(self._tree))

    def on_focus(self) -> None:
        """The cursor looks different in the pane that has the keys."""
        self.refresh_line(self._row)

    def on_blur(self) -> None:
        """And different again without them."""
        self.refresh_line(self._row)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; a second one opens."""
        row = self.scroll_offset.y + event.y
        if not 0 <= row < len(self._tree):
            return
        number = self._tree[row].number
        if number is None:
            return
        if number == self._cursor and event.chain > 1:
            self.action_select()
        self.move_to(number)

    def action_cursor(self, step: int) -> None:
        """Rows up or down; the root has no cursor."""
        last = len(self._row_of) - 1
        if last < 0:
            return
        number = self._tree[max(0, min(last, self._row + step))].number
        if number is not None:
            self.move_to(number)

    def action_page(self, way: int) -> None:
        """A screenful up or down."""
        self.action_cursor(way * max(self.size.height - 1, 1))

    def action_edge(self, way: int) -> None:
        """The newest, or the baseline."""
        self.action_cursor(way * len(self._tree))
        if way < 0:
            self._held = False

    def action_select(self) -> None:
        """Opens the experiment that has the cursor."""
        if self._cursor is not None:
            self.post_message(self.Selected(self._cursor))

    @property
    def _columns(self) -> int:
        return self.scrollable_content_region.width

    @property
    def _row(self) -> int:
        return self._row_of.get(self._cursor, 0) if self._cursor is not None else 0

    def _grown(self, old_row: int) -> None:
        self.virtual_size = Size(self._columns, len(self._tree))
        # New rows come in above: the reader's row stays where it was on the screen.
        if self._held and self.scroll_offset.y:
            self.scroll_relative(y=self._row - old_row, animate=False)
        self.refresh()

    def _into_view(self) -> None:
        top, height, row = self.scroll_offset.y, self.size.height, self._row
        if row < top:
            self.scroll_to(0, row, animate=False)
        elif row >= top + height:
            # The last experiment brings the root below it into view.
            last = row == len(self._row_of) - 1
            self.scroll_to(0, row - height + (2 if last else 1), animate=False)

    def render_line(self, y: int) -> Strip:
        """One row."""
        row = y + self.scroll_offset.y
        width = self._columns
        if not self._tree and row == 0:
            return self._fill([Segment("no experiment yet", self._style("muted"))], width)
        if row >= len(self._tree):
            return self._fill([], width)
        strip = self._fill(self._segments(self._tree[row], width), width)
        if self._cursor is not None and row == self._row:
            cursor = self._style("cursor" if self.has_focus else "cursor-blurred")
            over = Style(bgcolor=cursor.bgcolor, bold=True)
            if self.has_focus:
                over += Style(color=cursor.color)
            return Strip([Segment(s.text, (s.style or Style()) + over) for s in strip], width)
        return strip

    def _segments(self, node: Node, width: int) -> list[Segment]:
        head, figures, text, commit = model.columns(node, width)
        mark = self._style(_LOOK.get(node.status, "muted"))
        if node.best:
            mark = self._style("best")
        quiet = node.status in ("discard", "withdrawn", "vetoed", "crash", "root")
        figure = self._style("better") if node.better else mark
        if node.status == "discard":
            figure = self._style("muted")
        plain = self._style("muted") if quiet else self._style("text")
        gap = " " * max(width - cells(head + figures + text + commit), 0)
        return [
            Segment(node.prefix, self._style("guide")),
            Segment(head[len(node.prefix) :], mark),
            Segment(figures, figure),
            *self._text(node, text + gap, plain),
            Segment(commit, self._style("guide")),
        ]

    def _text(self, node: Node, text: str, plain: Style) -> list[Segment]:
        """The marks stand out from the description."""
        if node.best:
            plain = self._style("best")
        marks = len(node.marks)
        if not marks:
            return [Segment(text, plain)]
        return [Segment(text[:marks], self._style("mark")), Segment(text[marks:], plain)]

    def _fill(self, segments: list[Segment], width: int) -> Strip:
        return Strip(segments).adjust_cell_length(width, self._style("text"))

    def _style(self, name: str) -> Style:
        return tones(self.app)[f"tree--{name}"]


_LOOK = {
    "keep": "better",
    "discard": "muted",
    "crash": "bad",
    "invalid": "bad",
    "vetoed": "muted",
    "withdrawn": "muted",
    "proposed": "open",
    "review": "open",
    "approved": "open",
    "running": "open",
    "ended": "open",
    "scored": "open",
}
