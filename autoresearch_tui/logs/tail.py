"""Follows a file that another thread or process writes."""

from __future__ import annotations

import os
from pathlib import Path

from autoresearch_tui.util.frozen import Frozen

# The last bytes read, by which a rewritten file is noticed. A journal's line ends with its checksum.
_MARK_BYTES = 64


class Piece(Frozen):
    """The next bytes. `restarted`: the file was rewritten, and these are its first."""

    data: bytes = b""
    restarted: bool = False
    behind: bool = False
    """There is more to read."""
    skipped: int = 0
    """How many bytes before `data` were skipped."""


class FileTail:
    """Follows one file by byte offset; never holds it open, never blocks, and reads a bounded piece per call.

    Notices a file that was replaced, cut or rewritten. A missing file counts as empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._mark = b""
        self.offset = 0
        """How many bytes have been taken."""

    def begin(self, offset: int) -> None:
        """Begin after `offset` bytes. Raises OSError."""
        with self._path.open("rb") as file:
            self._identity = _identity(os.fstat(file.fileno()))
            file.seek(max(0, offset - _MARK_BYTES))
            self._mark = file.read(min(offset, _MARK_BYTES))
        self.offset = offset

    @property
    def grown(self) -> bool:
        """Whether there may be more to read, by one `stat`."""
        status = self._status()
        return status is not None and (_identity(status) != self._identity or status.st_size != self.offset)

    @property
    def replaced(self) -> bool:
        """Whether the file was replaced, or is shorter than what was read."""
        status = self._status()
        another = status is not None and (_identity(status) != self._identity or status.st_size < self.offset)
        return self.offset > 0 and another

    def look(self, limit: int, *, most_behind: int | None = None) -> Piece:
        """The next `limit` bytes at most, without taking them; the last ones if more than `most_behind` are unread.

        `most_behind` is at least `limit`. Raises OSError if the file cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                file.seek(self.offset - len(self._mark))
                same = _identity(status) == self._identity and file.read(len(self._mark)) == self._mark
                restarted = self.offset > 0 and not same
                self._identity = _identity(status)
                if restarted:
                    self.offset, self._mark = 0, b""
                skipped = 0
                if most_behind is not None and status.st_size - self.offset > most_behind:
                    skipped = status.st_size - limit - self.offset
                    self.offset, self._mark = status.st_size - limit, b""
                file.seek(self.offset)
                data = file.read(limit)
        except FileNotFoundError:
            return Piece()
        return Piece(data, restarted, self.offset + len(data) < status.st_size, skipped)

    def take(self, data: bytes) -> None:
        """Continue after `data`, which must be what the last look began with."""
        self.offset += len(data)
        self._mark = data[-_MARK_BYTES:] if len(data) >= _MARK_BYTES else (self._mark + data)[-_MARK_BYTES:]

    def read(self, limit: int, *, most_behind: int | None = None) -> Piece:
        """Look, and take all of it."""
        piece = self.look(limit, most_behind=most_behind)
        self.take(piece.data)
        return piece

    def _status(self) -> os.stat_result | None:
        try:
            return self._path.stat()
        except OSError:
            return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
