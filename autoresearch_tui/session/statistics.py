"""Pure: how much of a difference between two scores is chance."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from autoresearch_tui.session import draws
from autoresearch_tui.session.ends import JUDGED, Outcome
from autoresearch_tui.session.questions import ADVANCED, OUTCOME, REPEAT_OF, joined
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import word_set

# By commit: the number and the score of its first scored run.
_First = Mapping[str, tuple[int, float]]
# nats and UTF-8 bytes of the targets of one scored row
Row = tuple[float, float]
SIGMAS = 2.0


def paired_error(rows: Sequence[Row], others: Sequence[Row]) -> float | None:
    """Standard error, in bits per byte, of the difference between two scores of the same rows.

    Both are ratios of sums with the same denominator, so the difference is a ratio too, and its error is that of a
    ratio estimator (Cochran, Sampling Techniques, 6.4). None if the rows differ, or are fewer than two.
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
    """Standard deviation between runs of one commit, pooled over all that ran more than once; None if none did.

    With fresh draws it is of pairs on one draw, without the differences between draws.
    """
    squares, freedom = _pooled(state)
    return math.sqrt(squares / freedom) if freedom else None


def repeats(state: State) -> int:
    """The degrees of freedom of :func:`spread`."""
    return _pooled(state)[1]


def _pooled(state: State) -> tuple[float, int]:
    """The sum of squares, and the degrees of freedom."""
    if draws.fresh(state):
        apart = [each.value - each.other for each in draws.equals(state)]
        return math.fsum(d * d for d in apart) / 2, len(apart)
    runs: dict[str, list[float]] = {}
    for number in sorted(set(state.experiments.known(_again, joined))):
        if (measured := state.experiments.cell(number, "measured")) is not None:
            runs.setdefault(state.experiments.cell(number, "commit"), []).append(measured)
    squares = math.fsum((value - math.fsum(of) / len(of)) ** 2 for of in runs.values() for value in of)
    return squares, sum(len(of) - 1 for of in runs.values())


def _again(chunk: Chunk) -> tuple[int, ...]:
    """The numbers of repeats, and of the experiments that they repeat."""
    columns = (chunk.column(name) for name in ("number", REPEAT_OF))
    return tuple(chain.from_iterable(pair for pair in zip(*columns, strict=True) if pair[1] is not None))


def inside(difference: float, stderr: float | None, spread: float | None) -> bool:
    """Whether both kinds of chance explain a difference between two runs; False if neither is known.

    `spread` is of one run, so the difference of two has twice that variance.
    """
    if stderr is None and spread is None:
        return False
    return abs(difference) < SIGMAS * math.sqrt((stderr or 0.0) ** 2 + 2 * (spread or 0.0) ** 2)


# The relative difference between equal runs on the reference's lab: the median of 48 pairs.
TYPICAL_SPREAD = 3e-4
# The fewest keeps that make a trend, and the share of a gain that must carry over to the sealed split.
OVERFIT_KEEPS, OVERFIT_SHARE = 4, 1 / 3
_WORD = re.compile(r"[^\W\d_][\w]*|\d+(?:\.\d+)?")
_SMALL_WORDS = word_set("a an and as at by each every for from in instead into is it of on only or the to with")
_LIKE = 0.34


class Similar(Frozen):
    """An earlier experiment, and how alike it is: 1 is the same description."""

    experiment: Experiment
    likeness: float


def similar(
    experiment: Experiment,
    others: Iterable[Experiment],
    identifiers: Collection[str] = (),
    limit: int = 3,
) -> tuple[Similar, ...]:
    """The earlier experiments most like this one, by the words and names in their descriptions.

    `identifiers`: the names that this one's diff changes, which count like words of its description.
    """
    mine = _terms(experiment.description)
    for name in identifiers:
        mine.setdefault(name.lower(), _weight(name))
    found = []
    for other in others:
        if other.number >= experiment.number or other.number == 0:
            continue
        likeness = _likeness(_terms(experiment.description), mine, _terms(other.description))
        if likeness >= _LIKE:
            found.append(Similar(other, likeness))
    found.sort(key=lambda one: (-one.likeness, -one.experiment.number))
    return tuple(found[:limit])


def changed_names(diff: str) -> frozenset[str]:
    """The constants and attributes that a diff's changed lines assign."""
    names = re.findall(r"^[+-][ \t]*(?:[\w.]+\.)?([A-Za-z_]\w*)[ \t]*(?::[^=\n]+)?[-+*/]?=(?!=)", diff, re.MULTILINE)
    return frozenset(name for name in names if len(name) > 2)


def gains(state: State) -> dict[int, float]:
    """By how much each scored experiment is better than its scored base; negative: worse."""
    return _gains(state, state.experiments.known(_scores, joined), _first_of_all)


class _Scored(NamedTuple):
    number: int
    base: str
    value: float


class _Kept(NamedTuple):
    number: int
    base: str
    value: float
    commit: str
    sealed: float | None
    stderr: float | None
    error: float | None
    inside_noise: bool


def _scores(chunk: Chunk) -> tuple[_Scored, ...]:
    columns = zip(*map(chunk.column, _Scored._fields), strict=True)
    return tuple(_Scored(*known) for known in columns if known[-1] is not None)


def _keeps(chunk: Chunk) -> tuple[_Kept, ...]:
    places = chunk.places(OUTCOME, Outcome.KEEP)
    columns = [*map(chunk.column, _Kept._fields)] if places else []
    found = (_Kept(*(column[place] for column in columns)) for place in places)
    return tuple(each for each in found if each.value is not None)


def _gains(state: State, scored: Iterable[_Scored | _Kept], first_of: Callable[[State], _First]) -> dict[int, float]:
    found: dict[int, float] = {}
    first = {} if draws.fresh(state) else first_of(state)
    for number, base, value in (each[:3] for each in scored):
        if draws.fresh(state):
            if (pair := draws.against_base(state, state.experiments[number])) is not None:
                found[number] = state.goal.gain(pair.other, pair.value)
        elif (before := first.get(base)) is not None and before[0] < number:
            found[number] = state.goal.gain(before[1], value)
    return found


def _first_of_all(state: State) -> _First:
    return state.experiments.known(_first_scores, _first_of_each)


def _first_kept(state: State) -> _First:
    """The same of keeps alone, which are few, if each keep is based on a keep; else of all."""
    kept = state.experiments.known(_keeps, joined)
    own = {each.commit: (each.number, each.value) for each in reversed(kept)}
    return own if all(each.base in own for each in kept if each.number) else _first_of_all(state)


def _first_scores(chunk: Chunk) -> dict[str, tuple[int, float]]:
    """By commit: the number and the score of its first run with one."""
    columns = [reversed(chunk.column(name)) for name in ("commit", "number", "value")]
    return {commit: (number, value) for commit, number, value in zip(*columns, strict=True) if value is not None}


def _first_of_each(parts: Sequence[dict[str, tuple[int, float]]]) -> dict[str, tuple[int, float]]:
    found: dict[str, tuple[int, float]] = {}
    for part in reversed(parts):
        found.update(part)
    return found


class Judged(Frozen):
    """A judged experiment with the frontier, and the head of its own front, before its verdict; None if there was
    none."""

    experiment: Experiment
    frontier: Experiment | None
    head: Experiment | None


def judged(state: State, first: int = 0) -> Iterator[Judged]:
    """In the order of the verdicts, from the `first` on. A front without a win has its head at the frontier."""
    frontier: Experiment | None = None
    heads: dict[int, Experiment] = {}
    # Where a human continued from, by the last experiment judged before that.
    chosen = {after: number for after, number in state.frontier_history if after != number}
    moved = [*state.experiments.having(ADVANCED, True), *(state.experiments[after] for after in chosen)]
    moved = [each for each in moved if each.outcome in JUDGED]
    before = state.table[:first][-1:]
    early = {e.number: e for e in moved if before and e.judged_after <= before[0].judged_after}
    table = (*sorted(early.values(), key=attrgetter("judged_after")), *state.table[first:])
    for place, experiment in enumerate(table, first - len(early)):
        front = experiment.front
        if place >= first:
            yield Judged(experiment, frontier, heads.get(front, frontier))
        if experiment.advanced:
            heads[front] = experiment
        if experiment.outcome == Outcome.KEEP:
            frontier = experiment
        if experiment.number in chosen:
            frontier = state.experiments[chosen[experiment.number]]
            heads[frontier.proposal.front] = frontier


def near_noise(state: State) -> tuple[int, ...]:
    """The numbers of keeps whose gain chance may explain: a repeat may reverse it."""
    kept = state.experiments.known(_keeps, joined)
    measured, won = spread(state), _gains(state, kept, _first_kept)
    return tuple(each.number for each in kept if each.number in won and _by_chance(each, won[each.number], measured))


def _by_chance(kept: _Kept, gain: float, measured: float | None) -> bool:
    if kept.error is not None:
        return kept.inside_noise
    if measured is None and kept.stderr is None:
        return gain < TYPICAL_SPREAD * abs(kept.value)
    return inside(gain, kept.stderr, measured)


class Gap(Frozen):
    """A keep's score, and its score on the sealed split."""

    number: int
    value: float
    sealed: float

    @property
    def gap(self) -> float:
        return self.sealed - self.value


def gaps(state: State) -> tuple[Gap, ...]:
    """The keeps with a sealed score, baseline included, in order."""
    kept = state.experiments.known(_keeps, joined)
    return tuple(Gap(each.number, each.value, each.sealed) for each in kept if each.sealed is not None)


def overfitting(state: State) -> str:
    """A sentence if the night overfits its referee: the score improves and the sealed split hardly does; else empty."""
    known = gaps(state)
    if len(known) < OVERFIT_KEEPS or state.session is None:
        return ""
    first, last = known[0], known[-1]
    gain, sealed = state.goal.gain(first.value, last.value), state.goal.gain(first.sealed, last.sealed)
    chance = SIGMAS * (spread(state) or TYPICAL_SPREAD * abs(first.value))
    if gain <= 0 or gain - sealed <= chance or sealed > OVERFIT_SHARE * gain:
        return ""
    return (
        f"The night is overfitting its referee: {state.session.metric} gained {gain:.6f} since #{first.number}, "
        f"the sealed split {sealed:.6f}"
    )


def frontier_line(state: State) -> tuple[tuple[float, Experiment], ...]:
    """The frontiers, each with its beginning on an axis of experiment numbers: the steps of a line.

    After a verdict, a frontier begins at its number; if a human moved it, between the last judged experiment and the
    next. Experiments that are no longer kept are left out.
    """
    found: list[tuple[float, Experiment]] = []
    for after, number in state.frontier_history:
        experiment = state.experiments[number]
        if experiment.outcome == Outcome.KEEP and experiment.value is not None:
            begins = max(float(number) if after == number else after + 0.5, found[-1][0] if found else 0.0)
            if found and found[-1][0] == begins:
                found.pop()  # nothing was judged against it
            found.append((begins, experiment))
    return tuple(found)


def _terms(text: str) -> dict[str, float]:
    """The words of a description with their weights: a name counts more than a word, a word more than a number."""
    return {word.lower(): _weight(word) for word in _WORD.findall(text) if word.lower() not in _SMALL_WORDS}


def _weight(word: str) -> float:
    if word[0].isdigit():
        return 0.5
    named = "_" in word or (word.isupper() and len(word) > 1) or not (word[1:].islower() or len(word) == 1)
    return 3.0 if named else 1.0


def _likeness(words: dict[str, float], mine: dict[str, float], other: dict[str, float]) -> float:
    """The weight of the terms in `mine` and `other`, over that of the terms in `words` or `other`."""
    shared = sum(max(mine[word], weight) for word, weight in other.items() if word in mine)
    either = sum({**other, **words}.values())
    return min(shared / either, 1.0) if either else 0.0
