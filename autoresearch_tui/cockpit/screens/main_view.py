"""The main screen without its actions: every view of the session, the status line, the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.actions import Situation
from autoresearch_tui.cockpit.bridge import Bridge
from autoresearch_tui.cockpit.layout import NAMES, PANES, SHORT_NAMES, in_front, layout
from autoresearch_tui.cockpit.screens.judge import JudgeScreen
from autoresearch_tui.cockpit.status import spending, status, time_left, title
from autoresearch_tui.cockpit.widgets.branch_tree import BranchTree
from autoresearch_tui.cockpit.widgets.diff_pane import DiffPane
from autoresearch_tui.cockpit.widgets.hint import Hint
from autoresearch_tui.cockpit.widgets.load_panel import LoadPanel
from autoresearch_tui.cockpit.widgets.loss_plot import LossPlot, Series
from autoresearch_tui.cockpit.widgets.progress_chart import ProgressChart
from autoresearch_tui.cockpit.widgets.researcher_stream import ResearcherStream
from autoresearch_tui.cockpit.widgets.results_table import ResultsTable
from autoresearch_tui.cockpit.widgets.run_log import ProgressRow, RunLog
from autoresearch_tui.cockpit.widgets.status_bar import KeyBar, StatusBar, Tab, TabBar, TitleBar
from autoresearch_tui.engine.state import Experiment, Stage, State
from autoresearch_tui.text import clean_line

if TYPE_CHECKING:
    from autoresearch_tui.monitor import Monitor

GRACE_SECONDS = 0.5
TICKS_A_SECOND = 4
# Which panes are in which box.
_COLUMNS = {"left": {1, 2}, "middle": {3, 6}, "right": {4, 5, 7}, "side": {3, 4, 5, 6, 7}}


class MainView(JudgeScreen):
    """Panes get the state by :meth:`refresh_state`, and what moves within a second by :meth:`tick`."""

    AUTO_FOCUS = "#log"

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(bridge)
        self.monitor: Monitor | None = None
        self._current = 1
        self._front: frozenset[int] = frozenset()
        self._zoomed = False
        self._target: tuple[int, str] | None = None
        self._target_since = 0.0
        self._status_size = (80, 3)
        self._log_key: tuple[object, ...] = ()
        self._curve_key: tuple[object, ...] = ()
        self._arrangement: tuple[object, ...] = ()
        self._state_changed = False
        self._titles: dict[str | None, tuple[str, str]] = {}
        self.title_bar = TitleBar(bridge.lab.root.name, bridge.tag)
        self.status_bar, self.tab_bar, self.key_bar = StatusBar(), TabBar(), KeyBar()
        self.progress_row, self.plot, self.log_pane = ProgressRow(), LossPlot(), RunLog()
        self.hint = Hint()
        self.load, self.stream, self.chart = LoadPanel(), ResearcherStream(), ProgressChart()
        self.diff, self.results, self.tree_pane = DiffPane(), ResultsTable(), BranchTree(id="tree", classes="pane")
        self._boxes: dict[str, Widget] = {name: Vertical(id=name) for name in ("left", "middle", "right")}
        self._boxes["side"] = Container(id="side")
        self._panes: dict[int, Widget] = {
            1: Vertical(id=PANES[1], classes="pane"),
            2: self.load,
            3: Vertical(id=PANES[3], classes="pane"),
            4: self.results,
            5: self.tree_pane,
            6: self.stream,
            7: self.chart,
        }

    def compose(self) -> ComposeResult:
        """The panes in the order of their keys, the tabs for where they do not fit beside each other."""
        # Before anything has a style: every class that comes later costs the styles of all that is below it.
        for number, pane in self._panes.items():
            self._entitle(pane, f"{number} {NAMES[number]}")
        self._arrange(update=False)
        yield self.title_bar
        yield self.status_bar
        yield self.tab_bar
        with Horizontal(id="body"):
            with self._boxes["left"]:
                with self._panes[1]:
                    yield self.progress_row
                    yield self.plot
                    yield self.log_pane
                yield self.load
            with self._boxes["side"]:
                with self._boxes["middle"]:
                    with self._panes[3]:
                        yield self.diff
                        yield self.hint
                    yield self.stream
                with self._boxes["right"]:
                    yield self.results
                    yield self.chart
                    yield self.tree_pane
        yield self.key_bar

    def on_mount(self) -> None:
        """The first picture of what is known already."""
        self.refresh_state(self.bridge.state)
        self.tick(0)

    def on_resize(self) -> None:
        """Another size may have room for other panes."""
        self._arrange()

    # -- facts -----------------------------------------------------------------------------------------------

    def refresh_state(self, state: State) -> None:
        """Another state of the session; every pane draws what differs."""
        self._state_changed = True
        if self.bridge.reading is not None:
            return
        with self.app.batch_update():
            self.title_bar.show(state)
            self.results.show(state)
            self.chart.show(state)
            self.tree_pane.show(state)
            self._show_proposal(self.bridge.proposal())
            self._entitle(self.stream, f"6 {NAMES[6]}", spending(state, self.bridge.lab.settings.researcher.max_usd))
            self._show_keys()
            self._show_tabs()
            self._arranged()

    def tick(self, count: int) -> None:
        """At each tick the log; each second the clock; every two of a run, else every six, the load."""
        grown = self.bridge.poll_log()
        second = count % TICKS_A_SECOND == 0
        if not (grown or second or self._state_changed):
            return
        self._state_changed = False
        with self.app.batch_update():
            self._show_status()
            self._show_log()
            if second:
                self._show_curve()
                self.stream.add(self.bridge.read_stream())
            every = 2 if self.bridge.state.running else 6
            if self.monitor is not None and count % (every * TICKS_A_SECOND) == TICKS_A_SECOND:
                self.load.show(self.monitor.history())

    def _show_status(self) -> None:
        view = self.bridge.view()
        answers = status(view, *self._status_size)
        bar = self.status_bar
        if bar.answers != answers:
            bar.show(answers)
        running = view.state.running
        left = None
        if running is not None and running.stage is Stage.RUNNING:
            what, seconds = time_left(view, running)
            left = seconds if what == "left" else None
        feed = self.bridge.feed
        self.progress_row.show(feed.progress, feed.fraction_done, left, running is not None)

    def _show_log(self) -> None:
        feed = self.bridge.feed
        key = (id(feed), feed.total, feed.frame)
        if key == self._log_key:
            return
        self._log_key = key
        self.log_pane.show(feed)
        shown = self.bridge.shown_run()
        if shown is not None:
            state = "" if self.bridge.state.running else "ended"
            self._entitle(self._pane(1), f"1 {NAMES[1]} {title(shown, 60)}", state)

    def _show_curve(self) -> None:
        feed = self.bridge.feed
        behind, name = self.bridge.curve_to_beat()
        key = (feed.number, feed.curve.version, name)
        if key != self._curve_key:
            self._curve_key = key
            self.plot.show(Series(f"#{feed.number}", "accent", feed.curve), Series(name, "faint", behind))

    def _show_proposal(self, experiment: Experiment | None) -> None:
        pane = self._pane(3)
        pane.set_class(experiment is not None and experiment.stage is Stage.REVIEW, "-awaits")
        if experiment is None:
            self._show_diff("", "The researcher's next change appears here, before it may cost any time.", ())
            return
        words = {Stage.REVIEW: "waits for you", Stage.APPROVED: "approved", Stage.RUNNING: "in training"}
        stage = words.get(experiment.stage, experiment.outcome or experiment.stage.value)
        self._entitle(pane, f"3 {title(experiment, 60)}", f"{stage} · +{experiment.added} −{experiment.removed}")
        target = (experiment.number, experiment.commit)
        if target == self._target:
            return
        self._target, self._target_since = target, self.bridge.monotonic()
        why = clean_line(experiment.hypothesis or experiment.description)
        nothing = "The unmodified baseline: nothing is changed." if not experiment.number else "There is no diff."
        diff = self.bridge.read_diff(experiment.number)
        self._show_diff(diff, why if diff else nothing, experiment.flags)

    def _show_diff(self, diff: str, words: str, flags: tuple[str, ...]) -> None:
        self.diff.display, self.hint.display = bool(diff), not diff
        if diff:
            self.diff.show(diff, words, flags)
        else:
            self.hint.show(words)

    # -- what is where ---------------------------------------------------------------------------------------

    @property
    def chosen(self) -> int | None:
        """The experiment under the cursor of the table or the tree, where one of them has the keys."""
        focused = self.focused
        return focused.selected if isinstance(focused, (ResultsTable, BranchTree)) else None

    @property
    def situation(self) -> Situation:
        """What decides which actions make sense now."""
        bridge = self.bridge
        chosen = self.chosen
        selected = None if chosen is None else bridge.state.experiments[chosen]
        return Situation(bridge.state, bridge.proposal(), bridge.host is not None, bridge.takeable, selected)

    @property
    def diff_seen(self) -> bool:
        """Whether the proposal's diff is on the screen, for long enough that a key was meant for it."""
        return self._pane(3).display and self.bridge.monotonic() - self._target_since >= GRACE_SECONDS

    @property
    def target(self) -> tuple[int, str] | None:
        """Number and commit of the diff on the screen."""
        return self._target

    def bring(self, number: int) -> None:
        """Pane `number` to the front, and the keys to it."""
        was = self._pane(3).display
        self._current = number
        self._front = in_front(self._front, number)
        self._arrange()
        if not was and self._pane(3).display:
            self._target_since = self.bridge.monotonic()
        pane = self._pane(number)
        (self.log_pane if number == 1 else self.diff if number == 3 else pane).focus()

    def toggle_zoom(self) -> None:
        """The pane with the focus alone, or all again."""
        self._zoomed = not self._zoomed
        self._arrange()

    def _arrange(self, *, update: bool = True) -> None:
        width, height = self.app.size
        chosen = layout(width, height, self._current, self._front, self._zoomed)
        rows = 3 if width < 120 else 2 if width < 180 else 1
        self._status_size = width, rows
        arrangement = (chosen, rows, height >= 44, height < 30)
        if arrangement == self._arrangement:
            self._show_tabs()
            return
        self._arrangement = arrangement
        self.status_bar.styles.height = rows
        self.remove_class("-one", "-two", "-three", "-low", "-high", update=False)
        self.add_class(
            f"-{chosen.name}", *(["-low"] if height < 30 else ["-high"] if height >= 44 else []), update=False
        )
        for number, pane in self._panes.items():
            pane.set_class(number not in chosen.panes, "-absent", update=False)
        for name, numbers in _COLUMNS.items():
            self._boxes[name].set_class(not numbers & chosen.panes, "-absent", update=False)
        self.tab_bar.set_class(not chosen.tabs, "-absent", update=False)
        if update:
            self.update_node_styles()
        self._show_tabs()

    def _show_tabs(self) -> None:
        waits = self.situation.open_gate
        tabs = tuple(Tab(n, SHORT_NAMES[n], n == 3 and waits) for n in PANES)
        self.tab_bar.show(tabs, self._current)

    def _show_keys(self) -> None:
        now = self.situation
        places = ("", "results") if self.focused is self.results else ("",)
        pressing = ("approve", "veto", "review") if now.open_gate else ()
        self.key_bar.show(actions.bar(now, places), pressing, {"pause": "resume"} if now.held else None)

    def _pane(self, number: int) -> Widget:
        return self._panes[number]

    def _entitle(self, pane: Widget, name: str, more: str = "") -> None:
        """A pane's titles; setting one draws the pane again, so only where it differs."""
        if self._titles.get(pane.id) == (name, more):
            return
        self._titles[pane.id] = (name, more)
        pane.border_title = Content(name)
        pane.border_subtitle = Content(more)

    @on(ResultsTable.Arranged)
    def _arranged(self) -> None:
        self._entitle(self.results, f"4 {NAMES[4]}", self.results.arrangement)
        self._show_keys()

    @on(TabBar.Picked)
    def _picked(self, message: TabBar.Picked) -> None:
        self.bring(message.number)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The pane with the focus is the one that a smaller terminal would show."""
        for node in event.widget.ancestors_with_self:
            for number, name in PANES.items():
                if node.id == name and number != self._current:
                    self._current = number
                    self._show_tabs()
        self._show_keys()

    @on(BranchTree.Highlighted)
    def _highlighted(self) -> None:
        self._show_keys()
