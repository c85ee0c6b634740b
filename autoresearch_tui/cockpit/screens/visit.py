"""Another session of the lab over this cockpit's own, read-only; Escape returns."""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace
from textual.binding import BindingType

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.screens.main import READ_ON_SECONDS, MainScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.util.text import clean_line


class VisitScreen(MainScreen):
    """Session `tag`, while session `home` continues behind it."""

    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("visit")]
    PLACES = (*MainScreen.PLACES, "visit")

    def __init__(self, lab: Lab, tag: str, home: str) -> None:
        super().__init__(Bridge(lab, tag, None, f"keys count in {clean_line(home)}; Esc goes back"))
        self.bridge.poll()
        self.bridge.poll_log()

    def on_mount(self) -> None:
        super().on_mount()
        self.show_load()
        self._read_on()

    def _read_on(self) -> None:
        """Reads a long journal in pieces, so that no key waits for it."""
        if self.bridge.reading is not None:
            if self.bridge.poll():
                self.refresh_state(self.bridge.state)
            self.show_status()
            self.set_timer(READ_ON_SECONDS, self._read_on)

    @property
    def situation(self) -> Situation:
        return replace(super().situation, visit=True)

    def key_escape(self) -> None:
        """Does nothing: `action_leave` handles searches too."""

    def action_leave(self) -> None:
        if not self.leave_search():
            self.dismiss(None)
