"""What `run.give_up` would have saved in recorded sessions, and which keeps it would have lost.

    python benchmarks/give_up.py [LAB/.autoresearch/TAG ...] [--orders 1000]

Every scored run is shown to the rule as it was then: its losses up to each tenth of the budget, with what the session
knew by that time. Runs that the rule gives up teach it nothing afterwards, as in a real session. What became of them is
known here, for they came to their end.

Without a session: those in give_up.json, real runs of a small model of characters under a careful researcher (the
offline search) and a bold one (constants multiplied by up to ten), and of the sine lab. `--orders`: the same runs in so
many other orders, each still beside the frontier that it was held against. Exits with 1 if a session lost a keep.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from autoresearch_tui.engine.judging import giving_up  # noqa: E402
from autoresearch_tui.engine.judging.giving_up import Course, Hopeless  # noqa: E402
from autoresearch_tui.logs.loss_curve import TENTHS, CurveTail  # noqa: E402
from autoresearch_tui.session.fold import recorded  # noqa: E402
from autoresearch_tui.session.statistics import judged  # noqa: E402


@dataclass(frozen=True)
class Run:
    """A scored run. `comparable`: neither its first loss nor its diff forbids the comparison."""

    about: str
    course: Course
    comparable: bool


def runs_of(session: Path) -> list[Run]:
    """Every scored run that has a curve, as has its frontier, in the order of the verdicts."""
    _, state = recorded(session / "journal.jsonl")
    found = []
    for each in judged(state):
        course = giving_up.course(each.experiment, each.head)
        if course is not None and each.head is not None:
            folder, other = (session / "runs" / e.name for e in (each.experiment, each.head))
            diff = (folder / "diff.patch").read_text("utf-8", "replace").splitlines()
            alike = giving_up.same_start(first_loss(folder), first_loss(other)) and giving_up.comparable(diff)
            about = f"#{each.experiment.number} {each.experiment.outcome}, {each.experiment.description}"
            found.append(Run(about, course, alike))
    return found


def first_loss(run: Path) -> float:
    log = CurveTail(run / "run.log")
    log.read()
    return log.curve.first


def recorded_sessions() -> dict[str, list[Run]]:
    """Those of give_up.json: each run's losses, the index of its frontier's run, and the rest of a :class:`Run`."""
    sessions = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
    return {
        name: [
            Run(about, Course(tuple(losses), tuple(runs[head][0]), kept), comparable)
            for losses, head, kept, comparable, about in runs
            if head is not None
        ]
        for name, runs in sessions.items()
    }


def replay(runs: Sequence[Run]) -> list[tuple[Run, Hopeless]]:
    """Those that the rule gives up, if they come in this order."""
    earlier: list[Course] = []
    given_up = []
    for run in runs:
        own, frontier = run.course.losses, run.course.against
        found = (giving_up.hopeless(own[:at], frontier, earlier) for at in range(1, TENTHS))
        hopeless = next(filter(None, found), None) if run.comparable else None
        if hopeless is None:
            earlier.append(run.course)
        else:
            given_up.append((run, hopeless))
    return given_up


def saved(given_up: Sequence[tuple[Run, Hopeless]], runs: Sequence[Run]) -> float:
    """The share of the training time."""
    return sum(1 - hopeless.tenth / TENTHS for _, hopeless in given_up) / max(1, len(runs))


def lost(given_up: Sequence[tuple[Run, Hopeless]]) -> int:
    """How many of them were keeps."""
    return sum(run.course.kept for run, _ in given_up)


def tell(session: str, runs: Sequence[Run], orders: int) -> bool:
    """A line for each run that is given up, and the sums. Whether no keep was lost."""
    given_up = replay(runs)
    keeps = sum(run.course.kept for run in runs)
    print(f"{session}: {len(runs)} scored runs with curves, {keeps} of them kept")
    for run, found in given_up:
        print(
            f"  at {found.tenth}0 %, {found.loss:.4g} against {found.against:.4g} "
            f"(most {found.most:.3g}, margin {found.margin:.3g}): {run.about}"
        )
    unlike = sum(not run.comparable for run in runs)
    print(f"  given up {len(given_up)}, not compared {unlike}; {saved(given_up, runs):.1%} of the training time saved")
    print(f"  keeps lost: {lost(given_up)} of {keeps}")
    dice = random.Random(0)
    others = [replay(dice.sample(runs, len(runs))) for _ in range(orders)]
    if others:
        mean = sum(saved(each, runs) for each in others) / orders
        print(f"  in {orders} other orders: {mean:.1%} saved; {sum(map(lost, others))} of {orders * keeps} keeps lost")
    return lost(given_up) == 0


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("sessions", nargs="*", type=Path, metavar="SESSION", help="a folder LAB/.autoresearch/TAG")
    words.add_argument("--orders", type=int, default=0, metavar="N")
    asked = words.parse_args()
    sessions = {str(session): runs_of(session) for session in asked.sessions} or recorded_sessions()
    fine = [tell(name, runs, asked.orders) for name, runs in sessions.items()]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
