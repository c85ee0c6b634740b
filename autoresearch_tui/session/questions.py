"""What is asked of all experiments of a session: by what they are looked up, and the answers of a chunk and of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

from autoresearch_tui.session.ends import JUDGED
from autoresearch_tui.session.experiment import IN_FLIGHT, WAITING, Experiment, Stage
from autoresearch_tui.session.sequence import Chunk

# What experiments are looked up by.
OUTCOME, COMMIT, AUTHOR, BASE, FRONT = map(attrgetter, ("outcome", "commit", "author", "base", "front"))
CONFIRMS, COMBINES, FIXES, ORIGIN, SCALE = map(attrgetter, ("confirms", "combines", "fixes", "origin", "scale"))
EXPLORATORY, IS_OPEN, STATUS, REPEAT_OF = map(attrgetter, ("exploratory", "is_open", "status", "repeat_of"))


def in_flight(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk.having(IS_OPEN, True) if e.stage in IN_FLIGHT)


def waiting(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk.having(IS_OPEN, True) if e.stage in WAITING)


def confirming(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk.having(IS_OPEN, True) if e.stage is Stage.CONFIRMING)


def joined(parts: Sequence[tuple[Experiment, ...]]) -> tuple[Experiment, ...]:
    """What each chunk has, one after the other."""
    return tuple(chain.from_iterable(parts))


def judged(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk if e.outcome in JUDGED)


def in_order(parts: Sequence[tuple[Experiment, ...]]) -> tuple[Experiment, ...]:
    return tuple(sorted(chain.from_iterable(parts), key=attrgetter("judged_after")))


def ended(chunk: Chunk) -> Counter[str]:
    return Counter(e.outcome for e in chunk if e.outcome is not None)


def added(parts: Sequence[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


def started_last(chunk: Chunk) -> Experiment | None:
    return max((e for e in chunk if e.started_at), key=attrgetter("started_at"), default=None)


def newest_start(parts: Sequence[Experiment | None]) -> Experiment | None:
    return max((e for e in parts if e is not None), key=attrgetter("started_at"), default=None)


def total(parts: Sequence[float]) -> float:
    return sum(parts)


def counted(parts: Sequence[int]) -> int:
    return sum(parts)


def usd(chunk: Chunk) -> float:
    return sum(e.usd or 0.0 for e in chunk)


def tokens(chunk: Chunk) -> int:
    return sum(e.tokens for e in chunk)
