"""Runs an agent for the loop: everything the agent starts ends with it, and all of it ends with the loop.

Started as a script (`python -I -S -B keeper.py FD`). FD is one end of a pipe: a line of JSON arrives on it, with
`command` and `grace` in seconds, and it closes when the loop is gone. The kernel makes the keeper the parent of every
orphaned process, including daemons without the agent's environment. SIGTERM ends the agent early. When nothing of the
agent is left, the keeper ends as the agent did, with its exit code or by its signal.
"""

# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator

PR_SET_CHILD_SUBREAPER = 36
NOT_FOUND, NOT_STARTED = 127, 126
END_SECONDS = 10.0
_PAUSE = 0.02


class Keeper:
    """Starts one agent, waits for it, and ends it."""

    def __init__(self, loop: int, grace: float) -> None:
        self._loop = loop
        self._grace = grace
        self._asked = False
        self._status: int | None = None
        self._agent = 0

    def run(self, command: list[str]) -> int:
        """The agent's wait status, once nothing that it started is left."""
        wake, woken = os.pipe()
        for end in (wake, woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._ask)
        self._agent = _start(command)
        while self._status is None and not self._asked:
            ready, _, _ = select.select([self._loop, wake], [], [])
            if self._loop in ready and not os.read(self._loop, 4096):
                self._asked = True
            if wake in ready:
                os.read(wake, 4096)
            self._reap()
        if self._status is None:
            self._end_politely()
        self._end()
        return self._status if self._status is not None else signal.SIGKILL

    def _ask(self, *_: object) -> None:
        self._asked = True

    def _reap(self) -> bool:
        """Records everything that has ended. Returns False if there is no child left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == self._agent:
                self._status = status
            if pid == 0:
                return True

    def _end_politely(self) -> None:
        for pid in {*_below(os.getpid()), self._agent}:
            _send(pid, signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        while self._reap() and self._status is None and time.monotonic() < deadline:
            time.sleep(_PAUSE)

    def _end(self) -> None:
        """Kills repeatedly, because a process may have started another meanwhile."""
        with contextlib.suppress(OSError):
            os.killpg(self._agent, signal.SIGKILL)
        deadline = time.monotonic() + END_SECONDS
        while self._reap() and time.monotonic() < deadline:
            for pid in _below(os.getpid()):
                _send(pid, signal.SIGKILL)
            time.sleep(_PAUSE)


def _start(command: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except FileNotFoundError:
        os.write(2, f"command not found: {command[0]}\n".encode(errors="replace"))
        os._exit(NOT_FOUND)
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode(errors="replace"))
        os._exit(NOT_STARTED)
    finally:
        os._exit(NOT_STARTED)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _below(root: int) -> Iterator[int]:
    """Every process below `root`; none without /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    yield from found[1:]


def main(loop: int) -> None:
    """Never returns."""
    os.set_inheritable(loop, False)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    line = b""
    while not line.endswith(b"\n"):
        if not (piece := os.read(loop, 65_536)):
            os._exit(NOT_STARTED)
        line += piece
    order = json.loads(line)
    status = Keeper(loop, float(order["grace"])).run(order["command"])
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ended_by = os.WTERMSIG(status)
        if ended_by not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main(int(sys.argv[1]))
