"""Questions about all experiments of a session: the indexed names, the answers per chunk, and how to combine these."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import TypeVar

from autoresearch_tui.session.ends import JUDGED
from autoresearch_tui.session.experiment import IN_FLIGHT, WAITING, Experiment, Stage
from autoresearch_tui.session.sequence import Chunk

T = TypeVar("T")

# The names that experiments are looked up by.
OUTCOME, COMMIT, AUTHOR, BASE, FRONT = "outcome", "commit", "author", "base", "front"
CONFIRMS, COMBINES, FIXES, ORIGIN, SCALE = "confirms", "combines", "fixes", "origin", "scale"
EXPLORATORY, IS_OPEN, STATUS, REPEAT_OF = "exploratory", "is_open", "status", "repeat_of"
ADVANCED, DEVICE = "advanced", "device"


def in_flight(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk.having(IS_OPEN, True) if e.stage in IN_FLIGHT)


def waiting(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk.having(IS_OPEN, True) if e.stage in WAITING)


def confirming(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk.having(IS_OPEN, True) if e.stage is Stage.CONFIRMING)


def joined(parts: Sequence[tuple[T, ...]]) -> tuple[T, ...]:
    """The chunks' answers, one after the other."""
    return tuple(chain.from_iterable(parts))


def judged(chunk: Chunk) -> tuple[tuple[int, int], ...]:
    """For each judged experiment `judged_after` and its number."""
    columns = zip(*map(chunk.column, (OUTCOME, "judged_after", "number")), strict=True)
    return tuple((after, number) for outcome, after, number in columns if outcome in JUDGED)


def in_order(parts: Sequence[tuple[tuple[int, int], ...]]) -> Sequence[int]:
    return array("I", (number for _, number in sorted(chain.from_iterable(parts))))


def ended(chunk: Chunk) -> Counter[str]:
    return Counter(filter(None, chunk.column(OUTCOME)))


def added(parts: Sequence[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


def started_last(chunk: Chunk) -> tuple[str, int]:
    """When the last run was started, and its number; an empty time if none was."""
    return max(zip(chunk.column("started_at"), chunk.column("number"), strict=True), key=itemgetter(0))


def newest_start(parts: Sequence[tuple[str, int]]) -> tuple[str, int]:
    return max(parts, key=itemgetter(0), default=("", 0))


def total(parts: Sequence[float]) -> float:
    return sum(parts)


def counted(parts: Sequence[int]) -> int:
    return sum(parts)


def usd(chunk: Chunk) -> float:
    return sum(filter(None, chunk.column("usd")), 0.0)


def tokens(chunk: Chunk) -> int:
    return sum(chunk.column("tokens"))
