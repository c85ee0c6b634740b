"""What every screen over a session has."""

from __future__ import annotations

from textual import events
from textual.geometry import Size
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from autoresearch_tui.cockpit.key_order import KeysInOrder
from autoresearch_tui.cockpit.session_view import Bridge


class SessionScreen(Screen[None]):
    # Textual would draw the whole screen again: two dozen kilobytes to the terminal, and half of a key's time.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self.bridge = bridge

    def _on_screen_resume(self, event: events.ScreenResume) -> None:
        """Before Textual's: what has just been mounted has its styles; those of a screen that was left may be old."""
        event.refresh_styles = event.refresh_styles and bool(self._size)

    def _screen_resized(self, size: Size) -> None:
        """Textual tells a new screen its size, and would lay it out and paint it again with what it has already."""
        if size != self._size:
            super()._screen_resized(size)

    def say(self, text: str, *, warn: bool = False) -> None:
        """A short notice."""
        self.notify(text, severity="warning" if warn else "information", timeout=4, markup=False)

    def ignore_words(self) -> None:
        """The present key opens no dialog after all; the words typed after it in one breath are not taken for keys."""
        if isinstance(self.app, KeysInOrder):
            self.app.ignore_words()
