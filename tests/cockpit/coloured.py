"""An application for one screen or one pane of the cockpit, with the colours that those know by name."""

from __future__ import annotations

from autoresearch_tui.cockpit import theme
from autoresearch_tui.cockpit.key_order import KeysInOrder


class Coloured(KeysInOrder[None]):
    """A theme's variables as the cockpit has them."""

    def get_css_variables(self) -> dict[str, str]:
        self.theme_variables = theme.variables(super().get_css_variables(), self.console.color_system or "truecolor")
        return self.theme_variables
