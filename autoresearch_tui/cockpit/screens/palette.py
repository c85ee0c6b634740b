"""The command palette, on terminals of any size, with keys that may come before its list."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from textual.app import App, ComposeResult
from textual.command import CommandList, CommandPalette
from textual.theme import ThemeProvider

from autoresearch_tui.cockpit import preferences
from autoresearch_tui.cockpit.log_follower import curve_name
from autoresearch_tui.cockpit.screens.runs import RunsScreen
from autoresearch_tui.cockpit.screens.session_screen import CurveScreen
from autoresearch_tui.cockpit.widgets.bars import KeyLine
from autoresearch_tui.session.status import title
from autoresearch_tui.util.text import clean_line


class Palette(CommandPalette):
    """Ignores Page Up and Down while the list has no rows on the screen; Textual looks up one that does not exist."""

    def compose(self) -> ComposeResult:
        """Adds a key line of its own, since the keys of the screen behind it do nothing now."""
        yield from super().compose()
        yield KeyLine("Enter: choose · ↑ ↓: move · Esc: back")

    def _action_command_list(self, action: str) -> None:
        if action not in ("page_up", "page_down") or self.query_one(CommandList).scrollable_content_region.area:
            super()._action_command_list(action)


class Themes(ThemeProvider):
    """Every theme by name; the chosen one is saved in the preferences."""

    @property
    def commands(self) -> list[tuple[str, Callable[[], None]]]:
        return [(name, partial(_choose, self.app, name)) for name in sorted(self.app.available_themes)]


class Curves(ThemeProvider):
    """Everything that the plot of the screen behind can draw, by its name in the log."""

    @property
    def commands(self) -> list[tuple[str, Callable[[], None]]]:
        screen = self.screen
        assert isinstance(screen, CurveScreen)
        return [(curve_name(key), partial(screen.draw_curve, key)) for key in screen.curve_keys()]


class Runs(ThemeProvider):
    """Every run in flight, by its device."""

    @property
    def commands(self) -> list[tuple[str, Callable[[], None]]]:
        screen = self.screen
        assert isinstance(screen, RunsScreen)
        runs = [
            (f"{clean_line(run.device)} · {title(run)}", partial(screen.follow, run.device)) for run in screen.runs()
        ]
        return [*runs, ("always the newest run", partial(screen.follow, None))]


def _choose(app: App[Any], name: str) -> None:
    app.theme = name
    problem = preferences.keep_theme(preferences.path(), name)
    message = problem or f"{name} is your theme from now on"
    app.notify(message, severity="warning" if problem else "information", markup=False)
