"""What the cockpit costs, measured over a pseudo-terminal.

`python benchmarks/cockpit.py [NAME ...]` runs the named measurements, or all; `--json` for machines. Each opens the
real command's screen (`Cockpit(...).run()`) on a made-up lab in a fresh process and times what comes out of the
terminal. `--size COLSxROWS` (default 120x40).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.cockpit.fakes import FakeSession, night, progress_line  # noqa: E402

CHILD = """
import sys
from pathlib import Path
from autoresearch_tui.lab import Lab
from autoresearch_tui.settings import Settings
from autoresearch_tui.cockpit.app import Cockpit
Cockpit(Lab(Path(sys.argv[1]), Settings()), "nov21", None, read_only_reason="measured").run()
"""

FLOOD = """
import sys, time
with open(sys.argv[1], "a") as file:
    began, written = time.perf_counter(), 0
    while True:
        due = int((time.perf_counter() - began) * int(sys.argv[2])) - written
        file.write("".join(f"sample {written + n}: loss on this shard {n % 97}\\n" for n in range(due)))
        file.flush()
        written += due
        time.sleep(0.02)
"""


class Terminal:
    """A pty with the cockpit in it; a thread reads what it writes, unless told to stop."""

    def __init__(self, lab: Path, columns: int, rows: int) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT)}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(lab)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment, cwd=ROOT,
        )  # fmt: skip
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


@contextmanager
def opened(session: FakeSession, size: tuple[int, int]) -> Iterator[Terminal]:
    terminal = Terminal(session.lab.root, *size)
    try:
        yield terminal
    finally:
        if terminal.process.poll() is None:
            os.killpg(terminal.process.pid, signal.SIGKILL)


@contextmanager
def made(story: Callable[[FakeSession], None]) -> Iterator[FakeSession]:
    with tempfile.TemporaryDirectory() as folder:
        session = FakeSession(Path(folder) / "lab", start=time.time() - 2500)
        story(session)
        yield session


def long_night(session: FakeSession) -> None:
    """1,000 experiments."""
    session.begin()
    value = 1.0
    for number in range(1000):
        keep = number % 9 == 0
        value -= 0.0003 if keep else 0
        session.whole(
            f"MATRIX_LR try {number}", value + (0 if keep else 0.004), "keep" if keep else "discard", log=False
        )


def first_paint(size: tuple[int, int]) -> dict[str, float]:
    """Process start to the results on the screen; a real lab's night, and 1,000 experiments."""
    found = {}
    for name, story in (("a night", night), ("1,000 experiments", long_night)):
        with made(story) as session:
            times, cpu = [], []
            for _ in range(7):
                with opened(session, size) as terminal:
                    times.append(terminal.wait_for(b"MATRIX_LR"))
                    cpu.append(sum(psutil.Process(terminal.process.pid).cpu_times()[:2]))
                    terminal.quiet()
                    terminal.close()
            found[f"{name}, median s"] = statistics.median(times)
            found[f"{name}, best s"] = min(times)
            found[f"{name}, processor s"] = statistics.median(cpu)
    return found


def idle(size: tuple[int, int], seconds: float = 20) -> dict[str, float]:
    """Nothing happens: no run, no countdown."""

    def story(session: FakeSession) -> None:
        session.begin()
        session.whole("baseline", 1.0, "keep")

    with made(story) as session, opened(session, size) as terminal:
        terminal.wait_for(b"baseline")
        time.sleep(3)
        return _cost(terminal, seconds)


def training(size: tuple[int, int], seconds: float = 20) -> dict[str, float]:
    """Two progress lines a second."""
    with made(night) as session, opened(session, size) as terminal:
        terminal.wait_for(b"MATRIX_LR")
        stop = threading.Event()

        def train() -> None:
            step = 133
            while not stop.wait(0.5):
                session.log(7, "\r" + progress_line(step, step / 600, 2.9, (step % 7 - 3) / 100))
                step += 1

        writer = threading.Thread(target=train, daemon=True)
        writer.start()
        time.sleep(3)
        found = _cost(terminal, seconds)
        stop.set()
        writer.join()
        return found


def _cost(terminal: Terminal, seconds: float) -> dict[str, float]:
    process = psutil.Process(terminal.process.pid)
    before, sent, reads = sum(process.cpu_times()[:2]), terminal.size, len(terminal.reads)
    began = time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - began
    return {
        "cpu %": 100 * (sum(process.cpu_times()[:2]) - before) / took,
        "KB/s": (terminal.size - sent) / took / 1000,
        "writes/s": (len(terminal.reads) - reads) / took,
        "MB": process.memory_info().rss / 1e6,
    }


def keys(size: tuple[int, int], lines: int = 50_000, presses: int = 100) -> dict[str, float]:
    """Key to paint while the run prints: the cursor of the results goes down a row."""
    with made(night) as session, opened(session, size) as terminal:
        terminal.wait_for(b"MATRIX_LR")
        # In a process of its own, so that it does not disturb the clock of this one.
        writer = subprocess.Popen([sys.executable, "-c", FLOOD, str(session.files.run(7).log), str(lines)])
        terminal.press("4")
        time.sleep(2)
        times = []
        for number in range(presses):
            # A key that changes a place of the screen that the log does not.
            mark = terminal.size
            terminal.tail = b""
            began = time.perf_counter()
            terminal.press("j" if number // 5 % 2 == 0 else "k")
            while "▌".encode() not in terminal.tail and time.perf_counter() - began < 2:
                time.sleep(0.0005)
            times.append(time.perf_counter() - began)
            assert terminal.size > mark
            time.sleep(0.03 + number % 10 / 100)
        used = psutil.Process(terminal.process.pid).memory_info().rss / 1e6
        writer.terminate()
        writer.wait()
        times.sort()
        return {
            "median ms": 1000 * statistics.median(times),
            "99th percentile ms": 1000 * times[int(len(times) * 0.99) - 1],
            "worst ms": 1000 * times[-1],
            "lines/s": lines,
            "MB": used,
        }


def memory(size: tuple[int, int], lines: int = 10_000_000) -> dict[str, float]:
    """After 1,000 experiments and a log of ten million lines that grew while it was watched."""
    with made(long_night) as session:
        number = session.propose("the long log")
        session.approve(number)
        session.start(number)
        with opened(session, size) as terminal:
            terminal.wait_for(b"the long log")
            with session.files.run(number).log.open("a") as file:
                for start in range(0, lines, 50_000):
                    file.write(
                        "".join(f"sample {n}: loss on this shard {n % 97}\n" for n in range(start, start + 50_000))
                    )
                    file.flush()
                    time.sleep(0.05)
            terminal.quiet()
            return {"MB": psutil.Process(terminal.process.pid).memory_info().rss / 1e6, "lines": lines}


def stalled(size: tuple[int, int], seconds: float = 30) -> dict[str, float]:
    """Nobody reads the terminal; then somebody does: how long until what happened meanwhile is on the screen."""
    with made(night) as session, opened(session, size) as terminal:
        terminal.wait_for(b"MATRIX_LR")
        terminal.reading.clear()
        began = time.perf_counter()
        step = 0
        while time.perf_counter() - began < seconds:
            session.log(7, "".join(f"line {step} {n}\n" for n in range(10)))
            step += 1
            time.sleep(0.1)
        session.now = time.time()
        session.end(7, 0.98, "keep", seconds=0)
        back = time.perf_counter()
        terminal.reading.set()
        terminal.wait_for(b"0.9800")
        return {"right after s": time.perf_counter() - back, "stopped for s": seconds}


def quitting(size: tuple[int, int]) -> dict[str, float]:
    """The key until the process is gone."""
    with made(night) as session:
        times = []
        for _ in range(5):
            with opened(session, size) as terminal:
                terminal.wait_for(b"MATRIX_LR")
                terminal.quiet()
                times.append(terminal.close())
        return {"median s": statistics.median(times), "worst s": max(times)}


MEASUREMENTS: dict[str, Callable[[tuple[int, int]], dict[str, float]]] = {
    "first_paint": first_paint,
    "idle": idle,
    "training": training,
    "keys": keys,
    "memory": memory,
    "stalled": stalled,
    "quitting": quitting,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*MEASUREMENTS, []], help="default: all")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--size", default="120x40")
    arguments = parser.parse_args()
    columns, rows = map(int, arguments.size.split("x"))
    results = {}
    for name in arguments.names or MEASUREMENTS:
        results[name] = MEASUREMENTS[name]((columns, rows))
        if not arguments.json:
            figures = ", ".join(f"{key} {value:,.3g}" for key, value in results[name].items())
            print(f"{name:12} {figures}", flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
