"""Finished experiments on disk, one page per chunk: what tables and statistics need stays in memory, the rest is read
on access.

A page has two parts: columns, each a line of JSON, which stay in memory and are decoded on first use; and a line of
JSON for each experiment. A list of the newest makes rows of the newest page alone. Pages are appended to a file and
never changed there. If experiments of a page change after all, a new page is written.
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
from operator import attrgetter
from pathlib import Path
from typing import Any, overload
from weakref import WeakValueDictionary

import msgspec

from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.experiment import Experiment, Stage
from autoresearch_tui.session.sequence import CHUNK, Chunk
from autoresearch_tui.session.written import CODEC
from autoresearch_tui.util.frozen import Frozen

# How many experiments that were read are cached whole.
_REMEMBERED = 1024
# What stays in memory: fields of an experiment, and properties derived from its events.
_OWN = ("took_seconds", "started_at", "ended_at", "edited", "judged_after", "overruled", "device")
_DERIVED = (
    "number", "commit", "base", "description", "author", "front", "repeat_of", "combines", "confirms", "fixes",
    "exploratory", "scale", "origin", "usd", "tokens", "outcome", "status", "value", "measured", "memory_gb",
    "advanced", "leads", "inside_noise", "stderr", "error", "sealed", "seconds", "columns", "doubted", "drawn",
    "objected", "is_open",
)  # fmt: skip
_LIGHT = (*_OWN, *_DERIVED)
_OUTCOMES = {str(outcome): outcome for outcome in Outcome}
# Up to so many different values, a column lists each once.
_FEW = 32
# The longest line of a column that has one value.
_SHORT = 64
_OF_OUTCOMES = frozenset({"outcome", "status", "overruled"})
_light = attrgetter(*_LIGHT)
_PLACES = {name: place for place, name in enumerate(_LIGHT)}


class Filed(Experiment, eq=False):
    """An experiment of a page. Attributes that are not in memory are read on access."""

    page: Page | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    @property
    def whole(self) -> Experiment:
        assert self.page is not None
        return _whole(self.page, self.number % CHUNK)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Experiment) and self.whole == other.whole)

    def __hash__(self) -> int:
        return hash(self.whole)


_FILED: Any = msgspec.defstruct("Filed", [(name, Any, None) for name in _DERIVED], bases=(Filed,), eq=False)
"""With a field in place of each derived property."""
_FIELDS = {name: getattr(_FILED, name) for name in _FILED.__struct_fields__}


class Where(Frozen):
    """Where a page is: its first byte in the file, the size of its columns and their CRC-32, and its whole size."""

    start: int
    columns: int
    checksum: int
    size: int


class History:
    """The file of a session's pages; open while any of them is in use."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self._file)
        self.identity = status.st_dev, status.st_ino

    @classmethod
    def of(cls, path: Path) -> History:
        """The file at `path`, shared if this process has it open already. Raises OSError."""
        opened = cls(path)
        return _OPEN.setdefault(opened.identity, opened)

    @property
    def size(self) -> int:
        return os.fstat(self._file).st_size

    def read(self, start: int, size: int) -> bytes:
        """Up to `size` bytes; fewer at the end of the file."""
        return os.pread(self._file, size, start)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


class Page(Chunk):
    """A chunk whose experiments are on disk. Threads share it."""

    __slots__ = ("__weakref__", "_ends", "_head", "_history", "_recover", "_rows", "_sums", "where")

    def __init__(self, history: History, where: Where, recover: Callable[[int], Experiment]) -> None:
        """`recover` gets an experiment by number from the journal, if its line here is damaged.

        Raises ValueError for damaged columns, and OSError.
        """
        super().__init__(())
        self._history, self.where, self._recover = history, where, recover
        head = history.read(where.start, where.columns)
        if zlib.crc32(head) != where.checksum or where.start + where.size > history.size:
            raise ValueError("a page is damaged")
        self._head: list[Any] | None = head.split(b"\n")
        """For each column its line, or once decoded its values; then two lines about the experiments' lines. None once
        there are rows."""
        self._rows: tuple[Experiment, ...] | None = None

    @classmethod
    def of(cls, history: History, where: Where, recover: Callable[[int], Experiment]) -> Page:
        """The page at `where`, shared if this process uses it already."""
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
        columns = dict(zip(_LIGHT, map(self.column, _LIGHT), strict=True))
        rows = [_FILED(None, stage=Stage.DONE, page=self) for _ in self._ends]
        for name, field in _FIELDS.items():
            if name in columns:
                deque(map(field.__set__, rows, columns[name]), maxlen=0)
            elif name not in ("stage", "page"):  # unset, so that `__getattr__` is asked
                deque(map(field.__delete__, rows), maxlen=0)
        self._rows = tuple(rows)
        self._head = None

    def column(self, name: str) -> list[Any]:
        head, place = self._head, _PLACES.get(name)
        if head is None or place is None:
            return super().column(name)
        values = head[place]
        if isinstance(values, bytes):
            values = head[place] = (_values if len(values) > _SHORT else _short_values)(name, values, CHUNK)
        return values  # type: ignore[no-any-return]

    def cell(self, place: int, name: str) -> Any:
        return super().cell(place, name) if self._head is None else self.column(name)[place]

    def line(self, place: int) -> bytes:
        """The line of one experiment; empty if it is damaged."""
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


# The threads of a process (an engine, a screen) share pages.
_OPEN: WeakValueDictionary[tuple[int, int], History] = WeakValueDictionary()
_IN_USE: WeakValueDictionary[tuple[object, ...], Page] = WeakValueDictionary()
_LOADING = threading.Lock()


@lru_cache(maxsize=_REMEMBERED)
def _whole(page: Page, place: int) -> Experiment:
    return page.read(place)


@cache
def shape() -> list[int]:
    """Identifies the format of pages and the code that folded them; pages of another shape are not used."""
    return [CODEC.shape, zlib.crc32(repr(_LIGHT).encode()), CHUNK, sys.byteorder == "little", _rules()]


def _rules() -> int:
    """A checksum of the modules that fold records: in a checkout they change without a new version."""
    names = ("fold", "state", "experiment", "asks", "cost", "draws", "fleet", "failures", "prior_results", "events")
    found = 0
    for name in (*names, "pages"):
        with contextlib.suppress(OSError):  # in a zip archive, where modules do not change
            found = zlib.crc32(Path(__file__).with_name(f"{name}.py").read_bytes(), found)
    return found


def fits(chunk: Chunk) -> bool:
    """Whether a chunk can be a page: it is full, and all its experiments are done."""
    return len(chunk) == CHUNK and not any(experiment.is_open for experiment in chunk)


def written(chunk: Chunk, start: int) -> tuple[bytes, Where]:
    """A chunk as a page that begins at byte `start` of the file."""
    lines = [json.dumps(CODEC.encode(e), ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for e in chunk]
    ends, end = [], 0
    for each in lines:
        end += len(each)
        ends.append(end)
    columns = [_column(column) for column in zip(*map(_light, chunk), strict=True)]
    head_lines = [json.dumps(column, ensure_ascii=False, separators=(",", ":")) for column in columns]
    head_lines += [array("I", each).tobytes().hex() for each in (ends, map(zlib.crc32, lines))]
    head = "".join(f"{line}\n" for line in head_lines).encode()
    return b"".join((head, *lines)), Where(start, len(head), zlib.crc32(head), len(head) + end)


def _column(values: Sequence[Any]) -> Any:
    """A column: `[values]`, or `[distinct values, index of each]`, or `[the only value, None]`."""
    known = [dict(value) if isinstance(value, Mapping) else value for value in values]
    texts = list(map(repr, known))  # which differ for 0, 0.0 and False
    different = dict(zip(texts, known, strict=True))
    if len(different) == 1:
        return [known[0], None]
    if len(different) <= _FEW:
        places = {text: place for place, text in enumerate(different)}
        return [list(different.values()), [places[text] for text in texts]]
    return [known]


def _values(name: str, line: bytes, count: int) -> list[Any]:
    column = json.loads(line)
    values = column[0]
    if name in _OF_OUTCOMES:
        values = [_OUTCOMES.get(value) for value in values] if isinstance(values, list) else _OUTCOMES.get(values)
    if len(column) == 1:
        return values  # type: ignore[no-any-return]
    return [values] * count if column[1] is None else list(map(values.__getitem__, column[1]))


# Most columns have the same single value in all pages, which then share one list.
_short_values = lru_cache(maxsize=256)(_values)
