"""Curves and points in braille dots: two columns and four rows of dots a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Dots:
    """A grid of cells. Where two curves meet in one cell, the layer drawn last gives the tone."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._bits = [[0] * width for _ in range(height)]
        self._tones = [[""] * width for _ in range(height)]

    def dot(self, x: int, y: int, tone: str) -> None:
        """One dot, counted in dots from the upper left."""
        column, row = x // 2, y // 4
        if 0 <= column < self.width and 0 <= row < self.height:
            if self._tones[row][column] != tone:
                # Another layer's dots in this cell would take on this tone and lie.
                self._bits[row][column] = 0
                self._tones[row][column] = tone
            self._bits[row][column] |= _DOTS[y % 4][x % 2]

    def line(self, points: Iterable[tuple[int, int]], tone: str) -> None:
        """Dots from point to point."""
        before: tuple[int, int] | None = None
        for x, y in points:
            if before is None:
                self.dot(x, y, tone)
            else:
                self._segment(before, (x, y), tone)
            before = (x, y)

    def _segment(self, start: tuple[int, int], end: tuple[int, int], tone: str) -> None:
        (x0, y0), (x1, y1) = start, end
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(1, steps + 1):
            self.dot(x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps), tone)

    def rows(self) -> list[list[tuple[str, str]]]:
        """The cells as runs of one tone."""
        return [_runs(bits, tones) for bits, tones in zip(self._bits, self._tones, strict=True)]


def _runs(bits: Sequence[int], tones: Sequence[str]) -> list[tuple[str, str]]:
    runs: list[tuple[str, str]] = []
    for bit, tone in zip(bits, tones, strict=True):
        char = chr(0x2800 + bit) if bit else " "
        if runs and (runs[-1][1] == tone or not bit):
            runs[-1] = (runs[-1][0] + char, runs[-1][1])
        else:
            runs.append((char, tone))
    return runs


def ticks(low: float, high: float, count: int) -> list[float]:
    """At most `count` round values within `low` and `high`."""
    span = high - low
    if span <= 0 or count < 1:
        return [low]
    unit = 10.0**-12
    while unit * 10 < span:
        unit *= 10
    for step in (unit / 10, unit / 5, unit / 2, unit, unit * 2, unit * 5, unit * 10):
        first = -(-low // step)
        values = [(first + i) * step for i in range(int((high - first * step) / step + 1e-9) + 1)]
        if len(values) <= count:
            return values or [low]
    return [low]
