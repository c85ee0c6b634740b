"""A Gaussian process over everything that a search may change: numbers by distance, code by its form.

Each number has a smooth effect of its own and each two a coupling (the additive kernel of Duvenaud et al., "Additive
Gaussian Processes", NIPS 2011). Another form of code has a level of its own, and effects of its own on top of those
that all forms share, because a better form moves the optima of some numbers. Their sizes are fitted to
the scores by multiplicative updates of variance components (Zhou et al., "MM Algorithms for Variance Components
Models", JCGS 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoresearch_tui.util.frozen import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
else:
    Floats = Codes = Any

_LENGTH = 1.75  # coarse steps over which an effect bends
_COUPLING = 0.1  # variance of a coupling beside those of the effects that it couples
_BOWL = 0.4  # how much a number is expected to bend upwards, beside how much it may tilt
_SHIFT, _OWN = 1.0, 0.1  # variances of a form's level, and of its effects beside those that all forms share
_COSTS = 1.0  # typical gains: what another form is expected to lose
_NOISE = 0.4  # typical gains
_WIDE = 30.0  # typical gains: what sessions may differ by
_ROUNDS = 8
_HELD = 1.0  # of each round: how strongly a variance keeps its value
_SHRINK = 0.15  # of each round's estimates towards their mean, in logarithms
_LEAST_NOISE = 1e-4


class Points(Frozen):
    """Places that were, or may be, tried: `offsets` in coarse steps from the base; `forms` as numbers that are equal
    for equal code at a site, and 0 for the base's; `groups`: equal for scores that were measured together."""

    offsets: Floats
    forms: Codes
    groups: Codes


class Surrogate:
    """The beliefs that follow from the scores, relative to the base. Lower scores are better; their unit is a
    typical gain."""

    def __init__(self, points: Points, scores: Floats, spreads: Sequence[float]) -> None:
        """`spreads`: how much each number is expected to tilt the score, before anything is known."""
        import numpy as np

        self._points = points
        self._numbers = points.offsets.shape[1]
        self._sizes = np.array([*((_LENGTH * s) ** 2 for s in spreads), _SHIFT, _OWN, _NOISE**2])
        self._level = float(np.mean(scores))
        self._scores = scores - self._level
        columns = points.offsets.T
        effects = np.array([_effect(column, column) for column in columns]).reshape(len(columns), *2 * scores.shape)
        forms, groups = _same(points.forms, points.forms), _same(points.groups[:, None], points.groups[:, None])
        for _ in range(_ROUNDS):
            self._fit(effects, forms, groups)
        whole = self._summed(effects, forms, groups)[0] + self._sizes[-1] * np.eye(len(scores))
        self._half = np.linalg.inv(np.linalg.cholesky(whole))
        self._weights = self._half.T @ (self._half @ (self._scores - self._expected(points)))

    @property
    def noise(self) -> float:
        """The spread of equal runs."""
        return math.sqrt(self._sizes[-1])

    def _fit(self, effects: Floats, forms: Floats, groups: Floats) -> None:
        """One round: scales each variance by what the scores show over what it explains now."""
        import numpy as np

        whole, bent = self._summed(effects, forms, groups)
        one = np.eye(len(whole))
        inverse = np.linalg.inv(whole + self._sizes[-1] * one)
        weights = inverse @ (self._scores - self._expected(self._points))
        parts = np.concatenate([effects, [forms, bent, one]])
        measured = (parts @ weights) @ weights * self._sizes + _HELD
        explained = np.tensordot(parts, inverse, 2) * self._sizes + _HELD
        self._sizes = self._sizes * np.sqrt(measured / explained)
        if self._numbers:
            logs = np.log(np.maximum(self._sizes[: self._numbers], 1e-6))
            self._sizes[: self._numbers] = np.exp((1 - _SHRINK) * logs + _SHRINK * np.mean(logs))
        self._sizes[-1] = max(self._sizes[-1], _LEAST_NOISE)

    def _summed(self, effects: Floats, forms: Floats, groups: Floats) -> tuple[Floats, Floats]:
        """The kernel of all points, and the own effects of forms."""
        import numpy as np

        sizes = self._sizes[: self._numbers]
        total = np.tensordot(sizes, effects, 1)
        pairs, squares = np.tensordot(np.sqrt(sizes), effects, 1), np.tensordot(sizes, effects**2, 1)
        return self._joined(total, pairs, squares, forms, groups), forms * total

    def _joined(self, total: Floats, pairs: Floats, squares: Floats, forms: Floats, groups: Floats) -> Floats:
        shift, own = self._sizes[self._numbers : self._numbers + 2]
        coupled = _COUPLING * (pairs * pairs - squares) / 2
        found: Floats = total + coupled + forms * (shift + own * total) + _WIDE**2 * (1 + groups)
        return found

    def _kernel(self, one: Points, other: Points) -> Floats:
        """The kernel between two sets of points, mostly near the base: an unmoved number has no effect there."""
        import numpy as np

        total, pairs, squares = (np.zeros((len(one.offsets), len(other.offsets))) for _ in range(3))
        for column, size in enumerate(self._sizes[: self._numbers]):
            rows = np.flatnonzero(one.offsets[:, column])
            if rows.size:
                values, which = np.unique(one.offsets[rows, column], return_inverse=True)
                scaled = math.sqrt(size) * _effect(values, other.offsets[:, column])[which]
                total[rows] += math.sqrt(size) * scaled
                pairs[rows] += scaled
                squares[rows] += scaled * scaled
        groups = _same(one.groups[:, None], other.groups[:, None])
        return self._joined(total, pairs, squares, _same(one.forms, other.forms), groups)

    def _variances(self, points: Points) -> Floats:
        import numpy as np

        sizes = self._sizes[: self._numbers]
        effects = 2 - 2 * _bump(points.offsets)
        ones = np.ones(len(effects))
        total, pairs, squares = effects @ sizes, effects @ np.sqrt(sizes), effects**2 @ sizes
        return self._joined(total, pairs, squares, ones * points.forms.shape[1], ones)

    def _expected(self, points: Points) -> Floats:
        """How much worse than the base a point is expected to be, because most numbers have an optimum inside."""
        import numpy as np

        bends = (np.sqrt(1 + points.offsets**2) - 1) @ np.sqrt(self._sizes[: self._numbers])
        found: Floats = _BOWL * bends + _COSTS * np.sum(points.forms != 0, axis=1)
        return found

    def losses(self, points: Points) -> Floats:
        """The score of each point, without noise."""
        found: Floats = self._kernel(points, self._points) @ self._weights + self._expected(points) + self._level
        return found

    def gains(self, points: Points) -> tuple[Floats, Floats]:
        """Mean and spread of each point's gain over the first, which is the base."""
        import numpy as np

        first = Points(points.offsets[:1], points.forms[:1], points.groups[:1])
        cross = self._kernel(points, self._points)
        mean = cross @ self._weights + self._expected(points)
        seen = self._half @ cross.T
        own = self._variances(points)
        beside = self._kernel(first, points)[0]  # the base is not moved: this way round there is nothing to compute
        variance = own + own[0] - 2 * beside - np.sum((seen - seen[:, :1]) ** 2, axis=0)
        return mean[0] - mean, np.sqrt(np.maximum(variance, 1e-9))


def _same(one: Codes, other: Codes) -> Floats:
    """The number of columns in which two rows agree."""
    import numpy as np

    found: Floats = np.zeros((len(one), len(other)))
    for a, b in zip(one.T, other.T, strict=True):
        found += a[:, None] == b[None, :]
    return found


def _bump(away: Floats) -> Floats:
    import numpy as np

    found: Floats = np.exp(-(away**2) / (2 * _LENGTH**2))
    return found


def _effect(one: Floats, other: Floats) -> Floats:
    """The kernel of a smooth effect that is zero at the base."""
    return _bump(one[:, None] - other[None, :]) - _bump(one)[:, None] - _bump(other)[None, :] + 1


def expected_gain(mean: Floats, spread: Floats, noise: float, bar: float) -> Floats:
    """The mean value of each gain if it counts only when its run, with noise, comes out above a bar."""
    import numpy as np

    seen = np.sqrt(spread**2 + noise**2)
    ratio = (mean - bar) / seen
    density = np.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * math.erfc(-r / math.sqrt(2)) for r in ratio])
    found: Floats = mean * below + spread**2 / seen * density
    return found
