"""A program in a pseudo-terminal of its own, what it writes there and what it costs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

Size = tuple[int, int]
_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b\][^\x07]*\x07")


class Terminal:
    """A thread reads what the program writes, unless told to stop: `reading`."""

    def __init__(self, command: Sequence[str], size: Size, folder: Path | None = None) -> None:
        master, slave = pty.openpty()
        columns, rows = size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program is compiled
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment, cwd=folder
        )
        os.close(slave)
        self.master = master
        self.size = 0
        self.reads: list[tuple[float, int]] = []
        self.tail = b""
        self.reading = threading.Event()
        self.reading.set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            self.reading.wait()
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if not ready or not self.reading.is_set():
                if self.process.poll() is not None:
                    return
                continue
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:
                return
            self.size += len(data)
            self.reads.append((time.perf_counter(), len(data)))
            self.tail = (self.tail + data)[-400_000:]

    def wait_for(self, marker: bytes, seconds: float = 20.0) -> float:
        """The time at which `marker` was seen, in seconds since the start."""
        end = time.perf_counter() + seconds
        while marker not in self.tail:
            if time.perf_counter() > end:
                raise TimeoutError(f"{marker!r} did not come; the end of what did: {self.tail[-300:]!r}")
            time.sleep(0.001)
        return time.perf_counter() - self.began

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def quiet(self, seconds: float = 0.3) -> None:
        """Wait until nothing has come for a while."""
        before = -1
        while before != self.size:
            before = self.size
            time.sleep(seconds)

    def close(self) -> float:
        """Quit by its key; how long that took."""
        began = time.perf_counter()
        self.press("q")
        self.process.wait(20)
        took = time.perf_counter() - began
        self.reading.set()
        self._thread.join(2)
        os.close(self.master)
        return took

    def wait_for_words(self, pattern: bytes, seconds: float = 20.0) -> re.Match[bytes]:
        """Until what was written, without its control codes, has `pattern`."""
        end = time.perf_counter() + seconds
        while (found := re.search(pattern, _CONTROL.sub(b"", self.tail))) is None:
            if time.perf_counter() > end:
                raise TimeoutError(f"{pattern!r} did not come; the end of what did: {self.tail[-300:]!r}")
            time.sleep(0.002)
        return found

    def cost(self, seconds: float) -> dict[str, float]:
        """What the process takes while nobody touches it."""
        process = psutil.Process(self.process.pid)
        before, sent, reads = sum(process.cpu_times()[:2]), self.size, len(self.reads)
        began = time.perf_counter()
        time.sleep(seconds)
        took = time.perf_counter() - began
        return {
            "cpu %": 100 * (sum(process.cpu_times()[:2]) - before) / took,
            "KB/s": (self.size - sent) / took / 1000,
            "writes/s": (len(self.reads) - reads) / took,
            "MB": process.memory_info().rss / 1e6,
        }


@contextmanager
def opened(command: Sequence[str], size: Size, folder: Path | None = None) -> Iterator[Terminal]:
    """The program in a terminal; it is gone when this ends."""
    terminal = Terminal(command, size, folder)
    try:
        yield terminal
    finally:
        if terminal.process.poll() is None:
            os.killpg(terminal.process.pid, signal.SIGKILL)
            terminal.process.wait()
