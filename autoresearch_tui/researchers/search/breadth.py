"""Chooses between deeper, wider and another structure by earlier results, and finds knobs that have no effect.

Three arms of a bandit with fading memory (Thompson sampling on Beta posteriors; Chapelle and Li, "An Empirical
Evaluation of Thompson Sampling", NIPS 2011): to refine a knob that was turned before, to turn a new one, to make a
structural edit. Among structural edits, each family is an arm of the same kind.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from autoresearch_tui.researchers.base import RAN
from autoresearch_tui.researchers.search.lines import MOVE, REPEAT, RESTORE
from autoresearch_tui.researchers.search.steering import PastTrial, spread_of, worthwhile
from autoresearch_tui.researchers.search.structure import Edit
from autoresearch_tui.session.ends import SCORED, Outcome
from autoresearch_tui.util.frozen import Frozen

DEEPER, WIDER, STRUCTURE = "deeper", "wider", "structure"

_FADES = 0.95  # what works early may not work later
# Prior wins and losses: a new structure wins more rarely than another step of a knob that has won.
_PRIOR: Mapping[str, tuple[float, float]] = {DEEPER: (1.0, 1.0), WIDER: (2.0, 1.0), STRUCTURE: (1.0, 1.5)}
# A family's prior losses: to leave a line out teaches more than to repeat it.
_LONG_SHOTS: Mapping[str, float] = {REPEAT: 3.0, MOVE: 1.0, RESTORE: 1.0}
_PLATEAU_BONUS = 2.0  # extra wins of structure on a plateau
_NEAR = 0.7  # of the typical gain: a structure that lost by less is worth another try elsewhere
_TELLING = 0.5  # share of runs that changed the score: with fewer, a tie means nothing
_PRECISE = 0.8


class Shaping(Frozen):
    """An earlier attempt that was one structural edit. `gain` is positive if it was better."""

    number: int
    outcome: str
    edit: Edit
    gain: float | None


def arm(
    trials: Sequence[PastTrial], shapings: Sequence[Shaping], offered: Sequence[str], stale: bool, rng: random.Random
) -> str:
    """The arm to play next, from those `offered`. `stale`: the search is on a plateau."""
    won = {name: prior[0] for name, prior in _PRIOR.items()}
    lost = {name: prior[1] for name, prior in _PRIOR.items()}
    turned: set[str] = set()
    both: list[PastTrial | Shaping] = [*trials, *shapings]
    for each in sorted(both, key=lambda t: t.number):
        if each.outcome not in RAN:
            continue
        if isinstance(each, Shaping):
            name, paid = STRUCTURE, each.outcome == Outcome.KEEP
        else:
            name = DEEPER if each.changes and all(key in turned for key in each.changes) else WIDER
            turned.update(each.changes)
            paid = worthwhile(each, trials)
        for counts in (won, lost):
            counts[name] *= _FADES
        (won if paid else lost)[name] += 1
    if stale:
        won[STRUCTURE] += _PLATEAU_BONUS
    names = [name for name in _PRIOR if name in offered]
    drawn = {name: rng.betavariate(won[name], lost[name]) for name in names}
    return max(names, key=lambda name: drawn[name])


def ranked(edits: Iterable[Edit], shapings: Sequence[Shaping], stale: bool, rng: random.Random) -> list[Edit]:
    """The structural edits worth a run, the most promising first.

    Edits that crashed or were vetoed never come again, nor do those that would undo an improvement; edits that lost
    come again only if they lost by little, or on a plateau.
    """
    unit = spread_of(PastTrial(s.number, s.outcome, {}, s.gain, None, None) for s in shapings)
    never: set[tuple[str, str]] = set()
    lost: dict[tuple[str, str], float] = {}
    wins: dict[str, float] = {}
    losses: dict[str, float] = {}
    for each in shapings:
        place, family = (each.edit.key, each.edit.after), each.edit.family
        if each.outcome == Outcome.KEEP:
            never.add((each.edit.key, each.edit.before))
            wins[family] = wins.get(family, 0.0) + 1
        elif each.outcome in (Outcome.CRASH, Outcome.STOPPED, Outcome.INVALID, Outcome.VETOED):
            never.add(place)
        elif each.outcome in (Outcome.DISCARD, Outcome.GIVEN_UP):
            lost[place] = max(each.gain if each.gain is not None else -unit, lost.get(place, -1e9))
        if each.outcome in RAN and each.outcome != Outcome.KEEP:
            losses[family] = losses.get(family, 0.0) + 1
    offered = [e for e in edits if (e.key, e.after) not in never]
    families = sorted({e.family for e in offered})
    lost_before = {name: _LONG_SHOTS.get(name, 0.0) + losses.get(name, 0.0) for name in families}
    draw = {name: rng.betavariate(1 + wins.get(name, 0.0), 1 + lost_before[name]) for name in families}
    again = [e for e in offered if (e.key, e.after) in lost and (stale or lost[e.key, e.after] > -_NEAR * unit)]
    fresh = [e for e in offered if (e.key, e.after) not in lost]
    jitter = {id(e): rng.random() for e in (*fresh, *again)}
    for group in (fresh, again):
        group.sort(key=lambda e: (-draw[e.family], jitter[id(e)]))
    return [*fresh, *again]


def dead(trials: Sequence[PastTrial]) -> frozenset[str]:
    """Knobs without an effect: changed on their own, they gave exactly the score before.

    One such run is enough if nearly every other change moves the score, two if most do; if few do, a tie means
    nothing. A kept switch, or a kept value in place of zero, may bring a dead knob to life.
    """
    decided = [t for t in trials if t.outcome in SCORED and t.gain is not None]
    woken = max((t.number for t in decided if t.outcome == Outcome.KEEP and _switches(t)), default=-1)
    ties: dict[str, int] = {}
    for trial in decided:
        if trial.single is not None and not trial.gain and trial.number > woken:
            ties[trial.single] = ties.get(trial.single, 0) + 1
    found: set[str] = set()
    for key, count in ties.items():
        others = [t for t in decided if t.single not in ties]
        share = sum(1 for t in others if t.gain) / len(others) if others else 0.0
        moves = any(t.gain for t in decided if t.single == key)
        if not moves and share >= _TELLING and count >= (1 if share >= _PRECISE and len(others) >= 2 else 2):
            found.add(key)
    return frozenset(found)


def _switches(trial: PastTrial) -> bool:
    pairs = trial.changes.values()
    return any(isinstance(after, bool | str) or (not before) != (not after) for before, after in pairs)
