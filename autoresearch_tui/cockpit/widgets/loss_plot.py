"""The loss of the present run, with the best earlier run's curve behind it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Size

from autoresearch_tui.cockpit.braille import Dots, ticks
from autoresearch_tui.cockpit.curve import Curve
from autoresearch_tui.cockpit.widgets.canvas import Canvas, Cells, Row, length, spread

_AXIS = 7


class LossPlot(Canvas):
    """x is the share of the budget, so that curves of runs of any speed lie over each other."""

    def __init__(self) -> None:
        super().__init__(id="plot")
        self._curve, self._behind = Curve(), Curve()
        self._label = self._behind_label = ""

    def show(self, curve: Curve, name: str, behind: Curve, behind_name: str) -> None:
        """The curve of now, and the one to beat."""
        self._curve, self._label = curve, name
        self._behind, self._behind_label = behind, behind_name
        self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:
        """The plot, its y axis at the left and its x axis below."""
        width, height = size
        if not self._curve.points and not self._behind.points:
            text = "The loss curve appears here with the first progress line."
            return [[]] * (height // 2 - 1) + [[(text.center(width), "dim")]]
        plot_width, plot_height = max(1, width - _AXIS), max(1, height - 2)
        low, high = self._range()
        dots = Dots(plot_width, plot_height)
        self._draw(dots, self._behind, "faint", low, high)
        self._draw(dots, self._curve, "accent", low, high)
        labels = {}
        for value in ticks(low, high, max(2, plot_height // 2)):
            labels[round((high - value) / (high - low) * (plot_height - 1))] = f"{value:.4g}"
        rows: list[Row] = [self._legend(width)]
        for y, cells in enumerate(dots.rows()):
            rows.append([(f"{labels.get(y, ''):>{_AXIS - 2}} ", "dim"), ("┤" if y in labels else "│", "faint"), *cells])
        rows.append(_x_axis(plot_width))
        return rows

    def _range(self) -> tuple[float, float]:
        """From the lowest value to where the first steep fall is over, so that what follows can be seen."""
        points = [*self._curve.points, *self._behind.points]
        newest = self._curve.last
        from_ = min(0.08, newest[0] / 4 if newest else 0.08)
        settled = [value for at, value in points if at >= from_] or [value for _, value in points]
        low, high = min(settled), max(settled)
        room = max(0.04 * (high - low), 1e-6 * abs(high), 1e-9)
        return low - room, high + room

    def _draw(self, dots: Dots, curve: Curve, tone: str, low: float, high: float) -> None:
        wide, tall = dots.width * 2 - 1, dots.height * 4 - 1
        scaled = []
        for at, value in curve.points:
            y = round((high - value) / (high - low) * tall)
            scaled.append((round(at * wide), min(tall, max(0, y))))
        dots.line(scaled, tone)

    def _legend(self, width: int) -> Row:
        newest = self._curve.last
        left: list[Cells] = [(" ━ ", "accent"), (self._label, "text")]
        if newest is not None:
            left += [(f" loss {newest[1]:.4f}", "strong")]
            there = self._behind.value_at(newest[0])
            if there is not None:
                apart = newest[1] - there
                word, tone = ("ahead", "good") if apart < 0 else ("behind", "warn")
                left += [(f"  {'▼' if apart < 0 else '▲'} {abs(apart):.4f} {word}", tone)]
        right: list[Cells] = [("━ ", "faint"), (f"{self._behind_label} ", "dim")] if len(self._behind) else []
        return spread(left, right, width) if length(left) + length(right) < width else left


def _x_axis(width: int) -> Row:
    marks = [0, 25, 50, 75, 100] if width >= 32 else [0, 100]
    line = [" "] * width
    for mark in marks:
        text = f"{mark}%"
        start = min(max(0, round(mark / 100 * (width - 1)) - len(text) // 2), width - len(text))
        line[start : start + len(text)] = text
    return [(" " * _AXIS + "".join(line), "dim")]
