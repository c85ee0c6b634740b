"""The application: one timer, one bridge, the screens on top of it."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.dom import DOMNode
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.theme import Theme

from autoresearch_tui.cockpit import continued, legible, preferences
from autoresearch_tui.cockpit.actions import ACTIONS, Action, by_id
from autoresearch_tui.cockpit.bridge import Bridge
from autoresearch_tui.cockpit.preferences import Preferences
from autoresearch_tui.cockpit.screens.main import MainScreen
from autoresearch_tui.cockpit.screens.main_view import TICKS_A_SECOND
from autoresearch_tui.engine.hosting.host import Host
from autoresearch_tui.engine.state import State
from autoresearch_tui.lab import Lab
from autoresearch_tui.text import clean_line

if TYPE_CHECKING:
    from autoresearch_tui.monitor import Monitor
    from autoresearch_tui.news import News

READ_ON_SECONDS = 0.012

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
    "ProgramScreen": "program",
    "EditScreen": "edit",
    "ConflictScreen": "conflict",
}


class Cockpit(App[int]):
    """A projection of the session `tag` of `lab`. With no host it only watches; `silent`: it tells no news either.

    After `run`, `outcome` says what the human left behind: detached (the session goes on), stopped (the engine has
    ended), failed (it ended by itself). Whoever runs the app lets go of the engine.
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
        takeable: bool = False,
        silent: bool = False,
        bridge: Bridge | None = None,
        monitor: Monitor | None = None,
        settings: Preferences | None = None,
        tick_seconds: float = 1 / TICKS_A_SECOND,
    ) -> None:
        super().__init__()
        self.register_theme(THEME)
        self.host = host
        self.bridge = bridge or Bridge(lab, tag, host, read_only_reason, takeable)
        self.monitor = monitor
        self.preferences = preferences.load(preferences.path()) if settings is None else settings
        self.main = MainScreen(self.bridge)
        self.silent = silent
        self.outcome = "detached"
        self.taken_over = False
        themed = self.preferences.theme in self.available_themes
        self.set_reactive(Cockpit.theme, self.preferences.theme if themed else THEME.name)
        # Set before anything is drawn: a change of theme later means to work out all styles again.
        self.stylesheet.set_variables(self.get_css_variables())
        self._tick_seconds = tick_seconds
        self._told: State | None = None
        self._reading_on = False
        self._stopping = False
        self._ticks = 0

    def get_default_screen(self) -> Screen[Any]:
        """What is on disk is on the first picture."""
        self.bridge.poll()
        self.bridge.poll_log()
        return self.main

    def get_css_variables(self) -> dict[str, str]:
        """The theme's, in colours that can be read."""
        self.theme_variables = legible.variables(super().get_css_variables())
        return self.theme_variables

    def on_mount(self) -> None:
        """The engine starts after the first picture."""
        self.set_keymap(dict(self.preferences.keys))
        for problem in self.preferences.problems:
            self.notify(problem, severity="warning", timeout=10, markup=False)
        self.call_after_refresh(self._begin)

    def on_unmount(self) -> None:
        """What has been seen is kept; the monitor's thread ends by itself."""
        if self.monitor is not None:
            self.monitor.stop()
        self.bridge.write_seen()

    def _begin(self) -> None:
        gc.enable()
        gc.freeze()
        from autoresearch_tui.monitor import Monitor

        continued.mind(self)
        self.monitor = self.monitor or Monitor()
        self.monitor.start()
        self.main.monitor = self.monitor
        self.bridge.begin()
        self.set_interval(self._tick_seconds, self.tick)

    def tick(self) -> None:
        """What has come to the files goes to the screens; what only time changes does so once a second."""
        self._ticks += 1
        if self.taken_over and self.host is not None:
            self.host = None
            self.bridge.only_watch("another terminal has taken over")
        if self.bridge.poll():
            for screen in self.screen_stack:
                refresh = getattr(screen, "refresh_state", None)
                if refresh is not None:
                    refresh(self.bridge.state)
        if self.bridge.reading is not None:
            self.call_later(self.tick)
            return
        self._tell(self.bridge.state)
        self.main.tick(self._ticks)
        if self._ticks % TICKS_A_SECOND == 0:
            # Not only at the end: a line that drops, or kill -9, leaves no time for that.
            self.bridge.write_seen()
        if self.bridge.feed.behind and not self._reading_on:
            self._reading_on = True
            self._read_on()
        if self.bridge.state.stopping:
            self._stopping = True
        if self._stopping and self.host is not None and not self.host.alive and not self.host.failure:
            self.outcome = "stopped"
            self.exit(0)

    def _read_on(self) -> None:
        """Between two ticks a flood of lines is read in small pieces, so that a key never waits for it."""
        self.bridge.poll_log()
        self._reading_on = self.bridge.feed.behind
        if self._reading_on:
            self.set_timer(READ_ON_SECONDS, self._read_on)

    # -- telling ---------------------------------------------------------------------------------------------

    def _tell(self, state: State) -> None:
        """What happened since the last tick, where it is worth a notice; at first, what did since the last visit."""
        before, self._told = self._told, state
        if before is None:
            self._tell_what_was_missed()
        elif before is not state and not self.silent:
            from autoresearch_tui.news import news

            for item in news(before, state):
                self._announce(item)
            refused = state.refused
            if refused is not None and refused is not before.refused:
                text = f"{clean_line(refused.command)}: {clean_line(refused.why)}"
                self.notify(text, severity="warning", timeout=6, markup=False)

    def _announce(self, item: News) -> None:
        severity: SeverityLevel = "error" if item.kind == "crash" else "information"
        if item.urgent or item.kind == "overfits":
            severity = "warning"
        self.notify(item.text, severity=severity, timeout=8, markup=False)
        if self.preferences.bell:
            self.bell()
        if self.preferences.notify and self._driver is not None and not self.is_headless:
            # OSC 9: a notice of the desktop, in the terminals that know it; over SSH as well.
            self._driver.write(f"\x1b]9;{clean_line(self.bridge.lab.root.name)}: {item.text}\x07")

    def _tell_what_was_missed(self) -> None:
        before, after = self.bridge.left_at, self.bridge.state
        if self.host is not None and before is not None and len(before.table) < len(after.table):
            from autoresearch_tui.cockpit.screens.since import SinceScreen

            self.push_screen(SinceScreen(before, after))

    # -- leaving ---------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """The screen goes; the session stays as it is."""
        if self.host is None or self.host.alive:
            self.outcome = "detached"
        else:
            self.outcome = "failed" if self.host.failure else "stopped"
        self.exit(1 if self.outcome == "failed" else 0)

    def action_take_over(self) -> None:
        """The launcher opens this terminal's cockpit again, as the one that has the session."""
        if self.main.situation.takeable:
            self.outcome = "take over"
            self.exit(0)

    def action_detach(self) -> None:
        """The key for leaving."""
        self.leave()

    async def action_quit(self) -> None:
        """Textual's own key for quitting leaves too."""
        self.leave()

    def action_help(self) -> None:
        """Every key, what the marks mean."""
        from autoresearch_tui.cockpit.screens.help import HelpScreen, help_rows

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(help_rows(self.preferences.keys, self._place(self.screen))))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The command palette: every action of the table that makes sense now, then themes."""
        now = self.main.situation
        for action in ACTIONS:
            if (target := self._runs(action, screen)) is not None and action.enabled(now):
                # A palette of its own is in front while it chooses: the action runs when that is gone.
                yield SystemCommand(action.title, action.help, partial(self._from_palette, target, action.call))
        yield SystemCommand("Theme", "Other colours.", self.action_change_theme)

    def _runs(self, action: Action, screen: Screen[Any]) -> DOMNode | None:
        """Who runs an action while `screen` is in front: the screen itself, or a pane of it; None: nobody."""
        if screen is self.main:
            return {"": self.main, "results": self.main.results, "diff": self.main.diff}.get(action.place)
        return screen if action.place and self._place(screen) == action.place else None

    @staticmethod
    def _place(screen: Screen[Any]) -> str:
        """The place in the table of actions that a screen has."""
        return _PLACES.get(type(screen).__name__, "")

    def _from_palette(self, target: DOMNode, action: str) -> None:
        target.call_later(self.run_action, action, target)
