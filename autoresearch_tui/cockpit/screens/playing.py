"""Playing a recorded session: pause, step, speed, and where to go."""

from __future__ import annotations

from abc import abstractmethod

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.screens.finding import FindingScreen


class PlayingScreen(FindingScreen):
    """The keys of a replay. Without one they are free for the panes."""

    @abstractmethod
    def show_status(self) -> None:
        """Draw the status line anew: it says how fast the night goes by."""

    @abstractmethod
    def show_keys(self) -> None:
        """Draw the key line anew: pausing has another word now."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key of a replay counts only in one."""
        if self.bridge.player is None and any(action == a.run.partition("(")[0] for a in actions.REPLAY):
            return False
        return super().check_action(action, parameters)

    def action_play_or_pause(self) -> None:
        """Pause, or continue."""
        if (player := self.bridge.player) is not None:
            player.pause()
            self.show_keys()
            self.show_status()

    def action_play_step(self) -> None:
        """To the next verdict."""
        if (player := self.bridge.player) is not None:
            if not player.step():
                self.say("no verdict comes after this")
            self.show_keys()

    def action_play_faster(self, times: float) -> None:
        """Change the speed."""
        if (player := self.bridge.player) is not None:
            player.faster(times)
            self.show_status()

    def action_play_from(self) -> None:
        """Ask where to go."""
        from autoresearch_tui.cockpit.screens.dialogs import Dialog

        hint = "#12, 50% or 03:30"
        text = "To an experiment, a share of the night, or a time."
        self.app.push_screen(Dialog("Go to", text, line=hint, enter="go there"), self._seek)

    def _seek(self, where: str | None) -> None:
        if where is not None and (player := self.bridge.player) is not None and (problem := player.seek(where)):
            self.say(problem, warn=True)
