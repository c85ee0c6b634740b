"""Pure: what a session's history tells a human: earlier attempts like this one, and gains too small to trust."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from autoresearch_tui.engine.state import Experiment, State

# Equal code, run again on the reference's lab, came out this much apart in the median of 48 pairs.
TYPICAL_SPREAD = 3e-4
_WORD = re.compile(r"[^\W\d_][\w]*|\d+(?:\.\d+)?")
_SMALL_WORDS = frozenset(
    {
        "a",
        "an",
        "and",
        "as",
        "at",
        "by",
        "each",
        "every",
        "for",
        "from",
        "in",
        "instead",
        "into",
        "is",
        "it",
        "of",
        "on",
    }
    | {"only", "or", "the", "to", "with"}
)
_LIKE = 0.34


@dataclass(frozen=True, slots=True)
class Similar:
    """An earlier attempt, and how alike it is: 1 is the same description."""

    experiment: Experiment
    likeness: float


def similar(
    experiment: Experiment,
    others: Iterable[Experiment],
    identifiers: Collection[str] = (),
    limit: int = 3,
) -> tuple[Similar, ...]:
    """The earlier attempts most like this one, by the words and names in their descriptions.

    `identifiers` are the names that this one's diff changes: an attempt whose description names one is alike too.
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
    """The names that a diff's changed lines assign: constants and attributes."""
    names = re.findall(r"^[+-][ \t]*(?:[\w.]+\.)?([A-Za-z_]\w*)[ \t]*(?::[^=\n]+)?[-+*/]?=(?!=)", diff, re.MULTILINE)
    return frozenset(name for name in names if len(name) > 2)


def spread(state: State) -> float | None:
    """How far equal runs came apart: the median difference between runs of the same commit; None: none repeated."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for experiment in state.experiments:
        if experiment.value is not None:
            values[experiment.commit].append(experiment.value)
    apart = [max(group) - min(group) for group in values.values() if len(group) > 1]
    return statistics.median(apart) if apart else None


def gains(state: State) -> dict[int, float]:
    """For each scored experiment on a scored base how much better it is than that; negative: worse."""
    sign = 1 if state.session and state.session.goal == "maximize" else -1
    scored: dict[str, float] = {}
    found: dict[int, float] = {}
    for experiment in state.experiments:
        base = scored.get(experiment.base)
        if experiment.value is None:
            continue
        if base is not None:
            found[experiment.number] = sign * (experiment.value - base)
        scored.setdefault(experiment.commit, experiment.value)
    return found


def near_noise(state: State) -> tuple[Experiment, ...]:
    """Kept experiments that gained less than equal runs come apart: a second run may turn them round."""
    measured = spread(state)
    won = gains(state)
    found = []
    for experiment in state.experiments:
        limit = measured if measured is not None else TYPICAL_SPREAD * abs(experiment.value or 0.0)
        if experiment.outcome == "keep" and experiment.number in won and won[experiment.number] < limit:
            found.append(experiment)
    return tuple(found)


def _terms(text: str) -> dict[str, float]:
    """The words of a description with their weights: a name says more than a word, a word more than a number."""
    return {word.lower(): _weight(word) for word in _WORD.findall(text) if word.lower() not in _SMALL_WORDS}


def _weight(word: str) -> float:
    if word[0].isdigit():
        return 0.5
    named = "_" in word or (word.isupper() and len(word) > 1) or not (word[1:].islower() or len(word) == 1)
    return 3.0 if named else 1.0


def _likeness(said: dict[str, float], mine: dict[str, float], other: dict[str, float]) -> float:
    """The weight of what both have, over the weight of what either says."""
    shared = sum(max(mine[word], weight) for word, weight in other.items() if word in mine)
    either = sum({**other, **said}.values())
    return min(shared / either, 1.0) if either else 0.0
