"""A loss curve of bounded size, whatever the length of its log."""

from __future__ import annotations

BINS = 512


class Curve:
    """The last value in each of :data:`BINS` slices of the budget."""

    def __init__(self) -> None:
        self._values: dict[int, float] = {}
        self.version = 0

    def add(self, fraction: float, value: float) -> None:
        """One more measurement, at `fraction` of the budget."""
        if value != value or value in (float("inf"), float("-inf")):
            return
        self._values[min(BINS - 1, max(0, int(fraction * BINS)))] = value
        self.version += 1

    def __len__(self) -> int:
        return len(self._values)

    @property
    def points(self) -> list[tuple[float, float]]:
        """What is known, by fraction of the budget."""
        return [(at / BINS, value) for at, value in sorted(self._values.items())]

    @property
    def last(self) -> tuple[float, float] | None:
        """The newest point."""
        if not self._values:
            return None
        at = max(self._values)
        return at / BINS, self._values[at]

    def value_at(self, fraction: float) -> float | None:
        """The value at the slice before or at `fraction`."""
        known = [at for at in self._values if at <= fraction * BINS]
        return self._values[max(known)] if known else None
