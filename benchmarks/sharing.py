"""What it is worth to share, on a made-up landscape: no training, no process, no remote.

    python benchmarks/sharing.py            # 100 labs that share against 100 that do not: 75 s
    python benchmarks/sharing.py --liars 20 # the same, and 20 of the labs claim what is not so

All labs work at the same thing, on the landscape of `benchmarks/search.py`, each with a search and with noise of its
own. Each fetches from the remote of its own few peers, in a ring: what one finds travels from remote to remote. The
loop is the engine's own: what of others' is worth a run, how it is put onto the frontier, the verdict. A run that
tries another lab's change counts as a run. With `[share] verify`, a lab tries so many at most.

`runs to`: the runs that the median lab needs until the true score of what it keeps is within that share of the
baseline's distance from the optimum; in brackets, how many of the labs came there. `gap`: of the mean lab at the end.
`false`: keeps whose true score is no better than that of the frontier which they replaced.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from search import GAP, TODAY, TRAIN, Landscape, Night

from autoresearch_tui.engine import gate, shared
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.researchers.search import structure
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.prior_results import PriorResult, to_rows

EVERY = 5
"""Runs between two fetches."""
TARGETS = (0.9, 0.8, 0.7)


@dataclass
class Sharer(Night):
    """One lab. `verify`: how many of others' it tries at most."""

    who: str = ""
    verify: int = 0
    liar: bool = False
    course: list[float] = field(default_factory=list)
    taken: int = 0

    def step(self) -> bool:
        """Another lab's change, if there is one; else one of its own."""
        moved = self._try_shared() or super().step()
        self.note()
        return moved

    def note(self) -> None:
        """How far what is kept is from the optimum, after each run."""
        best = self.state.best
        assert best is not None
        gap = (self.landscape.true(self.texts[best.commit]) - self.landscape.optimum) / GAP
        self.course += [gap] * (self.runs - len(self.course))

    def _try_shared(self) -> bool:
        best = self.state.frontier
        tried = sum(1 for e in self.state.experiments if e.proposal.origin)
        if best is None or tried >= self.verify:
            return False
        for one in shared.candidates(self.state):
            theirs, base = (self.texts.get(part, "") for part in one.code.split(" "))
            before = {"train.py": self.texts[best.commit]}
            after = shared.proposed(one, self.state, before, {"train.py": theirs}, {"train.py": base})
            text = after["train.py"] if after is not None else ""
            if not text or any(self.texts[e.commit] == text for e in self.state.experiments):
                continue
            self._run(self._propose(text, best.commit, one.description, author=gate.SHARED, origin=one.name))
            self.taken += self.state.experiments[-1].outcome == Outcome.KEEP
            return True
        return False

    def fetch(self, peers: Sequence[Sharer]) -> None:
        """What these have kept by now."""
        known = {one.name: one for one in self.state.shared}
        new = [one for peer in peers for one in peer.shown() if known.get(one.name) != one]
        if new:
            self._fold(ev.SharedRead(to_rows(new)))

    def shown(self) -> list[PriorResult]:
        """What this lab shares: its keeps; a liar says of each of its experiments that it is the best ever."""
        wanted = self.state.experiments if self.liar else [e for e in self.state.table if e.outcome == Outcome.KEEP]
        return [
            PriorResult(
                f"{self.who}/s#{e.number}", 0.1 if self.liar else e.value, 44.0, "keep", e.description, number=e.number,
                origin=self.who, code=f"{e.commit} {e.proposal.base}", judged_alike=True,
            )
            for e in wanted
        ]  # fmt: skip


def world(count: int, peers: int, runs: int, verify: int, liars: int, lab: Lab, seed: int) -> list[Sharer]:
    """So many labs, run beside each other; the liars are not among those returned."""
    landscape, texts = Landscape(seed), dict[str, str]()
    labs = [
        Sharer(
            landscape, TODAY, random.Random(f"noise {seed} {n}"), lab, TRAIN, 1000 * seed + n, texts=texts,
            who=f"lab{n}", verify=verify, liar=n % (count // liars) == 0 if liars else False,
        )
        for n in range(count)
    ]  # fmt: skip
    for each in labs:
        each.begin()
        each.note()
    for run in range(1, runs):
        for place, each in enumerate(labs):
            if verify and run % EVERY == 0:
                each.fetch([labs[(place + step) % count] for step in range(1, peers + 1)])
            each.step()
    return [each for each in labs if not each.liar]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labs", type=int, default=100)
    parser.add_argument("--peers", type=int, default=4, help="from whose remote each fetches")
    parser.add_argument("--runs", type=int, default=24, help="of each lab")
    parser.add_argument("--verify", type=int, default=10, help="of others' changes that each tries at most")
    parser.add_argument("--liars", type=int, default=0, help="labs that claim what is not so")
    parser.add_argument("--seed", type=int, default=0, help="of the landscape")
    choice = parser.parse_args()
    print(f"| | {' | '.join(f'runs to {target:.0%}' for target in TARGETS)} | gap | keeps | of others | false |")
    print(f"|---|{'---|' * (len(TARGETS) + 4)}")
    structure.edits = functools.cache(structure.edits)  # a pure function, and many labs have the same text
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), Settings())
        lab.program.write_text("")
        for name, verify in (("alone", 0), ("sharing", choice.verify)):
            liars = choice.liars if verify else 0
            labs = world(choice.labs, choice.peers, choice.runs, verify, liars, lab, choice.seed)
            _row(name + (f", {liars} of them lie" if liars else ""), labs, choice.runs)


def _row(name: str, labs: Sequence[Sharer], runs: int) -> None:
    cells = []
    for target in TARGETS:
        took = [next((run + 1 for run, gap in enumerate(each.course) if gap <= target), None) for each in labs]
        came = [run for run in took if run is not None]
        median = statistics.median(run if run is not None else runs + 1 for run in took)
        cells.append(f"{f'{median:.0f}' if median <= runs else f'over {runs}'} ({len(came)})")
    gap = statistics.fmean(each.course[-1] for each in labs)
    keeps, taken, false = (statistics.fmean(getattr(each, key) for each in labs) for key in ("keeps", "taken", "false"))
    print(f"| {name} | {' | '.join(cells)} | {gap:.3f} | {keeps:.1f} | {taken:.1f} | {false:.2f} |", flush=True)


if __name__ == "__main__":
    main()
