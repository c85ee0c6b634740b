"""What every screen over a session has."""

from __future__ import annotations

from textual.screen import Screen

from autoresearch_tui.cockpit.session_view import Bridge


class SessionScreen(Screen[None]):
    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self.bridge = bridge

    def say(self, text: str, *, warn: bool = False) -> None:
        """A short notice."""
        self.notify(text, severity="warning" if warn else "information", timeout=4, markup=False)
