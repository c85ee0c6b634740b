"""Folders for a moment's work. Each is locked by whoever uses it; what a killed process left is found by that."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# Not of every temporary folder of ours: what a human was editing when the screen died is theirs.
_PREFIX = "autoresearch-tmp-"
_YOUNG_SECONDS = 60.0


@contextlib.contextmanager
def folder(kind: str) -> Iterator[Path]:
    """A new folder, gone afterwards. Raises OSError where it cannot be made."""
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-"))
    lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep() -> int:
    """Remove what processes of this user left that were killed. Returns how many folders."""
    gone = 0
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            gone += _remove_stale(path)
    return gone


def _remove_stale(path: Path) -> bool:
    found = path.lstat()
    # One that was made a moment ago may not be locked yet.
    if found.st_uid != os.getuid() or time.time() - found.st_mtime < _YOUNG_SECONDS:
        return False
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
    return True
