"""An application for one screen or one pane of the cockpit, with the colours that those know by name."""

from __future__ import annotations

from textual.app import App

from autoresearch_tui.cockpit import legible


class Coloured(App[None]):
    """A theme's variables as the cockpit has them."""

    def get_css_variables(self) -> dict[str, str]:
        self.theme_variables = legible.variables(super().get_css_variables())
        return self.theme_variables
