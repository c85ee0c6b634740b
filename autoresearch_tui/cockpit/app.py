"""The application: one timer, one bridge, the screens on top of it."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.screen import Screen
from textual.theme import Theme

from autoresearch_tui.cockpit.actions import ACTIONS, key_name
from autoresearch_tui.cockpit.bridge import Bridge
from autoresearch_tui.cockpit.screens.main import MainScreen
from autoresearch_tui.engine.events import CommandRefused
from autoresearch_tui.engine.host import Host
from autoresearch_tui.lab import Lab
from autoresearch_tui.monitor import Monitor
from autoresearch_tui.text import clean_line

TICK_SECONDS = 0.2

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


class Cockpit(App[int]):
    """A projection of the session `tag` of `lab`. With no host it only watches.

    After :meth:`run`, `outcome` says what the human left behind: detached (the session goes on, in a headless
    engine where this process had one), stopped (the engine has ended), failed (it ended by itself).
    """

    CSS_PATH = "cockpit.tcss"
    TITLE = "autoresearch"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar = []

    def __init__(
        self,
        lab: Lab,
        tag: str,
        host: Host | None,
        *,
        read_only_reason: str = "",
        bridge: Bridge | None = None,
        monitor: Monitor | None = None,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        super().__init__()
        self.host = host
        self.bridge = bridge or Bridge(lab, tag, host, read_only_reason)
        self.monitor = monitor or Monitor()
        self.outcome = "detached"
        self._tick_seconds = tick_seconds
        self._stopping = False
        self._ticks = 0
        self._refused: CommandRefused | None = None

    def run(self, **options: Any) -> int | None:
        """Until the human leaves. The engine is let go of after the terminal is as it was."""
        try:
            return super().run(**options)
        finally:
            self.monitor.stop()
            if self.host is not None and self.outcome == "detached":
                self.host.detach()

    def on_mount(self) -> None:
        """What is on disk is on the first picture; the engine starts after it."""
        self.register_theme(THEME)
        self.theme = "autoresearch"
        self.bridge.poll()
        self.bridge.poll_log()
        self.main = MainScreen(self.bridge, self.monitor)
        self.push_screen(self.main)
        self._let_go_on_hangup()
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self.monitor.start()
        if self.host is not None:
            self.host.start()
        self.set_interval(self._tick_seconds, self.tick)

    def _let_go_on_hangup(self) -> None:
        """A terminal that goes away is a human who leaves."""
        import asyncio

        try:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.leave)
        except (NotImplementedError, ValueError, RuntimeError):
            # Not on this system, or not in the main thread, as in tests.
            pass

    def tick(self) -> None:
        """What has come to the files goes to the screens."""
        self._ticks += 1
        if self.bridge.poll():
            self._tell_refusal()
            for screen in self.screen_stack:
                refresh = getattr(screen, "refresh_state", None)
                if refresh is not None:
                    refresh(self.bridge.state)
        self.main.tick(self._ticks)
        if self.bridge.state.stopping:
            self._stopping = True
        if self._stopping and self.host is not None and not self.host.alive and not self.host.failure:
            self.outcome = "stopped"
            self.exit(0)

    def _tell_refusal(self) -> None:
        """What the engine would not do is said once, where the human asked for it."""
        refused = self.bridge.state.refused
        if refused is not self._refused and refused is not None and self._ticks > 1:
            text = f"{clean_line(refused.command)}: {clean_line(refused.why)}"
            self.notify(text, severity="warning", timeout=6, markup=False)
        self._refused = refused

    # -- leaving ---------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """The screen goes; the session stays as it is."""
        if self.host is None or self.host.alive:
            self.outcome = "detached"
        else:
            self.outcome = "failed" if self.host.failure else "stopped"
        self.exit(1 if self.outcome == "failed" else 0)

    def action_detach(self) -> None:
        """The key for leaving."""
        self.leave()

    async def action_quit(self) -> None:
        """Textual's own key for quitting leaves too."""
        self.leave()

    def action_help(self) -> None:
        """Every key."""
        from autoresearch_tui.cockpit.screens.help import HelpScreen

        self.push_screen(HelpScreen([(key_name(a), a.title, a.help) for a in ACTIONS]))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The command palette: every action of the table that makes sense now, then themes."""
        now = self.main.situation
        for action in ACTIONS if screen is self.main else ():
            if action.enabled(now):
                yield SystemCommand(action.title, action.help, lambda a=action: self._from_palette(a.call))
        yield SystemCommand("Theme", "Other colours.", self.action_change_theme)

    def _from_palette(self, action: str) -> None:
        self.main.call_later(self.main.run_action, action)
