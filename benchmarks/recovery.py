"""How long an engine takes to go on with a long session, and how much memory the cockpit holds with it.

    python benchmarks/recovery.py [--experiments 1000] [--earlier 3]

Makes a lab whose session has that many experiments (real commits and refs, a journal of real records), then takes the
session up in a fresh process, five times, and prints the median from the first line of code after the imports to the
moment at which the loop would take its next step. Then opens the cockpit on it, on a pseudo-terminal, with its engine
at work: until the next proposal waits for review. Prints the process's resident memory, and its watchdog's.

With `--earlier` it makes as many such sessions, with this checkout's own train.py, and begins new ones beside them: the
processor's time until the loop would launch the baseline, and what is done while that trains, which is to read the
earlier sessions, and to work out what their code is, for the first new session and for the next.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoresearch_tui.engine import own_sessions
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import Journal
from tests.conftest import SETTINGS, make_lab
from tests.e2e.terminal import Terminal

TAKE_UP = """
import sys, time
from pathlib import Path
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.engine import startup
from autoresearch_tui.engine.session import Session
lab = labs.find(Path(sys.argv[1]))
began = time.perf_counter()
session = Session(lab, "t")
startup.start(session, headless=True)
took = time.perf_counter() - began
assert len(session.state.table) == int(sys.argv[2]), len(session.state.table)
session.end("detached", "")
print(took)
"""


BEGIN = """
import sys, time
from pathlib import Path
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.engine import history, startup
from autoresearch_tui.engine.session import Session
lab, times = labs.find(Path(sys.argv[1])), [time.process_time()]
session = Session(lab, sys.argv[2])
startup.start(session, headless=True)
times.append(time.process_time())
history.read(session)
times.append(time.process_time())
known = session.archive.tried(session.state)
times.append(time.process_time())
assert len(session.state.prior) == int(sys.argv[3]), len(session.state.prior)
assert known.before
session.end("detached", "")
print(*(after - before for before, after in zip(times, times[1:])))
"""


def commits(lab: Path, base: str, count: int, head: str = "") -> list[str]:
    """`count` commits on top of `base`, each with a train.py of its own; fast, through `git fast-import`."""
    stream = []
    whole = head + (lab / "train.py").read_text()
    for number in range(count):
        text = whole.replace("RATE = 0.5", f"RATE = {number}")
        stream.append(f"commit refs/heads/scratch-{number}\nmark :{number + 1}\n")
        stream.append(f"committer Ada <ada@example.org> {1_700_000_000 + number} +0000\ndata 1\nx\nfrom {base}\n")
        stream.append(f"M 100644 inline train.py\ndata {len(text)}\n{text}\n")
    marks = lab / ".git" / "marks"
    words = ["git", "fast-import", "--quiet", f"--export-marks={marks}"]
    subprocess.run(words, cwd=lab, input="".join(stream).encode(), check=True)
    by_mark = dict(line.split() for line in marks.read_text().splitlines())
    subprocess.run(
        ["git", "update-ref", "--stdin"],
        cwd=lab,
        input="".join(f"delete refs/heads/scratch-{number}\n" for number in range(count)).encode(),
        check=True,
    )
    return [by_mark[f":{number + 1}"] for number in range(count)]


def write_session(lab: Path, count: int, tag: str = "t") -> None:
    """A journal of `count` experiments, every twentieth of them kept, and a ref for each."""
    repo = GitRepo(lab)
    base = repo.head()
    journal = Journal(lab / ".autoresearch" / tag / "journal.jsonl")
    journal.append(own_sessions.began(labs.find(lab), repo, tag, base))
    made = [base, *commits(lab, base, count - 1, f"TAG = {tag!r}\n" if tag != "t" else "")]
    for number, commit in enumerate(made):
        value = 1.0 - number * 1e-5 if number % 20 == 0 else 1.5
        verdict = "keep" if number % 20 == 0 else "discard"
        for event in (
            ev.ProposalAsked(number, base, 1),
            ev.ProposalMade(number, commit, base, f"idea {number}", "because", "search", "0" * 12, 1, 1),
            ev.ProposalApproved(number, commit, "auto"),
            ev.RunStarted(number, commit, 1),
            ev.RunEnded(number, "finished", 0, 300.0),
            ev.RunScored(number, value, 44.0, "self-reported"),
            ev.VerdictGiven(number, verdict, value, 44.0, ""),
        ):
            journal.append(event)
    journal.close()
    lines = "".join(f"create refs/autoresearch/{tag}/{n:04d} {commit}\n" for n, commit in enumerate(made))
    subprocess.run(["git", "update-ref", "--stdin"], cwd=lab, input=lines.encode(), check=True)


def memory(lab: Path, seconds: float = 5) -> tuple[float, float]:
    """MB of the cockpit and of its watchdog, so many seconds after a proposal has come to wait for review."""
    with Terminal(str(lab), "--tag", "t") as terminal:
        terminal.wait("a approve", 120)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            terminal.drain()
        process = psutil.Process(terminal.process.pid)
        watchdogs = [each for each in process.children() if "autoresearch-watchdog" in each.cmdline()]
        held = process.memory_info().rss / 1e6, sum(each.memory_info().rss for each in watchdogs) / 1e6
        terminal.press_until("Q", "End the session")
        terminal.press("x")
        terminal.ended()
    return held


def beside(count: int, earlier: int) -> None:
    """Begins new sessions in a lab with so many earlier ones of so many experiments each."""
    with tempfile.TemporaryDirectory() as scratch:
        lab = make_lab(Path(scratch, "lab"), SETTINGS)
        train = Path(__file__).resolve().parent.parent / "harness" / "train.py"
        (lab / "train.py").write_text(f"RATE = 0.5\n{train.read_text()}")
        subprocess.run(["git", "commit", "--all", "--quiet", "--message=ours"], cwd=lab, check=True)
        for place in range(earlier):
            write_session(lab, count, f"before-{place}")
        for tag in ("first", "next"):
            words = [sys.executable, "-c", BEGIN, lab, tag, str(earlier * count)]
            start, read, code = map(float, subprocess.run(words, capture_output=True, check=True).stdout.split())
            told = f"{start:.2f} s until the baseline; then {read:.2f} s for journals, {code:.2f} s for code"
            print(f"{tag} new session beside {earlier} of {count}, processor time: {told}")
            shutil.rmtree(lab / ".autoresearch" / tag)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--earlier", type=int, default=0, help="so many sessions before a new one, instead")
    chosen = parser.parse_args()
    if chosen.earlier:
        beside(chosen.experiments, chosen.earlier)
        return
    count = chosen.experiments
    with tempfile.TemporaryDirectory() as scratch:
        lab = make_lab(Path(scratch, "lab"), SETTINGS.replace('mode = "auto"', 'mode = "ask"'))
        write_session(lab, count)
        size = (lab / ".autoresearch/t/journal.jsonl").stat().st_size
        took = [
            float(
                subprocess.run([sys.executable, "-c", TAKE_UP, lab, str(count)], capture_output=True, check=True).stdout
            )
            for _ in range(5)
        ]
        cockpit, watchdog = memory(lab)
    median = statistics.median(took)
    print(f"{count} experiments, journal of {size / 2**20:.1f} MiB: taken up in {median:.2f} s (median of 5)")
    print(f"the cockpit on it, with its engine: {cockpit:.0f} MB resident; its watchdog: {watchdog:.1f} MB")


if __name__ == "__main__":
    main()
