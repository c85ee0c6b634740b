"""The training loss of a run at each tenth of its budget, from its log."""

from __future__ import annotations

import math
from pathlib import Path

from autoresearch_tui.logs.lines import LogTail

TENTHS = 10
_WIDTH = 100.0 / TENTHS
# In per cent of the budget: over how much a loss is averaged, and how far back a line may be, as ranks print in turns.
_WINDOW = 5.0
_BACK = 5.0


class LossCurve:
    """Losses by per cent of the budget, in the order of the log; only sums per tenth are kept."""

    def __init__(self) -> None:
        self.far = 0.0
        """The furthest per cent so far."""
        self.first = math.nan
        """The loss of the first line: that of the initial weights."""
        self._sums = [0.0] * TENTHS
        self._counts = [0] * TENTHS
        self._last = [math.nan] * TENTHS
        self._cyclic = False

    def add(self, percent: float, loss: float) -> None:
        """Add a line of the log, unless its place in the budget is unknown."""
        if not math.isfinite(percent):
            return
        self.first = loss if math.isnan(self.first) else self.first
        self._cyclic = self._cyclic or percent < self.far - _BACK
        self.far = max(self.far, percent)
        tenth = max(0, math.ceil(percent / _WIDTH) - 1)
        for at in range(tenth, TENTHS):
            self._last[at] = loss
        if tenth < TENTHS and percent > (tenth + 1) * _WIDTH - _WINDOW:
            self._sums[tenth] += loss
            self._counts[tenth] += 1

    def tenths(self, *, passed: bool = False) -> tuple[float, ...]:
        """The loss at 10 %, 20 % ... as far as the run got, each the mean of the lines just before.

        Empty if the lines have no progress, or count something else from 0 again, such as an epoch; ends at the first
        loss that is not finite. `passed`: only completed tenths, for a run in progress.
        """
        found: list[float] = []
        for tenth in range(0 if self._cyclic else TENTHS):
            at = (tenth + 1) * _WIDTH
            if self.far < at - _WINDOW / 2 or (passed and self.far <= at):
                break
            mean = self._sums[tenth] / self._counts[tenth] if self._counts[tenth] else self._last[tenth]
            rounded = float(f"{mean:.5g}")  # the largest numbers round to infinity
            if not math.isfinite(rounded):
                break
            found.append(rounded)
        return tuple(found)


class CurveTail:
    """Follows the curve of a run in its growing log, 256 KiB per call."""

    def __init__(self, log: Path) -> None:
        self._tail = LogTail(log)
        self.curve = LossCurve()

    def read(self) -> bool:
        """Read what is new; True if there is more."""
        chunk = self._tail.read()
        if chunk.restarted:
            self.curve = LossCurve()
        for progress in chunk.progress:
            if progress.percent is not None:
                self.curve.add(progress.percent, progress.loss)
        return chunk.behind
