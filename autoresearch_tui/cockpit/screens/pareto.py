"""Two of a lab's numbers plotted against each other, with the Pareto front and the details of one point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.screens.session_screen import SessionScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.cockpit.widgets.bars import KeyBar
from autoresearch_tui.cockpit.widgets.painted import Canvas, Row
from autoresearch_tui.cockpit.widgets.pareto import ParetoPlot
from autoresearch_tui.cockpit.widgets.table import look
from autoresearch_tui.session.columns import Axis, Point, axes, pairs, pareto
from autoresearch_tui.session.state import State
from autoresearch_tui.util.text import clean_line


class Chosen(Canvas):
    """The chosen experiment: its numbers, then what it changed."""

    def __init__(self) -> None:
        super().__init__(id="chosen")
        self._rows: Sequence[Row] = ()

    def show(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:  # noqa: ARG002
        return self._rows


class ParetoScreen(SessionScreen):
    """Left and right choose the next point by x, Tab the next on the front; Enter opens it."""

    DEFAULT_CSS = """
    ParetoScreen {
        & > #pareto { height: 1fr; }
        & > #chosen { height: 2; padding: 0 1; background: $panel; }
        & > #pareto-keys { height: 1; background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("pareto")]

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(bridge)
        self._plot, self._chosen, self._keys = ParetoPlot(), Chosen(), KeyBar(id="pareto-keys")
        self._pair = 0
        self._number = bridge.state.frontier_number

    def compose(self) -> ComposeResult:
        yield self._plot
        yield self._chosen
        yield self._keys

    def on_mount(self) -> None:
        self._draw(self.bridge.state)

    def refresh_state(self, state: State) -> None:
        if self.is_mounted:
            self._draw(state)

    def _draw(self, state: State) -> None:
        shown, points = self._shown(state)
        if points and self._number not in {point.number for point in points}:
            self._number = points[-1].number
        if shown is not None:
            self._plot.show(points, *shown, self._number)
        self._chosen.show(self._words(state, points))
        self._keys.show(actions.bar(Situation(state), ("pareto",)))

    def _shown(self, state: State) -> tuple[tuple[Axis, Axis] | None, tuple[Point, ...]]:
        """The axes, x first, and the points by x, then y; none unless there are two numbers."""
        known = pairs(state)
        if not known:
            return None, ()
        x, y = known[self._pair % len(known)]
        points = pareto(state.experiments, x, y)
        return (x, y), tuple(sorted(points, key=lambda point: (point.x, point.y, point.number)))

    def _words(self, state: State, points: Sequence[Point]) -> list[Row]:
        if self._number is None or not points:
            return []
        experiment = state.experiments[self._number]
        glyph, tone = look(experiment, state)
        row = [(f"{glyph} #{experiment.number}", tone)]
        if any(point.number == self._number and point.front for point in points):
            row.append(("  ◆ on the front", "accent"))
        for axis in axes(state):
            value = axis.of(experiment)
            row += [(f"  {clean_line(axis.name)} ", "dim"), ("none" if value is None else f"{value:.6g}", "strong")]
        return [row, [(clean_line(experiment.description), "text")]]

    def action_step(self, step: int) -> None:
        """Chooses the next point by x."""
        _, points = self._shown(self.bridge.state)
        self._go(points, step)

    def action_front(self) -> None:
        """Chooses the next point on the front, by x."""
        _, points = self._shown(self.bridge.state)
        self._go([point for point in points if point.front], 1, around=True)

    def _go(self, points: Sequence[Point], step: int, *, around: bool = False) -> None:
        if not points:
            return
        here = next((at for at, point in enumerate(points) if point.number == self._number), None)
        if here is None:
            own = next((p for p in self._shown(self.bridge.state)[1] if p.number == self._number), points[0])
            here = sum((point.x, point.y) < (own.x, own.y) for point in points) - 1
        at = here + step
        self._number = points[at % len(points) if around else max(0, min(len(points) - 1, at))].number
        self.refresh_state(self.bridge.state)

    def action_axes(self) -> None:
        self._pair += 1
        self.refresh_state(self.bridge.state)

    def action_open(self) -> None:
        from autoresearch_tui.cockpit.screens.experiment import ExperimentScreen

        if self._number is not None and self._shown(self.bridge.state)[1]:
            self.app.push_screen(ExperimentScreen(self.bridge, self._number))
