"""How much of a difference between two scores is chance. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from autoresearch_tui.engine.state import State

# nats and UTF-8 bytes of the targets of one scored row
Row = tuple[float, float]
SIGMAS = 2.0


def paired_error(rows: Sequence[Row], others: Sequence[Row]) -> float | None:
    """Standard error, in bits per byte, of the difference between two scores of the same rows.

    Both are ratios of sums with the same bytes below, so the difference is a ratio too, and its error is that of a
    ratio estimator (Cochran, Sampling Techniques, 6.4). None where the rows are not the same, or fewer than two.
    """
    count = len(rows)
    if count < 2 or [row[1] for row in rows] != [row[1] for row in others]:
        return None
    apart = [mine[0] - other[0] for mine, other in zip(rows, others, strict=True)]
    weights = [row[1] for row in rows]
    total = math.fsum(weights)
    if total <= 0:
        return None
    mean = math.fsum(apart) / total
    residual = math.fsum((d - mean * w) ** 2 for d, w in zip(apart, weights, strict=True))
    return math.sqrt(residual * count / (count - 1)) / (total * math.log(2))


def spread(state: State) -> float | None:
    """Standard deviation between runs of one commit, pooled over all that ran more than once; None: none did."""
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for experiment in state.experiments:
        if experiment.value is not None:
            groups[experiment.commit].append(experiment.value)
    squares, freedom = 0.0, 0
    for values in groups.values():
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
        freedom += len(values) - 1
    return math.sqrt(squares / freedom) if freedom else None


def inside(difference: float, stderr: float | None, spread: float | None) -> bool:
    """Whether a difference between two runs is no larger than their two kinds of chance; False where none is known.

    Each run lies `spread` from the mean of its equals, so their difference has twice that variance.
    """
    if stderr is None and spread is None:
        return False
    return abs(difference) < SIGMAS * math.sqrt((stderr or 0.0) ** 2 + 2 * (spread or 0.0) ** 2)
