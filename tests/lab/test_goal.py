"""The direction of a score: one mechanism for every comparison."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.lab.goal import Goal

SCORES = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(SCORES, SCORES)
def test_the_two_goals_mirror_each_other(a: float, b: float) -> None:
    assert Goal.MINIMIZE.better(a, b) == Goal.MAXIMIZE.better(b, a)
    assert Goal.MINIMIZE.gain(a, b) == Goal.MAXIMIZE.gain(b, a)


@pytest.mark.parametrize("goal", Goal)
@given(scores=st.lists(SCORES, min_size=1))
def test_nothing_beats_the_best(goal: Goal, scores: list[float]) -> None:
    best = goal.best(scores)
    assert best is not None
    assert best == sorted(scores, key=goal.sort_key)[0]
    for each in scores:
        assert not goal.better(each, best)
        assert goal.gain(each, best) >= 0
        assert goal.better(best, each) == (goal.gain(each, best) > 0)


def test_an_equal_score_is_not_better_and_nothing_has_no_best() -> None:
    assert not Goal.MINIMIZE.better(0.5, 0.5)
    assert not Goal.MAXIMIZE.better(0.5, 0.5)
    assert Goal.MAXIMIZE.best([]) is None


def test_a_goal_is_written_as_a_plain_string() -> None:
    assert json.dumps({"goal": Goal.MAXIMIZE}) == '{"goal": "maximize"}'
    assert f"{Goal.MINIMIZE}" == "minimize"
    assert Goal("maximize").direction == "higher"
