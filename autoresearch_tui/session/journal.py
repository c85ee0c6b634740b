"""The journal: append-only, one checksummed JSON record per line, on disk before anything depends on it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import typing
import zlib
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from autoresearch_tui.logs.tail import FileTail
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import EngineEnd, Opinion, Outcome, RunEnd
from autoresearch_tui.util import atomic, timestamps
from autoresearch_tui.util.frozen import Frozen, defaults

_CRC = b',"crc":"'
_READ_BYTES = 1 << 20


class JournalDamaged(Exception):
    """A record is unreadable, or does not follow those before it. Nothing is written before a repair."""

    def __init__(self, path: Path, line: int, why: str) -> None:
        super().__init__(
            f"{path}: line {line} is damaged ({why}); `autoresearch-tui doctor --repair` keeps a copy and repairs it"
        )
        self.path = path
        self.line = line


class Start(Frozen):
    """The part of a journal that need not be read again: its bytes, their CRC-32, and its last record's `seq`."""

    size: int = 0
    checksum: int = 0
    seq: int = 0


class Scan(Frozen):
    """A journal's records, and where a torn last line begins, if there is one."""

    records: tuple[ev.Record, ...]
    torn_at: int | None


def encode(record: ev.Record) -> bytes:
    """One line, ending in the checksum of the JSON text before it."""
    fields = {"seq": record.seq, "time": record.time, "type": type_name(record.event)}
    if record.request:
        fields["request"] = record.request
    text = json.dumps(fields | to_fields(record.event), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    body = text.encode("utf-8", "replace")[:-1]
    return body + _CRC + f"{zlib.crc32(body):08x}".encode() + b'"}\n'


def decode(line: bytes) -> ev.Record:
    """The record of one line, without its line end. Raises ValueError with the reason."""
    body, found, rest = line.rpartition(_CRC)
    if not found or not rest.endswith(b'"}'):
        raise ValueError("no checksum")
    if rest[:-2] != f"{zlib.crc32(body):08x}".encode():
        raise ValueError("the checksum does not match")
    values = json.loads(body + b"}")
    try:
        seq, time, request = values.pop("seq"), values.pop("time"), values.pop("request", "")
        return ev.Record(seq, time, from_fields(values.pop("type"), values), request)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no record: {error!r}") from None


def scan(path: Path, data: bytes, before: int = 0) -> Scan:
    """The records after the first `before` ones. A bad last line is torn; any other bad line raises JournalDamaged."""
    records: list[ev.Record] = []
    offset = 0
    while offset < len(data):
        end = data.find(b"\n", offset)
        line = data[offset : end if end >= 0 else len(data)]
        try:
            if end < 0:
                raise ValueError("no line end")
            record = decode(line)
            if record.seq != before + len(records) + 1:
                raise ValueError(f"record {record.seq} where {before + len(records) + 1} belongs")
        except ValueError as error:
            if end >= 0 and end + 1 < len(data):
                raise JournalDamaged(path, before + len(records) + 1, str(error)) from None
            return Scan(tuple(records), offset)
        records.append(record)
        offset = end + 1
    return Scan(tuple(records), None)


def read(path: Path) -> tuple[ev.Record, ...]:
    """The records of a journal that another process may be writing; a torn last line is left out."""
    return scan(path, path.read_bytes()).records


_WHOLE = Start()


def _read_from(file: int, start: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as opened:
        opened.seek(start)
        return opened.read()


class Journal:
    """The one writer of a journal. The caller holds the lab's lock."""

    def __init__(self, path: Path, start: Start = _WHOLE) -> None:
        """`records` are those after `start`, with which the file is known to begin."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            data = _read_from(self._file, start.size)
            found = scan(path, data, start.seq)
            if found.torn_at is not None:
                self._keep_torn(start.size + found.torn_at)
        except BaseException:
            os.close(self._file)
            raise
        self.records = found.records
        self._seq = start.seq + len(found.records)
        self._size = os.fstat(self._file).st_size
        self._checksum = zlib.crc32(memoryview(data)[: self._size - start.size], start.checksum)
        atomic.sync(path.parent)

    def append(
        self,
        event: ev.Event,
        clock: Callable[[], str] = timestamps.now,
        check: Callable[[ev.Record], object] | None = None,
        request: str = "",
    ) -> tuple[ev.Record, bytes]:
        """One more record, on disk when this returns. On OSError nothing was added.

        `check` gets the record as every reader will read it; if it raises, nothing is written.
        """
        line = encode(ev.Record(self._seq + 1, clock(), event, request))
        record = decode(line[:-1])
        if check is not None:
            check(record)
        self._require_own_end()
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):  # else the next append cuts it off
                os.ftruncate(self._file, self._size)
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        self._seq = record.seq
        self._size += len(line)
        self._checksum = zlib.crc32(line, self._checksum)
        return record, line

    @property
    def extent(self) -> tuple[int, int]:
        """The number of bytes in the journal, and their CRC-32."""
        return self._size, self._checksum

    def _require_own_end(self) -> None:
        """Make the file end where our last record ends. Raises OSError if it was deleted or cut."""
        status = os.fstat(self._file)
        if status.st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "was deleted while in use", str(self._path))
        if status.st_size < self._size:
            raise OSError(errno.ESTALE, "was cut by another program while in use", str(self._path))
        if status.st_size > self._size:
            os.ftruncate(self._file, self._size)

    def close(self) -> None:
        os.close(self._file)

    def discard(self) -> None:
        """Close a journal, and remove it with its folder if it is empty."""
        if self._size == 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
                self._path.parent.rmdir()
        self.close()

    def _keep_torn(self, offset: int) -> None:
        torn = os.pread(self._file, os.fstat(self._file).st_size - offset, offset)
        aside = self._path.with_suffix(".torn")
        with aside.open("ab") as file:
            file.write(torn + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.ftruncate(self._file, offset)


class Rewritten(Exception):
    """What a tail has read is no longer in the file: the writer took it back, or the file was repaired."""


class JournalTail:
    """The records of a journal that another thread or process writes."""

    def __init__(self, path: Path, start: Start = _WHOLE) -> None:
        """Reads from after `start`, with which the file is known to begin."""
        self._file = FileTail(path)
        if start.size:
            self._file.begin(start.size)

    @property
    def offset(self) -> int:
        """How many bytes of records have been read."""
        return self._file.offset

    @property
    def rewritten(self) -> bool:
        """Whether the file was replaced, or is shorter than what was read."""
        return self._file.replaced

    def read(self, limit: int = _READ_BYTES) -> Iterator[ev.Record]:
        """The new records: about `limit` bytes of them, but at least one if one is complete.

        Raises ValueError for a line that is no record, and Rewritten if the next call starts again from the beginning.
        """
        for line in self._whole_lines(limit).splitlines(keepends=True):
            record = decode(line[:-1])
            self._file.take(line)
            yield record

    def skip(self) -> None:
        """Skip all complete lines. Raises OSError."""
        while data := self._whole_lines(_READ_BYTES):
            self._file.take(data)

    def _whole_lines(self, limit: int) -> bytes:
        """About `limit` bytes of complete lines; more if a line is longer; empty if the only line has no end yet."""
        piece = self._file.look(limit)
        while not piece.restarted and piece.behind and b"\n" not in piece.data:
            limit *= 2
            piece = self._file.look(limit)
        if piece.restarted:
            raise Rewritten
        return piece.data[: piece.data.rfind(b"\n") + 1]


def type_name(event: ev.Event) -> str:
    """`ProposalMade` → `proposal_made`."""
    return _snake(type(event).__name__)


def to_fields(event: ev.Event) -> dict[str, Any]:
    """The event's own fields as JSON values, without sparse ones that have their default."""
    sparse = _sparse(type(event))
    return {
        name: _plain(value)
        for name, value in asdict(event).items()
        if name not in sparse or value not in (sparse[name], {})
    }


def from_fields(name: str, values: Mapping[str, Any]) -> ev.Event:
    """The event that `type_name` and `to_fields` describe. Unknown fields (of a later version) are ignored.

    Raises ValueError for an unknown type or a missing field.
    """
    name = _RENAMED_EVENTS.get(name, name)
    values = {_RENAMED_FIELDS.get((name, field), field): value for field, value in values.items()}
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(f"unknown event type {name!r}")
    known: dict[str, Any] = {}
    for field_name, enum in _fields_of(kind):
        if field_name in values:
            value = values[field_name]
            if enum is not None and value in list(enum):  # a later version may have other values
                value = enum(value)
            known[field_name] = tuple(value) if isinstance(value, list) else value
    try:
        return typing.cast(ev.Event, kind(**known))
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


# Former names, from journals written before the first release.
_RENAMED_EVENTS = {
    "cage_checked": "sandbox_checked",
    "proposal_put_back": "run_requeued",
    "run_spoiled": "run_invalidated",
}
_RENAMED_FIELDS = {
    ("proposal_asked", "side"): "exploratory",
    ("proposal_asked", "mends"): "fixes",
    ("proposal_made", "side"): "exploratory",
    ("proposal_made", "mends"): "fixes",
    ("proposal_made", "repeats"): "duplicate_of",
    ("proposal_made", "joins"): "combines",
}
_KINDS: dict[str, type] = {_snake(kind.__name__): kind for kind in typing.get_args(ev.Event)}
_ENUMS: dict[object, type[StrEnum]] = {enum.__name__: enum for enum in (EngineEnd, Opinion, Outcome, RunEnd)}


@cache
def _fields_of(kind: type) -> tuple[tuple[str, type[StrEnum] | None], ...]:
    return tuple((name, _ENUMS.get(hint)) for name, hint in kind.__annotations__.items())


@cache
def _sparse(kind: type) -> Mapping[str, object]:
    """The default of each field that is written only if it differs from that."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {name: default for name, default in defaults(kind).items() if ev.SPARSE in typing.get_args(hints[name])}
