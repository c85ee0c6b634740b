"""Which direction of a score is better. Every comparison of two scores goes through here."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Goal(StrEnum):
    """A plain string, as in settings, journals and briefs."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    def gain(self, old: float, new: float) -> float:
        """How much better `new` is than `old`, in the score's unit; negative if it is worse."""
        return new - old if self is Goal.MAXIMIZE else old - new

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`."""
        return a > b if self is Goal.MAXIMIZE else a < b

    def best(self, values: Iterable[float]) -> float | None:
        return min(values, key=self.sort_key, default=None)

    def sort_key(self, value: float) -> float:
        """Sorts scores, the best first."""
        return -value if self is Goal.MAXIMIZE else value

    @property
    def direction(self) -> str:
        """`lower` or `higher`: which score is better."""
        return "higher" if self is Goal.MAXIMIZE else "lower"
