"""One experiment whole: what was changed and why, how it went, what came of it, who decided."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.actions import Situation
from autoresearch_tui.cockpit.bridge import Bridge
from autoresearch_tui.cockpit.marks import marking
from autoresearch_tui.cockpit.runfeed import RunFeed
from autoresearch_tui.cockpit.screens.experiment_text import facts
from autoresearch_tui.cockpit.screens.judge import JudgeScreen
from autoresearch_tui.cockpit.widgets.diff_pane import DiffPane
from autoresearch_tui.cockpit.widgets.hint import Hint
from autoresearch_tui.cockpit.widgets.loss_plot import LossPlot, Series
from autoresearch_tui.cockpit.widgets.run_log import RunLog
from autoresearch_tui.cockpit.widgets.status_bar import KeyBar
from autoresearch_tui.cockpit.words import tsv_row
from autoresearch_tui.engine.state import State
from autoresearch_tui.text import clean_line

BESIDE = 120


class ExperimentScreen(JudgeScreen):
    """Left and right go to the neighbours. Diff and run are beside each other, or one at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("details")]
    AUTO_FOCUS = "DiffPane"

    def __init__(self, bridge: Bridge, number: int) -> None:
        super().__init__(bridge)
        self._number = number
        self._plot, self._log, self._diff, self._hint = LossPlot(), RunLog(), DiffPane(), Hint()
        self._facts = Static(id="facts", markup=False)
        self._keys = KeyBar(id="experiment-keys")

    def compose(self) -> ComposeResult:
        """Facts above; diff, curve and log below."""
        with VerticalScroll(id="facts-box", can_focus=False):
            yield self._facts
        with Container(id="evidence"):
            with Vertical(id="experiment-diff", classes="pane") as box:
                box.border_title = Content("diff")
                yield self._diff
                yield self._hint
            with Vertical(id="experiment-run", classes="pane -behind") as box:
                box.border_title = Content("run")
                yield self._plot
                yield self._log
        yield self._keys

    def on_mount(self) -> None:
        """The experiment that was asked for."""
        self._show_all()

    def on_resize(self) -> None:
        """Beside each other where there is room."""
        self.set_class(self.app.size.width >= BESIDE, "-beside")

    @property
    def situation(self) -> Situation:
        """The experiment on the screen is the one that is judged."""
        state = self.bridge.state
        return Situation(state, commands=self.bridge.host is not None, selected=state.experiments[self._number])

    def refresh_state(self, state: State) -> None:
        """What is open may get on."""
        experiment = state.experiments[self._number]
        self._facts.update(facts(experiment, state, marking(state)))
        self._keys.show(actions.bar(self.situation, ("details",)))

    def action_step(self, step: int) -> None:
        """The experiment before or after."""
        number = self._number + step
        if 0 <= number < len(self.bridge.state.experiments):
            self._number = number
            self._show_all()

    def action_other(self) -> None:
        """The keys to the other pane, and the pane to the front where there is room for one."""
        to_run = not self._log.has_focus
        self.query_one("#experiment-run").set_class(not to_run, "-behind")
        self.query_one("#experiment-diff").set_class(to_run, "-behind")
        (self._log if to_run else self._diff).focus()

    def action_copy(self) -> None:
        """The row, as in results.tsv, to the clipboard of the terminal."""
        self.app.copy_to_clipboard(tsv_row(self.bridge.state.experiments[self._number]))
        self.notify("the row is in the clipboard", markup=False)

    def action_copy_diff(self) -> None:
        """The diff to the clipboard of the terminal."""
        self.app.copy_to_clipboard(self._diff.text)
        self.notify("the diff is in the clipboard", markup=False)

    def action_first_error(self) -> None:
        """The log at its first error."""
        if not self._log.has_focus:
            self.action_other()
        if not self._log.first_error():
            self.notify("no line of the log looks like an error", markup=False)

    def action_compare(self) -> None:
        """Beside the best."""
        from autoresearch_tui.cockpit.screens.compare import CompareScreen

        state = self.bridge.state
        if state.frontier is not None and state.frontier != self._number:
            self.app.push_screen(CompareScreen(self.bridge, state, (self._number, state.frontier)))

    def _show_all(self) -> None:
        state = self.bridge.state
        experiment = state.experiments[self._number]
        self.refresh_state(state)
        diff = self.bridge.read_diff(self._number)
        self._diff.show(diff, clean_line(experiment.description), experiment.flags)
        self._diff.display = bool(diff)
        self._hint.display = not diff
        self._hint.show("The unmodified baseline: nothing was changed." if not self._number else "There is no diff.")
        feed = RunFeed(self.bridge.files.run(self._number).log, self._number, self.bridge.budget)
        while feed.poll(0.0) and feed.behind:
            pass
        self._log.show(feed)
        series = [Series(f"#{self._number}", "accent", feed.curve)]
        if state.best is not None and state.best.number != self._number:
            curve = self.bridge.curve(state.best.number)
            series.append(Series(f"best so far, #{state.best.number}", "faint", curve))
        self._plot.show(*series)
