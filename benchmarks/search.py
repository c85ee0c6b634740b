"""What fronts, confirmed keeps and memory are worth, on a made-up landscape: no training, no process.

    python benchmarks/search.py             # the loop as it is by default against all three, 30 seeds: some minutes
    python benchmarks/search.py --each      # each policy alone as well
    python benchmarks/search.py --critic    # the critic of rules, whose disagreement vetoes
    python benchmarks/search.py --against 15bcb70   # today's is what that commit of this repository did, seed by seed
    python benchmarks/search.py --noise 5 --coupling 0      # another landscape

The loop is the engine's own: where a proposal starts, who runs next, the offline search, the verdict, the fold. Only
the score is made up. Eighteen constants, each with an optimum that is drawn for the seed and coupled with another's;
weights as in the reference's recorded night, where two of the changes bring more than half of the gain; five functions
whose other forms are better or worse and move the optima of two constants, so that a better form may lose at first.
Each run adds noise; its spread, 3.3e-4, is that of 48 pairs of runs of equal code in public tables (median difference
3.1e-4).

A session has `--nights` nights of `--runs` runs each. Each night after the first starts from the best that is kept.
`gap`: how far the true score of what is kept at the end is from the optimum, as a share of the baseline's. `false`:
keeps whose true score is no better than that of the frontier which they replaced. `two largest`: their share of the
first night's gain. The last line is the reference's recorded night (its pull request 44), to hold the landscape
against.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, replace

from autoresearch_tui.engine import gate
from autoresearch_tui.engine.judging import scoring
from autoresearch_tui.engine.proposing import base_choice, fronts
from autoresearch_tui.engine.proposing.briefing import SourceCache
from autoresearch_tui.lab.editable import Editable
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import SearchSettings, Settings
from autoresearch_tui.python_source import constants, setting
from autoresearch_tui.python_source.merge import merge
from autoresearch_tui.researchers.base import Brief, Proposal, ResearcherError
from autoresearch_tui.researchers.search import structure
from autoresearch_tui.researchers.search.critic import RuleCritic
from autoresearch_tui.researchers.search.researcher import Search
from autoresearch_tui.session import confirmation, prior_results
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Opinion, Outcome, RunEnd
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.prior_results import PriorResult
from autoresearch_tui.session.state import Experiment, State

NOISE = 3.3e-4
GAP = 0.030  # of the baseline to the optimum; the recorded night gained 0.028
BASELINE = 0.998
SMALL = 3e-4
TRAIN = """import math
import torch.nn.functional as F

DEPTH = 8
ASPECT_RATIO = 64
HEAD_DIM = 128
TOTAL_BATCH_SIZE = 2**19
EMBEDDING_LR = 0.6
UNEMBEDDING_LR = 0.004
MATRIX_LR = 0.04
SCALAR_LR = 0.5
WEIGHT_DECAY = 0.2
ADAM_BETA1 = 0.8
ADAM_BETA2 = 0.95
WARMUP_RATIO = 0.05
WARMDOWN_RATIO = 0.5
FINAL_LR_FRAC = 0.1
ROPE_BASE = 10000
SOFTCAP = 15.0
INIT_SCALE = 1.0
EMBEDDING_DECAY = 0.01


def block(x):
    x = x + attend(norm(x))
    return x + feed(norm(x))


def feed(x):
    return down(F.relu(up(x)).square())


def rate(progress):
    return (1 - progress) / WARMDOWN_RATIO


def decay(progress):
    return WEIGHT_DECAY * (1 - progress)


def has_value_embedding(layer, depth):
    return layer % 2 == (depth - 1) % 2


print(DEPTH, ASPECT_RATIO, HEAD_DIM, TOTAL_BATCH_SIZE, EMBEDDING_LR, UNEMBEDDING_LR, MATRIX_LR, SCALAR_LR)
print(ADAM_BETA1, ADAM_BETA2, WARMUP_RATIO, FINAL_LR_FRAC, ROPE_BASE, SOFTCAP, INIT_SCALE, EMBEDDING_DECAY)
"""


# ── the landscape ───────────────────────────────────────────────────────────────────────────────────────────────


class Landscape:
    """The true score of a text; lower is better, and `optimum` is the lowest."""

    def __init__(self, seed: int, coupling: float = 1.0) -> None:
        dice = random.Random(f"landscape {seed}")
        self._start = _values(TRAIN)
        names = sorted(self._start)
        self._optimum = {name: _within(name, self._start[name], dice.gauss(0.0, 1.3)) for name in names}
        self._partner = {
            name: (dice.choice([n for n in names if n != name]), coupling * dice.uniform(-0.6, 0.6)) for name in names
        }
        self._weight = {name: dice.lognormvariate(0.0, 1.3) for name in names}
        self._forms: dict[str, tuple[float, Mapping[str, float]]] = {}
        best: dict[str, float] = {}
        for function, form in sorted(_reachable(TRAIN)):
            worth = dice.choice((-1.0, -0.4, 0.5, 1.5, 3.0))
            moves = {name: dice.choice((-1.0, 1.0)) for name in dice.sample(names, 2)}
            self._forms[form] = worth, moves
            best[function] = min(worth, best.get(function, 0.0))
        self._best_forms = sum(best.values())
        self.optimum = BASELINE - GAP
        self._unit = GAP / (self._worth(TRAIN) - self._best_forms)

    def true(self, text: str) -> float:
        """Without noise."""
        return self.optimum + self._unit * (self._worth(text) - self._best_forms)

    def _worth(self, text: str) -> float:
        worth, moved = 0.0, dict(self._optimum)
        for form in _forms(text) - _forms(TRAIN):
            value, moves = self._forms.get(form, (3.0, {}))
            worth += value
            for name, by in moves.items():
                moved[name] += by
        values = _values(text)
        off = {name: _place(name, self._start[name], values[name]) - moved[name] for name in self._start}
        for name, (other, share) in self._partner.items():
            distance = off[name] + share * off[other]
            worth += self._weight[name] * distance**2 / (1 + 0.3 * abs(distance))
        return worth


def _values(text: str) -> dict[str, float]:
    found = constants.read("train.py", text).knobs
    return {k.name: float(k.value) for k in found if k.name.isupper() and isinstance(k.value, int | float)}


def _within(name: str, start: float, offset: float) -> float:
    """An optimum that the constant can have: a share lies between nought and one."""
    if name.endswith(("RATIO", "FRAC")) and name != "ASPECT_RATIO":
        return max(-0.8 * start / 0.2, min(0.8 * (1 - start) / 0.2, offset))
    return offset


def _place(name: str, start: float, value: float) -> float:
    """How far a constant is from where it started: in doublings, or in fifths of the whole."""
    if name.endswith(("RATIO", "FRAC")) and name != "ASPECT_RATIO":
        return (value - start) / 0.2
    if name.startswith("ADAM_BETA"):
        return -math.log2(max(1 - value, 1e-6) / (1 - start))
    return math.log2(max(value, 1e-9) / start) * (2.0 if name in ("DEPTH", "ASPECT_RATIO") else 1.0)


def _forms(text: str) -> frozenset[str]:
    """Each function as it is written, without its place in the file."""
    return frozenset(part.strip() for part in text.split("\n\n\n")[1:-1])


def _reachable(text: str) -> set[tuple[str, str]]:
    """Every other form that one edit makes of a function, by the function's name."""
    found = set()
    for edit in structure.edits("train.py", text):
        for form in _forms(edit.text) - _forms(text):
            found.add((form.partition("(")[0], form))
    return found


# ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Policy:
    """What is measured against what."""

    name: str
    search: SearchSettings = field(default_factory=SearchSettings)
    confirmed: bool = False
    memory: bool = False
    critic: bool = False


@dataclass
class Night:
    """One night of one session: the engine's decisions, with made-up scores."""

    landscape: Landscape
    policy: Policy
    dice: random.Random
    lab: Lab
    text: str
    seed: int
    earlier: tuple[PriorResult, ...] = ()
    noise: float = NOISE
    tried: frozenset[str] = frozenset()
    state: State = field(default_factory=State)
    texts: dict[str, str] = field(default_factory=dict)
    false: int = 0
    keeps: int = 0
    gains: list[float] = field(default_factory=list)
    runs: int = 0
    refused: int = 0
    wrongly: int = 0

    def play(self, runs: int) -> str:
        """The text of the best that is kept after so many runs."""
        self.begin()
        while self.runs < runs and self.step():
            pass
        assert self.state.best is not None
        return self.texts[self.state.best.commit]

    def begin(self) -> None:
        """Up to the baseline's verdict."""
        began = ev.SessionBegan("t", "t", self._commit(self.text), "val_bpb", "minimize", 0.0, 300, ("train.py",), {})
        self._fold(began)
        for record in prior_results.records("", self.earlier):
            self._fold(record)
        self._archive, self._search = SourceCache(self.lab, self), Search(self.seed)  # type: ignore[arg-type]
        self._run(self._propose(self.text, began.base, "baseline", author=gate.BASELINE))

    def step(self) -> bool:
        """One more proposal, to its verdict; False if there is nothing left to try."""
        if crossed := self._cross():
            self._run(crossed)
            return True
        start = base_choice.choose(self.state, can_fix=False, search=self.policy.search)
        brief = self._archive.brief(self.state, len(self.state.experiments), start.base, start.front)
        brief = replace(brief, tried=self.tried.__contains__)
        try:
            made = self._search.propose(brief, lambda _: None, threading.Event())
        except ResearcherError:
            return False
        assert made is not None
        text = made.files["train.py"]
        fields = {"exploratory": start.exploratory, "front": start.front}
        proposed = self._propose(text, start.base, made.description, **fields)
        if not (self.policy.critic and self._refused(brief, made, proposed)):
            self._run(proposed)
        return True

    def _refused(self, brief: Brief, made: Proposal, proposed: Experiment) -> bool:
        """Whether the critic of rules disagrees; then it is vetoed, as the policy would."""
        found = RuleCritic().judge(brief, made, (), lambda _: None, threading.Event())
        if found is None or found.opinion != Opinion.DISAGREE or self.state.frontier is None:
            return False
        self._fold(ev.ProposalVetoed(proposed.number, proposed.commit, "policy", found.reasons))
        text, frontier = self.texts[proposed.commit], self.texts[self.state.frontier.commit]
        self.refused += 1
        self.wrongly += self.landscape.true(text) < self.landscape.true(frontier)
        return True

    def _cross(self) -> Experiment | None:
        best = fronts.best_head(self.state)
        for won in fronts.to_cross(self.state):
            assert best is not None
            before, ours, theirs = (self.texts[c] for c in (won.proposal.base, best.commit, won.commit))
            text = merge(before, ours, theirs)
            if text is not None and text not in self.texts.values():
                more: dict[str, Any] = {"combines": won.number, "front": best.proposal.front}
                return self._propose(text, best.commit, f"#{won.number} on top", author=gate.JOIN, **more)
        return None

    def _propose(self, text: str, base: str, description: str, author: str = "search", **more: Any) -> Experiment:
        number = len(self.state.experiments)
        made = ev.ProposalMade(number, self._commit(text), base, description, "", author, "", 1, 1)
        self._fold(replace(made, **more))
        return self.state.experiments[number]

    def _run(self, experiment: Experiment) -> None:
        """From its launch to its verdict."""
        number, before, confirmed = experiment.number, self.state.frontier, self.policy.confirmed
        self._train(number)
        ran = self.state.experiments[number]
        ahead = self.policy.search.several
        verdict = scoring.verdict(ran, self.state, confirmed=confirmed, ahead=ahead)
        if confirmed and (deferred := scoring.deferral(verdict, ran, self.state, ahead=ahead)) is not None:
            self._fold(deferred)
            self._confirm(number)
            verdict = scoring.verdict(self.state.experiments[number], self.state, confirmed=True)
        self._fold(verdict)
        self._count(experiment, before)

    def _confirm(self, number: int) -> None:
        """Run it, or the frontier, again as far as that can tell a gain from chance."""
        while confirmation.runs_left(self.state, number):
            again = confirmation.next_run(self.state, self.state.experiments[number])
            if again is None:
                return
            seed = 1 + max(e.proposal.seed for e in self.state.experiments if e.commit == again.commit)
            more: dict[str, Any] = {"repeat_of": again.number, "confirms": number, "seed": seed}
            text = self.texts[again.commit]
            made = self._propose(text, again.proposal.base, "again", author=gate.REPEAT, **more)
            self._train(made.number)
            self._fold(scoring.verdict(self.state.experiments[made.number], self.state))

    def _train(self, number: int) -> None:
        experiment = self.state.experiments[number]
        score = self.landscape.true(self.texts[experiment.commit]) + self.dice.gauss(0.0, self.noise)
        self._fold(ev.RunStarted(number, experiment.commit, 1))
        self._fold(ev.RunEnded(number, RunEnd.FINISHED, 0, 300.0))
        self._fold(ev.RunScored(number, score, 44.0, "referee"))
        self.runs += 1

    def _count(self, experiment: Experiment, before: Experiment | None) -> None:
        after = self.state.experiments[experiment.number]
        if after.outcome != Outcome.KEEP or before is None:
            return
        new, old = (self.landscape.true(self.texts[e.commit]) for e in (after, before))
        self.keeps += 1
        self.false += new >= old
        self.gains.append((before.value or 0.0) - (after.value or 0.0))

    def _fold(self, event: ev.Event) -> None:
        self.state = fold(self.state, ev.Record(self.state.seq + 1, "2026-01-01T00:00:00Z", event))

    def _commit(self, text: str) -> str:
        name = hashlib.sha1(text.encode()).hexdigest()
        self.texts[name] = text
        return name

    def told(self, name: str) -> tuple[PriorResult, ...]:
        """What the next night knows of this one and of those before."""
        return self.earlier + tuple(
            PriorResult(
                f"{name}#{e.number}", e.value, 44.0, "repeat" if e.proposal.repeat_of is not None else e.status,
                e.description, commit=e.commit, session=name, number=e.number,
                base=e.proposal.base if self.policy.memory else "",
            )
            for e in self.state.experiments
        )  # fmt: skip

    # What a researcher's brief reads of a repository.

    def editable_texts(self, commit: str, _editable: Editable) -> dict[str, str]:
        return {"train.py": self.texts[commit]}

    def read_texts(self, _commit: str, _paths: Iterable[str]) -> dict[str, str]:
        return {}


@dataclass
class Result:
    """What came of one seed. `small`: keeps that gained less than 3e-4. `two`: the share of the first night's gain that
    its two largest keeps bring."""

    gap: float = 0.0
    keeps: int = 0
    false: int = 0
    small: int = 0
    two: float = 0.0
    refused: int = 0
    wrongly: int = 0


def session(policy: Policy, seed: int, choice: argparse.Namespace, lab: Lab) -> Result:
    """Some nights in a row; each but the first starts from the best that is kept, as `--from best` does."""
    landscape, dice = Landscape(seed, choice.coupling), random.Random(f"noise {seed}")
    text, texts = TRAIN, dict[str, str]()
    earlier: tuple[PriorResult, ...] = ()
    result = Result()
    for number in range(choice.nights):
        tried = frozenset(setting.read({"train.py": each}).digest for each in texts.values())
        noise = NOISE * choice.noise
        night = Night(landscape, policy, dice, lab, text, seed + number, earlier, noise, tried, texts=texts)
        text = night.play(choice.runs)
        earlier = night.told(f"night{number}")
        result.keeps += night.keeps
        result.false += night.false
        result.refused += night.refused
        result.wrongly += night.wrongly
        result.small += sum(gain < SMALL for gain in night.gains)
        if number == 0:
            result.two = sum(sorted(night.gains)[-2:]) / (sum(night.gains) or 1.0)
    result.gap = (landscape.true(text) - landscape.optimum) / GAP
    return result


TODAY = Policy("today's")
ALL = Policy("fronts, confirmed, memory", SearchSettings(plateau="fronts"), confirmed=True, memory=True)
CRITIC = Policy("critic of rules", critic=True)
EACH = (
    Policy("fronts = 3", SearchSettings(fronts=3)),
    Policy('plateau = "fronts"', SearchSettings(plateau="fronts")),
    Policy("confirmed", confirmed=True),
    Policy("memory", memory=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="seed; those from 100 on are for tuning")
    parser.add_argument("--runs", type=int, default=60, help="of one night")
    parser.add_argument("--nights", type=int, default=2)
    parser.add_argument("--noise", type=float, default=1.0, help="times that of equal runs in public tables")
    parser.add_argument("--coupling", type=float, default=1.0, help="times the usual one between two constants")
    parser.add_argument("--each", action="store_true", help="each policy alone as well")
    parser.add_argument("--critic", action="store_true", help="the critic of rules against today's, and nothing else")
    parser.add_argument("--against", metavar="COMMIT", help="hold all rows against today's policy of that commit")
    parser.add_argument("--tell", action="store_true", help="today's policy alone, its results as JSON")
    choice = parser.parse_args()
    policies = (TODAY, CRITIC) if choice.critic else (TODAY, *(EACH if choice.each else ()), ALL)
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), Settings())
        lab.program.write_text("")
        if choice.tell:
            print(json.dumps([asdict(each) for each in _sessions(TODAY, choice, lab)]))
            return
        print("| policy | gap | against today's | keeps | false | below 3e-4 | two largest |", flush=True)
        print("|---|---|---|---|---|---|---|")
        today: list[Result] = []
        if choice.against:
            today = _of_commit(choice.against)
            _row(f"today's of {choice.against}", today, today)
        for policy in policies:
            found = _sessions(policy, choice, lab)
            today = today or found
            _row(policy.name, found, today)
            if policy.critic:
                refused, wrongly = (statistics.fmean(getattr(r, key) for r in found) for key in ("refused", "wrongly"))
                print(f"refused: {refused:.1f}, of which would have won by their true score: {wrongly:.2f}", flush=True)
    print("| the recorded night: 125 runs | | | 22 | | 9 | 57 % |")


def _sessions(policy: Policy, choice: argparse.Namespace, lab: Lab) -> list[Result]:
    return [session(policy, seed, choice, lab) for seed in range(choice.first, choice.first + choice.seeds)]


def _of_commit(commit: str) -> list[Result]:
    """This very script's results with the package as it was at a commit."""
    command = ["git", "archive", commit, "autoresearch_tui"]
    packed = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        again = [sys.executable, __file__, *sys.argv[1:], "--tell"]
        told = subprocess.run(again, env={**os.environ, "PYTHONPATH": folder}, check=True, stdout=subprocess.PIPE)
    return [Result(**each) for each in json.loads(told.stdout)]


def _row(name: str, found: list[Result], today: list[Result]) -> None:
    gap = statistics.fmean(each.gap for each in found)
    apart = [each.gap - other.gap for each, other in zip(found, today, strict=True)]
    error = statistics.stdev(apart) / math.sqrt(len(apart)) if len(apart) > 1 else 0.0
    before = statistics.fmean(each.gap for each in today)
    ratio = gap / before
    off = [(each.gap - ratio * other.gap) / before for each, other in zip(found, today, strict=True)]
    ratio_error = statistics.stdev(off) / math.sqrt(len(off)) if len(off) > 1 else 0.0
    keeps, false, small = (statistics.fmean(getattr(r, key) for r in found) for key in ("keeps", "false", "small"))
    two = statistics.fmean(each.two for each in found)
    against = f"{statistics.fmean(apart):+.3f} ± {error:.3f}, times {ratio:.2f} ± {ratio_error:.2f}"
    print(f"| {name} | {gap:.3f} | {against} | {keeps:.1f} | {false:.2f} | {small:.1f} | {two:.0%} |", flush=True)


if __name__ == "__main__":
    main()
