"""Pure: where the next proposal starts: a frontier, a crash to fix, or on a plateau an earlier keep."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice

from autoresearch_tui.engine.gate import BASELINE, REPEAT, SHARED
from autoresearch_tui.engine.proposing import fronts
from autoresearch_tui.engine.proposing.fronts import RESTART_AFTER
from autoresearch_tui.lab.settings import SearchSettings
from autoresearch_tui.session import draws
from autoresearch_tui.session.ends import SCORED, Outcome, RunEnd
from autoresearch_tui.session.questions import COMBINES, COMMIT, EXPLORATORY, FIXES, REPEAT_OF
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.frozen import Frozen

TODAY = SearchSettings()
RESTART_EVERY = 5
_BEST = 3
_WON_AMONG = 1000  # verdicts
_FIXED_AMONG = 3
_FIX_TRIES = 3
# Ends by a human, or with the machine, say nothing about the change.
_NOT_ITS_FAULT = frozenset({RunEnd.KILLED, RunEnd.LOST, RunEnd.DISK_FULL})


class Start(Frozen):
    """The base of a proposal, and why it may not be the frontier."""

    base: str
    exploratory: bool = False
    fixes: Experiment | None = None
    front: int = 0


def choose(state: State, *, can_fix: bool, search: SearchSettings = TODAY) -> Start:
    """`can_fix`: the researcher can fix a crash."""
    crashed = crash_to_fix(state) if can_fix else None
    if crashed is not None:
        exploratory, front = crashed.proposal.exploratory, crashed.proposal.front
        return Start(crashed.proposal.base if exploratory else state.head_commit(front), exploratory, crashed, front)
    front = fronts.choose(state, search, stale=since_keep(state))
    if state.frontier is not None and front != state.frontier.proposal.front:
        return Start(fronts.start(state, front), front=front)
    earlier = restart(state) if search.plateau == "restarts" else None
    if earlier is not None:
        return Start(earlier.commit, exploratory=True, front=front)
    return Start(state.head_commit(front), front=front)


def crash_to_fix(state: State) -> Experiment | None:
    """A recent crash that was not sent back yet. Each is sent back once, and a fix is not fixed again."""
    if state.failures >= _FIX_TRIES:
        return None
    answered = {*state.experiments.values(FIXES), *(ask.event.fixes for ask in state.asks)}
    for experiment in reversed(state.table[-_FIXED_AMONG:]):
        run = experiment.run
        ended = run is not None and run.reason not in _NOT_ITS_FAULT and not run.referee_killed
        own = experiment.proposal.author not in (BASELINE, REPEAT, SHARED) and experiment.proposal.fixes is None
        if experiment.status == Outcome.CRASH and ended and own and experiment.number not in answered:
            return experiment
    return None


def restart(state: State) -> Experiment | None:
    """On a long plateau, now and then, an earlier keep to start a side branch from; else None."""
    if since_keep(state) < RESTART_AFTER or any(e.exploratory for e in state.experiments[1 - RESTART_EVERY :]):
        return None
    if any(ask.event.exploratory for ask in state.asks):
        return None
    best = state.frontier
    kept = [e for e in state.kept if best is not None and e.commit != best.commit]
    kept.sort(key=partial(draws.order, state))
    turn = sum(1 for e in state.experiments.having(EXPLORATORY, True) if e.fixes is None)
    return kept[turn % min(len(kept), _BEST)] if kept else None


def since_keep(state: State) -> int:
    """Verdicts since the best front last moved, without repeats."""
    best = None if state.frontier is None else state.frontier.proposal.front
    count = 0
    for each in reversed(state.table):
        if each.repeat_of is None:
            if each.outcome == Outcome.KEEP or (each.advanced and each.front == best):
                return count
            count += 1
    return count


def won_on_stale_base(state: State) -> Experiment | None:
    """The newest recent experiment that beat its base while another did too, and that the frontier does not include.

    That happens with several devices, where the second result is compared with the first, and to a proposal that ran on
    its own base because it clashed with the frontier.
    """
    best = state.frontier
    if best is None:
        return None
    by_commit = state.experiments.known(_own_by_commit, _newest_first)
    inside, at = {best.commit}, best.base
    while at in by_commit and at not in inside:
        inside.add(at)
        at = state.experiments[by_commit[at]].base
    joined = state.experiments.values(COMBINES)
    for late in islice(reversed(state.table), _WON_AMONG):
        number = by_commit.get(late.base)
        base = None if number is None else state.experiments[number]
        judged = late.outcome in SCORED and late.repeat_of is None
        apart = not late.exploratory and late.commit not in inside and late.number not in joined
        apart = apart and late.front == best.front
        if judged and apart and base is not None and base.commit in inside - {best.commit} and _won(late, base, state):
            return late
    return None


def _own_by_commit(chunk: Chunk) -> dict[str, int]:
    columns = zip(*map(chunk.column, (COMMIT, "number", REPEAT_OF)), strict=True)
    return {commit: number for commit, number, repeat_of in columns if repeat_of is None}


def _newest_first(parts: Sequence[dict[str, int]]) -> Mapping[str, int]:
    return ChainMap(*reversed(parts))


def _won(late: Experiment, base: Experiment, state: State) -> bool:
    there = draws.beside(late, base)
    if late.value is None or there is None or state.session is None:
        return False
    return state.goal.gain(there, late.value) > state.session.keep_margin
