"""Pure: comparisons on the same draw (`metric.evaluator = "fresh"`).

Every run is scored on a draw of its own, and what it is compared with is scored again on that draw: scores of different
draws also differ by the draw, so they are never compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from autoresearch_tui.lab.evaluator import FRESH
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.questions import COMMIT, CONFIRMS, IS_OPEN
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.util.frozen import Frozen

_FRONTIERS = 3
"""So many of the last frontiers keep their working copies: a human may go back to one."""


class Pair(Frozen):
    """Two scores on one draw, and the standard error of their difference if known."""

    value: float
    other: float
    stderr: float | None


def fresh(state: State) -> bool:
    """Whether each verdict of the session draws new data."""
    return state.session is not None and state.session.evaluator == FRESH


def rescored(experiment: Experiment, other: Experiment | None) -> ev.Rescored | None:
    """The scoring of `other` on an experiment's draw; None if there was none."""
    if other is None:
        return None
    return next((each for each in experiment.rescored if each.other == other.number), None)


def beside(experiment: Experiment, other: Experiment | None) -> float | None:
    """The score of `other` on the data of an experiment's score; None if it has none there."""
    if other is None or not experiment.drawn or other.number == experiment.number:
        return other.value if other is not None else None
    again = rescored(experiment, other)
    return again.value if again is not None else None


def order(state: State, kept: Experiment) -> float:
    """A sort key for keeps, best first; with fresh draws newest first, as each keep has beaten an earlier one."""
    return -kept.judged_after if fresh(state) else state.goal.sort_key(kept.value or 0.0)


def missing(state: State, experiment: Experiment) -> tuple[Experiment, Experiment] | None:
    """The next rescoring that a verdict needs: the run whose draw it is, and the experiment to score on it.

    Each scored run of an experiment is compared with the frontier, its first one also with its base and its front's
    head.
    """
    if not fresh(state) or state.frontier is None or experiment.proposal.scale:
        return None
    others = [state.frontier]
    if experiment.proposal.repeat_of is None:
        others += [each for each in (_base(state, experiment), state.head(experiment.proposal.front)) if each]
    wanted = [(experiment, other) for other in others]
    wanted += [(run, state.frontier) for run in _confirming(state, experiment)]
    for run, other in wanted:
        scored = run.draw is not None and run.score is not None and run.score.value is not None
        if scored and other.number != run.number and other.value is not None and rescored(run, other) is None:
            return run, other
    return None


def pair(experiment: Experiment, other: Experiment | None) -> Pair | None:
    """The scores of both on the draw of the first; None if either has none there."""
    again = rescored(experiment, other)
    if again is None or again.value is None or experiment.score is None or experiment.score.value is None:
        return None
    return Pair(experiment.score.value, again.value, again.stderr)


def pairs(state: State, experiment: Experiment) -> tuple[Pair, ...]:
    """An experiment, and the runs that confirm it, against the frontier: one pair for each draw."""
    runs = (experiment, *_confirming(state, experiment))
    return tuple(found for run in runs if (found := pair(run, state.frontier)) is not None)


def against_base(state: State, experiment: Experiment) -> Pair | None:
    """An experiment against its base, on its draw."""
    others = (state.experiments[each.other] for each in experiment.rescored)
    return pair(experiment, next((e for e in others if e.commit == experiment.proposal.base), None))


def equals(state: State) -> Iterator[Pair]:
    """Pairs of runs of one commit, on one draw."""
    for commit, other, found in chain.from_iterable(chunk.known(_pairs) for chunk in state.experiments.chunks):
        if state.experiments[other].commit == commit:
            yield found


def _pairs(chunk: Chunk) -> tuple[tuple[str, int, Pair], ...]:
    """A run's commit, the number of an experiment that was also scored on its draw, and both scores."""
    drawn = (e.whole for e in chunk if e.drawn)
    return tuple(
        (e.commit, each.other, Pair(e.score.value, each.value, each.stderr))
        for e in drawn
        if e.score is not None and e.score.value is not None
        for each in e.rescored
        if each.value is not None
    )


def keeps_copies(state: State) -> bool:
    """Whether working copies outlive their verdicts, for the next draws or an unopened holdout."""
    opened = state.holdout is not None and state.holdout.seen
    return fresh(state) or (state.session is not None and state.session.holdout and not opened)


def copies(state: State) -> frozenset[int]:
    """The finished runs whose working copies stay, for a later draw or the holdout; few at any time.

    The best, the baseline, the heads, the last frontiers, those that an undo would restore, and the bases of open
    experiments. Anything else is scored again from its commit.
    """
    if not keeps_copies(state):
        return frozenset()
    first = next((e.number for e in state.experiments if e.value is not None), None)
    numbers = {first, state.best_number, state.frontier_number, *state.heads.values()}
    numbers |= {number for _, number in state.frontier_history[-_FRONTIERS:]}
    if state.judgements:
        numbers |= {state.judgements[-1].frontier_number, *state.judgements[-1].heads.values()}
    if state.holdout_asked is not None:
        numbers |= {state.holdout_asked.best, state.holdout_asked.baseline}
    bases = {e.base for e in state.experiments.having(IS_OPEN, True)}
    numbers |= {e.number for base in bases for e in state.experiments.having(COMMIT, base)}
    return frozenset(n for n in numbers if n is not None and state.experiments[n].value is not None)


def _base(state: State, experiment: Experiment) -> Experiment | None:
    """The first scored run of the commit that this experiment changes."""
    same = state.experiments.having(COMMIT, experiment.base)
    return next((e for e in same if e.value is not None and e.number != experiment.number), None)


def _confirming(state: State, experiment: Experiment) -> Iterator[Experiment]:
    for run in state.experiments.having(CONFIRMS, experiment.number):
        if run.commit == experiment.commit and run.stage is Stage.DONE:
            yield run
