"""One experiment whole: what was changed and why, how it went, what came of it, who decided."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from autoresearch_tui.cockpit.bridge import Bridge
from autoresearch_tui.cockpit.runfeed import RunFeed
from autoresearch_tui.cockpit.widgets.canvas import Cells
from autoresearch_tui.cockpit.widgets.diff_pane import DiffPane
from autoresearch_tui.cockpit.widgets.hint import Hint
from autoresearch_tui.cockpit.widgets.loss_plot import LossPlot, Series
from autoresearch_tui.cockpit.widgets.run_log import RunLog
from autoresearch_tui.cockpit.words import MARKS, clock, count, delta, tsv_row
from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.text import clean_line

_STYLES = {
    "text": "$foreground",
    "strong": "bold",
    "dim": "$foreground 60%",
    "good": "$success",
    "warn": "$warning",
    "bad": "$error",
    "accent": "$primary",
}


class ExperimentScreen(Screen[None]):
    """Left and right go to the neighbours."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Back"),
        Binding("left,h", "step(-1)", "Earlier", priority=True),
        Binding("right,l", "step(1)", "Later", priority=True),
        Binding("y", "copy", "Copy the row"),
        Binding("d", "copy_diff", "Copy the diff"),
        Binding("exclamation_mark", "first_error", "First error"),
    ]
    AUTO_FOCUS = "DiffPane"

    def __init__(self, bridge: Bridge, number: int) -> None:
        super().__init__()
        self._bridge, self._number = bridge, number
        self._plot, self._log, self._diff, self._hint = LossPlot(), RunLog(), DiffPane(), Hint()
        self._facts = Static(id="facts", markup=False)

    def compose(self) -> ComposeResult:
        """Facts above; diff, curve and log below."""
        yield self._facts
        with Container(id="evidence"):
            with Vertical(id="experiment-diff", classes="pane") as box:
                box.border_title = Content("diff")
                yield self._diff
                yield self._hint
            with Vertical(id="experiment-run", classes="pane") as box:
                box.border_title = Content("run")
                yield self._plot
                yield self._log
        yield Hint(id="experiment-keys")

    def on_mount(self) -> None:
        """The experiment that was asked for."""
        keys = "←→ neighbours  ] next hunk  ! first error  y copy row  d copy diff  Esc back"
        self.query_one("#experiment-keys", Hint).show(keys)
        self._show_all()

    def on_resize(self) -> None:
        """Beside each other where there is room."""
        self.set_class(self.app.size.width >= 120, "-beside")

    def refresh_state(self, state: State) -> None:
        """What is open may get on."""
        self._facts.update(facts(state.experiments[self._number], state))

    def action_step(self, step: int) -> None:
        """The experiment before or after."""
        number = self._number + step
        if 0 <= number < len(self._bridge.state.experiments):
            self._number = number
            self._show_all()

    def action_copy(self) -> None:
        """The row, as in results.tsv, to the clipboard of the terminal."""
        self.app.copy_to_clipboard(tsv_row(self._bridge.state.experiments[self._number]))
        self.notify("the row is in the clipboard", markup=False)

    def action_copy_diff(self) -> None:
        """The diff to the clipboard of the terminal."""
        self.app.copy_to_clipboard(self._diff.text)
        self.notify("the diff is in the clipboard", markup=False)

    def action_first_error(self) -> None:
        """The log at its first error."""
        self._log.first_error()

    def _show_all(self) -> None:
        state = self._bridge.state
        experiment = state.experiments[self._number]
        self.refresh_state(state)
        diff = self._bridge.read_diff(self._number)
        self._diff.show(diff, clean_line(experiment.description), experiment.flags)
        self._diff.display = bool(diff)
        self._hint.display = not diff
        self._hint.show("The unmodified baseline: nothing was changed." if not self._number else "There is no diff.")
        feed = RunFeed(self._bridge.files.run(self._number).log, self._number, self._bridge.budget)
        while feed.poll(0.0) and feed.behind:
            pass
        self._log.show(feed)
        series = [Series(f"#{self._number}", "accent", feed.curve)]
        if state.best is not None and state.best.number != self._number:
            curve = self._bridge.curve(state.best.number)
            series.append(Series(f"best so far, #{state.best.number}", "faint", curve))
        self._plot.show(*series)


def facts(experiment: Experiment, state: State) -> Content:
    """The experiment in words."""
    lines = [_headline(experiment, state), [(clean_line(experiment.description), "strong")]]
    if experiment.hypothesis:
        lines.append([(clean_line(experiment.hypothesis), "text")])
    lines.append(_origin(experiment))
    if experiment.run is not None:
        lines.append(_run(experiment))
    if experiment.reason:
        lines.append([("because: ", "dim"), (clean_line(experiment.reason), "text")])
    if experiment.flags:
        lines.append([("risks: ", "warn"), (clean_line(" · ".join(experiment.flags)), "warn")])
    if experiment.score is not None and experiment.score.doubts:
        lines.append([("doubts: ", "warn"), (clean_line(" · ".join(experiment.score.doubts)), "warn")])
    if experiment.score is not None and experiment.score.summary:
        pairs = (f"{clean_line(k)} {clean_line(v)}" for k, v in experiment.score.summary.items())
        lines.append([(" · ".join(pairs), "dim")])
    return Content("\n").join([Content.assemble(*((text, _STYLES[tone]) for text, tone in line)) for line in lines])


def _headline(experiment: Experiment, state: State) -> list[Cells]:
    glyph, tone = MARKS[experiment.outcome or experiment.stage.value]
    word = experiment.outcome or experiment.stage.value
    if experiment.number == state.frontier:
        glyph, tone, word = "★", "good", "best"
    line: list[Cells] = [(f"{glyph} #{experiment.number} {word}", tone if tone in _STYLES else "text")]
    if experiment.value is None or state.session is None:
        return line
    line += [(f"  {clean_line(state.session.metric)} ", "dim"), (f"{experiment.value:.6f}", "strong")]
    parent = next((e for e in state.experiments if e.commit == experiment.base), None)
    for name, other in (("its base", parent), ("the best", state.best)):
        if other is not None and other.value is not None and other.number != experiment.number:
            text, tone = delta(experiment.value, other.value, state.session.goal)
            line += [(f"  {text}", tone), (f" to {name} #{other.number}", "dim")]
    return line


def _origin(experiment: Experiment) -> list[Cells]:
    words = [f"commit {experiment.commit[:7]} on {experiment.base[:7]}", f"by {clean_line(experiment.author)}"]
    words += [f"program {experiment.program}", f"+{experiment.added} −{experiment.removed}"]
    if experiment.approved_by:
        words.append(f"approved by {clean_line(experiment.approved_by)}")
    if experiment.side:
        words.append("side branch")
    if experiment.mends is not None:
        words.append(f"mends #{experiment.mends}")
    if experiment.repeats is not None:
        words.append(f"nearly the same as #{experiment.repeats}")
    if experiment.tokens:
        words.append(f"{count(experiment.tokens)} tokens")
    if experiment.usd is not None:
        words.append(f"${experiment.usd:.2f}")
    return [(" · ".join(words), "dim")]


def _run(experiment: Experiment) -> list[Cells]:
    run = experiment.run
    assert run is not None
    words = [f"{run.reason} after {clock(run.seconds)}"]
    if run.exit_code is not None:
        words.append(f"exit code {run.exit_code}")
    if experiment.memory_gb:
        words.append(f"{experiment.memory_gb:.1f} GiB")
    line: list[Cells] = [("run: " + " · ".join(words), "dim")]
    if run.cause:
        line.append((f"  {clean_line(run.cause[-1])}", "bad"))
    return line
