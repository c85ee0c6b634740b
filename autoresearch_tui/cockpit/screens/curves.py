"""Which of a log's numbers a screen's plot draws, and how."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from autoresearch_tui.cockpit.log_follower import RunFeed
from autoresearch_tui.cockpit.screens.session_screen import SessionScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.widgets.charts import LossPlot


class CurveScreen(SessionScreen):
    """A screen with a plot of numbers that logs have at every step."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(bridge)
        self.plot = LossPlot()

    @abstractmethod
    def feeds(self) -> Sequence[RunFeed]:
        """The logs whose numbers can be drawn."""

    @abstractmethod
    def draw_curves(self) -> None:
        """Draws `plot.key` of the logs."""

    def curve_keys(self) -> list[str]:
        """What any of the logs has, the loss first."""
        return list(dict.fromkeys(key for feed in self.feeds() for key in feed.keys)) or ["loss"]

    def draw_curve(self, key: str) -> None:
        self.plot.key = key
        self.draw_curves()

    def action_curve(self) -> None:
        """The next of what the log has."""
        keys = self.curve_keys()
        here = keys.index(self.plot.key) if self.plot.key in keys else -1
        self.draw_curve(keys[(here + 1) % len(keys)])

    def action_curves(self) -> None:
        """A list of what the log has, narrowed by typing."""
        from autoresearch_tui.cockpit.screens.palette import Curves, Palette

        self.app.push_screen(
            Palette(providers=[Curves], placeholder="Search for curves…", id="--command-palette"),
        )

    def action_smooth(self) -> None:
        """Curves as they are, or as a running mean."""
        self.plot.smooth = not self.plot.smooth
        self.draw_curves()
