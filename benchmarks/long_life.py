"""What a long session costs: 32,000 experiments are a week on 16 accelerators.

    python benchmarks/long_life.py [engine] [cockpit] [flight] [--experiments 32000] [--flight 1000]

Makes labs whose sessions are that long: a journal as an engine writes it, and a commit and a ref for each experiment.

* `engine`: until its loop would take its first step, beside a session of 1,000 experiments, in alternation.
* `cockpit`: first paint beside that with 1,000 experiments, in alternation; a key to its paint; resident memory of the
  cockpit that only watches, and with its engine at work.
* `flight`: the engine's own delay for a verdict at the end of 20,000 experiments, with so many in flight. Runs are
  executed nowhere; journal, fold, outline, snapshots, tables, refs and the loop's steps are real.

Seconds of the processor are printed beside those of the clock: on a machine that does other things they say more.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoresearch_tui.engine import own_sessions, startup
from autoresearch_tui.engine.executor import ThisMachine
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.runs import runner
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.experiment import Experiment
from autoresearch_tui.session.journal import encode
from autoresearch_tui.util import timestamps
from benchmarks.pseudo_terminal import Terminal, opened
from benchmarks.recovery import commits, memory
from tests.conftest import SETTINGS, make_lab
from tests.night import IDEAS

RUN_SECONDS = 300.0


def journal(path: Path, began: ev.SessionBegan, commits: list[str], devices: int, open_ones: int = 0) -> None:
    """A session of so many experiments, `devices` at a time; the last `open_ones` are in flight."""
    dice, seq, value = random.Random(1), 0, 1.0
    start = datetime(2026, 1, 1, tzinfo=UTC)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:

        def add(seconds: float, *events: ev.Event) -> None:
            nonlocal seq
            for event in events:
                seq += 1
                file.write(encode(ev.Record(seq, timestamps.stamp(start + timedelta(seconds=seconds)), event)))

        add(0, began, ev.ProgramRead("0" * 12, 30))
        frontier = commits[0]
        for turn in range(len(commits) + devices):
            now = turn * RUN_SECONDS / devices
            if turn < len(commits):
                commit, base = commits[turn], frontier
                idea = f"{IDEAS[turn % len(IDEAS)]}, try {turn}"
                reason = f"The runs before #{turn} point that way: the loss still falls at the end of the budget."
                author = "claude" if turn >= devices else "baseline"  # one for each device
                if turn:
                    add(now, ev.ProposalAsked(turn, base, 1))
                made = ev.ProposalMade(
                    turn,
                    commit,
                    base,
                    idea if turn else "baseline",
                    reason,
                    author,
                    "0" * 12,
                    3,
                    2,
                    tokens=5200,
                    usd=0.03,
                )
                add(now, made, ev.ReviewOpened(turn, "approve-low-risk", timestamps.stamp(start)))
                add(
                    now,
                    ev.ProposalApproved(turn, commit, "auto"),
                    ev.RunStarted(turn, commit, 1, f"cuda:{turn % devices}"),
                )
            if 0 <= (done := turn - devices) < len(commits) - open_ones:
                keep = done % 40 == 0
                value -= 0.0003 if keep else 0.0
                score = value + (0.0 if keep else abs(dice.gauss(0.002, 0.002)) + 1e-5)
                crash = done % 17 == 5
                frontier = commits[done] if keep and not crash else frontier
                ended = ev.RunEnded(
                    done, "crashed" if crash else "finished", 1 if crash else 0, RUN_SECONDS, ready_seconds=3.1
                )
                add(now, ended)
                if crash:
                    add(now, ev.VerdictGiven(done, "crash", None, 0.0, "RuntimeError: shapes do not match"))
                    continue
                why = f"{score:.6f} against {value:.6f}"
                add(
                    now,
                    ev.RunScored(done, score, 44.0 + done % 3 / 10, "referee"),
                    ev.VerdictGiven(done, "keep" if keep else "discard", score, 44.0, why, stderr=0.0004),
                )


def fill(lab: Path, count: int, devices: int = 16, open_ones: int = 0, tag: str = "t") -> None:
    """A session in a lab, with its commits and refs."""
    repo = GitRepo(lab)
    base = repo.head()
    made = [base, *commits(lab, base, count - 1)]
    began = own_sessions.began(labs.find(lab), repo, tag, base)
    journal(lab / ".autoresearch" / tag / "journal.jsonl", began, made, devices, open_ones)
    lines = "".join(f"create refs/autoresearch/{tag}/{n:04d} {commit}\n" for n, commit in enumerate(made))
    subprocess.run(["git", "update-ref", "--stdin"], cwd=lab, input=lines.encode(), check=True)
    repo.pack_refs()  # as the engine does every thousand experiments


TAKE_UP = """
import os, sys, time
from pathlib import Path
from autoresearch_tui.engine import startup
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
lab, before, began = labs.find(Path(sys.argv[1])), os.times(), time.perf_counter()
session = Session(lab, "t")
startup.start(session, headless=True)
took, after = time.perf_counter() - began, os.times()
session.end("detached", "")
print(took, sum(after[:4]) - sum(before[:4]))
"""


def engine(long: Path, short: Path) -> None:
    """Both in turn, after a first time that leaves a snapshot."""
    times: dict[Path, list[list[float]]] = {long: [], short: []}
    for turn in range(6):
        for lab in (long, short):
            done = subprocess.run([sys.executable, "-c", TAKE_UP, lab], capture_output=True, check=True)
            if not turn:
                print(f"  without a snapshot: {float(done.stdout.split()[0]):.2f} s")
            else:
                times[lab].append([float(word) for word in done.stdout.split()])
    for lab, name in ((long, "the long session"), (short, "1,000 experiments")):
        clock, used = (statistics.median(each) for each in zip(*times[lab], strict=True))
        print(f"  taken up, {name}: {clock:.2f} s; {used:.2f} s of the processor (median of 5)")


def cockpit(long: Path, short: Path, count: int) -> None:
    """The newest experiment's row is on the screen; then the cursor goes down and up."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(5):
        for lab, last, name in ((long, count - 1, "the long session"), (short, 999, "1,000 experiments")):
            words = [sys.executable, "-m", "autoresearch_tui", "watch", str(lab)]
            with opened(words, (120, 40)) as terminal:
                painted = terminal.wait_for(str(last).encode())
                used = sum(psutil.Process(terminal.process.pid).cpu_times()[:2])
                found.setdefault(f"first paint, {name}", []).append((painted, used))
                terminal.quiet()
                found.setdefault(f"a key, {name}", []).extend(_keys(terminal))
                size = psutil.Process(terminal.process.pid).memory_info().rss / 1e6
                found.setdefault(f"MB, {name}", []).append((size, 0.0))
                terminal.close()
    for name, pairs in found.items():
        clock, used = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(f"  {name}: {clock:.3f}" + (f"; {used:.2f} s of the processor" if used else ""))
    held, watchdog = memory(long)
    print(f"  MB with its engine at work, the long session: {held:.0f}; its watchdog: {watchdog:.1f}")


def _keys(terminal: Terminal) -> Iterator[tuple[float, float]]:
    terminal.press("4")
    time.sleep(0.5)
    for number in range(30):
        terminal.tail, began = b"", time.perf_counter()
        terminal.press("j" if number // 5 % 2 == 0 else "k")
        while "▌".encode() not in terminal.tail and time.perf_counter() - began < 3:
            time.sleep(0.0005)
        yield time.perf_counter() - began, 0.0
        time.sleep(0.05)


class Nowhere(ThisMachine):
    """Executes nothing: runs begin, and never end by themselves."""

    def __init__(self, session: Session, devices: int) -> None:
        super().__init__(session.launcher, session.files)
        self._names = tuple(f"cuda:{number}" for number in range(devices))

    @property
    def devices(self) -> Sequence[str]:
        return self._names

    def check(self, device: str) -> None:
        """Every device is free."""

    def prepare(self, experiment: Experiment, files: RunFiles) -> None:
        """There is nothing to run."""

    def start(self, experiment: Experiment, files: RunFiles) -> None:
        """It runs."""

    def look(self, files: RunFiles) -> runner.RunStatus:  # noqa: ARG002
        return runner.RunStatus(runner.RunState.RUNNING)


class Nobody:
    """Is never asked: proposals are put into the session by hand."""

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal:
        raise NotImplementedError


def flight(root: Path, devices: int) -> None:
    """Verdict after verdict, each followed by a proposal and its launch."""
    lab = labs.find(root)
    session = Session(lab, "t")
    startup.start(session, headless=True)
    loop = Engine(session, Nobody(), headless=True, executor=Nowhere(session, devices))
    delays, used = [], []
    for _ in range(200):
        oldest, began, before = session.state.in_flight[0], time.perf_counter(), time.process_time()
        session.append(ev.RunEnded(oldest.number, "finished", 0, RUN_SECONDS))
        session.append(ev.RunScored(oldest.number, 2.0, 44.0, "referee"))
        _turn(session, loop)
        first, number = session.state.experiments[1].proposal, len(session.state.experiments)
        session.append(replace(first, number=number, base=session.state.frontier_commit, repeat_of=1, seed=number))
        session.append(ev.ProposalApproved(number, first.commit, "auto"))
        _turn(session, loop)
        delays.append(time.perf_counter() - began)
        used.append(time.process_time() - before)
        assert len(session.state.in_flight) == devices
    delays.sort()
    tail = delays[int(len(delays) * 0.95)]
    said = f"{1000 * statistics.median(delays):.0f} ms, 95th percentile {1000 * tail:.0f} ms"
    print(
        f"  {devices} in flight after {len(session.state.experiments)} experiments: {said} from a run's end to the next"
    )
    print(f"  launch; {1000 * statistics.median(used):.0f} ms of the processor")
    session.end("detached", "")


def _turn(session: Session, loop: Engine) -> None:
    """As the engine's own: steps until none is due, then what is kept for others."""
    session.sync_git()
    while loop._step():
        session.sync_git()
    loop._runs.tidy()
    session.keep_outline()


@contextmanager
def lab(count: int, devices: int = 16, open_ones: int = 0, settings: str = SETTINGS) -> Iterator[Path]:
    """A lab whose session has so many experiments."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        root = make_lab(Path(scratch, "lab"), settings)
        fill(root, count, devices, open_ones)
        yield root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=["engine", "cockpit", "flight", []], help="default: all")
    parser.add_argument("--experiments", type=int, default=32_000)
    parser.add_argument("--flight", type=int, default=1000)
    chosen = parser.parse_args()
    names = chosen.names or ["engine", "cockpit", "flight"]
    if {"engine", "cockpit"} & set(names):
        settings = SETTINGS.replace('mode = "auto"', 'mode = "ask"')
        with lab(chosen.experiments, settings=settings) as long, lab(1000, settings=settings) as short:
            size = (long / ".autoresearch/t/journal.jsonl").stat().st_size
            print(f"{chosen.experiments} experiments, a journal of {size / 2**20:.0f} MiB", flush=True)
            engine(long, short)
            if "cockpit" in names:
                cockpit(long, short, chosen.experiments)
    if "flight" in names:
        with lab(20_000, chosen.flight, chosen.flight) as root:
            flight(root, chosen.flight)


if __name__ == "__main__":
    main()
