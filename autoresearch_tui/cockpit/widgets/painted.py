"""A pane painted as rows of toned text. Only changed cells reach the terminal."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from autoresearch_tui.cockpit.theme import DiffColours, diff_colours, shown

if TYPE_CHECKING:
    from textual.app import App
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

Cells = tuple[str, str]
"""A piece of clean text and its tone."""
Row = Sequence[Cells]


def _ansi(value: str, name: str, strength: float) -> str:
    """One of the terminal's own sixteen colours. They cannot be blended, so weak ones are grey or the default."""
    if not value.startswith("ansi_"):
        return Color.parse(value).hex6
    if name == "foreground" and strength < 0.8:
        return "bright_black"
    return "default" if strength < 0.4 else value.removeprefix("ansi_")


@lru_cache(maxsize=8)
def _tones(variables: tuple[tuple[str, str], ...], depth: str) -> Mapping[str, Style]:
    named = dict(variables)
    terminals_own = any(value.startswith("ansi_") for value in named.values())
    ground = None if terminals_own else Color.parse(named["background"])

    def color(name: str, strength: float = 1.0) -> str:
        if ground is None:
            return _ansi(named[name], name, strength)
        return shown(ground.blend(Color.parse(named[name]), strength, 1.0), depth).hex6

    tones = {
        "text": Style(color=color("words")),
        "strong": Style(color=color("foreground"), bold=True),
        "dim": Style(color=color("quiet")),
        "faint": Style(color=color("foreground", 0.27)),
    }
    for tone, name in {
        "accent": "primary",
        "second": "secondary",
        "good": "success",
        "warn": "warning",
        "bad": "error",
    }.items():
        tones[tone] = Style(color=color(name))
        tones[f"{tone}-strong"] = Style(color=color(name), bold=True)
        tones[f"{tone}-dim"] = Style(color=color(name, 0.55 if depth == "256" else 0.45))
        tones[f"{tone}-block"] = Style(color=color("background"), bgcolor=color(name), bold=True)
    tones["key"] = Style(color=color("primary"), bold=True)
    return MappingProxyType(tones | _diff_tones(color, ground, depth))


def _diff_tones(color: Callable[..., str], ground: Color | None, depth: str) -> dict[str, Style]:
    """The tones of lines have a background; those of syntax lie over any of them."""
    back, text, quiet = color("background"), color("words"), color("quiet")
    marks = Style(bold=True, underline=True)
    tones = {
        "diff--context": Style(color=text, bgcolor=back),
        "diff--added": Style(color=text, bgcolor=color("success", 0.14)),
        "diff--removed": Style(color=text, bgcolor=color("error", 0.14)),
        "diff--added-mark": marks + Style(bgcolor=color("success", 0.25)),
        "diff--removed-mark": marks + Style(bgcolor=color("error", 0.25)),
        "diff--hunk": Style(color=quiet, bgcolor=color("primary", 0.18)),
        "diff--file": Style(color=text, bgcolor=back, bold=True),
        "diff--flag": Style(color=color("warning"), bgcolor=color("warning", 0.22), bold=True),
        "diff--note": Style(color=quiet, bgcolor=back, italic=True),
        "diff--gutter": Style(color=quiet),
        "diff--keyword": Style(color=color("secondary")),
        "diff--string": Style(color=color("success")),
        "diff--number": Style(color=color("warning")),
        "diff--comment": Style(color=quiet, italic=True),
        "diff--defined": Style(color=color("primary"), bold=True),
        "diff--builtin": Style(color=color("primary")),
        "diff--decorator": Style(color=color("primary")),
    }
    few = diff_colours(ground, depth) if ground is not None else None
    return tones if few is None else tones | _few_diff_tones(few, color)


# Syntax lies over three backgrounds, which allow only the contrast that WCAG requires for large text.
_LEAST = 3.0
_SYNTAX = ("gutter", "keyword", "string", "number", "comment", "defined", "builtin", "decorator")


def _few_diff_tones(few: DiffColours, color: Callable[..., str]) -> dict[str, Style]:
    """The tones for 256 or 16 colours: clear green and red, with readable text on them."""
    back, quiet = color("background"), color("quiet")
    marks = Style(bold=True, underline=True)
    if few.added is None or few.removed is None or few.ink is None or few.hunk is None or few.flag is None:
        lines = {"added": color("success"), "removed": color("error"), "hunk": quiet, "flag": color("warning")}
        made = {f"diff--{name}": Style(color=value, bgcolor=back) for name, value in lines.items()}
        # The line's own colour has to stay.
        made |= {f"diff--{name}": Style() for name in _SYNTAX} | {"diff--gutter": Style(color=quiet)}
        return made | {"diff--added-mark": marks, "diff--removed-mark": marks}
    lines_of = (Color.parse(back), few.added, few.removed)

    def over(name: str, *grounds: Color) -> str:
        return shown(Color.parse(color(name)), "256", grounds, _LEAST).hex6

    made = {f"diff--{name}": Style(color=over("words", *lines_of), bgcolor=ground.hex6) for name, ground in
            (("added", few.added), ("removed", few.removed))}  # fmt: skip
    for name, ground in (("added", few.added_mark), ("removed", few.removed_mark)):
        made[f"diff--{name}-mark"] = marks + Style(color=few.ink.hex6, bgcolor=ground.hex6 if ground else None)
    made["diff--hunk"] = Style(color=over("quiet", few.hunk), bgcolor=few.hunk.hex6)
    made["diff--flag"] = Style(color=over("warning", few.flag), bgcolor=few.flag.hex6, bold=True)
    of = {"gutter": "quiet", "keyword": "secondary", "string": "success", "number": "warning", "comment": "quiet"}
    for name in _SYNTAX:
        made[f"diff--{name}"] = Style(
            color=over(of.get(name, "primary"), *lines_of),
            bold=name == "defined" or None,
            italic=name == "comment" or None,
        )
    return made


_NAMES = ("foreground", "background", "words", "quiet", "primary", "secondary", "success", "warning", "error")


def tones(app: App[object]) -> Mapping[str, Style]:
    """The named styles of the current theme."""
    return tones_of(app.theme_variables, app.console.color_system or "truecolor")


def tones_of(variables: Mapping[str, str], depth: str) -> Mapping[str, Style]:
    """The named styles of a theme on a terminal of this depth."""
    return _tones(tuple((name, variables[name]) for name in _NAMES), depth)


def strip(row: Row, styles: Mapping[str, Style], width: int, base: Style | None = None) -> Strip:
    """A row as Textual draws it, cut or padded to `width` cells."""
    segments = [Segment(text, styles.get(tone, Style.null())) for text, tone in row if text]
    made = Strip(segments).adjust_cell_length(width)
    return made.apply_style(base) if base else made


def length(row: Row) -> int:
    """The width of a row in cells."""
    return sum(cell_len(text) for text, _ in row)


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells: cut with an ellipsis, or padded."""
    if text.isascii():
        return text.ljust(width) if len(text) <= width else text[: max(0, width - 1)] + "…"[:width]
    size = cell_len(text)
    if size <= width:
        return text + " " * (width - size)
    kept, used = [], 0
    for char in text:
        used += cell_len(char)
        if used > width - 1:
            used -= cell_len(char)
            break
        kept.append(char)
    return "".join(kept) + "…" + " " * (width - 1 - used) if width > 0 else ""


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells; cut text ends with an ellipsis."""
    return text if cell_len(text) <= width else fit(text, width).rstrip()


def clip(row: Row, width: int) -> list[Cells]:
    """A row in exactly `width` cells, cut with an ellipsis or padded in the tone of the last cells."""
    cells: list[Cells] = []
    room = width
    for text, tone in row:
        size = cell_len(text)
        if size > room:
            cells.append((fit(text, room), tone))
            return cells
        cells.append((text, tone))
        room -= size
    return [*cells, (" " * room, cells[-1][1] if cells else "")]


def spread(left: Row, right: Row, width: int) -> Row:
    """`left` and `right` at the ends of a row; without room for both, `left` alone."""
    gap = width - length(left) - length(right)
    return [*left, (" " * gap, ""), *right] if gap > 0 else left


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, broken at spaces where there are any."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            *heads, tail = chop_cells(word, max(2, width)) or [""]
            if not heads and cell_len(line) + 1 + cell_len(tail) <= width:
                line = f"{line} {tail}" if line else tail
                continue
            lines += [line, *heads] if line else heads
            line = tail
        lines.append(line)
    return lines


def occurrences(text: str, query: str) -> list[tuple[int, int]]:
    """The spans of `query` in `text`, ignoring case."""
    low, wanted = text.lower(), query.lower()
    if not wanted or len(low) != len(text):
        return []
    found, at = [], 0
    while (start := low.find(wanted, at)) >= 0:
        at = start + len(wanted)
        found.append((start, at))
    return found


def marked(text: str, tone: str, query: str) -> list[Cells]:
    """`text` with highlighted occurrences of `query`."""
    cells: list[Cells] = []
    at = 0
    for start, end in occurrences(text, query):
        cells += [(text[at:start], tone), (text[start:end], "warn-block")]
        at = end
    return [*cells, (text[at:], tone)]


def changed(old: Sequence[Strip], new: Sequence[Strip], width: int) -> Iterable[Region]:
    """The regions in which two paintings of the same size differ."""
    for y, (before, after) in enumerate(zip(old, new, strict=True)):
        if before == after:
            continue
        left = _common(list(before), list(after))
        right = min(width - left - 1, _common(list(reversed(before)), list(reversed(after)), from_end=True))
        yield Region(left, y, max(1, width - left - right), 1)


def _common(one: list[Segment], other: list[Segment], *, from_end: bool = False) -> int:
    """The number of equal cells at the beginning, or at the end."""
    cells = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            # Compared by character only if each takes one cell: half of a wide one cannot be drawn.
            if a.style == b.style and a.cell_length == len(a.text) and b.cell_length == len(b.text):
                step = -1 if from_end else 1
                pairs = zip(a.text[::step], b.text[::step], strict=False)
                cells += sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            break
        cells += a.cell_length
    return cells


class Canvas(Widget):
    """Subclasses paint rows in :meth:`paint`; :meth:`repaint` sends the differences."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes, markup=False)
        self._strips: list[Strip] = []
        self._painted: tuple[object, ...] = ()

    @abstractmethod
    def paint(self, size: Size) -> Sequence[Row]:
        """The rows from the top; missing ones are blank."""
        return ()

    def repaint(self) -> None:
        """Paints again and refreshes the regions that differ."""
        if not self.is_mounted or not self.display:
            self._painted = ()
            return
        old, key = self._strips, self._painted
        self._paint_rows()
        if key != self._painted:
            self.refresh()
            return
        regions = list(changed(old, self._strips, self.content_size.width))
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        if self._painted != self._key():
            self._paint_rows()
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.content_size.width, self.rich_style)

    def _key(self) -> tuple[object, ...]:
        return self.content_size, self.app.theme, self.has_focus

    def _paint_rows(self) -> None:
        width, height = self.content_size
        styles, base = tones(self.app), self.rich_style
        rows = list(self.paint(self.content_size))[:height] if width and height else []
        rows += [()] * (height - len(rows))
        self._strips = [strip(row, styles, width, base) for row in rows]
        self._painted = self._key()


_WHEEL = 3


class Scroller(Canvas, can_focus=True):
    """A scrolling list of rows: subclasses define `count` and :meth:`rows`. `top` is the first row on the screen.

    It does without Textual's scroll bars, with which every new line would be a layout of the screen.
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
    @abstractmethod
    def count(self) -> int:
        """The number of rows."""
        return 0

    def header(self, _width: int) -> Sequence[Row]:
        """The :attr:`HEADER` rows that do not scroll."""
        return []

    @abstractmethod
    def rows(self, start: int, end: int, width: int) -> Sequence[Row]:
        """Rows `start` to `end`."""
        return ()

    def below(self, _width: int) -> Sequence[Row]:
        """Rows under the scrolling ones, whose room they reduce."""
        return ()

    def footer(self, _width: int) -> Row | None:
        """A row over the last one, for a notice about the rows below."""
        return None

    @property
    def page(self) -> int:
        """The number of rows on the screen."""
        return max(1, self.content_size.height - self.HEADER - len(self.below(self.content_size.width - 1)))

    @property
    def last_top(self) -> int:
        """`top` with the last row on the screen."""
        return max(0, self.count - self.page)

    def paint(self, size: Size) -> Sequence[Row]:
        """Header, the rows in sight with a thumb at the right edge, the rows below."""
        width = size.width
        self.top = max(0, min(self.top, self.last_top))
        shown = list(self.rows(self.top, min(self.count, self.top + self.page), width - 1))
        shown += [[]] * (self.page - len(shown))
        foot = self.footer(width - 1)
        if foot is not None and shown:
            shown[-1] = foot
        body = [[*clip(row, width - 1), cell] for row, cell in zip(shown, self._thumb(), strict=True)]
        return [*self.header(width), *body, *self.below(width - 1)]

    def _thumb(self) -> list[tuple[str, str]]:
        page, count = self.page, self.count
        if count <= page:
            return [(" ", "")] * page
        size = max(1, page * page // count)
        start = round(self.top / max(1, count - page) * (page - size))
        return [("▐", "dim") if start <= y < start + size else (" ", "") for y in range(page)]

    def scroll_rows(self, rows: int) -> None:
        self.top = max(0, min(self.last_top, self.top + rows))
        self.moved()
        self.repaint()

    def moved(self) -> None:
        """Called when the reader has scrolled."""

    def action_move(self, rows: int) -> None:
        self.scroll_rows(rows)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.page - 1))

    def action_edge(self, side: int) -> None:
        """Goes to the first row, or to the last."""
        self.action_move(side * (self.count + 1))

    def action_sideways(self, side: int) -> None:
        self.left = max(0, self.left + side * 16)
        self.repaint()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_rows(_WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_rows(-_WHEEL)
