"""What all screens over a session share, and those with a plot of a log's numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from textual import events
from textual.geometry import Size
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from autoresearch_tui.cockpit.key_order import KeysInOrder
from autoresearch_tui.cockpit.log_follower import RunFeed
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.widgets.charts import LossPlot


class SessionScreen(Screen[None]):
    # Textual would draw the whole screen again: two dozen kilobytes to the terminal, and half of a key's time.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self.bridge = bridge

    def _on_screen_resume(self, event: events.ScreenResume) -> None:
        """Runs before Textual's: a new screen already has styles; those of a screen that was left may be outdated."""
        event.refresh_styles = event.refresh_styles and bool(self._size)

    def _screen_resized(self, size: Size) -> None:
        """Ignores the size that Textual sends a new screen: it would lay it out and paint it a second time."""
        if size != self._size:
            super()._screen_resized(size)

    def say(self, text: str, *, warn: bool = False) -> None:
        """Shows a short notice."""
        self.notify(text, severity="warning" if warn else "information", timeout=4, markup=False)

    def ignore_words(self) -> None:
        """Ignores words that are typed together with the current key, because it opens no dialog for them."""
        if isinstance(self.app, KeysInOrder):
            self.app.ignore_words()


class CurveScreen(SessionScreen):
    """A screen with a plot of the numbers that its logs have at every step."""

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
        """The names of the numbers in any of the logs, the loss first."""
        return list(dict.fromkeys(key for feed in self.feeds() for key in feed.keys)) or ["loss"]

    def draw_curve(self, key: str) -> None:
        self.plot.key = key
        self.draw_curves()

    def action_curve(self) -> None:
        keys = self.curve_keys()
        here = keys.index(self.plot.key) if self.plot.key in keys else -1
        self.draw_curve(keys[(here + 1) % len(keys)])

    def action_curves(self) -> None:
        from autoresearch_tui.cockpit.screens.palette import Curves, Palette

        self.app.push_screen(
            Palette(providers=[Curves], placeholder="Search for curves…", id="--command-palette"),
        )

    def action_smooth(self) -> None:
        self.plot.smooth = not self.plot.smooth
        self.draw_curves()
