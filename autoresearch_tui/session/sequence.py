"""A session's experiments, however many: a sequence that is never changed, in chunks.

Another sequence, with one experiment more or one replaced, shares all chunks but one with it. What is worked out of a
chunk is remembered with it, so a question about all experiments costs the work of the chunks that are new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

if TYPE_CHECKING:
    from autoresearch_tui.session.experiment import Experiment

CHUNK = 256
"""So many experiments share a chunk; experiment `n` is in chunk `n // CHUNK`."""

T = TypeVar("T")
R = TypeVar("R")


class Chunk(Sequence["Experiment"]):
    """Neighbours, and what was worked out of them."""

    __slots__ = ("_experiments", "_known")

    def __init__(self, experiments: tuple[Experiment, ...]) -> None:
        self._experiments = experiments
        self._known: dict[object, Any] = {}

    def known(self, work: Callable[..., T], *args: object) -> T:
        """`work(chunk, *args)`, which is done once."""
        key = (work, *args) if args else work
        try:
            found: T = self._known[key]
        except KeyError:
            found = self._known[key] = work(self, *args)
        return found

    def last_known(self, work: Callable[..., T], *args: object) -> T:
        """The same, where only what was worked out last is remembered: for arguments that change with time."""
        before = self._known.get(work)
        if before is None or before[0] != args:
            before = self._known[work] = args, work(self, *args)
        found: T = before[1]
        return found

    def column(self, name: str) -> list[Any]:
        """What each of them has of this name: how all of them are asked, so that none need be read (:mod:`pages`)."""
        return list(map(attrgetter(name), self))

    def told(self, place: int, name: str) -> Any:
        """What one of them has of this name."""
        return getattr(self[place], name)

    def places(self, name: str, value: object) -> Sequence[int]:
        """Where in the chunk those are that have this value of that name."""
        return self.known(_index, name).get(value, ())

    def having(self, name: str, value: object) -> tuple[Experiment, ...]:
        """Those that have this value of that name."""
        return tuple([self[place] for place in self.places(name, value)])

    @overload
    def __getitem__(self, place: int) -> Experiment: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Experiment, ...]: ...
    def __getitem__(self, place: int | slice) -> Experiment | tuple[Experiment, ...]:
        return self._experiments[place]

    def __iter__(self) -> Iterator[Experiment]:
        return iter(self._experiments)

    def __reversed__(self) -> Iterator[Experiment]:
        return reversed(self._experiments)

    def __len__(self) -> int:
        return len(self._experiments)


class Experiments(Sequence["Experiment"]):
    """`experiments[n]` is experiment n."""

    def __init__(self, chunks: tuple[Chunk, ...] = (), answers: dict[object, _Answer] | None = None) -> None:
        self.chunks = chunks
        self._length = (len(chunks) - 1) * CHUNK + len(chunks[-1]) if chunks else 0
        # The last answer to each question; sequences that follow each other share them.
        self._answers: dict[object, _Answer] = {} if answers is None else answers

    @classmethod
    def of(cls, experiments: Iterable[Experiment]) -> Experiments:
        """These, which are numbered from 0."""
        known = tuple(experiments)
        return cls(tuple(Chunk(known[at : at + CHUNK]) for at in range(0, len(known), CHUNK)))

    # ── another one ─────────────────────────────────────────────────────────────────────────────────────────────

    def with_next(self, experiment: Experiment) -> Experiments:
        """One more."""
        if self._length % CHUNK == 0:
            return Experiments((*self.chunks, Chunk((experiment,))), self._answers)
        return Experiments((*self.chunks[:-1], Chunk((*self.chunks[-1], experiment))), self._answers)

    def replacing(self, experiment: Experiment) -> Experiments:
        """This one in place of the one with its number."""
        at, place = divmod(experiment.number, CHUNK)
        chunk = list(self.chunks[at])
        chunk[place] = experiment
        return Experiments((*self.chunks[:at], Chunk(tuple(chunk)), *self.chunks[at + 1 :]), self._answers)

    def with_chunk(self, at: int, chunk: Chunk) -> Experiments:
        """The same experiments, those of one chunk held in another way: no answer holds the old ones any more."""
        return Experiments((*self.chunks[:at], chunk, *self.chunks[at + 1 :]))

    # ── questions about all ─────────────────────────────────────────────────────────────────────────────────────

    def known(self, work: Callable[..., T], together: Callable[[Sequence[T]], R], *args: object) -> R:
        """`together` of what `work(chunk, *args)` gives for each chunk: pure functions, at the top of a module."""
        key = (together, work, *args)
        before = self._answers.get(key, _NONE)
        if before.chunks is self.chunks and before is not _NONE:
            return before.result  # type: ignore[no-any-return]
        old = zip(self.chunks, before.chunks, before.parts, strict=False)
        parts = [part if mine is other else mine.known(work, *args) for mine, other, part in old]
        parts += [chunk.known(work, *args) for chunk in self.chunks[len(parts) :]]
        same = parts == before.parts and before is not _NONE
        result: R = before.result if same else together(parts)
        self._answers[key] = _Answer(self.chunks, parts, result)
        return result

    def column(self, name: str) -> Iterator[Any]:
        """What each of them has of this name; no page makes rows for it."""
        return chain.from_iterable(chunk.column(name) for chunk in self.chunks)

    def told(self, number: int, name: str) -> Any:
        """What one of them has of this name."""
        return self.chunks[number // CHUNK].told(number % CHUNK, name)

    def having(self, name: str, value: object) -> Iterator[Experiment]:
        """Those that have this value of that name, in order."""
        return (self.chunks[at][place] for at, places in self._places(name, value) for place in places)

    def numbers(self, name: str, value: object) -> Iterator[int]:
        """The numbers of those that have this value of that name, in order."""
        return (CHUNK * at + place for at, places in self._places(name, value) for place in places)

    def _places(self, name: str, value: object) -> list[tuple[int, Sequence[int]]]:
        indexes = self.known(_index, tuple, name)
        return [(at, index[value]) for at, index in enumerate(indexes) if value in index]

    def values(self, name: str) -> Set[Any]:
        """All values of that name."""
        return self.known(_index, _keys_of_all, name)

    def newest(self, name: str, value: object) -> Iterator[Experiment]:
        """The same, the newest first."""
        for chunk in reversed(self.chunks):
            yield from reversed(chunk.having(name, value))

    def changed(self, before: Experiments) -> Iterator[Experiment]:
        """Those that are not what they were before, or are new."""
        old = (*before.chunks, *([None] * (len(self.chunks) - len(before.chunks))))
        for mine, other in zip(self.chunks, old, strict=False):
            if mine is not other:
                for place, experiment in enumerate(mine):
                    if other is None or place >= len(other) or other[place] is not experiment:
                        yield experiment

    # ── a sequence ──────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def __getitem__(self, number: int) -> Experiment: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[Experiment, ...]: ...
    def __getitem__(self, number: int | slice) -> Experiment | tuple[Experiment, ...]:
        if isinstance(number, slice):
            return tuple(self[n] for n in range(*number.indices(self._length)))
        if number < 0:
            number += self._length
        if not 0 <= number < self._length:
            raise IndexError(f"there is no experiment {number}")
        return self.chunks[number // CHUNK][number % CHUNK]

    def since(self, number: int) -> Iterator[Experiment]:
        """From this number on."""
        return (self[n] for n in range(number, self._length))

    def __iter__(self) -> Iterator[Experiment]:
        return chain.from_iterable(self.chunks)

    def __reversed__(self) -> Iterator[Experiment]:
        return chain.from_iterable(map(reversed, reversed(self.chunks)))

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Experiments):
            return tuple(self) == other
        return len(self) == len(other) and all(
            mine is its or tuple(mine) == tuple(its) for mine, its in zip(self.chunks, other.chunks, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Experiments({len(self)})"


class Selection(Sequence["Experiment"]):
    """Some of a session's experiments, by their numbers, in an order of their own; each is looked up when it is asked
    for."""

    def __init__(self, experiments: Experiments, numbers: Sequence[int]) -> None:
        self._experiments = experiments
        self.numbers = numbers

    @overload
    def __getitem__(self, place: int) -> Experiment: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Experiment, ...]: ...
    def __getitem__(self, place: int | slice) -> Experiment | tuple[Experiment, ...]:
        if isinstance(place, slice):
            return tuple(map(self._experiments.__getitem__, self.numbers[place]))
        return self._experiments[self.numbers[place]]

    def __iter__(self) -> Iterator[Experiment]:
        return map(self._experiments.__getitem__, self.numbers)

    def __reversed__(self) -> Iterator[Experiment]:
        return map(self._experiments.__getitem__, reversed(self.numbers))

    def __len__(self) -> int:
        return len(self.numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


class _Answer(NamedTuple):
    """What was worked out of these chunks, and the parts that it was made of."""

    chunks: tuple[Chunk, ...]
    parts: list[Any]
    result: Any


_NONE = _Answer((), [], None)


def _keys_of_all(indexes: Sequence[dict[object, Sequence[int]]]) -> Set[object]:
    return frozenset().union(*indexes)


def _index(chunk: Chunk, name: str) -> dict[object, Sequence[int]]:
    column = chunk.column(name)
    if column.count(column[0]) == len(column):  # as most are, of most names
        return {column[0]: range(len(column))}
    found: dict[object, list[int]] = {}
    for place, value in enumerate(column):
        found.setdefault(value, []).append(place)
    return {**found}
