"""Pure: whether a gain holds where it lies within the noise (`metric.keep = "confirmed"`).

Such a commit is run again under other seeds, and decided on the means of all its runs and all the frontier's. A lucky
frontier is also measured again, and becomes beatable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import draws, statistics
from autoresearch_tui.session.ends import FAILED, Outcome
from autoresearch_tui.session.questions import COMMIT, CONFIRMS
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.util.frozen import Frozen

MOST = 2
"""The most runs that a verdict waits for."""
ENOUGH = 1.0
"""Standard errors that a gain must exceed when no run is left; from :data:`statistics.SIGMAS` on none is needed."""

KNOWN = 3
"""With so many repeats the noise is known well enough to continue from a gain within it."""


class Comparison(Frozen):
    """The mean of `runs` runs against that of `other_runs` runs of the frontier.

    `gain`: positive is better. `error`: its standard error, from the typical spread unless `measured`. `paired`: each
    run is compared on its own draw.
    """

    mean: float
    other: float
    runs: int
    other_runs: int
    gain: float
    error: float
    measured: bool
    paired: bool = False

    def in_words(self, frontier: int) -> str:
        """Both means, and with several runs the difference with its error."""
        if self.runs == self.other_runs == 1:
            same = " on the same draw" if self.paired else ""
            return f"{self.mean:.6f} against {self.other:.6f}{same} (#{frontier})"
        word = "better" if self.gain > 0 else "worse"
        if self.paired:
            means = f"{self.mean:.6f} against {self.other:.6f} (#{frontier}), the means of {self.runs} draws"
            return f"{means}, {word} by {abs(self.gain):.6f} ± {self.error:.6f}"
        return (
            f"{_mean(self.mean, self.runs, ',')} against {_mean(self.other, self.other_runs)} (#{frontier}), "
            f"{word} by {abs(self.gain):.6f} ± {self.error:.6f}"
        )

    def is_unsure(self, margin: float) -> bool:
        """Whether chance may explain the gain."""
        return self.gain > margin and (not self.measured or self.gain < statistics.SIGMAS * self.error)

    def holds(self, margin: float) -> bool:
        """Whether it is kept without further runs."""
        return self.gain > margin and self.gain > ENOUGH * self.error


def _mean(value: float, runs: int, end: str = "") -> str:
    return f"{value:.6f}, the mean of {runs} runs{end}" if runs > 1 else f"{value:.6f}"


def compared(
    scores: Sequence[float], others: Sequence[float], goal: Goal, spread: float | None, stderr: float | None = None
) -> Comparison:
    """`spread`: of equal runs; None if nothing has run twice. `stderr`: of the scoring, which repeats do not reduce."""
    mean, other = math.fsum(scores) / len(scores), math.fsum(others) / len(others)
    each = statistics.TYPICAL_SPREAD * abs(other) if spread is None else spread
    error = math.sqrt((stderr or 0.0) ** 2 + each**2 * (1 / len(scores) + 1 / len(others)))
    return Comparison(mean, other, len(scores), len(others), goal.gain(other, mean), error, spread is not None)


def against_frontier(state: State, experiment: Experiment, stderr: float | None = None) -> Comparison:
    """A scored experiment, and every other run of its commit, against the frontier's runs."""
    assert state.frontier is not None and experiment.score is not None and experiment.score.value is not None
    if draws.fresh(state) and (pairs := draws.pairs(state, experiment)):
        return _on_draws(pairs, state.goal, statistics.spread(state))
    mine = [experiment.score.value, *scores(state, experiment.commit, but=experiment.number)]
    return compared(mine, scores(state, state.frontier.commit), state.goal, statistics.spread(state), stderr)


def _on_draws(pairs: Sequence[draws.Pair], goal: Goal, spread: float | None) -> Comparison:
    """Every draw is new, so more pairs reduce both kinds of chance."""
    count = len(pairs)
    mean, other = (math.fsum(each) / count for each in zip(*((p.value, p.other) for p in pairs), strict=True))
    known = [each.stderr**2 for each in pairs if each.stderr is not None]
    measured = bool(known) or spread is not None
    each = spread if spread is not None else 0.0 if known else statistics.TYPICAL_SPREAD * abs(other)
    square = math.fsum(known) / len(known) if known else 0.0
    error = math.sqrt((square + 2 * each**2) / count)
    return Comparison(mean, other, count, count, goal.gain(other, mean), error, measured, paired=True)


def scores(state: State, commit: str, but: int | None = None) -> list[float]:
    """The scores of a commit's runs, without that of experiment `but`."""
    same = state.experiments.having(COMMIT, commit)
    return [e.measured for e in same if e.measured is not None and e.number != but]


def of(state: State, number: int) -> tuple[Experiment, ...]:
    """The runs that confirm an experiment, without withdrawn ones."""
    return tuple(e for e in state.experiments.having(CONFIRMS, number) if e.outcome != Outcome.WITHDRAWN)


def runs_left(state: State, number: int) -> int:
    """How many more confirming runs are allowed; 0 after one that a human vetoed or stopped, or that has no score."""
    asked = of(state, number)
    invalidated = any(e.stage is Stage.DONE and e.value is None for e in asked)
    return 0 if invalidated else MOST - len(asked)


def next_run(state: State, experiment: Experiment) -> Experiment | None:
    """The experiment to repeat next: the one that has run less often. None if the gain can be decided."""
    if state.session is None or state.frontier is None or state.frontier.value is None:
        return None
    stderr = experiment.deferred.stderr if experiment.deferred is not None else None
    known = against_frontier(state, experiment, stderr)
    if (
        experiment.decided is not None
        or failed(state, experiment) is not None
        or not known.is_unsure(state.session.keep_margin)
    ):
        return None
    return state.frontier if known.other_runs < known.runs else experiment


def failed(state: State, experiment: Experiment) -> Experiment | None:
    """A confirming run of its own commit that failed without being stopped by a human."""
    own = (e for e in of(state, experiment.number) if e.commit == experiment.commit and e.stop is None)
    return next((e for e in own if e.outcome in FAILED), None)


def progress(experiment: Experiment, state: State) -> str:
    """`confirming 1 of 2`; empty if its verdict does not wait."""
    if experiment.stage is not Stage.CONFIRMING:
        return ""
    return f"confirming {max(1, len(of(state, experiment.number)))} of {MOST}"
