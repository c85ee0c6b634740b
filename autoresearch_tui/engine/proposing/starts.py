"""Where the next proposal starts: the frontier, a crash to mend, or, on a plateau, an earlier keep. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch_tui.engine.review import BASELINE, REPEAT
from autoresearch_tui.engine.state import Experiment, State

RESTART_AFTER = 20
RESTART_EVERY = 5
_BEST = 3
_MENDED_AMONG = 3
_MEND_TRIES = 3
# A run that a human ended, or that was lost with its machine, says nothing about its change.
_NOT_ITS_FAULT = frozenset({"killed", "lost", "disk full"})


@dataclass(frozen=True, slots=True)
class Start:
    """The commit that the proposal is based on, and why it is not the frontier's as it stands."""

    base: str
    side: bool = False
    mends: Experiment | None = None


def choose(state: State, *, mending: bool) -> Start:
    """The start of the next proposal; `mending`: its researcher can mend a crash."""
    crashed = to_mend(state) if mending else None
    if crashed is not None:
        return Start(crashed.base if crashed.side else state.frontier_commit, crashed.side, crashed)
    earlier = restart(state)
    if earlier is not None:
        return Start(earlier.commit, side=True)
    return Start(state.frontier_commit)


def to_mend(state: State) -> Experiment | None:
    """A crash of late whose change has not been sent back yet. Once each, and a mended one is not mended again."""
    if state.failures >= _MEND_TRIES:
        return None
    answered = {e.mends for e in state.experiments}
    for experiment in reversed(state.table[-_MENDED_AMONG:]):
        ended = experiment.run is not None and experiment.run.reason not in _NOT_ITS_FAULT
        own = experiment.author not in (BASELINE, REPEAT) and experiment.mends is None
        if experiment.outcome == "crash" and ended and own and experiment.number not in answered:
            return experiment
    return None


def restart(state: State) -> Experiment | None:
    """An earlier keep to start a side branch from, now and then on a plateau that lasts; else None."""
    if since_keep(state) < RESTART_AFTER or any(e.side for e in state.experiments[1 - RESTART_EVERY :]):
        return None
    best = state.best
    kept = [e for e in state.experiments if e.outcome == "keep" and best is not None and e.commit != best.commit]
    maximize = state.session is not None and state.session.goal == "maximize"
    kept.sort(key=lambda e: e.value or 0.0, reverse=maximize)
    turn = sum(1 for e in state.experiments if e.side and e.mends is None)
    return kept[turn % min(len(kept), _BEST)] if kept else None


def since_keep(state: State) -> int:
    """Verdicts since the last keep, repeats apart."""
    outcomes = [e.outcome for e in reversed(state.table) if e.repeat_of is None]
    return outcomes.index("keep") if "keep" in outcomes else len(outcomes)


def overtaken(state: State) -> Experiment | None:
    """The newest experiment that won against its base while another won too, and that the frontier does not have.

    Only runs on several devices come to that: the second to be judged is measured against the first.
    """
    best = state.best
    if best is None:
        return None
    by_commit = {e.commit: e for e in state.experiments if e.repeat_of is None}
    inside, at = {best.commit}, best.base
    while at in by_commit and at not in inside:
        inside.add(at)
        at = by_commit[at].base
    joined = {e.joins for e in state.experiments}
    for late in reversed(state.table):
        base = by_commit.get(late.base)
        judged = late.outcome in ("keep", "discard") and late.repeat_of is None
        apart = late.device and not late.side and late.commit not in inside and late.number not in joined
        if judged and apart and base is not None and base.commit in inside - {best.commit} and _won(late, base, state):
            return late
    return None


def _won(late: Experiment, base: Experiment, state: State) -> bool:
    if late.value is None or base.value is None or state.session is None:
        return False
    gain = late.value - base.value if state.session.goal == "maximize" else base.value - late.value
    return gain > state.session.keep_margin
