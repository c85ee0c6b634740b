"""One engine per lab, by a lock that the kernel releases when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from autoresearch_tui.frozen import Frozen
from autoresearch_tui.lab import Lab

TAKE_OVER_SECONDS = 5.0
# A successor may be there before the process whose work it goes on with has ended.
SUCCESSOR_SECONDS = 15.0
BESIDE_SECONDS = 0.3
_ASK_AGAIN_SECONDS = 0.5
_SUSPENDED_SECONDS = 1.0
# «Let go of the lab»: to a headless engine, which ends, or to a cockpit, which goes on as a watcher.
HAND_OVER = signal.SIGUSR1


class Holder(Frozen):
    """Who has the lab, as far as the lock file says."""

    pid: int = 0
    host: str = ""
    headless: bool = False
    tag: str = ""

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, whose number means something."""
        return self.pid > 0 and self.host == socket.gethostname()


class LabBusy(Exception):
    """Another engine has the lab."""

    def __init__(self, holder: Holder) -> None:
        if holder.pid:
            kind = "headless engine" if holder.headless else "cockpit"
            where = f" on {holder.host}" if holder.host and not holder.is_here else ""
            super().__init__(f"a {kind} (process {holder.pid}{where}) has this lab")
        else:
            super().__init__("another engine has this lab")
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
        try:
            # Over what is there: a full disk has room for that.
            os.pwrite(self._file, text.encode(), 0)
            os.ftruncate(self._file, len(text))
        except OSError:
            os.close(self._file)
            raise

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


def take_lock(
    lab: Lab,
    tag: str,
    *,
    headless: bool,
    insist: bool = False,
    patience: float = BESIDE_SECONDS,
    asking: Callable[[Holder], None] = lambda _: None,
) -> LabLock:
    """The lab's lock, after `patience` seconds at most. `asking` hears once who is asked to hand over.

    For a cockpit, a headless engine that has it is told to hand over, and another cockpit where we `insist`. One that
    is suspended cannot, and is ended: its session is on disk. Raises LabBusy, OSError.
    """
    began, pause, asked = time.monotonic(), 0.0, False
    while True:
        waited = time.monotonic() - began
        try:
            return LabLock(lab.lock, headless=headless, tag=tag, wait_seconds=pause)
        except LabBusy as busy:
            pause = min(_ASK_AGAIN_SECONDS, patience)
            holder = busy.holder
            may_ask = not headless and (holder.headless or insist) and holder.is_here
            if waited >= (TAKE_OVER_SECONDS if may_ask else patience):
                raise
            if may_ask:
                if not asked:
                    asked = True
                    asking(holder)
                # Once more each time: a process that has just started ignores what comes too early.
                _tell(holder, signal.SIGKILL if waited > _SUSPENDED_SECONDS and suspended(holder.pid) else HAND_OVER)


def suspended(pid: int) -> bool:
    """Whether a process has been stopped (Ctrl-Z, SIGSTOP), as far as the system says."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def _tell(holder: Holder, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(holder.pid, number)
