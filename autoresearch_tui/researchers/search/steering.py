"""The lessons of the table about the knobs: which steps are out of bounds, and what each next one may gain.

The belief about the score is a Bayesian linear model with a slope and a curvature for each knob, seen from the
frontier; one draw from its posterior ranks the next steps (Thompson sampling: Agrawal and Goyal, "Thompson Sampling
for Contextual Bandits with Linear Payoffs", ICML 2013). Steps halve once both sides of a knob have failed (Hooke and
Jeeves, "Direct Search", JACM 1961). Whether to go deeper or wider is decided in :mod:`breadth` (after Inoue et al.,
"Wider or Deeper?", arXiv 2503.04412).
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence

from autoresearch_tui.python_source.constants import Knob, Value
from autoresearch_tui.researchers.base import RAN
from autoresearch_tui.researchers.search.moves import Step, coordinate, direction, scale, words
from autoresearch_tui.session.ends import FAILED, Outcome
from autoresearch_tui.util.frozen import Frozen

_FAR = 3.0  # coordinates: beyond this a parabola fitted near the frontier means nothing
_NOISE = 0.4  # of the typical gain
_WORTH = 0.3  # of the best of the last keeps
_OTHER_MEAN, _OTHER_SPREAD = -0.2, 0.6  # of a word or a pattern in place of another

# What public tables of the reference's runs have in common, in typical gains for a coarse step up: the prior mean.
_EXPECTED: tuple[tuple[frozenset[str], float], ...] = (
    (frozenset({"total", "batch"}), -1.2),
    (frozenset({"final", "lr"}), 0.5),
    (frozenset({"warmdown"}), 0.4),
    (frozenset({"embedding", "lr"}), 0.4),
    (frozenset({"unembedding", "lr"}), 0.4),
    (frozenset({"warmup"}), -0.5),
)
# How much a knob may matter, as the prior's spread; 0.6 for the rest.
_SPREAD: tuple[tuple[frozenset[str], float], ...] = (
    (frozenset({"batch"}), 1.3),
    (frozenset({"depth"}), 1.1),
    (frozenset({"lr"}), 1.1),
    (frozenset({"aspect"}), 1.0),
    (frozenset({"eps"}), 0.3),
)


class PastTrial(Frozen):
    """An earlier attempt as changes of knobs: key -> (before, after). `gain` is positive if it was better."""

    number: int
    outcome: str
    changes: Mapping[str, tuple[Value, Value]]
    gain: float | None
    before: float | None
    after: float | None

    @property
    def single(self) -> str | None:
        """The knob, if only one was turned."""
        return next(iter(self.changes)) if len(self.changes) == 1 else None


class Bounds:
    """Steps that must not be proposed again, and steps already tried from the same value."""

    def __init__(self, trials: Iterable[PastTrial], kinds: Mapping[str, str]) -> None:
        self._vetoed: set[frozenset[tuple[str, str]]] = set()
        self._crashed: dict[tuple[str, str], float] = {}
        self._crashed_values: set[tuple[str, Value]] = set()
        self._spent: set[tuple[str, Value, Value]] = set()
        self._left: set[tuple[str, Value]] = set()
        self._lost: dict[tuple[str, Value, str], float] = {}
        self._kinds = kinds
        for trial in trials:
            if trial.outcome == Outcome.VETOED:
                self._vetoed.add(frozenset((k, direction(*change)) for k, change in trial.changes.items()))
            if key := trial.single:
                before, after = trial.changes[key]
                self._spent.add((key, before, after))
                if trial.outcome == Outcome.KEEP:
                    self._left.add((key, before))
                if trial.outcome in RAN - {Outcome.KEEP}:
                    lost = (key, before, direction(before, after))
                    self._lost[lost] = min(self._far(key, before, after), self._lost.get(lost, math.inf))
                if trial.outcome in FAILED:
                    self._crash(key, before, after)

    def _crash(self, key: str, before: Value, after: Value) -> None:
        if isinstance(after, str | bool):
            self._crashed_values.add((key, after))
            return
        way = direction(before, after)
        sign = 1 if way == "up" else -1
        at = sign * coordinate(self._kinds.get(key, "coefficient"), after)
        self._crashed[key, way] = min(at, self._crashed.get((key, way), math.inf))

    def allows(self, steps: Sequence[Step]) -> bool:
        """Whether no veto and no crash speaks against these steps together."""
        ways = {(step.knob.key, step.direction) for step in steps}
        if any(vetoed <= ways for vetoed in self._vetoed if vetoed):
            return False
        return not any(self._crashes(step) for step in steps)

    def _crashes(self, step: Step) -> bool:
        key = step.knob.key
        if (key, step.after) in self._crashed_values:
            return True
        at = self._crashed.get((key, step.direction))
        sign = 1 if step.direction == "up" else -1
        return at is not None and sign * coordinate(self._kinds.get(key, "coefficient"), step.after) >= at - 1e-9

    def spent(self, step: Step) -> bool:
        """Whether this step was tried, undoes an improvement, or goes further than a step that lost."""
        key, before = step.knob.key, step.knob.value
        if (key, before, step.after) in self._spent or (key, step.after) in self._left:
            return True
        lost = self._lost.get((key, before, step.direction), math.inf)
        # Even counts may lose where odd ones win, so a lost step means nothing for a longer one.
        graded = not isinstance(before, str) and self._kinds.get(key) != "count"
        return graded and self._far(key, before, step.after) > lost + 1e-9

    def _far(self, key: str, before: Value, after: Value) -> float:
        kind = self._kinds.get(key, "coefficient")
        return abs(coordinate(kind, after) - coordinate(kind, before))


class Belief:
    """One draw from the beliefs about each knob that follow from the table, relative to the frontier."""

    def __init__(
        self, knobs: Sequence[Knob], kinds: Mapping[str, str], trials: Sequence[PastTrial], rng: random.Random
    ) -> None:
        self._kinds = kinds
        self._here = {knob.key: knob.value for knob in knobs}
        self._columns: dict[tuple[str, object], int] = {}
        means: list[float] = []
        spreads: list[float] = []
        for knob in knobs:
            up, wide = expected(knob), spread(knob)
            if isinstance(knob.value, bool | str):
                continue
            self._columns[knob.key, "slope"] = len(means)
            self._columns[knob.key, "curve"] = len(means) + 1
            means += [up, -0.3]
            spreads += [wide, 0.3]
        rows = [(self._difference(t.changes), t.gain) for t in trials if t.gain is not None and self._knows(t)]
        for column in [c for row, _ in rows for c in row]:
            if isinstance(column, tuple) and column not in self._columns:
                self._columns[column] = len(means)
                means.append(_OTHER_MEAN if column[1] is None else 0.0)
                spreads.append(_OTHER_SPREAD)
        self.unit = spread_of(trials)
        self._rng = rng
        self._weights = self._draw(means, spreads, rows)

    def score(self, steps: Sequence[Step]) -> float:
        """The gain of these steps together, in this draw."""
        row = self._difference({step.knob.key: (step.knob.value, step.after) for step in steps})
        total = 0.0
        for column, factor in row.items():
            at = self._columns.get(column) if isinstance(column, tuple) else column
            if at is None:
                mean = _OTHER_MEAN if isinstance(column, tuple) and column[1] is None else 0.0
                total += factor * self._rng.gauss(mean, _OTHER_SPREAD)
            else:
                total += factor * self._weights[at]
        return total

    def _knows(self, trial: PastTrial) -> bool:
        return all(key in self._here for key in trial.changes)

    def _difference(self, changes: Mapping[str, tuple[Value, Value]]) -> dict[int | tuple[str, object], float]:
        row: dict[int | tuple[str, object], float] = {}
        for key, (before, after) in changes.items():
            slope = self._columns.get((key, "slope"))
            if slope is None:
                for value, sign in ((after, 1.0), (before, -1.0)):
                    if value != self._here[key]:
                        # One column for this value, one for any change of the current value.
                        for column in ((key, value), (key, None)):
                            row[column] = row.get(column, 0.0) + sign
                continue
            a, b = self._offset(key, before), self._offset(key, after)
            row[slope] = b - a
            row[slope + 1] = b * b - a * a
        return row

    def _offset(self, key: str, value: Value) -> float:
        kind = self._kinds[key]
        offset = coordinate(kind, value) - coordinate(kind, self._here[key])
        return max(-_FAR, min(_FAR, offset))

    def _draw(
        self,
        means: Sequence[float],
        spreads: Sequence[float],
        rows: Sequence[tuple[Mapping[int | tuple[str, object], float], float | None]],
    ) -> list[float]:
        import numpy as np

        if not means:
            return []
        precision = np.diag([1 / s**2 for s in spreads])
        pull = np.array([m / s**2 for m, s in zip(means, spreads, strict=True)])
        for row, gain in rows:
            at = [self._columns[c] if isinstance(c, tuple) else c for c in row]
            factors = np.array(list(row.values()))
            seen = max(-4.0, min(4.0, (gain or 0.0) / self.unit))
            precision[np.ix_(at, at)] += np.outer(factors, factors) / _NOISE**2
            pull[at] += factors * seen / _NOISE**2
        root = np.linalg.cholesky(precision)
        noise = np.array([self._rng.gauss(0, 1) for _ in means])
        mean = np.linalg.solve(precision, pull)
        return [float(w) for w in mean + np.linalg.solve(root.T, noise)]


def expected(knob: Knob) -> float:
    """The gain of increasing a knob of this name in public tables, in typical gains; 0 if unknown."""
    return _named(_EXPECTED, knob, 0.0)


def spread(knob: Knob) -> float:
    """How much a knob of this name can be expected to matter, in typical gains."""
    return _named(_SPREAD, knob, 0.6)


def kinds(knobs: Iterable[Knob], choices: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The scale of every knob that has one, by key."""
    found = {knob.key: scale(knob, choices.get(knob.name.split(".")[-1], ())) for knob in knobs}
    return {key: kind for key, kind in found.items() if kind}


def spread_of(trials: Iterable[PastTrial]) -> float:
    """The typical size of a gain or a loss."""
    sizes = [abs(trial.gain) for trial in trials if trial.gain]
    return statistics.median(sizes) if sizes else 1.0


def worthwhile(trial: PastTrial, trials: Sequence[PastTrial]) -> bool:
    """Whether a kept trial gained enough compared with the keeps just before it: less means the end of a slope."""
    if trial.outcome != Outcome.KEEP:
        return False
    before = [t.gain for t in trials if t.outcome == Outcome.KEEP and t.gain is not None and t.number <= trial.number]
    return trial.gain is None or trial.gain >= _WORTH * max(before[-5:])


def _named(table: Iterable[tuple[frozenset[str], float]], knob: Knob, otherwise: float) -> float:
    parts = words(knob.name)
    return next((value for wanted, value in table if wanted <= parts), otherwise)
