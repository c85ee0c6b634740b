"""The main screen: the panes, the status line, and the keys that need them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.messages import Update
from textual.widget import Widget

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.layout import NAMES, PANES, in_front, layout
from autoresearch_tui.cockpit.preferences import keys_of
from autoresearch_tui.cockpit.screens.finding import FindingScreen
from autoresearch_tui.cockpit.screens.runs import RunsScreen
from autoresearch_tui.cockpit.screens.steering import SteeringScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.cockpit.widgets.bars import Hint, KeyBar, StatusBar, Tab, TabBar, TitleBar
from autoresearch_tui.cockpit.widgets.charts import ProgressChart
from autoresearch_tui.cockpit.widgets.devices import DevicePanel
from autoresearch_tui.cockpit.widgets.diff import DiffPane
from autoresearch_tui.cockpit.widgets.experiments import BranchTree, ExperimentList, Results
from autoresearch_tui.cockpit.widgets.log import RunLog
from autoresearch_tui.cockpit.widgets.stream import ResearcherStream, of_several
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session.state import WAITING, Experiment, Stage, State
from autoresearch_tui.session.status import spending, status, title
from autoresearch_tui.util.text import clean_line

if TYPE_CHECKING:
    from autoresearch_tui.cockpit.all_sessions import Others

# A key decides about a diff only when the diff has been on screen for this long.
GRACE_SECONDS = 0.5
TICKS_A_SECOND = 4
# The devices leave at least this many rows to the run's pane.
_LEAST_RUN = 13
# Pause between two pieces of a journal that is too long to be read at once.
READ_ON_SECONDS = 0.012
# The panes in each box.
_COLUMNS = {"left": {1, 2}, "middle": {3, 6}, "right": {4, 5, 7}, "side": {3, 4, 5, 6, 7}}


class MainScreen(FindingScreen, RunsScreen, SteeringScreen):
    """Seven panes under the status line.

    :meth:`refresh_state` gives the panes each new state. :meth:`tick`, four times a second, updates what changes
    between states: the log, the clock, the loss curve, the load.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings(), *actions.bindings("replay")]
    AUTO_FOCUS = "#log"
    # The places whose actions the key bar shows, beside those of the focused pane.
    PLACES: ClassVar[tuple[str, ...]] = ("", "replay")

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(bridge)
        self._current = 1
        self._front: frozenset[int] = frozenset()
        self._zoomed = False
        self._all = False
        self._target: tuple[int, str] | None = None
        self._target_since = 0.0
        self._status_size = (80, 3)
        self._arrangement: tuple[object, ...] = ()
        self._pictured = False
        self._state_changed = False
        self._titles: dict[str | None, tuple[str, str]] = {}
        self.title_bar = TitleBar(bridge.lab.root.name, bridge.tag)
        self.status_bar, self.tab_bar, self.key_bar = StatusBar(), TabBar(), KeyBar()
        self.hint = Hint()
        self.stream, self.chart = ResearcherStream(), ProgressChart()
        self.diff, self.results, self.tree_pane = DiffPane(), Results(), BranchTree()
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
        """Yields the panes in the order of their keys, and the tabs for panes that do not fit beside each other."""
        if self.turn_to_devices():
            self._panes[2] = self.load_pane
            self.show_devices()
        # Before anything has a style: adding a class later restyles everything below its widget.
        for number, pane in self._panes.items():
            self.entitle(pane, f"{number} {NAMES[number]}")
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
                yield self.load_pane
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
        self.refresh_state(self.bridge.state)
        self.tick(0)

    def on_resize(self) -> None:
        self._arrange()

    # -- updates ---------------------------------------------------------------------------------------------

    def _show_history(self, state: State) -> None:
        self.chart.show(state)
        self.tree_pane.show(state)

    def refresh_state(self, state: State) -> None:
        """Shows a new state; each pane redraws only its differences."""
        self._state_changed = True
        if self.bridge.reading is not None:
            return
        with self.app.batch_update():
            self.title_bar.show(state)
            self.results.show(state)
            if self._pictured:
                self._show_history(state)
            else:  # for a long session this takes as long as all the rest
                self.call_after_refresh(self._show_history, state)
            self._pictured = True
            self._show_proposal(self.bridge.proposal())
            if self.turn_to_devices():
                self._boxes["left"].mount(self.load_pane, after=self._panes[2])
                self._panes[2].remove()
                self._panes[2] = self.load_pane
                self._arrangement = ()
            if self.devices is not None:
                self.show_devices()
                self._arrange()
            self._entitle_load()
            self._entitle_stream(state)
            self.show_keys()
            self._show_tabs()
            self._arranged()

    @on(ResearcherStream.Turned)
    def _turn_stream(self, turned: ResearcherStream.Turned) -> None:
        if not self.bridge.change_stream(turned.step):
            self.notify("there is one researcher here", markup=False)
            return
        self.stream.add(self.bridge.read_stream(), anew=True)
        self._entitle_stream(self.bridge.state)

    def _entitle_stream(self, state: State) -> None:
        which, several = of_several(state, self.bridge.stream)
        subtitle = " · ".join(filter(None, (several, self._of_researcher(state))))
        self.entitle(self.stream, f"6 {NAMES[6]}{which}", subtitle)

    def _of_researcher(self, state: State) -> str:
        waiting = len(state.waiting_notes)
        notes = f"{waiting} note{'s' if waiting > 1 else ''} to be sent" if waiting else ""
        return " · ".join(filter(None, (notes, spending(state, self.bridge.lab.settings.researcher.max_usd))))

    def tick(self, count: int) -> None:
        """Updates the log at each tick, the clock each second, the load every two seconds of a run, else every six."""
        grown = self.bridge.poll_log()
        self.read_runs()
        second = count % TICKS_A_SECOND == 0
        if not (grown or second or self._state_changed):
            return
        self._state_changed = False
        with self.app.batch_update():
            self.show_status()
            self.show_log()
            if second:
                self.draw_curves()
                more = self.bridge.read_stream()
                self.stream.add(more, anew=self.bridge.stream_anew)
                self.show_devices()
            every = 2 if self.bridge.state.running else 6
            if count % (every * TICKS_A_SECOND) == TICKS_A_SECOND:
                self.show_load()

    def show_status(self) -> None:
        """Draws the three answers of the status line, and the progress row."""
        view = self.bridge.view()
        answers = status(view, *self._status_size)
        bar = self.status_bar
        if bar.answers != answers:
            bar.show(answers)
        self.show_progress(view)

    def _entitle_load(self) -> None:
        devices = self.devices
        if devices is None:
            self.entitle(self.load_pane, f"2 {NAMES[2]}")
        else:
            self.entitle(devices, "2 devices", devices.models)

    def _show_proposal(self, experiment: Experiment | None) -> None:
        pane = self._pane(3)
        pane.set_class(experiment is not None and experiment.stage is Stage.REVIEW, "-awaits")
        if experiment is None:
            self._show_diff("", "The researcher's next change appears here before it runs.", ())
            return
        names = {Stage.REVIEW: "waits for you", Stage.APPROVED: "approved", Stage.RUNNING: "in training"}
        stage = names.get(experiment.stage, experiment.status)
        self.entitle(
            pane,
            f"3 {NAMES[3]} {title(experiment, 60)}",
            f"{stage} · +{experiment.proposal.added} −{experiment.proposal.removed}",
        )
        target = (experiment.number, experiment.commit)
        if target == self._target:
            return
        self._target, self._target_since = target, self.bridge.monotonic()
        why = clean_line(experiment.proposal.hypothesis or experiment.description)
        nothing = "The unmodified baseline: no changes." if not experiment.number else "No diff."
        diff = self.bridge.read_diff(experiment.number)
        self._show_diff(diff, why if diff else nothing, experiment.proposal.flags)

    def _show_diff(self, diff: str, text: str, flags: tuple[str, ...]) -> None:
        self.diff.display, self.hint.display = bool(diff), not diff
        if diff:
            self.diff.show(diff, text, flags)
        else:
            self.hint.show(text)

    # -- focus and layout ------------------------------------------------------------------------------------

    @property
    def chosen(self) -> int | None:
        """The experiment under the cursor of the table or the tree, if one of them has the focus."""
        focused = self.focused
        return focused.chosen if isinstance(focused, ExperimentList | DevicePanel) else None

    @property
    def situation(self) -> Situation:
        bridge = self.bridge
        chosen = self.chosen
        selected = None if chosen is None else bridge.state.experiments[chosen]
        elsewhere = bridge.host is not None and bridge.host.elsewhere
        no_row = isinstance(self.focused, ExperimentList) and self.focused.selected is None
        return Situation(
            bridge.state,
            bridge.proposal(),
            bridge.commands,
            elsewhere,
            selected,
            replay=bridge.player is not None,
            no_row=no_row,
            follows=bridge.flight.followed is not None,
        )

    @property
    def shown(self) -> Experiment | None:
        """In the log's pane: the run that is shown. Under another session's row: None."""
        focused = self.focused
        if isinstance(focused, ExperimentList) and focused.selected is not None and focused.chosen is None:
            return None
        return self.bridge.shown_run() if isinstance(focused, RunLog) else super().shown

    @property
    def diff_seen(self) -> bool:
        """Whether the diff was on the screen, or reviewed, long enough for a key to be about it."""
        shown = self._pane(3).display or self._target == self.bridge.reviewed
        return shown and self.bridge.monotonic() - self._target_since >= GRACE_SECONDS

    def bring(self, number: int) -> None:
        """Brings pane `number` to the front and focuses it."""
        was = self._pane(3).display
        self._current = number
        self._front = in_front(self._front, number)
        self._arrange()
        if not was and self._pane(3).display:
            self._target_since = self.bridge.monotonic()
        pane = self._pane(number)
        (self.log_pane if number == 1 else self.diff if number == 3 else pane).focus()

    def _arrange(self, *, update: bool = True) -> None:
        width, height = self.app.size
        chosen = layout(width, height, self._current, self._front, self._zoomed)
        rows = 3 if width < 120 else 2 if width < 180 else 1
        self._status_size = width, rows
        devices = self._rows_of_devices(chosen.name, height - rows - 2)
        arrangement = (chosen, rows, height >= 44, height < 30, devices)
        if arrangement == self._arrangement:
            self._show_tabs()
            return
        self._arrangement = arrangement
        self.status_bar.styles.height = rows
        if self.devices is not None:
            self.devices.styles.height = devices or "1fr"
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

    @property
    def _names(self) -> Mapping[int, str]:
        """The panes' names; a row of tabs in 60 columns has no room for longer ones."""
        return NAMES if self.devices is None or self.app.size.width < 64 else {**NAMES, 2: "devices"}

    def _rows_of_devices(self, layout: str, body: int) -> int:
        """The height of the devices pane; 0 if it is alone on the screen, or absent."""
        if self.devices is None or layout == "one":
            return 0
        return max(5, min(self.devices.wanted_height, body - _LEAST_RUN))

    def _show_tabs(self) -> None:
        waits = self.situation.open_gate
        tabs = tuple(Tab(n, self._names[n], n == 3 and waits) for n in PANES)
        self.tab_bar.show(tabs, self._current)

    def show_keys(self) -> None:
        now = self.situation
        focused = self.focused
        places = (*self.PLACES, *(focused.places if isinstance(focused, ExperimentList | DevicePanel) else ()))
        urgent = ("approve", "veto", "review") if now.open_gate else ()
        labels = {"hold": "release" if now.proposal is not None and now.proposal.held else "hold"}
        if self.bridge.player is not None and self.bridge.player.paused:
            labels["replay.pause"] = "continue"
        if now.held:
            labels["pause"] = "keep going" if now.only_stopping else "resume"
        self.key_bar.show(actions.bar(now, places), urgent, labels)

    def _pane(self, number: int) -> Widget:
        return self._panes[number]

    def entitle(self, pane: Widget, name: str, more: str = "") -> None:
        """Sets a pane's titles if they differ, because setting one redraws the pane."""
        if self._titles.get(pane.id) == (name, more):
            return
        self._titles[pane.id] = (name, more)
        pane.border_title = Content(name)
        pane.border_subtitle = Content(more)

    @on(ExperimentList.Arranged)
    def _arranged(self) -> None:
        for number, pane in ((4, self.results), (5, self.tree_pane)):
            self.entitle(pane, f"{number} {NAMES[number]}", pane.arrangement)
        self.show_keys()

    @on(TabBar.Picked)
    def _picked(self, message: TabBar.Picked) -> None:
        self.bring(message.number)

    def set_focus(self, widget: Widget | None, scroll_visible: bool = True, from_app_focus: bool = False) -> None:
        """Makes the focused pane the one that a smaller terminal shows, and paints its keys with it."""
        before = self.focused
        super().set_focus(widget, scroll_visible, from_app_focus)
        if self.focused is before:
            return
        for node in self.focused.ancestors_with_self if self.focused is not None else ():
            for number, pane in self._panes.items():
                if node is pane and number != self._current:
                    self._current = number
                    self._show_tabs()
        self.show_keys()
        # Its own update would come after those of the panes, and miss their paint.
        self.post_message(Update(self.key_bar))

    @on(DevicePanel.Moved)
    @on(ExperimentList.Moved)
    def _moved(self) -> None:
        self.show_keys()

    # -- decisions -------------------------------------------------------------------------------------------

    def _on_screen(self, action: str) -> Experiment | None:
        """The proposal, if its diff is on the screen; otherwise brings the diff there and returns None."""
        proposal = self.situation.proposal
        shown = proposal is not None and self._target == (proposal.number, proposal.commit)
        if actions.by_id(action).asks and not (shown and self.diff_seen):
            self.ignore_words()
        if proposal is None or not shown:
            return None
        if not self.diff_seen:
            self.bring(3)
            key = actions.key_name(actions.by_id(action), keys_of(self.app))
            self.say(f"#{proposal.number} was not on screen. Press {key} again once you have read it.")
            return None
        return proposal

    def action_approve(self) -> None:
        """Approves the commit whose diff is on the screen."""
        if not self.may("approve"):
            return
        proposal = self._on_screen("approve")
        if proposal is not None:
            self.bridge.send(cmd.Approve(proposal.number, proposal.commit))

    def action_veto(self) -> None:
        """Asks for a reason, then vetoes the proposal that was shown when the key was pressed."""
        if not self.may("veto"):
            return
        proposal = self._on_screen("veto")
        if proposal is None:
            return
        from autoresearch_tui.cockpit.screens.dialogs import veto_dialog

        self.bridge.attend(proposal)
        self.app.push_screen(veto_dialog(title(proposal, 40)), partial(self._vetoed, proposal))

    def _vetoed(self, proposal: Experiment, reason: str | None) -> None:
        if reason is None:
            self.bridge.attend(proposal, over=True)
        elif not self.bridge.send(cmd.Veto(proposal.number, proposal.commit, reason)):
            self.say(self.read_only, warn=True)

    def action_review(self) -> None:
        proposal = self.situation.selected
        if proposal is None or proposal.stage not in WAITING:
            proposal = self.situation.proposal
        if not self.may("review") or proposal is None:
            return
        from autoresearch_tui.cockpit.screens.review import ReviewScreen

        self.app.push_screen(ReviewScreen(self.bridge, proposal.number))

    def action_hold(self) -> None:
        """Holds the proposal, so that neither the policy nor a launch comes first, or releases it."""
        proposal = self.situation.proposal
        if self.may("hold") and proposal is not None:
            self.bridge.toggle_hold(proposal)

    # -- other screens, other sessions -----------------------------------------------------------------------

    def action_details(self) -> None:
        selected = self.chosen
        if selected is None:
            selected = self.shown.number if self.shown else None
        if selected is not None:
            self.open_details(selected)

    def open_details(self, number: int) -> None:
        from autoresearch_tui.cockpit.screens.experiment import ExperimentScreen

        self.app.push_screen(ExperimentScreen(self.bridge, number))

    @on(ExperimentList.Opened)
    def _opened(self, message: ExperimentList.Opened) -> None:
        self.open_details(message.number)

    @on(ExperimentList.Compared)
    def _compare(self, message: ExperimentList.Compared) -> None:
        from autoresearch_tui.cockpit.screens.compare import CompareScreen

        self.app.push_screen(CompareScreen(self.bridge, self.situation.state, message.numbers))

    def action_pane(self, number: int) -> None:
        self.bring(number)

    def action_jump(self) -> None:
        from autoresearch_tui.cockpit.screens.jump import JumpScreen

        shown = {number: pane for number, pane in self._panes.items() if pane.display}
        self.app.push_screen(
            JumpScreen(shown, self._names), lambda number: None if number is None else self.bring(number)
        )

    def action_digest(self) -> None:
        from autoresearch_tui.cockpit.screens.digest import DigestScreen

        self.app.push_screen(DigestScreen(self.bridge))

    def action_pareto(self) -> None:
        from autoresearch_tui.cockpit.screens.pareto import ParetoScreen

        if self.may("pareto"):
            self.app.push_screen(ParetoScreen(self.bridge))

    def action_all_sessions(self) -> None:
        """Shows the tree and the chart of all the lab's sessions, or of this one alone again."""
        if not self.may("all_sessions"):
            return
        if self._all:
            self._show_sessions(None)
        elif not self.bridge.other_sessions:
            self.say("there is no other session in this lab")
        else:
            self.say("reading the lab's other sessions …")
            self.run_worker(self._read_sessions, thread=True, exclusive=True)

    def _read_sessions(self) -> None:
        """Runs in a thread."""
        from autoresearch_tui.cockpit.all_sessions import read

        bridge = self.bridge
        others = read(bridge.lab, bridge.tag, bridge.state)
        self.app.call_from_thread(self._show_sessions, others)

    def _show_sessions(self, others: Others | None) -> None:
        self._all = others is not None
        with self.app.batch_update():
            self.tree_pane.show_all(others)
            self.chart.show_all(others)
            self.entitle(self.chart, f"7 {NAMES[7]}", "" if others is None else self.tree_pane.arrangement)
        self.say("this session alone" if others is None else "all sessions that measured as this one does")

    def action_zoom(self) -> None:
        """Shows the focused pane alone, or all panes again."""
        self._zoomed = not self._zoomed
        self._arrange()

    def key_escape(self) -> None:
        self.leave_search()

    @property
    def keys_row(self) -> KeyBar:
        return self.key_bar

    def text_to_search(self) -> RunLog:
        self.bring(1)
        return self.log_pane

    def list_to_go_to(self) -> ExperimentList:
        self.bring(4)
        return self.results

    @on(Results.ColumnsAsked)
    def _choose_columns(self) -> None:
        from autoresearch_tui.cockpit.screens.columns import ColumnsScreen

        self.app.push_screen(ColumnsScreen(self.results))

    # -- replay ----------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a replay its keys are free for the panes."""
        if self.bridge.player is None and any(action == a.run.partition("(")[0] for a in actions.REPLAY):
            return False
        return super().check_action(action, parameters)

    def action_play_or_pause(self) -> None:
        if (player := self.bridge.player) is not None:
            player.pause()
            self.show_keys()
            self.show_status()

    def action_play_step(self) -> None:
        """Plays on to the next verdict."""
        if (player := self.bridge.player) is not None:
            if not player.step():
                self.say("no verdict comes after this")
            self.show_keys()

    def action_play_faster(self, times: float) -> None:
        if (player := self.bridge.player) is not None:
            player.faster(times)
            self.show_status()

    def action_play_from(self) -> None:
        from autoresearch_tui.cockpit.screens.dialogs import Dialog

        hint = "#12, 50% or 03:30"
        text = "To an experiment, a share of the night, or a time."
        self.app.push_screen(Dialog("Go to", text, line=hint, enter="go there"), self._seek)

    def _seek(self, where: str | None) -> None:
        if where is not None and (player := self.bridge.player) is not None and (problem := player.seek(where)):
            self.say(problem, warn=True)
