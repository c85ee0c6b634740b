"""Experiments by two of their numbers, and the Pareto front: those that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Size

from autoresearch_tui.cockpit.widgets.charts import Dots, Scale, axis_texts, beside_axis, ticks
from autoresearch_tui.cockpit.widgets.painted import Canvas, Cells, Row, cut
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session.columns import Axis, Point
from autoresearch_tui.util.text import clean_line

# In one cell, a later one covers an earlier one.
_TRIED, _KEPT, _FRONT = ("·", "dim"), ("●", "good"), ("◆", "accent")
_ROOM = 0.05  # margin beside the outermost points, as a share of the span


class ParetoPlot(Canvas):
    """Neither axis is reversed; the labels say which direction is better."""

    def __init__(self) -> None:
        super().__init__(id="pareto")
        self._points: tuple[Point, ...] = ()
        self._axes: tuple[Axis, Axis] | None = None
        self._chosen: int | None = None

    def show(self, points: tuple[Point, ...], x: Axis, y: Axis, chosen: int | None) -> None:
        """`chosen` is the number of the point that is marked."""
        self._points, self._axes, self._chosen = points, (x, y), chosen
        self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:
        width, height = size
        if not self._points or self._axes is None:
            return [[(" Points appear here with the first experiments that have both numbers.", "dim")]]
        x, y = self._axes
        plot_height = max(1, height - 3)
        scale = Scale(*_span([point.y for point in self._points]), plot_height)
        labels = scale.labels()
        low, high = _span([point.x for point in self._points])
        axis = max(7, *(len(label) + 3 for label in labels.values()))
        across = max(1, width - axis)
        dots = Dots(across, plot_height)
        places = {point.number: (_column(point.x, low, high, across), scale.dot(point.y)) for point in self._points}
        dots.line(_stairs(self._points, places, x), "accent-dim")
        rows = [_over(row, axis, self._glyphs(places, n)) for n, row in enumerate(beside_axis(labels, axis, dots))]
        legend = [(f" {_described(y, '↓', '↑')}", "strong"), *self._marks(width - len(_described(y, "↓", "↑")) - 2)]
        return [legend, *rows, *_x_axis(x, axis, across, low, high)]

    def _marks(self, room: int) -> list[Cells]:
        words = (f"   {_FRONT[0]}", " front  ", _KEPT[0], " kept  ", _TRIED[0], " not kept")
        if sum(map(len, words)) > room:
            return []
        return list(zip(words, ("accent", "dim", "good", "dim", "dim", "dim"), strict=True))

    def _glyphs(self, places: dict[int, tuple[int, int]], row: int) -> dict[int, Cells]:
        """The foremost point in each cell of a row; the chosen one is in front of all."""
        found: dict[int, Cells] = {}
        for point in sorted(self._points, key=lambda point: (point.number == self._chosen, point.front, point.kept)):
            at, dot = places[point.number]
            if dot // 4 == row:
                glyph, tone = _FRONT if point.front else _KEPT if point.kept else _TRIED
                if point.number == self._chosen:
                    tone = f"{'warn' if tone == 'dim' else tone}-block"
                found[at // 2] = glyph, tone
        return found


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = _ROOM * (high - low) or 0.02 * abs(high) or 1.0
    return low - room, high + room


def _column(value: float, low: float, high: float, across: int) -> int:
    """The dot's place from the left."""
    return round((value - low) / (high - low) * (across * 2 - 1))


def _stairs(points: Sequence[Point], places: dict[int, tuple[int, int]], x: Axis) -> list[tuple[int, int]]:
    """The line of the front."""
    front = sorted((point for point in points if point.front), key=lambda point: (x.goal.sort_key(point.x), point.y))
    line: list[tuple[int, int]] = []
    for point in front:
        at = places[point.number]
        if line:
            line.append((at[0], line[-1][1]))
        line.append(at)
    return line


def _over(row: Row, axis: int, glyphs: dict[int, Cells]) -> Row:
    """A row of dots with these glyphs in place of some cells."""
    if not glyphs:
        return row
    cells: list[Cells] = []
    at = -axis
    for text, tone in row:
        for char in text:
            cells.append(glyphs.get(at, (char, tone)) if at >= 0 else (char, tone))
            at += 1
    return cells


def _x_axis(x: Axis, axis: int, across: int, low: float, high: float) -> list[Row]:
    """Round values below the points, and the name of the axis."""
    line = [" "] * across
    values = ticks(low, high, max(2, across // 14))
    for value, text in zip(values, axis_texts(values), strict=True):
        start = _column(value, low, high, across) // 2 - len(text) // 2
        if start >= 0 and start + len(text) <= across:
            line[start : start + len(text)] = text
    name = cut(_described(x, "←", "→"), across)
    return [[(" " * axis + "".join(line), "dim")], [(" " * axis + name.rjust(across), "strong")]]


def _described(axis: Axis, lower: str, higher: str) -> str:
    """`latency_ms ← better`."""
    return f"{clean_line(axis.name)} {lower if axis.goal is Goal.MINIMIZE else higher} better"
