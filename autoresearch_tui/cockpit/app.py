"""The application: one timer, one session view, and the screens on top of them."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual._compositor import ChopsUpdate
from textual.app import SystemCommand
from textual.binding import Binding
from textual.dom import DOMNode
from textual.filter import NoColor
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.theme import Theme

from autoresearch_tui.cockpit import preferences, theme
from autoresearch_tui.cockpit.actions import ACTIONS, Action, by_id, key_name
from autoresearch_tui.cockpit.fewer_bytes import CroppedUpdate
from autoresearch_tui.cockpit.key_order import KeysInOrder
from autoresearch_tui.cockpit.preferences import Preferences
from autoresearch_tui.cockpit.screens.finding import FindingScreen
from autoresearch_tui.cockpit.screens.main import READ_ON_SECONDS, TICKS_A_SECOND, MainScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.lab.devices import Visible, all_visible
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.session.commands import Host
from autoresearch_tui.session.state import State
from autoresearch_tui.util.text import clean_line

if TYPE_CHECKING:
    from autoresearch_tui.lab.machine_load import Monitor
    from autoresearch_tui.lab.settings import RunSettings
    from autoresearch_tui.session.notifications import News
import signal
import threading
from types import FrameType

from textual.app import App

THEME = Theme(
    name="autoresearch",
    primary="#7aa2f7",
    secondary="#b48ead",
    accent="#7aa2f7",
    success="#8fbf7f",
    warning="#e0af68",
    error="#e06c75",
    foreground="#d5d9e2",
    background="#14171c",
    surface="#14171c",
    panel="#1c2028",
    dark=True,
    variables={
        "block-cursor-background": "#2c3a5a",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-blurred-background": "#20262f",
        "scrollbar": "#5b6270",
        "scrollbar-background": "#14171c",
        "scrollbar-background-hover": "#14171c",
        "scrollbar-corner-color": "#14171c",
    },
)


_PLACES = {
    "ReviewScreen": "review",
    "ExperimentScreen": "details",
    "CompareScreen": "compare",
    "ParetoScreen": "pareto",
    "ProgramScreen": "program",
    "VersionScreen": "version",
    "EditScreen": "edit",
    "ConflictScreen": "conflict",
    "VisitScreen": "visit",
}


def accelerators_of_runs(run: RunSettings, state: State, ours: Mapping[str, str] | None = None) -> tuple[Visible, ...]:
    """The accelerators that a session's runs see: from `ours` if this process runs the engine, else from the
    journal."""
    if ours is not None or state.engine is None:
        return all_visible({**(os.environ if ours is None else ours), **run.env}, run.devices)
    pinned = state.overrides.get("devices")
    return all_visible(state.engine.accelerators, tuple(pinned.split(",")) if pinned else run.devices)


class Cockpit(KeysInOrder[int]):
    """Shows the session `tag` of `lab`. Without a host it only watches; `silent` turns notifications off.

    After `run`, `outcome` is detached (the session continues), stopped (the engine ended), failed (it failed) or
    "take over". The caller releases the engine.
    """

    CSS_PATH = "cockpit.tcss"
    TITLE = "autoresearch"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar = [Binding(by_id("help").key, "help", show=False, id="help")]

    def __init__(
        self,
        lab: Lab,
        tag: str,
        host: Host | None,
        *,
        read_only_reason: str = "",
        silent: bool = False,
        bridge: Bridge | None = None,
        monitor: Monitor | None = None,
        settings: Preferences | None = None,
        tick_seconds: float = 1 / TICKS_A_SECOND,
    ) -> None:
        super().__init__()
        if os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
            # Such a terminal shows codes as text. NO_COLOR alone would leave shades of grey.
            self._filters.append(NoColor())
        self.register_theme(THEME)
        self.host = host
        self.bridge = bridge or Bridge(lab, tag, host, read_only_reason)
        self.monitor = monitor
        self.preferences = preferences.load(preferences.path()) if settings is None else settings
        self.main = MainScreen(self.bridge)
        self.main.results.prefer(self.preferences.columns, self.preferences.sort)
        self.silent = silent
        self.outcome = "detached"
        # Messages of the launcher, shown as notifications once there is a screen.
        self.notices: list[str] = []
        self._overdue = False
        # An error of the cockpit itself; the caller reports it.
        self.crash: Exception | None = None
        themed = self.preferences.theme in self.available_themes
        self.set_reactive(Cockpit.theme, self.preferences.theme if themed else THEME.name)
        # Before the first paint, because a later change of theme computes all styles again.
        self.stylesheet.set_variables(self.get_css_variables())
        self._tick_seconds = tick_seconds
        self._notified: State | None = None
        self._reading_on = False
        self._ticking_on = False
        self._ticks = 0

    def get_default_screen(self) -> Screen[Any]:
        """Reads the journal and log first, so that the first paint shows them."""
        self.bridge.poll()
        self.bridge.poll_log()
        return self.main

    def get_css_variables(self) -> dict[str, str]:
        """The theme's variables, adjusted for contrast."""
        self.theme_variables = theme.variables(super().get_css_variables(), self.console.color_system or "truecolor")
        return self.theme_variables

    def on_mount(self) -> None:
        """The engine starts only after the first paint."""
        self.set_keymap(dict(self.preferences.keys))
        unknown = preferences.unknown_theme(self.preferences, self.available_themes)
        for problem in (*self.preferences.problems, *([unknown] if unknown else ())):
            self.notify(problem, severity="warning", timeout=10, markup=False)
        self.call_after_refresh(self._begin)

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        """Sends fewer bytes for each paint."""
        super()._display(screen, CroppedUpdate(renderable) if isinstance(renderable, ChopsUpdate) else renderable)

    def on_unmount(self) -> None:
        """Records what the human has seen; the monitor's thread ends by itself."""
        if self.monitor is not None:
            self.monitor.stop()
        self.bridge.write_seen()

    def _begin(self) -> None:
        gc.enable()
        gc.freeze()
        _repaint_on_sigcont(self)
        if self.bridge.player is None:
            self._watch_load()
        self.bridge.begin()
        self.set_interval(self._tick_seconds, self.tick)

    def _watch_load(self) -> None:
        from autoresearch_tui.lab.machine_load import Monitor

        ours = os.environ if self.host is not None and not self.host.elsewhere else None
        seen = accelerators_of_runs(self.bridge.lab.settings.run, self.bridge.state, ours)
        self.monitor = self.monitor or Monitor(accelerators=seen)
        self.monitor.start()
        self.main.monitor = self.monitor

    def tick(self) -> None:
        """Passes new facts in the files to the screens; once a second, also what only time changes."""
        self._ticks += 1
        self._read()
        self._follow_host()
        if self.bridge.reading is not None:
            self._tick_again()
            return
        self._notify_news(self.bridge.state)
        self.main.tick(self._ticks)
        if self.front is not self.main:
            self.front.tick(self._ticks)
        if self._ticks % TICKS_A_SECOND == 0:
            # Not only at the end, because a dropped connection or kill -9 leaves no time for it.
            self.bridge.write_seen()
        if self._behind() and not self._reading_on:
            self._reading_on = True
            self._read_on()
        # A stop counts even if it cannot be journalled.
        stopping = self.bridge.state.stopping or self.bridge.stop_sent
        if stopping and self.host is not None and not self.host.alive and not self.host.failure:
            self.outcome = "stopped"
            self.exit(0)

    @property
    def front(self) -> MainScreen:
        """The session in front: the cockpit's own, or another one of the lab."""
        return next(screen for screen in reversed(self.screen_stack) if isinstance(screen, MainScreen))

    def _read(self) -> None:
        bridge, new = self.bridge, self.bridge.poll()
        for screen in self.screen_stack:
            if isinstance(screen, MainScreen) and screen is not self.main:
                # Another session, and the screens opened over it.
                bridge, new = screen.bridge, screen.bridge.poll()
            refresh = getattr(screen, "refresh_state", None)
            if new and refresh is not None:
                refresh(bridge.state)

    @on(FindingScreen.SessionAsked)
    def _visit(self, message: FindingScreen.SessionAsked) -> None:
        """Shows another session of the lab over the cockpit's own, instead of one already shown there."""
        from autoresearch_tui.cockpit.screens.visit import VisitScreen

        if self.front is not self.main:
            self.pop_screen()
        if message.tag != self.bridge.tag:
            visit = VisitScreen(self.bridge.lab, message.tag, self.bridge.tag)
            visit.results.prefer(self.preferences.columns, self.preferences.sort)
            visit.monitor = self.monitor
            self.push_screen(visit)

    def _is_over(self) -> bool:
        self._read()
        return self.bridge.over

    def _follow_host(self) -> None:
        """Shows the launcher's notices, and becomes the host if the other one is gone."""
        while self.notices:
            self.notify(self.notices.pop(0), timeout=8, markup=False)
        if self.host is None or self.bridge.reading is not None:
            return
        self.host.follow(self._is_over)
        overdue = self.host.overdue
        if overdue and not self._overdue:
            self.notify("The engine does not answer; T moves it here.", severity="warning", timeout=8, markup=False)
        self._overdue = overdue

    def _tick_again(self) -> None:
        """Schedules exactly one more tick while a long journal is read."""
        if not self._ticking_on:
            self._ticking_on = True
            self.call_later(self._tick_on)

    def _tick_on(self) -> None:
        self._ticking_on = False
        self.tick()

    def _read_on(self) -> None:
        """Reads a flood of log lines in small pieces between ticks, so that keys do not wait."""
        for bridge in self._bridges():
            bridge.poll_log()
        self._reading_on = self._behind()
        if self._reading_on:
            self.set_timer(READ_ON_SECONDS, self._read_on)

    def _bridges(self) -> set[Bridge]:
        return {self.bridge, self.front.bridge}

    def _behind(self) -> bool:
        return any(bridge.feed.behind for bridge in self._bridges())

    # -- notifications ---------------------------------------------------------------------------------------------

    def _notify_news(self, state: State) -> None:
        """Notifies of everything since the last tick; the first time, of everything since the last visit."""
        before, self._notified = self._notified, state
        if before is None:
            self._show_missed()
        elif before is not state and not self.silent:
            from autoresearch_tui.session.notifications import news

            for item in news(before, state):
                self._announce(item)
            refused = state.refused
            if refused is not None and refused is not before.refused:
                what = refused.command if refused.number is None else f"your edit of #{refused.number} was refused"
                text = f"{clean_line(what)}: {clean_line(refused.why)}"
                self.notify(text, severity="warning", timeout=6, markup=False)

    async def on_event(self, event: events.Event) -> None:
        """Any key dismisses notifications, and still has its own effect."""
        if isinstance(event, events.Key) and not event.is_forwarded and self._notifications:
            self.clear_notifications()
        await super().on_event(event)

    def notify(self, message: str, **options: Any) -> None:
        """Shows one row over the keys, until the next key; a new notification replaces the last."""
        self.clear_notifications()
        super().notify(message, **options)

    def _announce(self, item: News) -> None:
        severity: SeverityLevel = "error" if item.kind == "crash" else "information"
        if item.urgent or item.kind == "overfits":
            severity = "warning"
        # The status line has waits and stops; and results are never announced over a question.
        elsewhere = self.front is not self.main
        if (elsewhere or item.kind not in ("waits", "stopped")) and isinstance(self.screen, MainScreen):
            text = f"{self.bridge.tag}: {item.text}" if elsewhere else item.text
            self.notify(text, severity=severity, timeout=8, markup=False)
        if self.preferences.bell:
            self.bell()
        if self.preferences.notify and self._driver is not None and not self.is_headless:
            # OSC 9: a desktop notification, in terminals that support it, also over SSH.
            self._driver.write(f"\x1b]9;{clean_line(self.bridge.lab.root.name)}: {item.text}\x07")

    def _show_missed(self) -> None:
        before, after = self.bridge.left_at, self.bridge.state
        if not isinstance(self.screen, MainScreen):
            return  # never over a question that the human has just opened
        if self.host is not None and before is not None and len(before.table) < len(after.table):
            from autoresearch_tui.cockpit.screens.since import SinceScreen

            self.push_screen(SinceScreen(before, after))

    # -- leaving ---------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Closes the cockpit; the session stays as it is."""
        if self.host is None or self.host.elsewhere or self.host.alive:
            self.outcome = "detached"
        else:
            self.outcome = "failed" if self.host.failure else "stopped"
        self.exit(1 if self.outcome == "failed" else 0)

    def _fatal_error(self) -> None:
        """Ends at once. Textual would print a traceback, with the values of variables, over the terminal."""
        self.crash = self.crash or self._exception
        self._close_messages_no_wait()

    def action_take_over(self) -> None:
        """The launcher reopens the cockpit in this terminal, with control of the session."""
        if self.front.situation.elsewhere:
            self.outcome = "take over"
            self.exit(0)

    def action_detach(self) -> None:
        self.leave()

    async def action_quit(self) -> None:
        """Textual's own key for quitting."""
        self.leave()

    def action_help(self) -> None:
        """Shows every key and the meaning of the marks."""
        from autoresearch_tui.cockpit.screens.help import HelpScreen, help_entries

        if not isinstance(self.screen, HelpScreen):
            played = self.bridge.player is not None
            entries = help_entries(self.preferences.keys, self._place(self.screen), replay=played)
            self.push_screen(HelpScreen(entries), partial(self._from_help, self.screen))

    def _from_help(self, screen: Screen[Any], name: str | None) -> None:
        """Runs the action chosen in the help over `screen`, or notifies where it would run."""
        if name is None:
            return
        action = by_id(name)
        target = self._runs(action, screen)
        if target is None:
            self.notify(f"{action.title}: not from this screen ({action.group})", severity="warning", markup=False)
        else:
            self._from_palette(target, action.call)

    def action_command_palette(self) -> None:
        """Searches every action that is available now."""
        self._open_palette()

    def search_themes(self) -> None:
        """Opens the palette with every theme."""
        from autoresearch_tui.cockpit.screens.palette import Themes

        self._open_palette(providers=[Themes], placeholder="Search for themes…")

    def _open_palette(self, **options: Any) -> None:
        from autoresearch_tui.cockpit.screens.palette import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette", **options))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every available action with its key, then themes."""
        now = self.front.situation
        for action in ACTIONS:
            if (target := self._runs(action, screen)) is not None and action.enabled(now):
                # The palette is in front while the human chooses: the action runs when it is gone.
                name = f"{action.title} · {key_name(action, self.preferences.keys)}"
                yield SystemCommand(name, action.help, partial(self._from_palette, target, action.call))
        yield SystemCommand("Theme", "Changes the colours.", self.action_change_theme)

    def _runs(self, action: Action, screen: Screen[Any]) -> DOMNode | None:
        """The screen or pane that runs an action while `screen` is in front; None if it cannot run there."""
        if isinstance(screen, MainScreen):
            results, tree = screen.results, screen.tree_pane
            listed = tree if tree.has_focus else results
            experiments = {"results": listed, "table": results, "tree": tree}
            ours = dict.fromkeys(("replay", *screen.PLACES), screen)
            places = {**ours, **experiments, "stream": screen.stream, "diff": screen.diff}
            return places.get(action.place) or (screen.devices if action.place == "devices" else None)
        return screen if action.place and self._place(screen) == action.place else None

    @staticmethod
    def _place(screen: Screen[Any]) -> str:
        """The screen's `place` in the table of actions."""
        return _PLACES.get(type(screen).__name__, "")

    def _from_palette(self, target: DOMNode, action: str) -> None:
        target.call_later(self.run_action, action, target)


def _repaint_on_sigcont(app: App[int]) -> None:
    """Makes SIGCONT only repaint the screen, unless Textual itself suspended the application.

    Textual's own handler would start its driver a second time: two of each thread, one of which swallows keys, and
    a terminal left in raw mode.
    """
    theirs = signal.getsignal(signal.SIGCONT)
    if threading.current_thread() is not threading.main_thread() or not callable(theirs):
        return

    def continued(number: int, frame: FrameType | None) -> None:
        driver = app._driver
        if getattr(driver, "_must_signal_resume", True) or not getattr(driver, "_auto_restart", True):
            theirs(number, frame)
        else:
            app.call_later(app.refresh, layout=True)

    signal.signal(signal.SIGCONT, continued)
