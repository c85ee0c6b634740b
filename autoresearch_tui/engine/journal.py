"""The truth of a session: append-only, one checksummed JSON record a line, on disk before anything depends on it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autoresearch_tui.engine import codec
from autoresearch_tui.engine import events as ev

_CRC = b',"crc":"'


class JournalDamaged(Exception):
    """A record in the middle cannot be read. Nothing is written until it is mended."""

    def __init__(self, path: Path, line: int, why: str) -> None:
        super().__init__(
            f"{path}: line {line} is damaged ({why}); `autoresearch-tui doctor --mend` keeps a copy and mends it"
        )
        self.path = path
        self.line = line


@dataclass(frozen=True, slots=True)
class Scan:
    """What a journal's bytes hold: its records, and where a torn last line begins (None: none)."""

    records: tuple[ev.Record, ...]
    torn_at: int | None


def encode(record: ev.Record) -> bytes:
    """One line. The checksum is of the JSON text before it."""
    fields = {"seq": record.seq, "time": record.time, "type": codec.type_name(record.event)}
    text = json.dumps(
        fields | codec.to_fields(record.event), ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    body = text.encode("utf-8", "replace")[:-1]
    return body + _CRC + f"{zlib.crc32(body):08x}".encode() + b'"}\n'


def decode(line: bytes) -> ev.Record:
    """The record of one line, without its line end. Raises ValueError that says what is wrong with it."""
    body, found, rest = line.rpartition(_CRC)
    if not found or not rest.endswith(b'"}'):
        raise ValueError("no checksum")
    if rest[:-2] != f"{zlib.crc32(body):08x}".encode():
        raise ValueError("the checksum does not match")
    values = json.loads(body + b"}")
    return ev.Record(values.pop("seq"), values.pop("time"), codec.from_fields(values.pop("type"), values))


def scan(path: Path, data: bytes) -> Scan:
    """All records. A bad last line is torn; a bad line before the last raises JournalDamaged."""
    records: list[ev.Record] = []
    offset = 0
    while offset < len(data):
        end = data.find(b"\n", offset)
        line = data[offset : end if end >= 0 else len(data)]
        try:
            if end < 0:
                raise ValueError("no line end")
            record = decode(line)
            if record.seq != len(records) + 1:
                raise ValueError(f"record {record.seq} where {len(records) + 1} belongs")
        except ValueError as error:
            if end >= 0 and end + 1 < len(data):
                raise JournalDamaged(path, len(records) + 1, str(error)) from None
            return Scan(tuple(records), offset)
        records.append(record)
        offset = end + 1
    return Scan(tuple(records), None)


def read(path: Path) -> tuple[ev.Record, ...]:
    """The records of a journal that somebody else may be writing: a torn last line is «not yet»."""
    return scan(path, path.read_bytes()).records


def now() -> str:
    """The time as records have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """The one writer of a journal. The caller holds the lab's lock."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            found = scan(path, path.read_bytes())
            if found.torn_at is not None:
                self._keep_torn(found.torn_at)
        except BaseException:
            os.close(self._file)
            raise
        self.records = found.records
        self._seq = len(found.records)
        self._size = os.fstat(self._file).st_size
        _sync_folder(path.parent)

    def append(self, event: ev.Event, clock: Callable[[], str] = now) -> tuple[ev.Record, bytes]:
        """One more record, on disk when this returns. On OSError nothing was added."""
        record = ev.Record(self._seq + 1, clock(), event)
        line = encode(record)
        if os.fstat(self._file).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, f"{self._path} was deleted while in use; stop, and start again")
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._seq = record.seq
        self._size += len(line)
        return record, line

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def discard(self) -> None:
        """Let go of a journal that nothing was written to, and leave no trace of it."""
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


class JournalTail:
    """Follows a journal that another thread or process writes, by byte offset."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self, limit: int = 1 << 20) -> Iterator[ev.Record]:
        """The records that came since the last call, at most about `limit` bytes of them."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(limit)
        except FileNotFoundError:
            return
        end = data.rfind(b"\n") + 1
        for line in data[:end].splitlines(keepends=True):
            record = decode(line[:-1])
            self._offset += len(line)
            yield record


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
