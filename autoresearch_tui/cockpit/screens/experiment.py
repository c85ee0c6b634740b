"""One experiment in full: the change and its reason, the run, the verdict, the decisions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.log_follower import RunFeed, whole
from autoresearch_tui.cockpit.screens.finding import FindingScreen
from autoresearch_tui.cockpit.screens.judge import JudgeScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.cockpit.widgets.bars import Hint, KeyBar
from autoresearch_tui.cockpit.widgets.charts import Series
from autoresearch_tui.cockpit.widgets.diff import DiffPane
from autoresearch_tui.cockpit.widgets.log import RunLog
from autoresearch_tui.engine import results_table
from autoresearch_tui.report.facts import Line, facts
from autoresearch_tui.session.commands import Approve
from autoresearch_tui.session.state import State
from autoresearch_tui.util.text import clean_line

BESIDE = 120


class ExperimentScreen(FindingScreen, JudgeScreen):
    """Left and right go to the neighbours. Diff and run are beside each other, or one at a time on a narrow screen."""

    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("details")]
    AUTO_FOCUS = "DiffPane"

    def __init__(self, bridge: Bridge, number: int) -> None:
        super().__init__(bridge)
        self._number = number
        self._log, self._diff, self._hint = RunLog(), DiffPane(opens_at_change=True), Hint()
        self._feed = RunFeed(Path())
        self._facts = Static(id="facts", markup=False)
        self._keys = KeyBar(id="experiment-keys")

    def compose(self) -> ComposeResult:
        self.on_resize()  # before the first layout, which would otherwise be done twice
        with VerticalScroll(id="facts-box", can_focus=False):
            yield self._facts
        with Container(id="evidence"):
            with Vertical(id="experiment-diff", classes="pane") as box:
                box.border_title = Content("diff")
                yield self._diff
                yield self._hint
            with Vertical(id="experiment-run", classes="pane -behind") as box:
                box.border_title = Content("run")
                yield self.plot
                yield self._log
        yield self._keys

    def on_mount(self) -> None:
        self._show_all()

    def on_resize(self) -> None:
        self.set_class(self.app.size.width >= BESIDE, "-beside")

    @property
    def situation(self) -> Situation:
        """Here the experiment on the screen is the selected one."""
        state = self.bridge.state
        return Situation(state, commands=self.bridge.commands, selected=state.experiments[self._number])

    def refresh_state(self, state: State) -> None:
        experiment = state.experiments[self._number]
        self._facts.update(_content(facts(experiment, state)))
        self._keys.show(actions.bar(self.situation, ("details",)))

    @property
    def keys_row(self) -> KeyBar:
        return self._keys

    def text_to_search(self) -> RunLog | DiffPane:
        return self._log if self._log.has_focus else self._diff

    def action_leave(self) -> None:
        """Leaves a search first, then the screen."""
        if not self.leave_search():
            self.dismiss(None)

    def action_step(self, step: int) -> None:
        number = self._number + step
        if 0 <= number < len(self.bridge.state.experiments):
            self._number = number
            self._show_all()

    def action_other(self) -> None:
        """Focuses the other pane, and brings it to the front where there is room for one."""
        to_run = not self._log.has_focus
        self.query_one("#experiment-run").set_class(not to_run, "-behind")
        self.query_one("#experiment-diff").set_class(to_run, "-behind")
        (self._log if to_run else self._diff).focus()

    def action_approve(self) -> None:
        """Approves a proposal that the policy vetoed because of the critic."""
        experiment = self.bridge.state.experiments[self._number]
        if self.may("details.approve"):
            self.bridge.send(Approve(experiment.number, experiment.commit))
            self.say(f"#{experiment.number} is approved, against the critic")

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(results_table.row(self.bridge.state.experiments[self._number]))
        self.notify("row copied", markup=False)

    def action_copy_diff(self) -> None:
        self.app.copy_to_clipboard(self._diff.text)
        self.notify("diff copied", markup=False)

    def action_first_error(self) -> None:
        if not self._log.has_focus:
            self.action_other()
        if not self._log.first_error():
            self.notify("no line of the log looks like an error", markup=False)

    def action_compare(self) -> None:
        """Compares the experiment with the best."""
        from autoresearch_tui.cockpit.screens.compare import CompareScreen

        state = self.bridge.state
        if state.best is not None and state.best.number != self._number:
            self.app.push_screen(CompareScreen(self.bridge, state, (self._number, state.best.number)))

    def _show_all(self) -> None:
        state = self.bridge.state
        experiment = state.experiments[self._number]
        self.refresh_state(state)
        diff = self.bridge.read_diff(self._number)
        self._diff.show(diff, clean_line(experiment.description), experiment.proposal.flags)
        self._diff.display = bool(diff)
        self._hint.display = not diff
        self._hint.show("The unmodified baseline: no changes." if not self._number else "No diff.")
        self._feed = whole(self.bridge.files.run(self._number).log, self._number, self.bridge.budget)
        self._log.show(self._feed)
        self.draw_curves()

    def feeds(self) -> Sequence[RunFeed]:
        return [self._feed]

    def draw_curves(self) -> None:
        key, best = self.plot.key, self.bridge.state.best
        series = [Series(f"#{self._number}", "accent", self._feed.curve_of(key))]
        if best is not None and best.number != self._number:
            series.append(Series(f"best so far, #{best.number}", "faint", self.bridge.curve(best.number, key)))
        self.plot.show(*series)


_STYLES = {
    "text": "$foreground",
    "strong": "bold",
    "dim": "$quiet",
    "good": "$success",
    "warn": "$warning",
    "warn-strong": "bold $warning",
    "bad": "$error",
    "accent": "$primary",
}


def _content(lines: Sequence[Line]) -> Content:
    return Content("\n").join([Content.assemble(*((text, _STYLES[tone]) for text, tone in line)) for line in lines])
