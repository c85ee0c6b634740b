"""Experiments beside each other: their scores, their curves, their diffs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.screen import Screen

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.actions import Situation
from autoresearch_tui.cockpit.bridge import Bridge
from autoresearch_tui.cockpit.runfeed import curve_of
from autoresearch_tui.cockpit.status import title
from autoresearch_tui.cockpit.widgets.canvas import Canvas, Cells, Row
from autoresearch_tui.cockpit.widgets.diff_pane import DiffPane
from autoresearch_tui.cockpit.widgets.loss_plot import LossPlot, Series
from autoresearch_tui.cockpit.widgets.status_bar import KeyBar
from autoresearch_tui.cockpit.words import MARKS, clock, delta
from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.text import clean_line

MOST = 4
TONES = ("accent", "warn", "good", "second")


class Scores(Canvas):
    """A row for each; the differences are to the first."""

    def __init__(self, experiments: Sequence[Experiment], goal: str) -> None:
        super().__init__(id="scores")
        self._experiments, self._goal = experiments, goal

    def paint(self, size: Size) -> Sequence[Row]:
        """Tone, mark, score, difference, cost, what it was."""
        first = self._experiments[0].value
        rows: list[Row] = []
        for tone, experiment in zip(TONES, self._experiments, strict=False):
            glyph, mark = MARKS[experiment.outcome or experiment.stage.value]
            score = "" if experiment.value is None else f"{experiment.value:.6f}"
            away, away_tone = delta(experiment.value, first, self._goal, 6) if rows else ("", "dim")
            seconds = clock(experiment.run.seconds) if experiment.run else ""
            cells: list[Cells] = [(" ━ ", tone), (f"{glyph} ", mark), (f"#{experiment.number:<5}", "text")]
            cells += [(f"{score:>9}", "strong"), (f" {away:>11}", away_tone)]
            if size.width >= 80:
                cells.append((f" {experiment.memory_gb:6.1f} GiB {seconds:>7}", "dim"))
            rows.append([*cells, (f"  {clean_line(experiment.description)}", "text")])
        return rows


class CompareScreen(Screen[None]):
    """Two to four experiments, the one marked first being what the others are compared with."""

    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("compare")]
    AUTO_FOCUS = "DiffPane"

    def __init__(self, bridge: Bridge, state: State, numbers: Sequence[int]) -> None:
        super().__init__()
        self._bridge = bridge
        self._experiments = [state.experiments[number] for number in numbers[:MOST]]
        self._scores = Scores(self._experiments, state.session.goal if state.session else "minimize")
        self._plot = LossPlot()
        self._diffs = [DiffPane() for _ in self._experiments]

    def compose(self) -> ComposeResult:
        """Scores, curves, diffs, from the top."""
        yield self._scores
        yield self._plot
        with Container(id="diffs"):
            for experiment, diff in zip(self._experiments, self._diffs, strict=True):
                with Vertical(classes="pane") as box:
                    box.border_title = Content(title(experiment, 60))
                    yield diff
        yield KeyBar(id="compare-keys")

    def on_mount(self) -> None:
        """Everything is on disk; nothing of it changes any more."""
        self._scores.styles.height = len(self._experiments)
        # On a small terminal the few rows of a pane are the diff's.
        low = self.app.size.height < 30
        for experiment, pane in zip(self._experiments, self._diffs, strict=True):
            words = "" if low else clean_line(experiment.hypothesis)
            pane.show(self._bridge.read_diff(experiment.number), words, experiment.flags)
        logs = (self._bridge.files.run(e.number).log for e in self._experiments)
        curves = [curve_of(log, self._bridge.budget) for log in logs]
        named = zip(self._experiments, TONES, curves, strict=False)
        self._plot.show(*(Series(f"#{e.number}", tone, curve) for e, tone, curve in named))
        self.query_one("#compare-keys", KeyBar).show(actions.bar(Situation(State()), ("compare",)))

    def on_resize(self) -> None:
        """Diffs beside each other where there is room."""
        self.set_class(self.app.size.width >= 120, "-beside")
