"""Temporary folders, each locked by its user; an unlocked one was left by a killed process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from autoresearch_tui.util import trees

# Not the prefix of all our temporary folders: what a human was editing when the screen died stays.
_PREFIX = "autoresearch-tmp-"
_YOUNG_SECONDS = 60.0


@contextlib.contextmanager
def folder(kind: str) -> Iterator[Path]:
    """A new folder, removed afterwards. Raises OSError if it cannot be made."""
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-"))
    lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        trees.remove(path)
        os.close(lock)


def sweep(before: Callable[[Path], object] = lambda _path: None) -> int:
    """Remove the folders that killed processes of this user left, and count them. `before` may save things first."""
    gone = 0
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            gone += _remove_stale(path, before)
    return gone


def _remove_stale(path: Path, before: Callable[[Path], object]) -> bool:
    status = path.lstat()
    if status.st_uid != os.getuid():
        return False
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A new folder may not be locked yet; its user locks it before filling it.
        if time.time() - status.st_mtime < _YOUNG_SECONDS and not any(path.iterdir()):
            return False
        before(path)
        trees.remove(path)
    finally:
        os.close(lock)
    return True
