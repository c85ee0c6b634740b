"""Finished experiments on disk, a chunk of them a page: what is asked of all of them stays in memory, the rest is read
when it is asked for.

A page is two parts: the columns of what stays in memory, each a line of JSON, and a line of JSON for each experiment.
What is asked of all experiments is asked of columns, and only those that are asked for are decoded; a list of the
newest makes rows of the newest page alone. Pages are added to the end of a file and never changed there. One whose
experiments did change is not used any more, and written anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import repeat
from operator import attrgetter
from pathlib import Path
from typing import Any, overload
from weakref import WeakValueDictionary

from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.experiment import Experiment, Stage
from autoresearch_tui.session.sequence import CHUNK, Chunk
from autoresearch_tui.session.written import CODEC
from autoresearch_tui.util.frozen import Frozen

# So many experiments that were read are remembered whole.
_REMEMBERED = 1024
# What stays in memory: own fields of an experiment, and what it says of the events that are embedded in it.
_OWN = ("took_seconds", "started_at", "ended_at", "edited", "judged_after", "overruled", "device")
_SAID = (
    "number", "commit", "base", "description", "author", "front", "repeat_of", "combines", "confirms", "fixes",
    "exploratory", "scale", "origin", "usd", "tokens", "outcome", "status", "value", "measured", "memory_gb",
    "advanced", "leads", "inside_noise", "stderr", "error", "sealed", "seconds", "columns", "doubted", "drawn",
    "objected", "is_open",
)  # fmt: skip
_LIGHT = (*_OWN, *_SAID)
_OUTCOMES = {str(outcome): outcome for outcome in Outcome}
# As many different values as may be written once for a column.
_FEW = 32
# The line of a column in which all are alike has no more bytes.
_SHORT = 64
_OF_OUTCOMES = frozenset({"outcome", "status", "overruled"})
_light = attrgetter(*_LIGHT)
_PLACES = {name: place for place, name in enumerate(_LIGHT)}


class Filed(Experiment):
    """An experiment of a page. Whatever of it is not in memory is read when it is asked for."""

    __slots__ = (*_SAID, "_page")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    @property
    def whole(self) -> Experiment:
        page: Page = self._page
        return _whole(page, self.number % CHUNK)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Experiment) and self.whole == other.whole)

    __hash__ = Experiment.__hash__


_SETTERS: tuple[Callable[[Filed, Any], None], ...] = tuple(getattr(Filed, name).__set__ for name in _LIGHT)
_set_page, _set_stage = Filed._page.__set__, Filed.stage.__set__  # type: ignore[attr-defined]


class Where(Frozen):
    """Where a page is: its first byte in the file, the bytes of its columns and their CRC-32, and all of its bytes."""

    start: int
    columns: int
    checksum: int
    size: int


class History:
    """The file of a session's pages, open while any of them is in use."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self._file)
        self.identity = status.st_dev, status.st_ino

    @classmethod
    def of(cls, path: Path) -> History:
        """The file there; one that this process has open already is opened no second time. Raises OSError."""
        opened = cls(path)
        return _OPEN.setdefault(opened.identity, opened)

    @property
    def size(self) -> int:
        """Its bytes now."""
        return os.fstat(self._file).st_size

    def read(self, start: int, size: int) -> bytes:
        """Bytes of it; fewer if it ends before."""
        return os.pread(self._file, size, start)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


class Page(Chunk):
    """A chunk whose experiments are on disk. Threads share it."""

    __slots__ = ("__weakref__", "_ends", "_head", "_history", "_recover", "_rows", "_sums", "where")

    def __init__(self, history: History, where: Where, recover: Callable[[int], Experiment]) -> None:
        """`recover`: an experiment by its number, from the journal, where its line turns out to be damaged.

        Raises ValueError for a page that is damaged, and OSError.
        """
        super().__init__(())
        self._history, self.where, self._recover = history, where, recover
        head = history.read(where.start, where.columns)
        if zlib.crc32(head) != where.checksum or where.start + where.size > history.size:
            raise ValueError("a page is damaged")
        self._head: list[Any] | None = head.split(b"\n")
        """A line for each column, or what was decoded of it, and two about the experiments' own; None once there are
        rows."""
        self._rows: tuple[Experiment, ...] | None = None

    @classmethod
    def of(cls, history: History, where: Where, recover: Callable[[int], Experiment]) -> Page:
        """The page there; one that is in use in this process already is the same."""
        key = (history.identity, where.start, where.checksum)
        found = _IN_USE.get(key)
        if found is None:
            found = _IN_USE[key] = cls(history, where, recover)
        return found

    def _loaded(self) -> tuple[Experiment, ...]:
        if self._rows is None:
            with _LOADING:
                if self._rows is None:
                    self._load()
        assert self._rows is not None
        return self._rows

    def _load(self) -> None:
        head = self._head
        assert head is not None
        self._ends, self._sums = (array("I", bytes.fromhex(line.decode())) for line in head[len(_LIGHT) :][:2])
        rows: list[Any] = [Filed.__new__(Filed) for _ in range(len(self._ends))]
        for name, setter in zip(_LIGHT, _SETTERS, strict=True):
            deque(map(setter, rows, self.column(name)), maxlen=0)
        deque(map(_set_page, rows, repeat(self)), maxlen=0)
        deque(map(_set_stage, rows, repeat(Stage.DONE)), maxlen=0)
        self._rows = tuple(rows)
        self._head = None

    def column(self, name: str) -> list[Any]:
        head, place = self._head, _PLACES.get(name)
        if head is None or place is None:
            return super().column(name)
        found = head[place]
        if isinstance(found, bytes):
            found = head[place] = (_values if len(found) > _SHORT else _short_values)(name, found, CHUNK)
        return found  # type: ignore[no-any-return]

    def told(self, place: int, name: str) -> Any:
        return super().told(place, name) if self._head is None else self.column(name)[place]

    def line(self, place: int) -> bytes:
        """The line of one experiment; empty if it is not there as it was written."""
        self._loaded()
        start = self._ends[place - 1] if place else 0
        data = self._history.read(self.where.start + self.where.columns + start, self._ends[place] - start)
        return data if zlib.crc32(data) == self._sums[place] else b""

    def read(self, place: int) -> Experiment:
        """One experiment, whole."""
        data = self.line(place)
        if not data:
            return self._recover(self._loaded()[place].number)
        found: Experiment = CODEC.decode(json.loads(data))
        return found

    @overload
    def __getitem__(self, place: int) -> Experiment: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Experiment, ...]: ...
    def __getitem__(self, place: int | slice) -> Experiment | tuple[Experiment, ...]:
        return self._loaded()[place]

    def __iter__(self) -> Iterator[Experiment]:
        return iter(self._loaded())

    def __reversed__(self) -> Iterator[Experiment]:
        return reversed(self._loaded())

    def __len__(self) -> int:
        return CHUNK


# Of this process, whose threads (an engine, a screen) have pages in common.
_OPEN: WeakValueDictionary[tuple[int, int], History] = WeakValueDictionary()
_IN_USE: WeakValueDictionary[tuple[object, ...], Page] = WeakValueDictionary()
_LOADING = threading.Lock()


@lru_cache(maxsize=_REMEMBERED)
def _whole(page: Page, place: int) -> Experiment:
    return page.read(place)


@cache
def shape() -> list[int]:
    """What a page is read by, and was folded by; one of another shape is not used."""
    return [CODEC.shape, zlib.crc32(repr(_LIGHT).encode()), CHUNK, sys.byteorder == "little", _rules()]


def _rules() -> int:
    """The modules that say what a record changes, as they are now: a checkout changes them under one version."""
    names = ("fold", "state", "experiment", "asks", "cost", "draws", "fleet", "failures", "prior_results", "events")
    found = 0
    for name in (*names, "pages"):
        with contextlib.suppress(OSError):  # as in an archive, whose modules do not change
            found = zlib.crc32(Path(__file__).with_name(f"{name}.py").read_bytes(), found)
    return found


def fits(chunk: Chunk) -> bool:
    """Whether a chunk can be a page: it is full, and nothing is to come of any of it."""
    return len(chunk) == CHUNK and not any(experiment.is_open for experiment in chunk)


def written(chunk: Chunk, start: int) -> tuple[bytes, Where]:
    """A chunk as a page that begins at byte `start` of the file."""
    lines = [json.dumps(CODEC.encode(e), ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for e in chunk]
    ends, end = [], 0
    for each in lines:
        end += len(each)
        ends.append(end)
    columns = [_column(column) for column in zip(*map(_light, chunk), strict=True)]
    told = [json.dumps(column, ensure_ascii=False, separators=(",", ":")) for column in columns]
    told += [array("I", each).tobytes().hex() for each in (ends, map(zlib.crc32, lines))]
    head = "".join(f"{line}\n" for line in told).encode()
    return b"".join((head, *lines)), Where(start, len(head), zlib.crc32(head), len(head) + end)


def _column(values: Sequence[Any]) -> Any:
    """A column: `[values]`, or `[values that are different, which of them each is]`, or `[value of all, None]`."""
    known = [dict(value) if isinstance(value, Mapping) else value for value in values]
    told = list(map(repr, known))  # which tells 0 from 0.0 and from False
    different = dict(zip(told, known, strict=True))
    if len(different) == 1:
        return [known[0], None]
    if len(different) <= _FEW:
        places = {text: place for place, text in enumerate(different)}
        return [list(different.values()), [places[text] for text in told]]
    return [known]


def _values(name: str, line: bytes, count: int) -> list[Any]:
    column = json.loads(line)
    values = column[0]
    if name in _OF_OUTCOMES:
        values = [_OUTCOMES.get(value) for value in values] if isinstance(values, list) else _OUTCOMES.get(values)
    if len(column) == 1:
        return values  # type: ignore[no-any-return]
    return [values] * count if column[1] is None else list(map(values.__getitem__, column[1]))


# Most columns have one value in all pages, and then these are the same list.
_short_values = lru_cache(maxsize=256)(_values)
