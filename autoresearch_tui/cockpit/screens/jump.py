"""Jump mode: a letter on each pane, which moves the focus there."""

from __future__ import annotations

from collections.abc import Mapping

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from autoresearch_tui.cockpit.layout import LETTERS, NAMES, signposts
from autoresearch_tui.cockpit.widgets.bars import KeyLine


class JumpScreen(ModalScreen[int | None]):
    """Returns the number of the pane whose letter was pressed or clicked, or that was clicked; None on Escape.

    Other keys do nothing. The letter of a pane that has no room on the screen is where the pane would appear.
    """

    DEFAULT_CSS = """
    JumpScreen > .signpost { position: absolute; width: auto; height: auto; text-style: bold reverse; }
    """

    def __init__(self, shown: Mapping[int, Widget], names: Mapping[int, str] = NAMES) -> None:
        super().__init__()
        self._names = names
        self._shown = shown
        self._posts = signposts(frozenset(shown))
        self._signs: dict[int, Static] = {}
        self._size = Size()

    def compose(self) -> ComposeResult:
        self._size = self.app.size
        for place, numbers in self._posts.items():
            names = [f" {LETTERS[number]}  {self._names[number]} " for number in numbers]
            width = max(map(len, names))
            self._signs[place] = Static(Content("\n".join(name.ljust(width) for name in names)), classes="signpost")
            yield self._signs[place]
        yield KeyLine("a letter or a click: that pane · Esc: back")

    def on_mount(self) -> None:
        """Centres each sign in its pane."""
        for place, sign in self._signs.items():
            pane = self._shown[place].region
            width, height = sign.get_content_width(pane.size, pane.size), len(str(sign.content).split("\n"))
            sign.styles.offset = pane.x + max(0, pane.width - width) // 2, pane.y + max(0, pane.height - height) // 2

    def on_resize(self) -> None:
        """Closes, because another size may have other panes."""
        if self.app.size != self._size:
            self.dismiss(None)

    def on_click(self, event: events.Click) -> None:
        x, y = int(event.screen_x), int(event.screen_y)
        for place, sign in self._signs.items():
            if sign.region.contains(x, y):
                self.dismiss(self._posts[place][y - sign.region.y])
                return
        number = next((n for n, pane in self._shown.items() if pane.region.contains(x, y)), None)
        if number is not None:
            self.dismiss(number)

    def on_key(self, event: events.Key) -> None:
        """Takes a letter, or the digit in the pane's title."""
        event.stop()
        number = next((n for n, letter in LETTERS.items() if event.character in (letter, str(n))), None)
        if number is not None or event.key == "escape":
            self.dismiss(number)
