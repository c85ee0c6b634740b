"""A pane painted as rows of toned text. Only the cells that changed reach the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    from textual.app import App

Cells = tuple[str, str]
"""A piece of clean text and the tone it is painted in."""
Row = Sequence[Cells]


def _ansi(value: str, name: str, strength: float) -> str:
    """A colour of the terminal's own sixteen: they cannot be blended, so weak ones are grey, or nothing."""
    if not value.startswith("ansi_"):
        return Color.parse(value).hex6
    if name == "foreground" and strength < 0.8:
        return "bright_black"
    return "default" if strength < 0.4 else value.removeprefix("ansi_")


@lru_cache(maxsize=8)
def _tones(variables: tuple[tuple[str, str], ...]) -> Mapping[str, Style]:
    named = dict(variables)

    def color(name: str, strength: float = 1.0) -> str:
        if any(value.startswith("ansi_") for value in named.values()):
            return _ansi(named[name], name, strength)
        background = Color.parse(named["background"])
        return background.blend(Color.parse(named[name]), strength, 1.0).hex6

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
        tones[f"{tone}-dim"] = Style(color=color(name, 0.45))
        tones[f"{tone}-block"] = Style(color=color("background"), bgcolor=color(name), bold=True)
    tones["key"] = Style(color=color("primary"), bold=True)
    return MappingProxyType(tones | _diff_tones(color) | _tree_tones(color))


def _diff_tones(color: Callable[..., str]) -> dict[str, Style]:
    """Every tone of a diff's ground has its own background; those of its syntax lie over any of them."""
    ground, text, quiet = color("background"), color("words"), color("quiet")
    return {
        "diff--context": Style(color=text, bgcolor=ground),
        "diff--added": Style(color=text, bgcolor=color("success", 0.14)),
        "diff--removed": Style(color=text, bgcolor=color("error", 0.14)),
        "diff--added-mark": Style(bgcolor=color("success", 0.25), bold=True, underline=True),
        "diff--removed-mark": Style(bgcolor=color("error", 0.25), bold=True, underline=True),
        "diff--hunk": Style(color=quiet, bgcolor=color("primary", 0.18)),
        "diff--file": Style(color=text, bgcolor=ground, bold=True),
        "diff--flag": Style(color=color("warning"), bgcolor=color("warning", 0.22), bold=True),
        "diff--note": Style(color=quiet, bgcolor=ground, italic=True),
        "diff--gutter": Style(color=quiet),
        "diff--keyword": Style(color=color("secondary")),
        "diff--string": Style(color=color("success")),
        "diff--number": Style(color=color("warning")),
        "diff--comment": Style(color=quiet, italic=True),
        "diff--defined": Style(color=color("primary"), bold=True),
        "diff--builtin": Style(color=color("primary")),
        "diff--decorator": Style(color=color("primary")),
    }


def _tree_tones(color: Callable[..., str]) -> dict[str, Style]:
    ground = color("background")
    named = {
        "text": color("words"),
        "muted": color("quiet"),
        "guide": color("foreground", 0.27),
        "better": color("success"),
        "bad": color("error"),
        "open": color("primary"),
        "mark": color("warning"),
        "best": color("success"),
    }
    tones = {
        f"tree--{name}": Style(color=value, bgcolor=ground, bold=name in {"best", "open"} or None)
        for name, value in named.items()
    }
    tones["tree--cursor"] = Style(color=color("foreground"), bgcolor=color("primary", 0.3))
    return tones | {"tree--cursor-blurred": Style(bgcolor=color("foreground", 0.08))}


_NAMES = ("foreground", "background", "words", "quiet", "primary", "secondary", "success", "warning", "error")


def tones(app: App[object]) -> Mapping[str, Style]:
    """The named styles of the present theme."""
    variables = app.theme_variables
    return _tones(tuple((name, variables[name]) for name in _NAMES))


def strip(row: Row, styles: Mapping[str, Style], width: int, base: Style | None = None) -> Strip:
    """One row as Textual draws it, cut or padded to `width` cells."""
    segments = [Segment(text, styles.get(tone, Style.null())) for text, tone in row if text]
    made = Strip(segments).adjust_cell_length(width)
    return made.apply_style(base) if base else made


def length(row: Row) -> int:
    """How many cells a row takes."""
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
    """`text` in at most `width` cells, with an ellipsis where it was cut."""
    return text if cell_len(text) <= width else fit(text, width).rstrip()


def clip(row: Row, width: int) -> list[Cells]:
    """A row in exactly `width` cells, with an ellipsis where it was cut; the padding has the last cells' tone."""
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
    """`left` and `right` at the ends of a row; `right` gives way where there is no room for both."""
    gap = width - length(left) - length(right)
    return [*left, (" " * gap, ""), *right] if gap > 0 else left


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, broken at spaces where there are some."""
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


def changed(old: Sequence[Strip], new: Sequence[Strip], width: int) -> Iterable[Region]:
    """The regions in which two paintings of the same size differ."""
    for y, (before, after) in enumerate(zip(old, new, strict=True)):
        if before == after:
            continue
        left = _common(list(before), list(after))
        right = _common(list(reversed(before)), list(reversed(after)))
        yield Region(left, y, max(1, width - left - right), 1)


def _common(one: list[Segment], other: list[Segment]) -> int:
    """How many cells at the beginning are the same, counted in whole segments."""
    cells = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        cells += a.cell_length
    return cells


class Canvas(Widget):
    """Subclasses say in :meth:`paint` what to show; :meth:`repaint` finds out what that changes."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes, markup=False)
        self._strips: list[Strip] = []
        self._painted: tuple[object, ...] = ()

    def paint(self, size: Size) -> Sequence[Row]:
        """The rows to show, from the top; missing ones are blank."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Paint again, and let the terminal know of the difference."""
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
        """One row, as painted last."""
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
