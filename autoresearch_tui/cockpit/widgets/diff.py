"""A unified diff for review: unified or side by side, wrapped rather than cut off."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from autoresearch_tui.cockpit.actions import bindings
from autoresearch_tui.cockpit.widgets import diff_model as model
from autoresearch_tui.cockpit.widgets.cells import Span, wrap_code, wrap_words
from autoresearch_tui.cockpit.widgets.diff_model import Kind, Line, Row
from autoresearch_tui.cockpit.widgets.painted import occurrences, tones
from autoresearch_tui.cockpit.widgets.python_tokens import tokens as python_tokens
from autoresearch_tui.util.text import clean_line

SPLIT_WIDTH = 100
_NUMBER = 4
# Number, blank, glyph, blank.
_GUTTER = _NUMBER + 3
_COLOURS = {Kind.ADDED: "diff--added", Kind.REMOVED: "diff--removed", Kind.CONTEXT: "diff--context"}


class DiffPane(ScrollView, can_focus=True):
    """Shows one diff. Colour alone carries no meaning."""

    DEFAULT_CSS = """
    DiffPane {
        background: $background; overflow-x: hidden; overflow-y: auto;
        scrollbar-size-vertical: 1; scrollbar-gutter: stable;
    }
    """
    called = "the diff"
    left_out = ""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("diff"),
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
        Binding("space", "page_down", show=False),
    ]

    def __init__(
        self,
        *,
        opens_at_change: bool = False,
        id: str | None = None,  # noqa: A002
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.opens_at_change = opens_at_change
        self._text = ""
        self._title = ""
        self._flags: tuple[str, ...] = ()
        self._diff = model.Diff()
        self._split = False
        self._plan = model.Layout()
        self._laid_out_for = 0
        # For each row on the screen: the row of the layout, and the piece of its wrapped text.
        self._picture: list[tuple[int, int]] = []
        self._starts: list[int] = []
        self.query_text = ""
        self._untouched = True

    @property
    def text(self) -> str:
        """The diff as it was given, for the clipboard."""
        return self._text

    @property
    def split(self) -> bool:
        return self._split and self._columns >= SPLIT_WIDTH

    def show(self, diff_text: str, title: str = "", flags: tuple[str, ...] = ()) -> None:
        """Shows another diff from its top; showing the same one again changes nothing."""
        if (diff_text, title, flags) == (self._text, self._title, self._flags):
            return
        self._text, self._title, self._flags = diff_text, title, flags
        self._diff = model.parse(diff_text)
        self._lay_out()
        self.scroll_to(0, 0, animate=False)
        self._untouched = True
        self._to_first_change()

    def on_resize(self) -> None:
        """Wraps again and keeps the line at the top."""
        if self._columns == self._laid_out_for:
            self._to_first_change()
            return
        top = self._row_at(self.scroll_offset.y)
        self._lay_out()
        if top < len(self._starts):
            self.scroll_to(0, self._starts[top], animate=False)
        self._to_first_change()

    def _to_first_change(self) -> None:
        """Scrolls to the first change if the lines before it fill the screen."""
        height = self.scrollable_content_region.height
        if not self.opens_at_change or not self._untouched or not height:
            return
        self._untouched = False
        kinds = {Kind.ADDED, Kind.REMOVED}
        for row, start in zip(self._plan.rows, self._starts, strict=True):
            if any(line is not None and line.kind in kinds for line in (row.left, row.right)):
                if start + 1 >= height:
                    self.scroll_to(0, max(0, start - 1), animate=False)
                return

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.refresh()

    # -- jumping ---------------------------------------------------------------------------------------------

    def action_next_hunk(self) -> None:
        self._jump(self._plan.hunks, 1)

    def action_previous_hunk(self) -> None:
        self._jump(self._plan.hunks, -1)

    def action_next_file(self) -> None:
        self._jump(self._plan.files, 1)

    def action_previous_file(self) -> None:
        self._jump(self._plan.files, -1)

    def action_next_flag(self) -> None:
        """Goes to the next risk flag; after the last one, to the first."""
        if not self._plan.flags:
            return
        before = self.scroll_offset.y
        self._jump(self._plan.flags, 1)
        if self.scroll_offset.y == before:
            self.scroll_to(0, self._starts[self._plan.flags[0]], animate=False)

    def action_toggle_split(self) -> None:
        """Switches between unified and side by side, which needs SPLIT_WIDTH columns."""
        if self._columns < SPLIT_WIDTH:
            self.app.notify(f"side by side needs {SPLIT_WIDTH} columns; this pane has {self._columns}")
            return
        self._split = not self._split
        top = self._line_at(self._row_at(self.scroll_offset.y))
        self._lay_out()
        self.scroll_to(0, self._find(top), animate=False)

    def action_page_down(self) -> None:
        self.scroll_page_down(animate=False)

    def action_page_up(self) -> None:
        self.scroll_page_up(animate=False)

    def action_scroll_down(self) -> None:
        self.scroll_relative(y=1, animate=False)

    def action_scroll_up(self) -> None:
        self.scroll_relative(y=-1, animate=False)

    def find(self, text: str) -> int:
        """Marks `text` and goes to its first occurrence; returns the number of lines with it."""
        self.query_text = text
        found = self._matches()
        if found:
            self.scroll_to(0, max(0, self._starts[found[0]] - 1), animate=False)
        self.refresh()
        return len(found)

    def find_step(self, step: int) -> bool:
        """Goes to the next or the previous occurrence; returns whether there is one."""
        before = self.scroll_offset.y
        self._jump(self._matches(), step)
        return self.scroll_offset.y != before

    def _matches(self) -> list[int]:
        found = []
        for index, row in enumerate(self._plan.rows):
            if any(line is not None and occurrences(line.text, self.query_text) for line in (row.left, row.right)):
                found.append(index)
        return found

    def _jump(self, rows: Sequence[int], step: int) -> None:
        places = [self._starts[row] for row in rows]
        here = self.scroll_offset.y
        where = bisect.bisect_right(places, here) if step > 0 else bisect.bisect_left(places, here) - 1
        if 0 <= where < len(places):
            self.scroll_to(0, places[where], animate=False)

    def _row_at(self, y: int) -> int:
        return self._picture[y][0] if 0 <= y < len(self._picture) else 0

    def _line_at(self, row: int) -> Line | None:
        if row >= len(self._plan.rows):
            return None
        found = self._plan.rows[row]
        return found.right or found.left

    def _find(self, line: Line | None) -> int:
        for row, candidate in enumerate(self._plan.rows):
            if line is not None and (candidate.right == line or candidate.left == line):
                return self._starts[row]
        return 0

    # -- layout ----------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self._laid_out_for = self._columns
        self._plan = model.lay_out(self._diff, self._flags, self.split, self._title)
        self._picture, self._starts = [], []
        for index, row in enumerate(self._plan.rows):
            self._starts.append(len(self._picture))
            self._picture += [(index, piece) for piece in range(self._pieces(row))]
        self.virtual_size = Size(self._columns, len(self._picture))
        self.refresh()

    def _pieces(self, row: Row) -> int:
        if row.across and row.left is not None and row.left.kind not in _COLOURS:
            return len(wrap_words(_caption(row.left), self._columns)) if self._columns else 1
        width = self._text_width
        lines = (row.left,) if row.across else (row.left, row.right)
        return max(len(wrap_code(line.text, width)) if line else 1 for line in lines)

    @property
    def _columns(self) -> int:
        return self.scrollable_content_region.width

    @property
    def _text_width(self) -> int:
        width = (self._columns - 1) // 2 if self.split else self._columns
        return width - _GUTTER

    # -- drawing ---------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Only rows on the screen are coloured."""
        width = self._columns
        y += self.scroll_offset.y
        if not self._picture:
            return self._plain("no changes" if y == 0 else "", "diff--note")
        if y >= len(self._picture):
            return self._plain("", "diff--context")
        index, piece = self._picture[y]
        row = self._plan.rows[index]
        if row.across and row.left is not None and row.left.kind not in _COLOURS:
            return self._across(row.left, piece)
        if row.across:
            segments = self._side(row.left, piece, width, self._text_width)
        else:
            half = (width - 1) // 2
            segments = [
                *self._side(row.left, piece, half, self._text_width),
                Segment("│", self._style("diff--context") + self._colour("diff--gutter")),
                *self._side(row.right, piece, width - half - 1, self._text_width),
            ]
        return Strip(segments).adjust_cell_length(width, self._style("diff--context"))

    def _plain(self, text: str, name: str) -> Strip:
        style = self._style(name)
        return Strip([Segment(text, style)]).adjust_cell_length(self._columns, style)

    def _across(self, line: Line, piece: int) -> Strip:
        text = _caption(line)
        spans = wrap_words(text, self._columns)
        start, end = spans[min(piece, len(spans) - 1)]
        return self._plain(text[start:end], f"diff--{line.kind.value}")

    def _side(self, line: Line | None, piece: int, width: int, text_width: int) -> list[Segment]:
        if line is None:
            style = self._style("diff--context") + self._colour("diff--gutter")
            return [Segment(" " * width, style)]
        base = self._style(_COLOURS[line.kind])
        gutter = base + self._colour("diff--gutter")
        pieces = wrap_code(line.text, text_width)
        if piece >= len(pieces):
            return [Segment(" " * width, base)]
        number = str(line.number) if piece == 0 else "↪"
        glyph = base + Style(bold=True) if line.kind is not Kind.CONTEXT else base
        segments = [
            Segment(f"{number:>{_NUMBER}} ", gutter),
            Segment(f"{line.kind.value} ", glyph),
            *self._coloured(line, pieces[piece], base),
        ]
        return list(Strip(segments).adjust_cell_length(width, base))

    def _coloured(self, line: Line, piece: Span, base: Style) -> list[Segment]:
        """A piece of a line with syntax colours and marked changes."""
        marks = model.changed(line.text, line.mate) if line.mate is not None else ()
        mark = self._style(f"{_COLOURS[line.kind]}-mark") if marks else base
        syntax = python_tokens(line.text, line.in_string) if line.python else ()
        start, end = piece
        found = occurrences(line.text, self.query_text)
        cuts = {start, end}
        cuts.update(cut for span in found for cut in span)
        cuts.update(cut for mark_span in marks for cut in mark_span)
        cuts.update(cut for token in syntax for cut in token[:2])
        edges = sorted(cut for cut in cuts if start <= cut <= end)
        segments = []
        for a, b in pairwise(edges):
            style = base
            kind = next((token[2] for token in syntax if token[0] <= a < token[1]), "")
            if kind:
                style += self._colour(f"diff--{kind}")
            if any(m <= a < n for m, n in marks):
                style += Style(color=mark.color, bgcolor=mark.bgcolor, bold=True, underline=True)
            if any(m <= a < n for m, n in found):
                style += self._style("warn-block")
            segments.append(Segment(line.text[a:b], style))
        return segments

    def _style(self, name: str) -> Style:
        return tones(self.app)[name]

    def _colour(self, name: str) -> Style:
        """A tone's colour and weight, without its background."""
        style = self._style(name)
        return Style(color=style.color, bold=style.bold, italic=style.italic)


def _caption(line: Line) -> str:
    if line.kind is Kind.HUNK:
        after = clean_line(line.text).strip()
        return f"@@ line {line.number}" + (f" · after `{after}`" if after else "")
    if line.kind is Kind.FLAG:
        return f"{'':>{_NUMBER}} ⚑ {line.text}"
    if line.kind is Kind.FILE:
        return f"── {line.text}"
    return line.text
