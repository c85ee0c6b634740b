"""Runs at a larger scale: they are in no figure of the ordinary ones, whatever they scored, and a recorded session."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.engine.results_table import render
from autoresearch_tui.session import badges, statistics
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.journal import read
from autoresearch_tui.session.outline import outline
from autoresearch_tui.session.state import State
from autoresearch_tui.session.transfer import Scale, after_keeps, lacks_baseline, missing, run_of, transfer
from tests.engine.making import experiment, state

DATA = Path(__file__).parent / "data"
TWICE = Scale(2.0)


def at_twice(number: int, of: int, score: float | None, commit: str) -> object:
    scored = ev.RunScored(number, score, 1.0, "referee") if score is not None else None
    more = {"author": "repeat", "repeat_of": of, "commit": commit, "scale": 2.0}
    return experiment(number, "scaled", None, reason="ran out of memory", score=scored, **more)


def night(best: float | None, start: float | None, gain: float = 0.1) -> State:
    """A baseline of 1, a keep, and a run of each at twice the budget."""
    return state(
        experiment(0, "keep", 1.0),
        experiment(1, "keep", 1.0 - gain),
        experiment(2, "discard", 1.3),
        at_twice(3, 1, best, "c1"),  # type: ignore[arg-type]
        *([at_twice(4, 0, start, "c0")] if start is not None else []),  # type: ignore[list-item]
    )


@pytest.mark.parametrize(
    ("best", "start", "words"),
    [
        (0.70, 0.85, "holds at 2×: +0.100000 → +0.150000"),
        (0.75, 0.85, "holds at 2×: +0.100000 → +0.100000"),
        (0.82, 0.85, "does not hold at 2×: +0.100000 → +0.030000"),
        (0.86, 0.85, "does not hold at 2×: +0.100000 → -0.010000"),
        (None, 0.85, "not known at 2×: #3 ran out of memory"),
    ],
)
def test_in_words(best: float | None, start: float, words: str) -> None:
    known = night(best, start)
    its = transfer(known, known.experiments[1])
    assert its is not None
    assert its.words == words
    assert its.holds == words.startswith("holds")
    assert transfer(known, known.experiments[0]) is None
    assert transfer(known, known.experiments[2]) is None


def test_it_is_not_known_before_the_baseline_has_run_there() -> None:
    known = night(0.7, None)
    assert transfer(known, known.experiments[1]) is None
    assert lacks_baseline(known, TWICE) is known.experiments[0]
    assert lacks_baseline(known, Scale(4.0)) is None
    assert [e.number for e in missing(known, known.experiments[1], TWICE)] == [0]
    assert [e.number for e in missing(known, known.experiments[2], TWICE)] == [2, 0]
    assert after_keeps(known, TWICE, 1) is None
    assert after_keeps(known, Scale(4.0), 1) is known.experiments[1]
    assert after_keeps(known, Scale(4.0), 2) is None


def test_a_baselines_run_that_a_human_vetoed_is_not_asked_for_again() -> None:
    vetoed = experiment(4, "vetoed", author="repeat", repeat_of=0, commit="c0", scale=2.0)
    known = state(*night(0.7, None).experiments, vetoed)
    assert lacks_baseline(known, TWICE) is None
    its = transfer(known, known.experiments[1])
    assert its is not None and its.words == "not known at 2×: the baseline's #4 was vetoed"
    # Asked for once more, by another try of the same.
    again = state(*known.experiments, at_twice(5, 1, 0.7, "c1"))  # type: ignore[arg-type]
    assert lacks_baseline(again, TWICE) is again.experiments[0]


@given(st.none() | st.floats(0.0, 2.0), st.none() | st.floats(0.0, 2.0))
def test_no_figure_of_the_ordinary_runs_has_them(best: float | None, start: float | None) -> None:
    known = night(best, start)
    plain = state(*known.experiments[:3])
    assert known.table == plain.table
    assert render(known) == render(plain)
    assert (known.best_number, known.frontier_number) == (plain.best_number, plain.frontier_number)
    assert statistics.spread(known) is None
    assert statistics.gains(known) == statistics.gains(plain)
    assert statistics.near_noise(known) == statistics.near_noise(plain)
    assert statistics.frontier_line(known) == statistics.frontier_line(plain)
    assert badges.marking(known).noise == badges.marking(plain).noise


def test_a_recorded_session() -> None:
    """Two keeps; the best, and then the baseline, ran at twice the budget."""
    states = [State()]
    for record in read(DATA / "transferred.jsonl"):
        states.append(fold(states[-1], record))
        assert outline(states[-1]).best == states[-1].best
    last = states[-1]
    assert [e.outcome for e in last.experiments].count(Outcome.SCALED) == 2
    assert (last.best_number, last.verdicts, len(last.table)) == (2, 3, 3)
    its = transfer(last, last.experiments[2])
    assert its is not None and its.words == "holds at 2×: +0.300000 → +0.450000"
    run = run_of(last, last.experiments[0].commit, TWICE)
    assert run is not None and run.value is None
