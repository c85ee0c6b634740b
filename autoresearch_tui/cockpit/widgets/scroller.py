"""A canvas that is longer than the screen: rows are painted when they are seen, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size

from autoresearch_tui.cockpit.widgets.canvas import Canvas, Row, clip

_WHEEL = 3


class Scroller(Canvas, can_focus=True):
    """Subclasses give `count` and :meth:`rows`. `top` is the first row on the screen.

    It scrolls by itself, without Textual's scroll bars, because those make every new line a layout of the screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f,space", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(-1)", "First", show=False),
        Binding("end,G", "edge(1)", "Last", show=False),
        Binding("left", "sideways(-1)", "Left", show=False),
        Binding("right", "sideways(1)", "Right", show=False),
    ]
    HEADER = 0

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.top = 0
        self.left = 0

    @property
    def count(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def header(self, _width: int) -> Sequence[Row]:
        """The :attr:`HEADER` rows that do not scroll."""
        return []

    def rows(self, start: int, end: int, width: int) -> Sequence[Row]:
        """Rows `start` to `end`."""
        raise NotImplementedError

    def footer(self, _width: int) -> Row | None:
        """A row over the last one, where something is to be said about what is below."""
        return None

    @property
    def page(self) -> int:
        """How many rows are on the screen."""
        return max(1, self.content_size.height - self.HEADER)

    @property
    def last_top(self) -> int:
        """`top` with the last row on the screen."""
        return max(0, self.count - self.page)

    def paint(self, size: Size) -> Sequence[Row]:
        """Header, the rows in sight, a thumb at the right edge."""
        width = size.width
        self.top = max(0, min(self.top, self.last_top))
        shown = list(self.rows(self.top, min(self.count, self.top + self.page), width - 1))
        shown += [[]] * (self.page - len(shown))
        foot = self.footer(width - 1)
        if foot is not None and shown:
            shown[-1] = foot
        body = [[*clip(row, width - 1), cell] for row, cell in zip(shown, self._thumb(), strict=True)]
        return [*self.header(width), *body]

    def _thumb(self) -> list[tuple[str, str]]:
        page, count = self.page, self.count
        if count <= page:
            return [(" ", "")] * page
        size = max(1, page * page // count)
        start = round(self.top / max(1, count - page) * (page - size))
        return [("▐", "dim") if start <= y < start + size else (" ", "") for y in range(page)]

    def scroll_rows(self, rows: int) -> None:
        """Move what is in sight."""
        self.top = max(0, min(self.last_top, self.top + rows))
        self.moved()
        self.repaint()

    def moved(self) -> None:
        """The reader has moved."""

    def action_move(self, rows: int) -> None:
        """A key up or down."""
        self.scroll_rows(rows)

    def action_page(self, pages: int) -> None:
        """A key for a page."""
        self.action_move(pages * max(1, self.page - 1))

    def action_edge(self, side: int) -> None:
        """To the first row or to the last."""
        self.action_move(side * (self.count + 1))

    def action_sideways(self, side: int) -> None:
        """Long rows move under the window."""
        self.left = max(0, self.left + side * 16)
        self.repaint()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel."""
        event.stop()
        self.scroll_rows(_WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel."""
        event.stop()
        self.scroll_rows(-_WHEEL)
