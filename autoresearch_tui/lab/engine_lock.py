"""At most one engine per lab, by a lock that the kernel releases when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from autoresearch_tui.util.frozen import Frozen

if TYPE_CHECKING:
    from autoresearch_tui.lab.paths import Lab

TAKE_OVER_SECONDS = 5.0
# A successor may start before the process that it takes over from has ended.
SUCCESSOR_SECONDS = 15.0
BESIDE_SECONDS = 0.3
_ASK_AGAIN_SECONDS = 0.5
_SUSPENDED_SECONDS = 1.0
# The signal that asks an engine to release the lab: a headless one ends, a cockpit becomes a watcher.
HAND_OVER = signal.SIGUSR1


class Holder(Frozen):
    """The holder of the lab, by the lock file."""

    pid: int = 0
    host: str = ""
    headless: bool = False
    tag: str = ""

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.pid > 0 and self.host == os.uname().nodename


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
        text = msgspec.json.encode(Holder(os.getpid(), os.uname().nodename, headless, tag))
        try:
            # Overwrite the old text, which works on a full disk.
            os.pwrite(self._file, text, 0)
            os.ftruncate(self._file, len(text))
        except OSError as error:
            os.close(self._file)
            raise OSError(error.errno, error.strerror, str(path)) from None

    def release(self) -> None:
        os.close(self._file)


def read_holder(path: Path) -> Holder:
    """The last writer of the lock file, whether or not the lock is held."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, ValueError):
        return Holder()


def held(path: Path) -> bool:
    """Whether an engine holds the lock now."""
    try:
        with kept_out(path):
            return False
    except LabBusy:
        return True


def serves(path: Path, tag: str) -> bool:
    """Whether a live engine has this session of the lab."""
    return held(path) and read_holder(path).tag == tag


@contextlib.contextmanager
def kept_out(path: Path) -> Iterator[None]:
    """Keep engines out, for a moment only. Raises LabBusy if there is one."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        # Shared, so that two simultaneous readers do not take each other for an engine.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise LabBusy(read_holder(path)) from None
    try:
        yield
    finally:
        os.close(file)


def take_lock(
    lab: Lab,
    tag: str,
    *,
    headless: bool,
    insist: bool = False,
    patience: float = BESIDE_SECONDS,
    asking: Callable[[Holder], None] = lambda _: None,
) -> LabLock:
    """The lab's lock, after `patience` seconds at most. `asking` is called once, with a holder that must hand over.

    A cockpit asks a headless engine to hand over, and with `insist` another cockpit. A suspended holder cannot, and is
    killed: its session is on disk. Raises LabBusy, OSError.
    """
    began, pause, asked = time.monotonic(), 0.0, False
    ended = followed = False
    last = 0
    while True:
        waited = time.monotonic() - began
        try:
            return LabLock(lab.lock, headless=headless, tag=tag, wait_seconds=pause)
        except LabBusy as busy:
            pause = min(_ASK_AGAIN_SECONDS, patience)
            holder = busy.holder
            may_ask = not headless and (holder.headless or insist) and holder.is_here
            stuck = may_ask and waited > _SUSPENDED_SECONDS and suspended(holder.pid)
            if (stuck and not ended) or (may_ask and last not in (0, holder.pid) and not followed):
                # On a busy machine it takes a while to die, and its successor a while to listen: wait as long again.
                began, waited = time.monotonic(), 0.0
                ended, followed = ended or stuck, followed or not stuck
            last = holder.pid
            if waited >= (TAKE_OVER_SECONDS if may_ask else patience):
                raise
            if may_ask:
                if not asked:
                    asked = True
                    asking(holder)
                # Repeated, as a process that has just started ignores early signals.
                _signal(holder, signal.SIGKILL if stuck else HAND_OVER)


def claim(lab: Lab, tag: str) -> LabLock | None:
    """The lab's lock for a cockpit, if it is free. A headless holder is asked to hand over. Never blocks."""
    try:
        return LabLock(lab.lock, headless=False, tag=tag, wait_seconds=0.0)
    except LabBusy as busy:
        if busy.holder.headless and busy.holder.is_here:
            _signal(busy.holder, HAND_OVER)
    except OSError:
        pass  # disk trouble that may pass; the engine reports it otherwise
    return None


def suspended(pid: int) -> bool:
    """Whether a process was stopped (Ctrl-Z, SIGSTOP), as far as known."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def _signal(holder: Holder, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(holder.pid, number)
