"""What `metric.keep = "confirmed"` costs and gains, against the strict rule, in the same accelerator time. Pure.

`python benchmarks/confirming.py` plays nights of 125 runs. The ideas of each night, in random order: the gains that
the recorded H100 night kept (22, as its table has them, chance included), 30 that change nothing, and others that do
harm (0.003 in the mean). A run scores what is true and a normal error. The errors tried: that of equal code in public
tables (48 pairs, 0.00031 apart in the median), that of the recorded night's one change of the seed (0.000695 apart),
and three times the first. `late`: only the ideas that are left when the large gains are found. The decisions are the
engine's own (`session/confirmation.py`); `if promising` also discards at once what would not exceed its error even if
the next run confirmed it. `--nights N` (default 200), `--json`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from autoresearch_tui.lab.goal import Goal  # noqa: E402
from autoresearch_tui.session import confirmation  # noqa: E402

RUNS, NEUTRAL, HARM = 125, 30, 0.003
START = 0.9979
GAINS = (
    *(0.011859, 0.004268, 0.000572, 0.000298, 0.000934, 0.001185, 0.003260, 0.000795, 0.000610, 0.001015, 0.000255),
    *(0.000070, 0.000085, 0.000436, 0.000130, 0.000031, 0.000088, 0.000951, 0.000403, 0.000222, 0.000481, 0.000266),
)
LATE = 0.0007
PROMISING = "if promising"
# The median of a difference of two equal normal values is 0.954 standard deviations of one.
SPREADS = {"public pairs": 0.00031 / 0.954, "the night's seed": 0.000695 / math.sqrt(2), "three times": 0.00093 / 0.954}
RULES = ("strict", "beyond the noise", "confirmed", PROMISING)


@dataclass
class Tried:
    """An idea's code: what it truly scores, and what its runs scored."""

    true: float
    scores: list[float] = field(default_factory=list)


@dataclass
class Night:
    """One session under one rule."""

    rule: str
    spread: float
    dice: random.Random
    used: int = 0
    keeps: int = 0
    false: int = 0
    confirming: int = 0
    tried: list[Tried] = field(default_factory=list)

    def play(self, gains: tuple[float, ...]) -> dict[str, float]:
        """Keeps, those that truly gain nothing, and the true score at the end."""
        frontier = Tried(START)
        self.run(frontier)
        for gain in ideas(gains, self.dice):
            if self.used >= RUNS:
                break
            idea = Tried(frontier.true - gain)
            self.run(idea)
            if self.keeps_it(idea, frontier):
                self.keeps += 1
                self.false += idea.true >= frontier.true
                frontier = idea
        said = frontier.true - fmean(frontier.scores)
        return {
            "keeps": self.keeps,
            "false": self.false,
            "gained": START - frontier.true,
            "confirming": self.confirming,
            "flattered": said,
        }

    def run(self, idea: Tried) -> None:
        if not idea.scores:
            self.tried.append(idea)
        idea.scores.append(idea.true + self.dice.gauss(0, self.spread))
        self.used += 1

    def keeps_it(self, idea: Tried, frontier: Tried) -> bool:
        if self.rule == "strict":
            return idea.scores[0] < frontier.scores[0]
        if self.rule == "beyond the noise":
            return frontier.scores[0] - idea.scores[0] > 2 * math.sqrt(2) * self.spread
        for _ in range(confirmation.MOST):
            known = self.compared(idea, frontier)
            if not known.is_unsure(0.0) or self.used >= RUNS:
                break
            others = known.other_runs < known.runs
            if self.rule == PROMISING and known.gain <= confirmation.ENOUGH * error_after(known, others):
                return False
            self.confirming += 1
            self.run(frontier if others else idea)
        return self.compared(idea, frontier).holds(0.0)

    def compared(self, idea: Tried, frontier: Tried) -> confirmation.Comparison:
        return confirmation.compared(idea.scores, frontier.scores, Goal.MINIMIZE, self.known_spread())

    def known_spread(self) -> float | None:
        """As the engine knows it: pooled over everything that ran more than once."""
        often = [each.scores for each in self.tried if len(each.scores) > 1]
        squares = sum((score - fmean(scores)) ** 2 for scores in often for score in scores)
        return math.sqrt(squares / sum(len(scores) - 1 for scores in often)) if often else None


def error_after(known: confirmation.Comparison, others: bool) -> float:
    """The error of the difference after one more run, of the frontier's or its own."""
    before = 1 / known.runs + 1 / known.other_runs
    return known.error * math.sqrt((1 / (known.runs + (not others)) + 1 / (known.other_runs + others)) / before)


def ideas(gains: tuple[float, ...], dice: random.Random) -> Iterator[float]:
    """What each idea of a night truly gains; negative: it does harm."""
    found = [*gains, *[0.0] * NEUTRAL]
    found += [-dice.expovariate(1 / HARM) for _ in range(RUNS - len(found))]
    dice.shuffle(found)
    return iter(found)


def figures(rule: str, spread: float, gains: tuple[float, ...], nights: int) -> dict[str, float]:
    """The means over so many nights; `error` is that of the mean of `gained`."""
    played = [Night(rule, spread, random.Random(seed)).play(gains) for seed in range(nights)]
    found = {name: fmean(each[name] for each in played) for name in played[0]}
    return found | {"error": stdev(each["gained"] for each in played) / math.sqrt(nights)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=200, help="nights of each kind")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    chosen = parser.parse_args()
    kinds = {"whole": GAINS, "late": tuple(gain for gain in GAINS if gain < LATE)}
    found = {
        f"{kind}, {name}": {rule: figures(rule, spread, gains, chosen.nights) for rule in RULES}
        for kind, gains in kinds.items()
        for name, spread in SPREADS.items()
    }
    if chosen.json:
        print(json.dumps(found))
        return
    for name, rules in found.items():
        print(f"{name}\n  {'':18}keeps  false  confirming runs  truly gained          flattered by")
        for rule, its in rules.items():
            print(
                f"  {rule:18}{its['keeps']:5.1f}  {its['false']:5.2f}  {its['confirming']:15.1f}  "
                f"{its['gained']:.5f} ± {its['error']:.5f}     {its['flattered']:.5f}"
            )


if __name__ == "__main__":
    main()
