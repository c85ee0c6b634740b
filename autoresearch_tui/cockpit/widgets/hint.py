"""What will appear in a pane that has nothing to show yet."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Size

from autoresearch_tui.cockpit.widgets.canvas import Canvas, Row, wrap


class Hint(Canvas):
    """Some words in the place of a pane."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._words = ""

    def show(self, words: str) -> None:
        """Other words."""
        if words != self._words:
            self._words = words
            self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:
        """Wrapped, from the top."""
        return [[(f" {line}", "dim")] for line in wrap(self._words, size.width - 2)]
