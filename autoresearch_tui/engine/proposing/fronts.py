"""Pure: several frontiers: which gets the next run, where one begins, and which results are tried on another.

A bandit over a sliding window distributes the runs (SW-UCB: Garivier and Moulines, "On Upper-Confidence Bound Policies
for Switching Bandit Problems", ALT 2011), because a front's potential changes as it is explored. It is deterministic,
so a restarted engine decides as the one before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from itertools import islice

from autoresearch_tui.engine.gate import BASELINE, JOIN, REPEAT
from autoresearch_tui.engine.proposing import duplicates
from autoresearch_tui.lab.settings import SearchSettings
from autoresearch_tui.session import draws, statistics
from autoresearch_tui.session.ends import JUDGED
from autoresearch_tui.session.questions import ADVANCED, COMBINES, COMMIT, FRONT
from autoresearch_tui.session.state import Experiment, State

RESTART_AFTER = 20
"""Verdicts without a keep that make a plateau."""
MOST_OPENED = 4
CROSS_EVERY = 4
_WINDOW = 40  # runs that the bandit remembers
_CURIOSITY = 0.3  # of its bound, where all gains are from 0 to 1
_NOVELTY = 0.2  # share of a run's worth: the rest is gain per hour
_SECTION = re.compile(r"^(#{1,6})[ \t]+(.*?)[ \t]*$", re.M)
_FRONT = re.compile(r"front:[ \t]*(.+)", re.I)


def choose(state: State, search: SearchSettings, *, stale: int) -> int:
    """The front that the next proposal is for; `stale`: verdicts since the last keep."""
    best = 0 if state.frontier is None else state.frontier.proposal.front
    if state.frontier is None or not search.several:
        return best
    alive = {best, *range(search.fronts)}
    if search.plateau == "fronts":
        alive |= set(state.heads)
        if min(stale, _since_opening(state)) >= RESTART_AFTER and len(alive) < MOST_OPENED:
            alive.add(max(alive) + 1)
    return pick(state, sorted(alive))


def _since_opening(state: State) -> int:
    """Verdicts since the first proposal of the newest front."""
    first: dict[int, int] = {}
    for front in state.experiments.values(FRONT):
        first[front] = next(state.experiments.having(FRONT, front)).number
    newest = max(first.values(), default=0)
    return sum(1 for number in state.table.numbers if number > newest)


def pick(state: State, alive: Sequence[int]) -> int:
    """The front with the highest upper bound on the gain of one more hour; first one without a run in the window."""
    own = (e for e in reversed(state.experiments) if e.author not in (BASELINE, REPEAT, JOIN))
    runs = [*islice((e for e in own if e.outcome is None or e.outcome in JUDGED), _WINDOW)][::-1]
    worth = _worth(state, runs)
    hours = {front: sum(_hours(e, runs) for e in runs if e.front == front) for front in alive}
    total = sum(hours.values())
    usual = total / len(runs) if runs else 1.0
    for ask in state.asks:  # an open request counts as a run
        if ask.event.front in hours:
            hours[ask.event.front] += usual

    def bound(front: int) -> float:
        if not hours[front]:
            return math.inf
        count = hours[front] / usual
        mean = sum(worth[e.number] for e in runs if e.front == front) / count
        return mean + math.sqrt(_CURIOSITY * math.log(max(len(runs), 2)) / count)

    return max(alive, key=lambda front: (bound(front), -front))


def _worth(state: State, runs: Sequence[Experiment]) -> dict[int, float]:
    """What each run is worth to its front, from 0 to 1: its share of the largest gain among them, and its novelty."""
    gains = statistics.gains(state)
    gained = {e.number: max(0.0, gains.get(e.number, 0.0)) if e.advanced else 0.0 for e in runs}
    most = max(gained.values(), default=0.0) or 1.0
    return {e.number: (1 - _NOVELTY) * gained[e.number] / most + _NOVELTY * novel(state, e) for e in runs}


def _hours(experiment: Experiment, runs: Sequence[Experiment]) -> float:
    """The duration of a run; if it has not ended, the mean of those that have."""
    if experiment.took_seconds:
        return experiment.took_seconds / 3600
    known = [e.took_seconds for e in runs if e.took_seconds]
    return sum(known) / len(known) / 3600 if known else 1.0


def novel(state: State, experiment: Experiment) -> bool:
    """Whether no earlier experiment was nearly the same idea."""
    wanted = _idea(experiment.description)
    earlier = islice(state.experiments, experiment.number)
    return not any(duplicates.alike(wanted, _idea(e.description)) for e in earlier)


_idea = lru_cache(maxsize=8192)(duplicates.idea)


def start(state: State, front: int) -> str:
    """The head of a front; a new one begins at the best keep that is no other's head, else at the first keep."""
    if front in state.heads:
        return state.head_commit(front)
    kept = [e for e in state.kept if e.number not in state.heads.values()]
    if not kept:
        kept = [*state.kept[:1]]
    kept.sort(key=partial(draws.order, state))
    return kept[0].commit if kept else state.frontier_commit


def best_head(state: State) -> Experiment | None:
    """The head of the best front: the frontier, or beyond it."""
    return None if state.frontier is None else state.head(state.frontier.proposal.front)


def to_cross(state: State) -> list[Experiment]:
    """Now and then, the wins of other fronts that were not tried on top of the best one, largest gain first."""
    best = best_head(state)
    if best is None or len(state.heads) < 2:
        return []
    if any(e.combines is not None for e in state.experiments[-CROSS_EVERY:]):
        return []
    gains, crossed = statistics.gains(state), state.experiments.values(COMBINES)
    known = _lineage(state, best)
    advanced = state.experiments.having(ADVANCED, True)
    won = [e for e in advanced if e.author != BASELINE and e.number not in crossed]
    others = [e for e in won if e.front != best.proposal.front and e.number not in known]
    return sorted(others, key=lambda e: -gains.get(e.number, 0.0))


def _lineage(state: State, head: Experiment) -> set[int]:
    """The numbers of a head and of the experiments that it builds on."""
    found: set[int] = set()
    while head.number not in found:
        found.add(head.number)
        head = next(state.experiments.having(COMMIT, head.base), head)
    return found


def names(program: str) -> tuple[str, ...]:
    """The names of the fronts in program.md, from the sections `Front: name`, in order."""
    return tuple(name for name, _, _ in _sections(program))


def program_of(program: str, front: int) -> str:
    """The program as one front reads it: without the sections of the others."""
    return _without(program, (span for place, (_, *span) in enumerate(_sections(program)) if place != front))


def _without(text: str, spans: Iterable[list[int]]) -> str:
    for begin, end in reversed(list(spans)):
        text = text[:begin] + text[end:]
    return text


def _sections(text: str) -> list[tuple[str, int, int]]:
    """Name, begin and end of each section for a front; it ends at the next heading of its rank or above."""
    heads = [(len(m[1]), m[2], m.start()) for m in _SECTION.finditer(text)]
    found = []
    for place, (rank, title, begin) in enumerate(heads):
        if name := _FRONT.fullmatch(title):
            end = next((at for below, _, at in heads[place + 1 :] if below <= rank), len(text))
            found.append((name[1], begin, end))
    return found
