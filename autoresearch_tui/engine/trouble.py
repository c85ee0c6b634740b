"""Trouble outside the loop: what it means for the human, and how long to wait before the next try."""

from __future__ import annotations

import errno

FIRST_SECONDS = 1.0
LAST_SECONDS = 60.0

_REMEDIES = {
    errno.ENOSPC: "free some disk space; the loop goes on by itself",
    errno.EDQUOT: "free some of your disk quota; the loop goes on by itself",
    errno.EROFS: "the file system is read-only; remount it for writing, the loop goes on by itself",
    errno.EACCES: "give yourself write access to the lab's folder; the loop goes on by itself",
    errno.EMFILE: "too many open files; raise `ulimit -n` and start again",
}


_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE})


def passing(error: OSError) -> bool:
    """Whether it may pass by itself, or by a human's work elsewhere: a full disk, one that is read-only or away."""
    return error.errno in _PASSING


class TroubleError(Exception):
    """Something outside stands in the way of the next step; the same step is tried again later."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what)
        self.cure = cure


class Backoff:
    """Growing pauses: 1, 2, 4, … 60 seconds."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def next(self) -> float:
        """How long to wait now."""
        self._seconds = min(max(FIRST_SECONDS, self._seconds * 2), LAST_SECONDS)
        return self._seconds

    def clear(self) -> None:
        """It works again."""
        self._seconds = 0.0


def remedy(error: Exception) -> str:
    """What the human can do about it, in one line."""
    if isinstance(error, TroubleError):
        return error.cure
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        return _REMEDIES[error.errno]
    if ".lock" in str(error):
        return (
            "another git is at work, or a killed one left that file: delete it if none is; the loop goes on by itself"
        )
    return "the loop tries again by itself"
