"""Loss curves over each other: the present run before the best earlier one, or experiments that are compared."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Size

from autoresearch_tui.cockpit.braille import Dots, ticks
from autoresearch_tui.cockpit.curve import Curve
from autoresearch_tui.cockpit.widgets.canvas import Canvas, Cells, Row, length
from autoresearch_tui.frozen import Frozen

_AXIS = 7


class Series(Frozen):
    """A curve, what it is called, and the tone it is drawn in."""

    name: str
    tone: str
    curve: Curve


class LossPlot(Canvas):
    """x is the share of the budget, so that curves of runs of any speed lie over each other."""

    def __init__(self) -> None:
        super().__init__(id="plot")
        self._series: tuple[Series, ...] = ()

    def show(self, *series: Series) -> None:
        """These, the first in front of the others."""
        self._series = tuple(one for one in series if len(one.curve))
        self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:
        """The legend, the curves with their y axis at the left, the x axis below."""
        width, height = size
        if not self._series:
            text = "The loss curve appears here with the first progress line."
            return [[]] * (height // 2 - 1) + [[(text.center(width), "dim")]]
        plot_width, plot_height = max(1, width - _AXIS), max(1, height - 2)
        low, high = self._range()
        dots = Dots(plot_width, plot_height)
        for one in reversed(self._series):
            _draw(dots, one, low, high)
        labels = {}
        for value in ticks(low, high, max(2, plot_height // 2)):
            labels[round((high - value) / (high - low) * (plot_height - 1))] = f"{value:.4g}"
        rows: list[Row] = [self._legend(width)]
        for y, cells in enumerate(dots.rows()):
            label = f"{labels.get(y, ''):>{_AXIS - 2}} "
            rows.append([(label, "dim"), ("┤" if y in labels else "│", "faint"), *cells])
        rows.append(_x_axis(plot_width))
        return rows

    def _range(self) -> tuple[float, float]:
        """From the lowest value to where the first steep fall is over, so that what follows can be seen."""
        points = [point for one in self._series for point in one.curve.points]
        newest = self._series[0].curve.last
        from_ = min(0.08, newest[0] / 4 if newest else 0.08)
        settled = [value for at, value in points if at >= from_] or [value for _, value in points]
        low, high = min(settled), max(settled)
        room = 0.04 * (high - low) if high - low > 0.001 * abs(high) else 0.02 * abs(high) + 1e-9
        return low - room, high + room

    def _legend(self, width: int) -> Row:
        first, others = self._series[0], self._series[1:]
        row: list[Cells] = [(" ━ ", first.tone), (first.name, "text")]
        newest = first.curve.last
        if newest is not None:
            row.append((f" loss {newest[1]:.4f}", "strong"))
        there = others[0].curve.value_at(newest[0]) if newest and len(others) == 1 else None
        if newest is not None and there is not None:
            apart = newest[1] - there
            glyph, word, tone = ("▼", "ahead", "good") if apart < 0 else ("▲", "behind", "warn")
            level = abs(apart) < 0.00005
            row.append(("  = level", "dim") if level else (f"  {glyph} {abs(apart):.4f} {word}", tone))
        right: list[Cells] = []
        for one in others:
            cells: list[Cells] = [(" ━ ", one.tone), (one.name, "dim")]
            if length(row) + length(right) + length(cells) + 2 > width:
                break
            right += cells
        return [*row, (" " * (width - length(row) - length(right) - 1), ""), *right]


def _draw(dots: Dots, series: Series, low: float, high: float) -> None:
    wide, tall = dots.width * 2 - 1, dots.height * 4 - 1
    scaled = []
    for at, value in series.curve.points:
        y = round((high - value) / (high - low) * tall)
        scaled.append((round(at * wide), min(tall, max(0, y))))
    dots.line(scaled, series.tone)


def _x_axis(width: int) -> Row:
    marks = [0, 25, 50, 75, 100] if width >= 32 else [0, 100]
    line = [" "] * width
    for mark in marks:
        text = f"{mark}%"
        start = min(max(0, round(mark / 100 * (width - 1)) - len(text) // 2), width - len(text))
        line[start : start + len(text)] = text
    return [(" " * _AXIS + "".join(line), "dim")]
