"""However a sequence of experiments came about, it answers as a tuple of the same would."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.session import sequence
from autoresearch_tui.session.ends import JUDGED, Outcome
from autoresearch_tui.session.experiment import Experiment
from autoresearch_tui.session.questions import COMMIT, OUTCOME
from autoresearch_tui.session.sequence import Experiments
from autoresearch_tui.session.state import State
from tests.engine.making import experiment

OUTCOMES = st.sampled_from([None, "keep", "discard", "crash", "vetoed"])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "CHUNK", 4)


@given(steps=st.lists(st.tuples(st.integers(0, 30), OUTCOMES), max_size=40))
def test_each_step_answers_as_a_tuple_would(steps: list[tuple[int, str | None]]) -> None:
    now, told = Experiments(), ()
    plain: tuple[Experiment, ...] = ()
    for place, outcome in steps:
        before, number = now, min(place, len(plain))
        one = experiment(number, outcome, 1.0 if outcome in ("keep", "discard") else None)
        now = now.with_next(one) if number == len(plain) else now.replacing(one)
        plain = (*plain[:number], one, *plain[number + 1 :])
        assert tuple(now.changed(before)) == (one,)
        told = _answers(now)
        assert told == _answers(Experiments.of(plain))
    assert tuple(now) == plain and now == plain and len(now) == len(plain)
    assert tuple(reversed(now)) == plain[::-1] and now[3:9] == plain[3:9] and now[-2:] == plain[-2:]
    assert [now[number] for number in range(len(plain))] == list(plain)
    assert tuple(now.having(OUTCOME, Outcome.KEEP)) == tuple(e for e in plain if e.outcome == "keep")
    assert tuple(now.newest(COMMIT, "c1")) == tuple(e for e in plain[::-1] if e.commit == "c1")
    assert now.values(OUTCOME) == {e.outcome for e in plain}
    state = State(experiments=now)
    assert state.rows == sum(e.outcome in JUDGED for e in plain)
    assert state.ended == Counter(e.outcome for e in plain if e.outcome)
    assert state.waiting == tuple(e for e in plain if e.outcome is None)
    assert state.table == tuple(sorted((e for e in plain if e.outcome in JUDGED), key=lambda e: e.judged_after))


def _answers(experiments: Experiments) -> tuple[object, ...]:
    state = State(experiments=experiments)
    return state.table, state.ended, state.in_flight, state.waiting, state.kept, state.tokens, state.started_last
