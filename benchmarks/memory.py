"""What it is worth to a second session that it knows the first one.

`python benchmarks/memory.py [--labs 20] [--runs 40]` plays two nights of the offline search in each of so many made-up
labs: eleven constants with an optimum, interactions between neighbours, a depth beyond which runs crash, and the spread
that equal runs have in public tables. The second night knows the first one, or not, and starts from what is checked
out, or from the first one's best. Prints how many of its runs repeat one of the first night, how many crash, after how
many of its own runs its best is truly better than the first night's, and the share of what the first night left to
gain that both nights together have gained, with its standard error over the labs.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.python_source import setting
from autoresearch_tui.researchers.base import Attempt, Brief, ResearcherError
from autoresearch_tui.researchers.search.researcher import Search

NOISE = 0.0003
WORST = 0.998
KNOBS = {
    "MATRIX_LR": 0.04, "EMBEDDING_LR": 0.6, "UNEMBEDDING_LR": 0.004, "SCALAR_LR": 0.5, "WEIGHT_DECAY": 0.2,
    "WARMDOWN_RATIO": 0.5, "DEPTH": 8, "ASPECT_RATIO": 64, "HEAD_DIM": 128, "TOTAL_BATCH_SIZE": 524288, "BETA": 0.8,
}  # fmt: skip
TOO_DEEP = 14
FILE = "train.py"


NOTHING, CODE, ALL = "nothing", "its code", "its results"


class Lab:
    """A score for each setting of the constants; lower is better."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        self._best = {name: dice.gauss(0, 1.2) for name in KNOBS}
        self._weight = {name: dice.expovariate(1) * 0.002 for name in KNOBS}
        self._pairs = [(one, two, dice.uniform(-0.7, 0.7)) for one, two in zip(KNOBS, [*KNOBS][1:], strict=False)]
        self._floor = WORST - self._loss(KNOBS)

    def _loss(self, values: Mapping[str, float]) -> float:
        away = {name: math.log2(max(values[name], 1e-9) / KNOBS[name]) - self._best[name] for name in KNOBS}
        loss = sum(self._weight[name] * away[name] ** 2 for name in KNOBS)
        for one, two, pull in self._pairs:
            loss += pull * math.sqrt(self._weight[one] * self._weight[two]) * away[one] * away[two]
        return loss

    def score(self, files: Mapping[str, str]) -> float | None:
        """The true score; None for a crash."""
        read = setting.read(files).values
        values = {key.rpartition(":")[2].rpartition(".")[2]: value for key, value in read.items()}
        numbers = {name: float(values.get(name, KNOBS[name])) for name in KNOBS}
        if numbers["DEPTH"] > TOO_DEEP or min(numbers.values()) <= 0:
            return None
        return self._floor + self._loss(numbers)

    @property
    def floor(self) -> float:
        """The best possible score."""
        return self._floor


@dataclass
class Night:
    """Attempts, the files of each commit, and the true score of what was kept after each run."""

    attempts: list[Attempt] = field(default_factory=list)
    files: dict[str, Mapping[str, str]] = field(default_factory=dict)
    truth: list[float] = field(default_factory=list)
    best: str = ""

    @property
    def digests(self) -> list[str]:
        return [setting.read(self.files[a.commit]).digest for a in self.attempts[1:]]


def play(
    lab: Lab, dice: random.Random, start: Mapping[str, str], runs: int, name: str, before: Night, knows: str = NOTHING
) -> Night:
    """A night of so many runs, the baseline included; `knows`: what it knows of the one before it."""
    night, search = Night(), Search()
    prior = tuple(replace(a, session="before") for a in before.attempts) if knows == ALL else ()
    tried = frozenset(before.digests) if knows != NOTHING else frozenset[str]()
    texts = dict(before.files)
    frontier, value, truth = "", math.inf, math.inf
    files: Mapping[str, str] = start
    for number in range(runs):
        commit = f"{name}{number}"
        if number:
            base = texts[frontier]
            brief = Brief(
                number, frontier, "", base, {}, "val_bpb", Goal.MINIMIZE, 300, tuple(night.attempts),
                files_at=texts.__getitem__, prior=prior, tried=tried.__contains__,
            )  # fmt: skip
            try:
                made = search.propose(brief, lambda _: None, threading.Event())
            except ResearcherError:
                break
            assert made is not None
            files = {**base, **made.files}
        real = lab.score(files)
        measured = None if real is None else real + dice.gauss(0, NOISE)
        kept = measured is not None and measured < value
        outcome = "crash" if measured is None else "keep" if kept else "discard"
        night.attempts.append(Attempt(number, commit, frontier or commit, "", "", outcome, measured, ""))
        texts[commit] = night.files[commit] = files
        if kept and measured is not None and real is not None:
            frontier, value, truth = commit, measured, real
        night.truth.append(truth)
    night.best = frontier
    return night


def compare(seed: int, runs: int) -> dict[tuple[str, str], tuple[float, float, float, float]]:
    """By what it knows of the first night and where it starts: repeats, crashes, runs to be better, share gained."""
    lab, dice = Lab(seed), random.Random(seed + 1000)
    constants = "".join(f"{name} = {value}\n" for name, value in KNOBS.items())
    start = {FILE: f"{constants}train({', '.join(KNOBS)})\n"}
    first = play(lab, dice, start, runs, "a", Night())
    left = first.truth[-1] - lab.floor
    found = {}
    for knows in (NOTHING, CODE, ALL):
        for place, begin in (("checkout", start), ("its best", first.files[first.best])):
            # The same noise for all, so that they can be compared lab by lab.
            second = play(lab, random.Random(seed + 2000), begin, runs, "b", first, knows)
            old = set(first.digests)
            better = next((n for n, value in enumerate(second.truth) if value < first.truth[-1] - NOISE), runs)
            gained = (first.truth[-1] - min(first.truth[-1], second.truth[-1])) / left
            found[knows, place] = (
                sum(digest in old for digest in second.digests),
                sum(a.outcome == "crash" for a in second.attempts),
                better,
                gained,
            )
    return found


def main() -> None:
    """One line for each way to begin the second night."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labs", type=int, default=20)
    parser.add_argument("--runs", type=int, default=40)
    chosen = parser.parse_args()
    found = [compare(seed, chosen.runs) for seed in range(chosen.labs)]
    print(
        "second night: knows the first | starts from | repeats | crashes | runs until better | gained of what was left"
    )
    for key in found[0]:
        columns: Sequence[tuple[float, ...]] = list(zip(*(one[key] for one in found), strict=True))
        error = statistics.stdev(columns[3]) / math.sqrt(len(found))
        repeats, crashes, better = (statistics.mean(column) for column in columns[:3])
        how = f"{key[0]:11} | {key[1]:11}"
        gained = f"{statistics.mean(columns[3]):.2f} ± {error:.2f}"
        print(f"{how} | {repeats:7.1f} | {crashes:7.1f} | {better:17.1f} | {gained}")


if __name__ == "__main__":
    main()
