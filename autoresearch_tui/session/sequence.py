"""A session's experiments, however many: an immutable sequence in chunks.

A sequence with one experiment added or replaced shares all chunks but one. Results are cached with their chunk, so a
question about all experiments costs the work of the new chunks.
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
    """Neighbouring experiments, and results cached for them."""

    __slots__ = ("_experiments", "_known")

    def __init__(self, experiments: tuple[Experiment, ...]) -> None:
        self._experiments = experiments
        self._known: dict[object, Any] = {}

    def known(self, work: Callable[..., T], *args: object) -> T:
        """`work(chunk, *args)`, computed once."""
        key = (work, *args) if args else work
        try:
            found: T = self._known[key]
        except KeyError:
            found = self._known[key] = work(self, *args)
        return found

    def last_known(self, work: Callable[..., T], *args: object) -> T:
        """The same, but only the last result is cached: for arguments that change with time."""
        before = self._known.get(work)
        if before is None or before[0] != args:
            before = self._known[work] = args, work(self, *args)
        found: T = before[1]
        return found

    def column(self, name: str) -> list[Any]:
        """This attribute of each experiment; a page has it without reading experiments (:mod:`pages`)."""
        return list(map(attrgetter(name), self))

    def cell(self, place: int, name: str) -> Any:
        """This attribute of one experiment."""
        return getattr(self[place], name)

    def places(self, name: str, value: object) -> Sequence[int]:
        """The places in the chunk of the experiments whose attribute has this value."""
        return self.known(_index, name).get(value, ())

    def having(self, name: str, value: object) -> tuple[Experiment, ...]:
        """The experiments whose attribute has this value."""
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
        # The last answer to each question, shared with the sequences made of this one.
        self._answers: dict[object, _Answer] = {} if answers is None else answers

    @classmethod
    def of(cls, experiments: Iterable[Experiment]) -> Experiments:
        """`experiments` must be numbered from 0."""
        known = tuple(experiments)
        return cls(tuple(Chunk(known[at : at + CHUNK]) for at in range(0, len(known), CHUNK)))

    # ── another one ─────────────────────────────────────────────────────────────────────────────────────────────

    def with_next(self, experiment: Experiment) -> Experiments:
        if self._length % CHUNK == 0:
            return Experiments((*self.chunks, Chunk((experiment,))), self._answers)
        return Experiments((*self.chunks[:-1], Chunk((*self.chunks[-1], experiment))), self._answers)

    def replacing(self, experiment: Experiment) -> Experiments:
        """With `experiment` in place of the one with its number."""
        at, place = divmod(experiment.number, CHUNK)
        chunk = list(self.chunks[at])
        chunk[place] = experiment
        return Experiments((*self.chunks[:at], Chunk(tuple(chunk)), *self.chunks[at + 1 :]), self._answers)

    def with_chunk(self, at: int, chunk: Chunk) -> Experiments:
        """With equal experiments in another kind of chunk. Cached answers are dropped, as they hold the old ones."""
        return Experiments((*self.chunks[:at], chunk, *self.chunks[at + 1 :]))

    # ── questions about all ─────────────────────────────────────────────────────────────────────────────────────

    def known(self, work: Callable[..., T], together: Callable[[Sequence[T]], R], *args: object) -> R:
        """`together` of `work(chunk, *args)` for each chunk. Both must be pure, and defined at the top of a module."""
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
        """This attribute of each experiment, without reading experiments from pages."""
        return chain.from_iterable(chunk.column(name) for chunk in self.chunks)

    def cell(self, number: int, name: str) -> Any:
        """This attribute of one experiment, without reading it from a page."""
        return self.chunks[number // CHUNK].cell(number % CHUNK, name)

    def having(self, name: str, value: object) -> Iterator[Experiment]:
        """The experiments whose attribute has this value, in order."""
        return (self.chunks[at][place] for at, places in self._places(name, value) for place in places)

    def numbers(self, name: str, value: object) -> Iterator[int]:
        """The numbers of the experiments whose attribute has this value, in order."""
        return (CHUNK * at + place for at, places in self._places(name, value) for place in places)

    def _places(self, name: str, value: object) -> list[tuple[int, Sequence[int]]]:
        indexes = self.known(_index, tuple, name)
        return [(at, index[value]) for at, index in enumerate(indexes) if value in index]

    def values(self, name: str) -> Set[Any]:
        """All values of this attribute."""
        return self.known(_index, _keys_of_all, name)

    def newest(self, name: str, value: object) -> Iterator[Experiment]:
        """Like :meth:`having`, newest first."""
        for chunk in reversed(self.chunks):
            yield from reversed(chunk.having(name, value))

    def changed(self, before: Experiments) -> Iterator[Experiment]:
        """The experiments that changed or are new."""
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
        """The experiments from this number on."""
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
    """Some of a session's experiments, by number and in any order; each is looked up on access."""

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
    """A result about these chunks, and its parts."""

    chunks: tuple[Chunk, ...]
    parts: list[Any]
    result: Any


_NONE = _Answer((), [], None)


def _keys_of_all(indexes: Sequence[dict[object, Sequence[int]]]) -> Set[object]:
    return frozenset().union(*indexes)


def _index(chunk: Chunk, name: str) -> dict[object, Sequence[int]]:
    column = chunk.column(name)
    if column.count(column[0]) == len(column):  # the usual case
        return {column[0]: range(len(column))}
    found: dict[object, list[int]] = {}
    for place, value in enumerate(column):
        found.setdefault(value, []).append(place)
    return {**found}
