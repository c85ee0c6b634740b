"""Every experiment as a point, the frontier as a line."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Size

from autoresearch_tui.cockpit.braille import Dots, ticks
from autoresearch_tui.cockpit.widgets.canvas import Canvas, Cells, Row, length
from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.findings import frontier_line, gaps

_AXIS = 9


class ProgressChart(Canvas):
    """Points far off the line, as a failed change gives them, lie on the chart's edge."""

    def __init__(self) -> None:
        super().__init__(id="chart", classes="pane")
        self._state = State()

    def show(self, state: State) -> None:
        """Another state."""
        if state.experiments is not self._state.experiments or state.way is not self._state.way:
            self._state = state
            self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:
        """Axis, points, frontier."""
        width, height = size
        scored = [e for e in self._state.experiments if e.value is not None]
        if not scored:
            return [[(" The session's progress appears here with the first score.", "dim")]]
        goal = self._state.session.goal if self._state.session else "minimize"
        dots = Dots(max(1, width - _AXIS), max(1, height - 1))
        low, high = _range(scored, goal, [gap.sealed for gap in gaps(self._state)])
        last = max(1, self._state.experiments[-1].number)
        wide, tall = dots.width * 2 - 1, dots.height * 4 - 1

        def place(number: float, value: float) -> tuple[int, int]:
            return round(min(number / last, 1) * wide), min(tall, max(0, round((high - value) / (high - low) * tall)))

        for experiment in scored:
            tone = "good" if experiment.outcome == "keep" else "dim"
            dots.dot(*place(experiment.number, experiment.value or 0.0), tone)
        way = frontier_line(self._state)
        kept = [place(at, e.value or 0.0) for at, e in way]
        sealed = [place(at, e.score.sealed) for at, e in way if e.score is not None and e.score.sealed is not None]
        if sealed:
            dots.line(_steps(sealed, wide), "second")
        if kept:
            dots.line(_steps(kept, wide), "good")
        labels = {
            round((high - v) / (high - low) * (dots.height - 1)): v for v in ticks(low, high, max(2, dots.height // 2))
        }
        rows: list[Row] = []
        for y, cells in enumerate(dots.rows()):
            label = f"{labels[y]:.4f}" if y in labels else ""
            rows.append([(f"{label:>{_AXIS - 2}} ", "dim"), ("┤" if y in labels else "│", "faint"), *cells])
        return [*rows, self._legend(dots.width, last, bool(sealed))]

    def _legend(self, width: int, last: int, sealed: bool) -> Row:
        """Experiment numbers at the ends; between them what the lines are."""
        names: list[Cells] = [("━", "good"), (" frontier  ", "dim"), ("·", "dim"), (" not kept", "dim")]
        if sealed:
            names += [("  ━", "second"), (" sealed split", "dim")]
        room = width - 3 - len(str(last)) - length(names)
        if room < 4:
            return [(f"{'':{_AXIS}}#0{'':{max(0, width - 3 - len(str(last)))}}#{last}", "dim")]
        return [(f"{'':{_AXIS}}#0{'':{room // 2}}", "dim"), *names, (f"{'':{room - room // 2}}#{last}", "dim")]


def _steps(points: list[tuple[int, int]], wide: int) -> list[tuple[int, int]]:
    """Points as stairs to the right edge."""
    stairs: list[tuple[int, int]] = []
    for x, y in points:
        stairs += [(x, stairs[-1][1])] if stairs else []
        stairs.append((x, y))
    return [*stairs, (wide, stairs[-1][1])]


def _range(scored: list[Experiment], goal: str, sealed: list[float]) -> tuple[float, float]:
    """The frontier's span and as much again on the bad side: there the points matter little."""
    kept = [e.value or 0.0 for e in scored if e.outcome == "keep"] or [e.value or 0.0 for e in scored]
    values = [e.value or 0.0 for e in scored]
    low, high = min([*kept, *sealed]), max([*kept, *sealed])
    span = max(high - low, abs(high) * 0.002, 1e-9)
    if goal == "minimize":
        high = max(high, min(max(values), high + span))
    else:
        low = min(low, max(min(values), low - span))
    room = 0.06 * max(high - low, abs(high) * 1e-4, 1e-9)
    return low - room, high + room
