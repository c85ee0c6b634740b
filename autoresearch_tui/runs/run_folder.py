"""A run's folder: the lock that its owner holds, and records that are written atomically."""

# ruff: noqa: PTH104, PTH108, PTH110, PTH116, PTH123
# (importing pathlib takes longer than all the rest of a supervisor's start)
from __future__ import annotations

import fcntl
import functools
import json
import os
import signal
import time

TYPE_CHECKING = False  # as typing's, which would cost a supervisor a fifth of its start
if TYPE_CHECKING:
    from typing import Any

LOCK, SPEC, STARTED, EXIT = "run.lock", "run.json", "started.json", "exit.json"
LOG, REFEREE_LOG, BALLAST = "run.log", "referee.log", "ballast"
SCRATCH, COMPILED = "scratch", "compiled"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOCK_SECONDS = 1.0
BALLAST_BYTES = 64 * 1024
# The engine's request to a supervisor to end its run. Others, such as a machine's shutdown, send SIGTERM.
STOP = signal.SIGUSR1


class Spec:
    """`run.json`, as `runner.py` writes it. Raises KeyError, TypeError or ValueError for anything else."""

    def __init__(
        self,
        command: list[str],
        env: dict[str, str],
        cwd: str,
        cpus: list[int] | None = None,
        referee: dict[str, Any] | None = None,
        inherited: list[str] | None = None,
        **limits: float,
    ) -> None:
        self.command, self.cwd, self.cpus, self.referee = command, cwd, cpus, referee
        self.env = {**{name: os.environ[name] for name in inherited or () if name in os.environ}, **env}
        self.timeout = limits["timeout_seconds"]
        self.log_limit, self.min_free = int(limits["log_limit_bytes"]), int(limits["min_free_bytes"])
        self.memory_limit = int(limits.get("memory_limit_bytes", 0))
        self.niceness, self.grace = int(limits["niceness"]), limits["grace_seconds"]
        self.bound = bool(limits.get("bound"))
        self.shared_accelerator = bool(limits.get("shared_accelerator"))


def now_utc() -> str:
    """UTC, ISO 8601, microseconds, `Z`."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds // 1000:06d}Z"


@functools.cache
def boot_id() -> str:
    """Identifies this boot of the machine; empty if unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def write_file(name: str, data: bytes, *, durable: bool) -> None:
    """Raises OSError. On disk on return only if `durable`, but its space is taken in any case."""
    with open(name, "wb", buffering=0) as file:
        while data:
            data = data[file.write(data) :]
        if durable:
            os.fsync(file.fileno())


def write_json(name: str, value: dict[str, object]) -> None:
    """Write atomically, on disk on return. Raises OSError (a full disk)."""
    temporary = f"{name}.tmp"
    write_file(temporary, json.dumps(value).encode(), durable=True)
    os.rename(temporary, name)
    folder = os.open(".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def take_lock() -> int | None:
    """The descriptor of the held lock, with this pid in the file; None if the run has or had an owner.

    A cockpit that looks holds a shared lock for an instant, so a refusal is final only after a while.
    """
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if os.path.exists(STARTED) or time.monotonic() > deadline:
                return None
            time.sleep(0.002)
    if os.path.exists(STARTED) or os.path.exists(EXIT):
        return None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def drop_ballast() -> None:
    """Free the space that was reserved for `exit.json` on a disk that the trainer may have filled."""
    try:
        os.unlink(BALLAST)
    except OSError:
        pass


def record_exit(values: dict[str, object]) -> None:
    """Write `exit.json`; retries until it is on disk or the folder is gone. The held lock keeps the run from being
    lost."""
    pause = 0.05
    while os.stat(".").st_nlink:
        try:
            write_json(EXIT, values)
            break
        except OSError:
            drop_ballast()
            time.sleep(pause)
            pause = min(pause * 2, 5.0)
    drop_ballast()
