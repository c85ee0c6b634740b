"""Gains within the noise: the arithmetic, and every way that confirming one can go, folded from its events."""

from __future__ import annotations

import math
import random
import statistics
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.engine.judging import scoring
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import confirmation
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Outcome, RunEnd
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.journal import read
from autoresearch_tui.session.outline import outline
from autoresearch_tui.session.state import Stage, State

DATA = Path(__file__).parent / "data"
SCORES = st.lists(st.floats(0.9, 1.1), min_size=1, max_size=4)


def test_the_error_is_what_repeated_nights_show() -> None:
    dice = random.Random(5)
    differences = [
        statistics.fmean(dice.gauss(1, 0.1) for _ in range(2)) - statistics.fmean(dice.gauss(1, 0.1) for _ in range(3))
        for _ in range(4000)
    ]
    known = confirmation.compared([1.0] * 2, [1.0] * 3, Goal.MINIMIZE, 0.1)
    assert known.error == pytest.approx(statistics.stdev(differences), rel=0.05)


@given(SCORES, SCORES, st.none() | st.floats(0, 0.1), st.floats(0, 0.01), st.sampled_from(Goal))
def test_what_is_sure_is_kept_and_what_is_no_gain_never_waits(
    mine: list[float], others: list[float], spread: float | None, margin: float, goal: Goal
) -> None:
    known = confirmation.compared(mine, others, goal, spread)
    assert math.copysign(1, known.gain) == math.copysign(1, goal.gain(known.other, known.mean))
    if known.gain <= margin:
        assert not known.is_unsure(margin)
        assert not known.holds(margin)
    elif not known.is_unsure(margin):
        assert known.holds(margin) or known.error == known.gain == 0
    more = confirmation.compared(mine + mine, others + others, goal, spread)
    assert more.error <= known.error


class Folding:
    """A session folded event by event, as the engine would append them, without an engine."""

    def __init__(self) -> None:
        self.state = State()
        began = ev.SessionBegan("t", "autoresearch/t", "c0", "val_bpb", "minimize", 0.0, 300, ("train.py",), {})
        self.add(began)

    def add(self, event: ev.Event) -> None:
        self.state = fold(
            self.state, ev.Record(self.state.seq + 1, f"2026-11-21T00:00:{self.state.seq % 60:02d}Z", event)
        )

    def propose(self, commit: str, **more: object) -> int:
        number = len(self.state.experiments)
        fields = {"description": "d", "hypothesis": "h", "author": "search", "program": "", "added": 1, "removed": 1}
        self.add(ev.ProposalMade(number, commit, "c0", **{**fields, **more}))  # type: ignore[arg-type]
        return number

    def run(self, number: int, score: float | None) -> None:
        """To its verdict, or its deferral."""
        self.add(ev.ProposalApproved(number, self.state.experiments[number].commit, "auto"))
        self.add(ev.RunStarted(number, self.state.experiments[number].commit, 1))
        self.add(ev.RunEnded(number, RunEnd.FINISHED if score is not None else RunEnd.CRASHED, 0, 1.0))
        if score is not None:
            self.add(ev.RunScored(number, score, 1.0, "referee"))
        self.judge(number)

    def judge(self, number: int) -> None:
        experiment = self.state.experiments[number]
        verdict = scoring.verdict(experiment, self.state, confirmed=True)
        self.add(scoring.deferral(verdict, experiment, self.state) or verdict)

    def confirm(self, number: int, scores: list[float | None]) -> int:
        """To its verdict; how many runs that took."""
        runs = 0
        while (experiment := self.state.experiments[number]).stage is Stage.CONFIRMING:
            left = confirmation.runs_left(self.state, number)
            again = confirmation.next_run(self.state, experiment) if left else None
            if again is None:
                self.judge(number)
                continue
            self.run(self.propose(again.commit, repeat_of=again.number, confirms=number), scores[runs])
            runs += 1
        return runs


@given(
    st.lists(st.tuples(st.floats(0.9, 1.1), st.tuples(*[st.none() | st.floats(0.9, 1.1)] * 2)), max_size=6),
    st.integers(1, 3),
)
def test_every_way_it_can_go(ideas: list[tuple[float, tuple[float | None, ...]]], baselines: int) -> None:
    night = Folding()
    for seed in range(baselines):
        night.run(night.propose("c0", author="baseline", repeat_of=0 if seed else None), 1.0 + seed / 100)
    for index, (score, others) in enumerate(ideas):
        before = night.state.frontier_number
        number = night.propose(f"idea{index}")
        night.run(number, score)
        if night.state.experiments[number].stage is Stage.CONFIRMING:
            assert night.state.frontier_number == before
            assert night.state.experiments[number] not in (*night.state.in_flight, *night.state.table)
        assert night.confirm(number, [*others]) <= confirmation.MOST
        experiment = night.state.experiments[number]
        assert experiment.outcome in (Outcome.KEEP, Outcome.DISCARD)
        assert (night.state.frontier_number == number) == (experiment.outcome == Outcome.KEEP)
        assert night.state.frontier is night.state.best
        own = confirmation.scores(night.state, experiment.commit)
        assert experiment.value == pytest.approx(statistics.fmean(own))
        assert experiment.verdict is not None and experiment.verdict.runs == len(own)


def test_a_verdict_that_a_human_gives_meanwhile() -> None:
    night = Folding()
    night.run(night.propose("c0", author="baseline"), 1.0)
    night.run(night.propose("c1"), 0.99)
    night.add(ev.VerdictOverruled(1, Outcome.DISCARD, "human", "too slow"))
    assert night.state.experiments[1].outcome is None
    night.judge(1)
    experiment = night.state.experiments[1]
    assert (experiment.outcome, experiment.overruled, night.state.frontier_number) == ("discard", None, 0)
    assert experiment.reason == "too slow (by human, before it was confirmed: 0.990000 against 1.000000 (#0))"


def test_a_recorded_session() -> None:
    """#3 was kept for 0.85, #4 waited for two runs: one of its own, and one of #3, which was no better than 0.95."""
    records = read(DATA / "confirmed.jsonl")
    states = [State()]
    for record in records:
        states.append(fold(states[-1], record))
        assert outline(states[-1]).frontier == states[-1].frontier
    waited = [state for state in states if state.confirming]
    assert {state.frontier_number for state in waited} == {3}
    assert [confirmation.progress(state.experiments[4], state) for state in waited][-1] == "confirming 2 of 2"
    for before, after in pairwise(states):
        if before.frontier_number != after.frontier_number:
            assert after.frontier is not None
            assert after.frontier.outcome == Outcome.KEEP
    last = states[-1].experiments[4]
    assert last.verdict is not None
    assert (last.outcome, last.verdict.runs, states[-1].frontier_number) == ("keep", 2, 4)
