"""Notices that a session's lab was deleted or moved, or that its disk is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from autoresearch_tui.engine.backoff import TroubleError

# How long a deleted or moved lab may take to come back.
GONE_SECONDS = 10.0
# How long a network disk may be away.
AWAY_SECONDS = 1800.0


class Presence:
    """Checks for the lab's folder, its repository and the open journal."""

    def __init__(
        self, root: Path, git_folder: Path, journal: Path, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._journal = journal
        # Each path with its file system.
        self._places = [(path, path.stat().st_dev) for path in (root, git_folder, journal)]
        self._ours = _identity(journal)
        self._monotonic = monotonic
        self._since: float | None = None

    def require(self) -> None:
        """Raises TroubleError if something is missing."""
        missing = self._missing()
        if missing is None:
            self._since = None
            return
        path, away = missing
        cure = "mount it again" if away else "put it back where it was"
        raise TroubleError(f"{path} is {'away' if away else 'gone'}", f"{cure}, and the loop continues by itself")

    def lost(self) -> str:
        """Why the session must end; empty while everything is there, or may still come back."""
        missing = self._missing()
        if missing is None:
            self._since = None
            return ""
        path, away = missing
        now = self._monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since < (AWAY_SECONDS if away else GONE_SECONDS):
            return ""
        if away:
            return f"{path} has been away for {AWAY_SECONDS / 60:.0f} min; mount it again, and start again"
        return f"{path} was deleted or moved; put it back, or start in the lab's new place"

    def _missing(self) -> tuple[Path, bool] | None:
        """The outermost missing path, and whether it may come back with its disk."""
        for path, device in self._places:
            try:
                path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return path, _unmounted(path, device)
            except OSError:
                return path, True
        return None if _identity(self._journal) == self._ours else (self._journal, False)


def _unmounted(path: Path, device: int) -> bool:
    """Whether the file system of `path` is no longer mounted there."""
    for folder in path.parents:
        try:
            return folder.stat().st_dev != device
        except OSError:
            continue
    return False


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
