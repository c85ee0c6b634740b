"""What a long session costs: 32,000 experiments are a week on 16 accelerators.

    python benchmarks/long_life.py [engine] [cockpit] [--experiments 32000]

Makes labs whose sessions are that long: a journal as an engine writes it, and a commit and a ref for each experiment.

* `engine`: until its loop would take its first step, beside a session of 1,000 experiments, in alternation.
* `cockpit`: first paint beside that with 1,000 experiments, in alternation; a key to its paint; resident memory of the
  cockpit that only watches, and with its engine at work.

Seconds of the processor are printed beside those of the clock: on a machine that does other things they say more.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoresearch_tui.engine import own_sessions
from autoresearch_tui.engine.proposing.fingerprints import Fingerprints
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.session import events as ev
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
                crash = done % 17 == 5 and done >= devices
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
    """A session in a lab, with its commits and refs, and what its engine would have worked out of their code."""
    repo = GitRepo(lab)
    base = repo.head()
    made = [base, *commits(lab, base, count - 1)]
    began = own_sessions.began(labs.find(lab), repo, tag, base)
    journal(lab / ".autoresearch" / tag / "journal.jsonl", began, made, devices, open_ones)
    lines = "".join(f"create refs/autoresearch/{tag}/{n:04d} {commit}\n" for n, commit in enumerate(made))
    subprocess.run(["git", "update-ref", "--stdin"], cwd=lab, input=lines.encode(), check=True)
    repo.pack_refs()  # as the engine does every thousand experiments
    prints = Fingerprints(lab / ".autoresearch" / "fingerprints", ["train.py"])
    prints.unknown([])
    with prints.path.open("a") as file:  # any digests are as good as theirs, which would take minutes
        for commit in made:
            code, setting, change = (hashlib.sha256(f"{what} {commit}".encode()).hexdigest() for what in "csd")
            file.write(f"\n{commit} {code} {setting} {change}")


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
    for _ in range(15):
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
    settle(long)
    for seconds in (5, 30):
        held, watchdog = memory(long, seconds)
        print(
            f"  MB with its engine at work for {seconds} s, the long session: {held:.0f}; its watchdog: {watchdog:.1f}"
        )


def settle(lab: Path) -> None:
    """The lessons that an engine would have written, verdict by verdict."""
    session = Session(labs.find(lab), "t")
    session.lessons.keep(session.state)
    session.release()


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


@contextmanager
def lab(count: int, devices: int = 16, open_ones: int = 0, settings: str = SETTINGS) -> Iterator[Path]:
    """A lab whose session has so many experiments."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        root = make_lab(Path(scratch, "lab"), settings)
        fill(root, count, devices, open_ones)
        yield root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=["engine", "cockpit", []], help="default: all")
    parser.add_argument("--experiments", type=int, default=32_000)
    chosen = parser.parse_args()
    settings = SETTINGS.replace('mode = "auto"', 'mode = "ask"')
    with lab(chosen.experiments, settings=settings) as long, lab(1000, settings=settings) as short:
        size = (long / ".autoresearch/t/journal.jsonl").stat().st_size
        print(f"{chosen.experiments} experiments, a journal of {size / 2**20:.0f} MiB", flush=True)
        engine(long, short)
        if chosen.names != ["engine"]:
            cockpit(long, short, chosen.experiments)


if __name__ == "__main__":
    main()
