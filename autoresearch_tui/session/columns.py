"""Pure: the numbers that experiments have beside their score, and the Pareto front of any two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session.ends import SCORED
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.frozen import Frozen


class Kind(StrEnum):
    """The source of an axis's numbers."""

    SCORE = "score"
    COLUMN = "column"
    SECONDS = "seconds"
    """The whole run, by the supervisor's clock."""
    MEMORY = "memory"
    """GiB of its accelerators, as the run itself reports."""


class Axis(Frozen):
    """A number of an experiment, and which direction of it is better. `name`: the column's."""

    name: str
    goal: Goal
    kind: Kind = Kind.COLUMN

    def of(self, experiment: Experiment) -> float | None:
        match self.kind:
            case Kind.SCORE:
                return experiment.value
            case Kind.SECONDS:
                return experiment.seconds
            case Kind.MEMORY:
                return experiment.memory_gb or None
        return experiment.columns.get(self.name)


class Point(Frozen):
    """An experiment by two of its numbers; `front`: no other is as good in both and better in one of them."""

    number: int
    x: float
    y: float
    kept: bool
    front: bool


def columns(state: State) -> tuple[Axis, ...]:
    """The lab's columns, as of the last start of an engine; the same objects for equal columns."""
    return _columns(state.last_engine.columns if state.last_engine is not None else ())


@lru_cache(maxsize=64)
def _columns(words: tuple[str, ...]) -> tuple[Axis, ...]:
    # Cached: chunks remember results by `axis.of`, which is equal only for the same object.
    return tuple(
        Axis(name, Goal.MAXIMIZE if word.startswith("+") else Goal.MINIMIZE)
        for word in words
        if (name := word.removeprefix("+"))
    )


def axes(state: State) -> tuple[Axis, ...]:
    """The score, the columns, and what every run has, as far as some experiment has a number there."""
    name = state.session.metric if state.session is not None else "score"
    known = (
        Axis(name, state.goal, Kind.SCORE),
        *columns(state),
        Axis("seconds", Goal.MINIMIZE, Kind.SECONDS),
        Axis("GiB", Goal.MINIMIZE, Kind.MEMORY),
    )
    return tuple(axis for axis in known if any(axis.of(each) is not None for each in _scored(state)))


def pairs(state: State) -> tuple[tuple[Axis, Axis], ...]:
    """What can be drawn, as (x, y): every other number against the score, then those among themselves."""
    known = axes(state)
    return tuple((x, y) for at, y in enumerate(known) for x in known[at + 1 :])


def _scored(state: State) -> Iterator[Experiment]:
    return (each for each in state.experiments if each.outcome in SCORED and each.value is not None)


def pareto(experiments: Iterable[Experiment], x: Axis, y: Axis) -> tuple[Point, ...]:
    """The scored experiments that have both numbers, without repeats and runs at another scale."""
    found = []
    for each in experiments:
        if each.outcome in SCORED and each.repeat_of is None:
            at, height = x.of(each), y.of(each)
            if at is not None and height is not None:
                found.append((each, at, height))
    best = _front([(at, height) for _, at, height in found], x.goal, y.goal)
    return tuple(Point(each.number, at, height, each.advanced, (at, height) in best) for each, at, height in found)


def _front(pairs: list[tuple[float, float]], x: Goal, y: Goal) -> set[tuple[float, float]]:
    """The pairs that no other pair dominates."""
    front: set[tuple[float, float]] = set()
    least: float | None = None
    for pair in sorted(set(pairs), key=lambda pair: (x.sort_key(pair[0]), y.sort_key(pair[1]))):
        height = y.sort_key(pair[1])
        if least is None or height < least:
            front.add(pair)
            least = height
    return front
