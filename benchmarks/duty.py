"""How busy the accelerator is: training seconds over wall seconds, against the same commands back to back.

`python benchmarks/duty.py` runs ten experiments of 20 s of training each, with a proposer that takes 10 s and a human
who takes 5 s to approve, through the real engine, git and supervisor; `--seconds 4` scales all three. Training only
sleeps and writes down when it began and ended, so that the figures need no accelerator. `--json` for machines.
With `--keeps` every run is kept and turns the same knob, so that what waits never applies to the new frontier.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from autoresearch_tui.engine.launching import environment  # noqa: E402
from autoresearch_tui.engine.loop import Engine  # noqa: E402
from autoresearch_tui.engine.session import Session  # noqa: E402
from autoresearch_tui.lab import paths as labs  # noqa: E402
from autoresearch_tui.researchers.base import Brief, Proposal  # noqa: E402
from autoresearch_tui.session import commands as cmd  # noqa: E402
from autoresearch_tui.session.state import Stage, State  # noqa: E402

PROPOSER_SHARE, HUMAN_SHARE = 0.5, 0.25
WANTED = 0.95
TRAIN = '''\
"""Trains by sleeping, and says when."""

import time

KNOB = 0

began = time.time()
time.sleep({seconds})
print(f"trained: {{began!r}} {{time.time()!r}}")
print("---")
print(f"val_bpb:          {{{score}:.6f}}")
'''
NEVER_KEPT, ALWAYS_KEPT = "1.0 + KNOB % 3 / 100", "2.0 - KNOB / 1000"
SETTINGS = """\
[run]
command = ["python", "train.py"]
budget_seconds = {budget}
timeout_seconds = {timeout}

[researcher]
kind = "claude"

[review]
mode = "ask"
"""


class Slow:
    """A researcher that thinks for a while and turns the one knob."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """The next value of the knob."""
        say("thinking\n")
        if cancelled.wait(self._seconds):
            return None
        text = brief.files["train.py"]
        old = next(line for line in text.splitlines() if line.startswith("KNOB = "))
        made = text.replace(old, f"KNOB = {3 * brief.number + 1}")
        return Proposal(f"Set KNOB to {3 * brief.number + 1}", "The benchmark wants another run.", {"train.py": made})


def make_lab(folder: Path, seconds: float, score: str = NEVER_KEPT) -> None:
    """A committed lab whose training sleeps for `seconds`."""
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN.format(seconds=seconds, score=score))
    (folder / "prepare.py").write_text("MAX_SEQ_LEN = 8\n")
    (folder / "program.md").write_text("# Program\n\nKeep the machine busy.\n")
    (folder / "autoresearch.toml").write_text(SETTINGS.format(budget=seconds, timeout=10 * seconds + 60))
    who = ["-c", "user.name=duty", "-c", "user.email=duty@localhost"]
    for words in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message=lab"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


def engine_trains(folder: Path, count: int, seconds: float) -> list[tuple[float, float]]:
    """The moments at which each of `count` runs began and ended to train, under the engine."""
    engine = Engine(Session(labs.find(folder), "duty"), Slow(PROPOSER_SHARE * seconds), headless=False, rows=count)
    thread = threading.Thread(target=engine.run)
    thread.start()
    waiting: dict[str, float] = {}
    while thread.is_alive():
        _approve(engine, waiting, HUMAN_SHARE * seconds)
        thread.join(0.05)
    return [trained((folder / f".autoresearch/duty/runs/{n:04d}/run.log").read_text()) for n in _ran(engine.state)]


def _approve(engine: Engine, waiting: dict[str, float], seconds: float) -> None:
    """The human: looks at each proposal for a while and says yes."""
    for experiment in engine.state.waiting:
        if experiment.stage is not Stage.REVIEW:
            continue
        seen = waiting.setdefault(experiment.commit, time.monotonic())
        if time.monotonic() - seen >= seconds:
            waiting[experiment.commit] = float("inf")
            engine.send(cmd.Approve(experiment.number, experiment.commit))


def _ran(state: State) -> list[int]:
    wrong = [(e.number, e.reason) for e in state.table if e.outcome not in ("keep", "discard")]
    if wrong:
        raise SystemExit(f"runs failed: {wrong}")
    return [e.number for e in state.table]


def back_to_back(folder: Path, count: int) -> list[tuple[float, float]]:
    """The same for the bare training command, one right after the other, with nothing around it."""
    lab = labs.find(folder)
    found = []
    for _ in range(count):
        done = subprocess.run(
            lab.settings.run.command,
            cwd=folder,
            env=environment(lab, folder),
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(trained(done.stdout))
    return found


def trained(log: str) -> tuple[float, float]:
    """When the run of a log began and ended to train."""
    line = next(line for line in log.splitlines() if line.startswith("trained: "))
    began, ended = line.split()[1:]
    return float(began), float(ended)


def duty(spans: Sequence[tuple[float, float]]) -> float:
    """Training seconds over the wall seconds from the first beginning to the last end."""
    return sum(ended - began for began, ended in spans) / (spans[-1][1] - spans[0][0])


def main() -> None:
    """Measure both in one run and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of training for each experiment (default 20)")
    parser.add_argument("--experiments", type=int, default=10, help="how many, the baseline included (default 10)")
    parser.add_argument("--keeps", action="store_true", help="every run is kept, and clashes with what waits")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autoresearch-duty-", ignore_cleanup_errors=True) as root:
        folder = Path(root) / "lab"
        make_lab(folder, chosen.seconds, ALWAYS_KEPT if chosen.keeps else NEVER_KEPT)
        ours = engine_trains(folder, chosen.experiments, chosen.seconds)
        bare = back_to_back(folder, chosen.experiments)
    gaps = sorted(after[0] - before[1] for before, after in pairwise(ours))
    figures = {
        "seconds": chosen.seconds,
        "experiments": len(ours),
        "engine": round(duty(ours), 4),
        "back_to_back": round(duty(bare), 4),
        "ratio": round(duty(ours) / duty(bare), 4),
        "median_gap_seconds": round(gaps[len(gaps) // 2], 3),
        "longest_gap_seconds": round(gaps[-1], 3),
    }
    if chosen.json:
        print(json.dumps(figures))
    else:
        print(f"{len(ours)} experiments of {chosen.seconds:g} s; the proposer takes ", end="")
        print(f"{PROPOSER_SHARE * chosen.seconds:g} s, the human {HUMAN_SHARE * chosen.seconds:g} s")
        print(f"  back to back    {figures['back_to_back']:.4f} of the wall time trains")
        print(f"  with the engine {figures['engine']:.4f}")
        print(f"  ratio           {figures['ratio']:.4f} (wanted: {WANTED})")
        print(
            f"  between runs    {figures['median_gap_seconds']} s (median), {figures['longest_gap_seconds']} s (most)"
        )
    sys.exit(0 if figures["ratio"] >= WANTED else 1)


if __name__ == "__main__":
    main()
