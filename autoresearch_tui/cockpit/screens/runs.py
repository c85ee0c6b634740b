"""The run in the first pane, the load or the devices in the second, and the keys for both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from textual import on
from textual.widget import Widget

from autoresearch_tui.cockpit.layout import NAMES
from autoresearch_tui.cockpit.log_follower import RunFeed
from autoresearch_tui.cockpit.screens.judge import JudgeScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.widgets.charts import Series
from autoresearch_tui.cockpit.widgets.devices import DevicePanel
from autoresearch_tui.cockpit.widgets.experiments import ExperimentList
from autoresearch_tui.cockpit.widgets.load import LoadPanel, in_short
from autoresearch_tui.cockpit.widgets.log import ProgressRow, RunLog
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import devices_now
from autoresearch_tui.session.devices_now import BUSY
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.session.status import View, time_left, title
from autoresearch_tui.util.text import clean_line

if TYPE_CHECKING:
    from autoresearch_tui.lab.machine_load import Monitor


class RunsScreen(JudgeScreen):
    """The first pane shows the newest run, or always the run of one device.

    A session on one device has its load in the second pane; one on several devices has a row for each.
    """

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(bridge)
        self.monitor: Monitor | None = None
        self.progress_row, self.log_pane = ProgressRow(), RunLog()
        self._log_key: tuple[object, ...] = ()
        self._curve_key: tuple[object, ...] = ()
        self.load = LoadPanel(recorded=bridge.player is not None)
        self.devices: DevicePanel | None = None
        self._machine = ""

    @abstractmethod
    def show_status(self) -> None:
        """Draws the status line and the progress row."""

    @abstractmethod
    def show_keys(self) -> None:
        """Draws the keys that make sense now."""

    @abstractmethod
    def entitle(self, pane: Widget, name: str, more: str = "") -> None:
        """Sets a pane's titles."""

    @abstractmethod
    def bring(self, number: int) -> None:
        """Brings pane `number` to the front and focuses it."""

    @property
    def load_pane(self) -> Widget:
        return self.load if self.devices is None else self.devices

    def turn_to_devices(self) -> bool:
        """Creates the devices pane when the session first has several devices; returns whether it did."""
        if self.devices is not None or not devices_now.several(self.bridge.view().state):
            return False
        self.devices = DevicePanel()
        return True

    def read_runs(self) -> None:
        """Reads what is new in the logs of the runs that are not shown, and in the cluster's file."""
        if self.devices is not None:
            bridge = self.bridge
            shown = bridge.shown_run()
            others = [run for run in bridge.state.in_flight if shown is None or run.number != shown.number]
            bridge.flight.poll(others, bridge.clock())

    def show_load(self) -> None:
        """Shows the load of the devices, or of this machine."""
        if self.devices is None:
            if self.monitor is not None:
                self.load.show(self.monitor.history())
            return
        names = devices_now.names(self.bridge.view().state)
        if names and self.monitor is not None and (now := self.monitor.latest) is not None:
            self.bridge.flight.take_load(names, now)
            self._machine = in_short(now)
        self.show_devices()

    def show_devices(self) -> None:
        if self.devices is not None:
            self.devices.show(self.bridge.view(), self.bridge.flight.followed, self._machine)

    def of_device(self, run: Experiment, state: State) -> str:
        """The label of a run's device, and whether the pane follows it; empty if there is one device."""
        if self.devices is None or not run.device:
            return ""
        followed = self.bridge.flight.followed
        if followed is None:
            return f"on {clean_line(run.device)}"
        waits = "" if any(each.device == followed for each in state.in_flight) else ", which has no run"
        return f"follows {clean_line(followed)}{waits}"

    # -- the run ---------------------------------------------------------------------------------------------

    def show_progress(self, view: View) -> None:
        running = self.bridge.flight.shown(self.bridge.state)
        left = None
        if running is not None and running.stage is Stage.RUNNING:
            what, seconds = time_left(view, running)
            left = seconds if what == "left" else None
        feed = self.bridge.feed
        self.progress_row.show(feed.progress, feed.fraction_done, left, running is not None and running.is_open)

    def show_log(self) -> None:
        feed, shown = self.bridge.feed, self.bridge.shown_run()
        of = self.of_device(shown, self.bridge.state) if shown is not None else ""
        key = (id(feed), feed.total, feed.frame, of, shown is not None and shown.is_open)
        if key == self._log_key:
            return
        self._log_key = key
        self.log_pane.show(feed)
        if shown is not None:
            held = self.log_pane.feed.number
            state = f"log of #{held}" if held != shown.number else "" if shown.is_open else "ended"
            subtitle = " · ".join(filter(None, (of, state)))
            self.entitle(self.query_one("#run"), f"1 {NAMES[1]} {title(shown, 60)}", subtitle)

    def show_run(self) -> None:
        self.log_pane.release()
        self.bridge.poll_log()
        self.show_log()
        self.draw_curves()
        self.show_status()
        self.show_keys()

    def feeds(self) -> Sequence[RunFeed]:
        return [self.bridge.feed]

    def draw_curves(self) -> None:
        """Draws the shown run's curve, and the one to beat in grey."""
        feed, of = self.bridge.feed, self.plot.key
        (behind, name), curve = self.bridge.curve_to_beat(of), feed.curve_of(of)
        key = (feed.number, curve.version, name, of, self.plot.smooth)
        if key != self._curve_key:
            self._curve_key = key
            self.plot.show(Series(f"#{feed.number}", "accent", curve), Series(name, "faint", behind))

    @on(ExperimentList.Pinned)
    def _pin(self, message: ExperimentList.Pinned) -> None:
        number = message.number
        started = self.bridge.state.experiments[number].started_at
        if not started:
            self.say(f"#{number} has not run: it has no curve", warn=True)
            return
        self.bridge.pinned = None if self.bridge.pinned == number else number
        self.say(
            "the grey curve is the best run's again" if self.bridge.pinned is None else f"the grey curve is #{number}"
        )
        self.draw_curves()

    def action_follow(self) -> None:
        """Follows the log's end, or stops following."""
        self.log_pane.toggle_follow()
        self._log_key = ()
        self.show_log()

    def action_first_error(self) -> None:
        self.bring(1)
        if not self.log_pane.first_error():
            self.say("no line of the log looks like an error")

    # -- which run is shown ----------------------------------------------------------------------------------

    def follow(self, device: str | None) -> None:
        """Shows the runs of this device from now on; None: always the newest run."""
        self.bridge.flight.follow(self.bridge.state, device)
        self.show_run()
        self.show_devices()
        shown = self.bridge.shown_run()
        if shown is not None:
            whose = "the newest run" if device is None else clean_line(device)
            self.say(f"follows {whose}: {title(shown, 60)}")

    def runs(self) -> list[Experiment]:
        """The runs in flight, in the order of their devices."""
        place = {row.name: at for at, row in enumerate(self.bridge.view().devices)}
        return sorted(self.bridge.state.in_flight, key=lambda run: place.get(run.device, -1))

    @on(DevicePanel.Followed)
    def _follow_row(self, message: DevicePanel.Followed) -> None:
        row = message.row
        if not row.name:
            self.say(f"{clean_line(row.node)} has no device that is used", warn=True)
            return
        self.follow(row.name)
        if not self.query_one("#run").display:
            self.bring(1)

    def action_next_run(self) -> None:
        """Follows the next device that has a run."""
        if not self.may("next_run"):
            return
        names = [run.device for run in self.runs()]
        shown = self.bridge.shown_run()
        here = names.index(shown.device) if shown is not None and shown.device in names else -1
        self.follow(names[(here + 1) % len(names)])

    def action_newest_run(self) -> None:
        if self.may("newest_run"):
            self.follow(None)

    def action_choose_run(self) -> None:
        if not self.may("choose_run"):
            return
        from autoresearch_tui.cockpit.screens.palette import Palette, Runs

        self.app.push_screen(Palette(providers=[Runs], placeholder="Search for runs…", id="--command-palette"))

    def action_stop_run(self) -> None:
        """Asks for a reason, because the run's time is lost."""
        if not self.may("stop_run"):
            return
        running = self._run_to_stop()
        if running is None or running.stage is not Stage.RUNNING:
            self.say("this run is not in training: choose another one with L or in 2 devices", warn=True)
            return
        from autoresearch_tui.cockpit.screens.dialogs import STOP_REASONS, Dialog

        text = "It will not run again; the researcher gets your reason."
        dialog = Dialog(
            f"Stop {title(running, 40)}",
            text,
            reasons=STOP_REASONS,
            line="or in your own words",
            blank="no reason",
        )
        self.app.push_screen(dialog, partial(self._stop_run, running.number))

    def _stop_run(self, number: int, reason: str | None) -> None:
        if reason is not None:
            self.bridge.send(cmd.StopRun(number, reason))

    def _run_to_stop(self) -> Experiment | None:
        """The run under the cursor of the devices pane if that has the focus, else the run that is shown."""
        row = self.devices.selected if self.devices is not None and self.devices.has_focus else None
        if row is not None and row.doing in BUSY:
            return row.experiment
        return self.bridge.shown_run()
