"""Only the cells that changed go to the terminal: over SSH, and on a phone, they are what a picture costs."""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate


class CroppedUpdate(ChopsUpdate):
    """As Textual draws changed regions of a screen, which it cuts at their right side only."""

    def __init__(self, update: ChopsUpdate) -> None:
        super().__init__(update.chops, update.spans, update.chop_ends)

    def render_segments(self, console: Console) -> str:
        """What is written to the terminal."""
        written: list[str] = []
        for y, left, right in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is not None and x < right and end > left:
                    start, stop = max(x, left), min(end, right)
                    part = strip.crop(start - x, stop - x) if (start, stop) != (x, end) else strip
                    written += (Control.move_to(start, y).segment.text, part.render(console))
        return "".join(written)
