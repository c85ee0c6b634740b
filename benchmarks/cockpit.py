"""What the cockpit costs, measured over a pseudo-terminal.

`python benchmarks/cockpit.py [NAME ...]` runs the named measurements, or all, and prints a table in Markdown with the
bars; about eight minutes, on a machine that does nothing else. `others` installs two other Textual programs from PyPI
into a folder that is thrown away. `--json` for machines, `--size COLSxROWS` (default 120x40).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from autoresearch_tui.lab.engine_lock import held, read_holder  # noqa: E402
from benchmarks import others  # noqa: E402
from benchmarks.pseudo_terminal import Size, Terminal, opened  # noqa: E402
from tests.cockpit.fakes import FakeSession, night, progress_line  # noqa: E402
from tests.cockpit.fleets import sixteen as fleet  # noqa: E402
from tests.cockpit.fleets import told  # noqa: E402
from tests.conftest import SETTINGS, TRAIN, make_lab  # noqa: E402
from tests.history import state_of  # noqa: E402

Figures = dict[str, float]
STALLED_SECONDS = 30.0
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


def command(root: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "autoresearch_tui", *words, str(root)]


def watching(session: FakeSession) -> list[str]:
    return command(session.lab.root, "watch")


@contextmanager
def made(story: Callable[[FakeSession], None]) -> Iterator[FakeSession]:
    """A session as a journal that no engine wrote."""
    with tempfile.TemporaryDirectory() as folder:
        session = FakeSession(Path(folder) / "lab", start=time.time() - 2500)
        subprocess.run(["git", "init", "--quiet", str(session.lab.root)], check=True)
        session.lab.root.joinpath("prepare.py").write_text("")
        story(session)
        yield session


@contextmanager
def real(pause: float = 0.0, settings: str = SETTINGS, train: str = TRAIN) -> Iterator[Path]:
    """A lab with git and a training command that takes `pause` seconds; no engine is left behind."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        lab = make_lab(Path(folder) / "lab", settings, train.replace("PAUSE = 0.0", f"PAUSE = {pause}"))
        try:
            yield lab
        finally:
            lock = lab / ".autoresearch" / "engine.lock"
            while held(lock):
                with contextlib.suppress(OSError, ValueError):
                    os.kill(read_holder(lock).pid, signal.SIGINT)
                time.sleep(0.5)


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


def first_paint(size: Size) -> Figures:
    """The command on a real lab, engine and all, until its results are on the screen; beside it an empty program."""
    with real() as lab:
        run = [*command(lab), "--tag", "t", "--experiments", "6"]
        subprocess.run([*run, "--headless"], check=True, stdout=subprocess.DEVNULL)
        ours, empty = [], []
        for _ in range(9):
            with opened(run, size) as terminal:
                ours.append(terminal.wait_for(b"baseline"))
                terminal.quiet()
                terminal.close()
            # What continued without a screen has the lab: the next start would wait for it.
            subprocess.run(command(lab, "stop", "--now"), capture_output=True, check=False)
            with opened((sys.executable, "-c", others.EMPTY), size) as terminal:
                empty.append(terminal.wait_for(b"the first paint"))
    with made(long_night) as session:
        many = []
        for _ in range(5):
            with opened(watching(session), size) as terminal:
                many.append(terminal.wait_for(b"MATRIX_LR"))
                terminal.close()
    return {
        "s": statistics.median(ours),
        "best s": min(ours),
        "1,000 experiments s": statistics.median(many),
        "an empty Textual program s": statistics.median(empty),
    }


def idle(size: Size, seconds: float = 20) -> Figures:
    """Nothing happens: no run, no countdown."""

    def story(session: FakeSession) -> None:
        session.begin()
        session.whole("baseline", 1.0, "keep")

    with made(story) as session, opened(watching(session), size) as terminal:
        terminal.wait_for(b"baseline")
        time.sleep(3)
        return terminal.cost(seconds)


FIVE_MINUTES = """
import math, time
RATE = 0.5
for step in range(600):
    left = 300 * (1 - step / 600)
    loss = 2.9 + 6 * math.exp(-9 * step / 600) + (step % 7 - 3) / 100
    print(f"\\rstep {step:05d} ({step / 6:.1f}%) | loss: {loss:.6f} | lrm: 1.00 | dt: {495 + step % 9}ms"
          f" | tok/sec: {1_043_824 + 997 * (step % 5):,} | mfu: {45 + step % 3 / 10:.1f}% | epoch: 1"
          f" | remaining: {left:.0f}s    ", end="", flush=True)
    time.sleep(0.5)
print("\\n---\\nval_bpb:          0.997900")
"""


def hosted(size: Size, seconds: float = 120) -> Figures:
    """The same from the cockpit that hosts the engine, with the load of the machine: a baseline of five minutes."""
    settings = SETTINGS.replace("budget_seconds = 5", "budget_seconds = 300").replace("= 30", "= 600")
    with real(settings=settings, train=FIVE_MINUTES) as lab, opened([*command(lab), "--tag", "t"], size) as terminal:
        terminal.wait_for_words(rb"training #0 ")
        time.sleep(5)
        found = terminal.cost(seconds)
        terminal.press("Q")
        terminal.wait_for_words(rb"End the session")
        terminal.press("x")
        terminal.process.wait(20)
        return found


def training(size: Size, seconds: float = 20) -> Figures:
    """Two progress lines a second."""
    with made(night) as session, opened(watching(session), size) as terminal:
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
        found = terminal.cost(seconds)
        stop.set()
        writer.join()
        return found


def sixteen(size: Size, seconds: float = 20) -> Figures:
    """Twelve of sixteen devices print two progress lines a second each, and the cluster's file changes every second."""
    with made(fleet) as session, opened(watching(session), size) as terminal:
        terminal.wait_for(b"gpu-1:0")
        stop, runs = threading.Event(), [run.number for run in session.state.in_flight]

        def train() -> None:
            step = 133
            while not stop.wait(0.5):
                for place, number in enumerate(runs):
                    loss = 2.9 + (step % 7 - 3) / 100
                    session.log(number, "\r" + progress_line(step + 9 * place, (step + 9 * place) / 600, loss))
                session.now = time.time()
                told(session, jitter=step % 5)
                step += 1

        writer = threading.Thread(target=train, daemon=True)
        writer.start()
        time.sleep(5)
        found = terminal.cost(seconds)
        stop.set()
        writer.join()
        return found


def keys(size: Size, lines: int = 50_000, presses: int = 200) -> Figures:
    """Key to paint while the run prints: the cursor of the results goes a row up or down."""
    with made(night) as session, opened(watching(session), size) as terminal:
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
            "MB": used,
        }


def hint(size: Size, presses: int = 60) -> Figures:
    """Key to the row of keys: the focus goes from the results to the tree and back."""
    with made(night) as session, opened(watching(session), size) as terminal:
        terminal.wait_for(b"MATRIX_LR")
        terminal.quiet()
        times = []
        for number in range(presses):
            key, word = (("5", b"fold"), ("4", b"sort"))[number % 2]
            terminal.tail = b""
            began = time.perf_counter()
            terminal.press(key)
            terminal.wait_for(word)
            times.append(time.perf_counter() - began)
            time.sleep(0.05 + number % 10 / 100)
        times.sort()
        return {"median ms": 1000 * statistics.median(times), "worst ms": 1000 * times[-1], "best ms": 1000 * times[0]}


def memory(size: Size, lines: int = 10_000_000) -> Figures:
    """After 1,000 experiments and a log of ten million lines that grew while it was watched."""
    with made(long_night) as session:
        number = session.propose("the long log")
        session.approve(number)
        session.start(number)
        with opened(watching(session), size) as terminal:
            terminal.wait_for(b"the long log")
            with session.files.run(number).log.open("a") as file:
                for start in range(0, lines, 50_000):
                    file.writelines(f"sample {n}: loss on this shard {n % 97}\n" for n in range(start, start + 50_000))
                    file.flush()
                    time.sleep(0.05)
            terminal.quiet()
            return {"MB": psutil.Process(terminal.process.pid).memory_info().rss / 1e6}


def stalled(size: Size) -> Figures:
    """A real engine in the cockpit's process; the terminal's reader stops, and the loop must not notice."""
    with real(pause=0.4) as lab, opened([*command(lab), "--tag", "t"], size) as terminal:
        terminal.wait_for_words(rb"training #1 ")
        read = _verdicts(lab, STALLED_SECONDS)
        terminal.reading.clear()
        unread = _verdicts(lab, STALLED_SECONDS)
        newest = len(state_of(lab, "t").table)
        terminal.tail = b""
        back = time.perf_counter()
        terminal.reading.set()
        _wait_for_number(terminal, newest)
        took = time.perf_counter() - back
        terminal.press("Q")
        terminal.wait_for_words(rb"End the session")
        terminal.press("x")
        terminal.process.wait(20)
        return {"experiments while read": read, "experiments while not read": unread, "right after s": took}


def _verdicts(lab: Path, seconds: float) -> int:
    before = len(state_of(lab, "t").table)
    time.sleep(seconds)
    return len(state_of(lab, "t").table) - before


def _wait_for_number(terminal: Terminal, wanted: int) -> None:
    """Until the status line speaks of experiment `wanted` or a later one."""
    end = time.perf_counter() + 20
    while time.perf_counter() < end:
        found = terminal.wait_for_words(rb"(?s)(?:.*)(?:training|starting|evaluating|scoring|deciding on) #(\d+) ")
        if int(found[1]) >= wanted:
            return
        time.sleep(0.01)
    raise TimeoutError(f"#{wanted} did not come to the screen")


def quitting(size: Size) -> Figures:
    """The key until the process is gone."""
    with made(night) as session:
        times = []
        for _ in range(5):
            with opened(watching(session), size) as terminal:
                terminal.wait_for(b"MATRIX_LR")
                terminal.quiet()
                times.append(terminal.close())
        return {"s": statistics.median(times), "worst s": max(times)}


MEASUREMENTS: dict[str, Callable[[Size], Figures]] = {
    "first_paint": first_paint,
    "keys": keys,
    "hint": hint,
    "training": training,
    "hosted": hosted,
    "sixteen": sixteen,
    "idle": idle,
    "memory": memory,
    "stalled": stalled,
    "quitting": quitting,
}
# What is measured, which figure of which measurement it is, how it is written, and the bar.
ROWS = (
    ("command to first paint of a real lab", "first_paint", "s", "{:.2f} s", "0.40 s"),
    ("an empty Textual program, in alternation", "first_paint", "an empty Textual program s", "{:.2f} s", ""),
    ("first paint of 1,000 experiments", "first_paint", "1,000 experiments s", "{:.2f} s", ""),
    ("key to paint, 50,000 lines a second, median", "keys", "median ms", "{:.0f} ms", ""),
    ("key to paint, 50,000 lines a second, 99th percentile", "keys", "99th percentile ms", "{:.0f} ms", "50 ms"),
    ("row of keys after a change of focus, median", "hint", "median ms", "{:.0f} ms", "20 ms"),
    ("bytes to the terminal, two progress lines a second, watched", "training", "KB/s", "{:.1f} KB/s", "2 KB/s"),
    ("the same, hosted: the first two minutes of a run of five", "hosted", "KB/s", "{:.1f} KB/s", "2 KB/s"),
    ("bytes to the terminal, sixteen devices, watched", "sixteen", "KB/s", "{:.1f} KB/s", "4 KB/s"),
    ("processor time, sixteen devices, watched", "sixteen", "cpu %", "{:.1f} %", ""),
    ("processor time when nothing happens", "idle", "cpu %", "{:.2f} %", "0.5 %"),
    ("memory, 1,000 experiments, 10 million lines", "memory", "MB", "{:.0f} MB", "120 MB"),
    ("experiments in 30 s, terminal read", "stalled", "experiments while read", "{:.0f}", ""),
    ("experiments in 30 s, reader stopped", "stalled", "experiments while not read", "{:.0f}", "as many"),
    ("screen right after the reader's return", "stalled", "right after s", "{:.2f} s", "1 s"),
    ("quitting", "quitting", "s", "{:.2f} s", "0.5 s"),
)


def table(results: dict[str, Figures], compared: dict[str, Figures]) -> str:
    """The figures in Markdown, with their bars; the other programs in a table of their own."""
    lines = ["| what | here | bar |", "|---|---|---|"]
    for words, name, key, form, bar in ROWS:
        if name in results:
            lines.append(f"| {words} | {form.format(results[name][key])} | {bar} |")
    if compared:
        lines += ["", "| program | first paint | idle | bytes idle | memory |", "|---|---|---|---|---|"]
        for name, found in compared.items():
            cells = f"{found['first paint s']:.2f} s | {found['cpu %']:.2f} % | {found['KB/s']:.1f} KB/s"
            lines.append(f"| {name} | {cells} | {found['MB']:.0f} MB |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*MEASUREMENTS, "others", []], help="default: all")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--size", default="120x40")
    arguments = parser.parse_args()
    columns, rows = map(int, arguments.size.split("x"))
    size = columns, rows
    names = arguments.names or [*MEASUREMENTS, "others"]
    results: dict[str, Figures] = {}
    for name in names:
        if name in MEASUREMENTS:
            print(f"{name} …", file=sys.stderr, flush=True)
            results[name] = MEASUREMENTS[name](size)
    compared: dict[str, Figures] = {}
    if "others" in names:
        with tempfile.TemporaryDirectory() as folder, made(night) as session:
            ours = others.figures(watching(session), b"MATRIX_LR", size, Path(folder))
            compared = {"autoresearch-tui, a night on the screen": ours, **others.compare(size, Path(folder))}
    print(json.dumps({**results, "others": compared}, indent=1) if arguments.json else table(results, compared))


if __name__ == "__main__":
    main()
