"""One engine per lab, by a lock that the kernel releases when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from autoresearch_tui.lab import Lab

TAKE_OVER_SECONDS = 5.0
SUCCESSOR_SECONDS = 3.0
# «Let go of the lab»: to a headless engine, which ends, or to a cockpit, which goes on as a watcher.
HAND_OVER = signal.SIGUSR1


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lab, as far as the lock file says."""

    pid: int = 0
    host: str = ""
    headless: bool = False
    tag: str = ""


class LabBusy(Exception):
    """Another engine has the lab."""

    def __init__(self, holder: Holder) -> None:
        kind = "headless engine" if holder.headless else "cockpit"
        where = f" on {holder.host}" if holder.host and holder.host != socket.gethostname() else ""
        super().__init__(f"a {kind} (process {holder.pid}{where}) has this lab")
        self.holder = holder


class LabLock:
    """Held from construction to :meth:`release`, or to the end of the process."""

    def __init__(self, path: Path, *, headless: bool, tag: str, wait_seconds: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(self._file)
                    raise LabBusy(read_holder(path)) from None
                time.sleep(0.02)
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "headless": headless, "tag": tag})
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def release(self) -> None:
        """Let the next engine in."""
        os.close(self._file)


def read_holder(path: Path) -> Holder:
    """Who wrote the lock file last; says nothing of whether the lock is held."""
    try:
        return Holder(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return Holder()


def held(path: Path) -> bool:
    """Whether some engine holds the lock at this moment."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def take_lock(lab: Lab, tag: str, *, headless: bool, insist: bool = False) -> LabLock:
    """The lab's lock; a headless engine that has it is told to hand over, a cockpit only if we insist.

    Raises LabBusy.
    """
    # A headless engine may be the successor of a process that is still on its way out.
    patience = SUCCESSOR_SECONDS if headless else 0.3
    try:
        return LabLock(lab.lock, headless=headless, tag=tag, wait_seconds=patience)
    except LabBusy as busy:
        if headless or not (busy.holder.headless or insist):
            raise
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(busy.holder.pid, HAND_OVER)
        return LabLock(lab.lock, headless=headless, tag=tag, wait_seconds=TAKE_OVER_SECONDS)
