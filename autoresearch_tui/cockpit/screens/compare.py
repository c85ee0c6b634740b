"""Experiments beside each other: their scores, their curves, their diffs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.geometry import Size

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.log_follower import RunFeed, whole
from autoresearch_tui.cockpit.screens.finding import FindingScreen
from autoresearch_tui.cockpit.screens.session_screen import CurveScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.cockpit.widgets.bars import KeyBar
from autoresearch_tui.cockpit.widgets.charts import Series
from autoresearch_tui.cockpit.widgets.diff import DiffPane
from autoresearch_tui.cockpit.widgets.painted import Canvas, Cells, Row, fit
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import draws
from autoresearch_tui.session.columns import Axis, columns
from autoresearch_tui.session.format import MARKS, clock, delta
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.status import title
from autoresearch_tui.util.text import clean_line

MOST = 4
TONES = ("accent", "warn", "good", "second")


class Scores(Canvas):
    """One row for each experiment; differences are to the first."""

    def __init__(self, experiments: Sequence[Experiment], goal: Goal, columns: Sequence[Axis] = ()) -> None:
        super().__init__(id="scores")
        self._experiments, self._goal = experiments, goal
        self._columns = [column for column in columns if any(column.of(e) is not None for e in experiments)]

    @property
    def height(self) -> int:
        return len(self._experiments) + len(self._columns)

    def paint(self, size: Size) -> Sequence[Row]:
        first = self._experiments[0]
        rows: list[Row] = []
        for tone, experiment in zip(TONES, self._experiments, strict=False):
            glyph, mark = MARKS[experiment.status]
            score = "" if experiment.value is None else f"{experiment.value:.6f}"
            away, away_tone = (
                delta(experiment.value, draws.beside(experiment, first), self._goal, 6) if rows else ("", "dim")
            )
            seconds = clock(experiment.run.seconds) if experiment.run else ""
            cells: list[Cells] = [(" ━ ", tone), (f"{glyph} ", mark), (f"#{experiment.number:<5}", "text")]
            cells += [(f"{score:>9}", "strong"), (f" {away:>11}", away_tone)]
            if size.width >= 80:
                cells.append((f" {experiment.memory_gb:6.1f} GiB {seconds:>7}", "dim"))
            rows.append([*cells, (f"  {clean_line(experiment.description)}", "text")])
        return rows + [self._beside(column) for column in self._columns]

    def _beside(self, column: Axis) -> Row:
        """A row for one of the lab's columns: each experiment's number, and its difference to the first."""
        values = [column.of(experiment) for experiment in self._experiments]
        row: list[Cells] = [(f" {fit(clean_line(column.name), 16)}", "dim")]
        for tone, experiment, value in zip(TONES, self._experiments, values, strict=False):
            row.append((f"  #{experiment.number} ", tone))
            row.append(("none" if value is None else f"{value:.6g}", "dim" if value is None else "strong"))
            if value is not None and values[0] is not None and value != values[0]:
                gain = column.goal.gain(values[0], value)
                row.append((f" {'▼' if value < values[0] else '▲'} {abs(gain):.3g}", "good" if gain > 0 else "warn"))
        return row


class CompareScreen(FindingScreen, CurveScreen):
    """Two to four experiments; the others are compared with the one that was marked first."""

    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("compare")]
    AUTO_FOCUS = "DiffPane"

    def __init__(self, bridge: Bridge, state: State, numbers: Sequence[int]) -> None:
        super().__init__(bridge)
        self._experiments = [state.experiments[number] for number in numbers[:MOST]]
        self._scores = Scores(self._experiments, state.goal, columns(state))
        self._feeds: list[RunFeed] = []
        self._diffs = [DiffPane(opens_at_change=True) for _ in self._experiments]
        self._keys = KeyBar(id="compare-keys")

    def compose(self) -> ComposeResult:
        self.on_resize()  # before the first layout, which would otherwise be done twice
        yield self._scores
        yield self.plot
        with Container(id="diffs"):
            for experiment, diff in zip(self._experiments, self._diffs, strict=True):
                with Vertical(classes="pane") as box:
                    box.border_title = Content(title(experiment, 60))
                    yield diff
        yield self._keys

    def on_mount(self) -> None:
        """Reads everything once: finished experiments do not change."""
        self._scores.styles.height = self._scores.height
        # On a small terminal the few rows of a pane are the diff's.
        low = self.app.size.height < 30
        for experiment, pane in zip(self._experiments, self._diffs, strict=True):
            words = "" if low else clean_line(experiment.proposal.hypothesis)
            pane.show(self.bridge.read_diff(experiment.number), words, experiment.proposal.flags)
        numbers = [e.number for e in self._experiments]
        self._feeds = [whole(self.bridge.files.run(number).log, number, self.bridge.budget) for number in numbers]
        self.draw_curves()
        self._keys.show(actions.bar(Situation(State()), ("compare",)))

    @property
    def keys_row(self) -> KeyBar:
        return self._keys

    def text_to_search(self) -> DiffPane:
        return self._diffs[0]

    def action_leave(self) -> None:
        """Leaves a search first, then the screen."""
        if not self.leave_search():
            self.dismiss(None)

    def feeds(self) -> Sequence[RunFeed]:
        return self._feeds

    def draw_curves(self) -> None:
        named = zip(TONES, self._feeds, strict=False)
        self.plot.show(*(Series(f"#{feed.number}", tone, feed.curve_of(self.plot.key)) for tone, feed in named))

    def on_resize(self) -> None:
        self.set_class(self.app.size.width >= 120, "-beside")
