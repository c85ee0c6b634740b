"""Where the next proposal starts: the frontier, a crash to mend, an earlier keep on a plateau."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec.structs import replace

from autoresearch_tui.engine.proposing.base_choice import (
    RESTART_AFTER,
    RESTART_EVERY,
    Start,
    choose,
    crash_to_fix,
    restart,
)
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import Experiment, State
from tests.engine.making import experiment, state


def plateau(length: int, *more: Experiment, goal: str = "minimize") -> State:
    """Four keeps, the last of them the frontier, and then nothing better."""
    keeps = [experiment(n, "keep", 1.0 - n / 10) for n in range(4)]
    return state(*keeps, *(experiment(n, "discard", 0.9) for n in range(4, 4 + length)), *more, goal=goal)


def test_the_frontier_is_where_proposals_start() -> None:
    assert choose(state(), can_fix=True) == Start("c0")
    assert choose(plateau(3), can_fix=True) == Start("c3")


def test_a_plateau_that_lasts_restarts_from_earlier_keeps_in_turn() -> None:
    assert restart(plateau(RESTART_AFTER - 1)) is None
    now = plateau(RESTART_AFTER)
    bases: list[str] = []
    asked: list[int] = []
    for number in range(len(now.experiments), len(now.experiments) + 4 * RESTART_EVERY):
        start = choose(now, can_fix=True)
        if start.exploratory:
            bases.append(start.base)
            asked.append(number)
        made = experiment(number, "discard", 0.95, base=start.base, exploratory=start.exploratory)
        now = replace(now, experiments=now.experiments.with_next(made))
    # The best of the earlier keeps first: c3 is the frontier.
    assert bases == ["c2", "c1", "c0", "c2"]
    assert {after - before for before, after in pairwise(asked)} == {RESTART_EVERY}


def test_a_higher_score_is_better_where_the_lab_says_so() -> None:
    now = plateau(RESTART_AFTER, goal="maximize")
    earlier = restart(now)
    assert earlier is not None
    assert earlier.number == 0


def test_with_the_baseline_alone_there_is_nothing_to_restart_from() -> None:
    only = state(experiment(0, "keep", 1.0), *(experiment(n, "discard", 2.0) for n in range(1, 40)))
    assert restart(only) is None


def test_a_crash_goes_back_once() -> None:
    base, crash = experiment(0, "keep", 1.0), experiment(1, "crash")
    assert choose(state(base, crash), can_fix=True) == Start("c0", fixes=crash)
    assert choose(state(base, crash), can_fix=False) == Start("c0")
    mended = experiment(2, "crash", fixes=1)
    assert crash_to_fix(state(base, crash, mended)) is None
    assert crash_to_fix(state(base, crash, *(experiment(n, "discard", 2.0) for n in range(2, 5)))) is None
    assert crash_to_fix(state(base, crash, failures=3)) is None


@pytest.mark.parametrize(
    "run",
    [
        ev.RunEnded(1, "killed", None, 1.0),
        ev.RunEnded(1, "lost", None, 1.0),
        ev.RunEnded(1, "crashed", 1, 1.0, referee_killed=True),
    ],
)
def test_a_run_that_was_ended_from_outside_is_no_crash_to_mend(run: ev.RunEnded) -> None:
    ended = experiment(1, "crash", run=run)
    assert crash_to_fix(state(experiment(0, "keep", 1.0), ended)) is None


def test_a_crash_on_a_side_branch_is_mended_there() -> None:
    crash = experiment(2, "crash", base="c0", exploratory=True)
    now = state(experiment(0, "keep", 1.0), experiment(1, "keep", 0.9), crash)
    assert choose(now, can_fix=True) == Start("c0", exploratory=True, fixes=crash)
