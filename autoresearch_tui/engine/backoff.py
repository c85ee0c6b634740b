"""Trouble outside the loop: messages and remedies for the human, and pauses before the next attempt."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from autoresearch_tui.util.errors import in_line

FIRST_SECONDS = 1.0
LAST_SECONDS = 60.0

_REMEDIES = {
    errno.ENOSPC: "free some disk space; the loop continues by itself",
    errno.EDQUOT: "free some of your disk quota; the loop continues by itself",
    errno.EROFS: "remount it for writing, the loop continues by itself",
    errno.EACCES: "give yourself write access to the lab's folder; the loop continues by itself",
    errno.EMFILE: "too many open files; raise `ulimit -n` and start again",
    errno.EEXIST: "a file is where a folder belongs; move it away, the loop continues by itself",
    errno.ENOTDIR: "a file is where a folder belongs; move it away, the loop continues by itself",
    errno.EISDIR: "a folder is where a file belongs; move it away, the loop continues by itself",
    errno.EIO: "the disk, or the line to it, fails; see `dmesg`, the loop tries again by itself",
    errno.ESTALE: "the network disk has lost it; mount it again, the loop tries again by itself",
}


_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE})


def passing(error: OSError) -> bool:
    """Whether it may pass without a restart: a disk that is full, read-only or away."""
    return error.errno in _PASSING


class TroubleError(Exception):
    """Something outside blocks the next step, which is tried again later."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


class Backoff:
    """Growing pauses: 1, 2, 4, … 60 seconds."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def next(self) -> float:
        self._seconds = min(max(FIRST_SECONDS, self._seconds * 2), LAST_SECONDS)
        return self._seconds

    def clear(self) -> None:
        self._seconds = 0.0


def message(error: Exception) -> str:
    """What went wrong, with the path and without the error number."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error) or type(error).__name__
    return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror


def line(error: Exception) -> str:
    """What went wrong and the remedy, for a command that ends with this error."""
    cure = remedy(error).partition(", the loop ")[0].partition("; the loop ")[0]
    return in_line(message(error), "" if cure.startswith("the loop ") else cure)


def remedy(error: Exception) -> str:
    """What the human can do about it, in one line."""
    if isinstance(error, TroubleError):
        return error.remedy
    if isinstance(error, FileNotFoundError) and error.filename:
        name = Path(os.fsdecode(error.filename)).name
        return f"restore it (`git checkout -- {name}` for a committed file); the loop continues by itself"
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        return _REMEDIES[error.errno]
    if ".lock" in str(error):
        return (
            "another git is at work, or a killed one left that file: delete it if none is; the loop continues by itself"
        )
    return "the loop tries again by itself"
