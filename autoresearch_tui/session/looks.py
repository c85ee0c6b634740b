"""Pure: how many looks a fixed evaluation had, and what the best of so many looks gains by luck alone.

A look is a score that was compared with the frontier, one for each candidate. Repeats, baselines and runs at another
scale are no looks: they cannot be kept, so nothing is selected by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Protocol

from autoresearch_tui.lab.evaluator import FIXED
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import draws, questions, statistics
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.frozen import Frozen

TESTING_BUDGET = "testing_budget"
"""The `limit` of a pause that only a renewed budget ends."""
_EULER = 0.5772156649015329


class Wear(Frozen):
    """How worn a fixed evaluation is. Gains are in the score's unit, positive is better.

    `spent`: looks so far. `left`: looks left of the testing budget; None without one. `noise`: standard deviation of
    one score. `luck`: what the best of so many looks gains by luck alone. Both are None if the noise was not measured.
    `gain`: of the best over the baseline; None before there are two.
    """

    spent: int
    left: int | None
    noise: float | None
    luck: float | None
    gain: float | None

    @property
    def deflated(self) -> float | None:
        """The gain less the luck; below 0, luck explains all of it."""
        return None if self.gain is None or self.luck is None else self.gain - self.luck


def baseline(state: State) -> Experiment | None:
    """The first experiment with a score."""
    return next((e for e in state.experiments if e.value is not None), None)


class Opened(Protocol):
    """What the texts about a holdout need of a state or its outline."""

    @property
    def holdout_asked(self) -> ev.HoldoutAsked | None:
        """The intent to open it."""

    @property
    def holdout(self) -> ev.HoldoutOpened | None:
        """The result."""

    @property
    def holdout_at(self) -> str:
        """When it was opened."""

    @property
    def goal(self) -> Goal:
        """Which direction of the score is better."""


def once(state: Opened) -> str:
    """When the holdout was opened, and after how many looks; empty before."""
    asked, opened = state.holdout_asked, state.holdout
    if asked is None or opened is None or not opened.seen:
        return ""
    when = state.holdout_at[:16].replace("T", " ")
    return f"the holdout was opened after {counted(asked.looks)}, at {when} UTC; it opens once for a session"


def after(state: Opened) -> str:
    """`the holdout was opened after 40 looks`: shown beside its scores."""
    return once(state).partition(", at ")[0]


def result(state: Opened) -> str:
    """The holdout's scores as text; empty before it was opened."""
    asked, opened = state.holdout_asked, state.holdout
    if asked is None or opened is None:
        return ""
    if opened.value is None or opened.baseline is None:
        return f"no comparison on the holdout: {opened.problem or 'a score is missing'}"
    both = f"#{asked.best} {opened.value:.6f}, the baseline {opened.baseline:.6f}"
    if asked.best == asked.baseline:
        return f"the baseline {opened.baseline:.6f}; nothing better was kept"
    gain = state.goal.gain(opened.baseline, opened.value)
    error = f" ± {opened.stderr:.6f}" if opened.stderr is not None else ""
    return f"{both}: {'better' if gain > 0 else 'worse'} by {abs(gain):.6f}{error}"


def in_short(state: Opened) -> str:
    """`better by 0.5991 ± 0.2668 · #4 against #0 · after 40 looks`; empty before the holdout was opened."""
    asked, opened = state.holdout_asked, state.holdout
    if asked is None or opened is None or opened.value is None or opened.baseline is None:
        return result(state)
    gain = state.goal.gain(opened.baseline, opened.value)
    error = f" ± {opened.stderr:.4g}" if opened.stderr is not None else ""
    word = f"{'better' if gain > 0 else 'worse'} by {abs(gain):.4g}{error}"
    return f"{word} · #{asked.best} against #{asked.baseline} · after {counted(asked.looks)}"


def in_words(found: Wear) -> str:
    """`40 looks · luck alone 0.0021 · gain 0.0104, without luck 0.0083`; empty before the first look."""
    if not found.spent:
        return ""
    words = [counted(found.spent) + (f", {found.left} left" if found.left is not None else "")]
    words.append(f"luck alone {found.luck:.4g}" if found.luck is not None else "luck unknown, no noise is measured")
    if found.gain == 0:
        words.append("no gain yet")
    elif found.gain is not None:
        without = f", without luck {found.deflated:.4g}" if found.deflated is not None else ""
        words.append(f"gain {found.gain:.4g}{without}")
    return " · ".join(words)


def sentence(state: State) -> str:
    """The same in full sentences, for reports and the researcher; empty before the first look."""
    if state.session is not None and state.session.evaluator != FIXED:
        return "Every verdict is on newly drawn data; scores of different experiments are of different data."
    found = wear(state)
    if not found.spent:
        return ""
    text = f"The same evaluation was looked at {found.spent} time{'' if found.spent == 1 else 's'}"
    if found.luck is None:
        return f"{text}; what luck alone would have gained is not known, for no noise is measured."
    text += f": the best of so many gains about {found.luck:.6f} by luck alone"
    if found.gain is None or found.deflated is None:
        return f"{text}."
    rest = f"leaves {found.deflated:.6f}" if found.deflated > 0 else "may explain all"
    return f"{text}. The gain since the baseline is {found.gain:.6f}, of which luck {rest}."


def pending(state: State) -> int:
    """How many runs in flight, or waiting to be confirmed, will be looks."""
    going = (*state.in_flight, *(e for e in state.confirming if e.measured is None))
    return sum(_candidate(each, state) for each in going)


def room(state: State, experiment: Experiment) -> bool:
    """Whether the testing budget lets an experiment run; one that is no look always may."""
    remaining = left(state)
    return remaining is None or not _candidate(experiment, state) or remaining > pending(state)


def budget_spent(state: State, but: Experiment | None = None) -> str:
    """Why nothing more is kept: the testing budget is spent; else empty. `but` as in :func:`left`."""
    if left(state, but) != 0:
        return ""
    return f"the testing budget is spent: {counted(spent(state))} at a fixed evaluation"


def counted(count: int) -> str:
    """`1 look`, `40 looks`."""
    return f"{count} look{'' if count == 1 else 's'}"


def _candidate(experiment: Experiment, state: State) -> bool:
    """Whether it could be kept once it has a score."""
    known = experiment.number, experiment.commit, experiment.repeat_of, experiment.scale
    return _could_be_kept(*known, state.experiments[0].commit)


def _could_be_kept(number: int, commit: str, repeat_of: int | None, scale: float, baseline: str) -> bool:
    return bool(number) and repeat_of is None and not scale and commit != baseline


def is_look(experiment: Experiment, state: State) -> bool:
    """Whether its score was compared with the frontier, and could have been kept."""
    return _candidate(experiment, state) and experiment.measured is not None


def spent(state: State) -> int:
    """How many looks the session has taken; 0 if every verdict draws new data."""
    if state.session is None or state.session.evaluator != FIXED:
        return 0
    return state.experiments.known(_looks, questions.counted, state.experiments[0].commit) if state.experiments else 0


def _looks(chunk: Chunk, baseline: str) -> int:
    columns = zip(*map(chunk.column, ("number", "commit", "repeat_of", "scale", "measured")), strict=True)
    return sum(
        measured is not None and _could_be_kept(number, commit, again, scale, baseline)
        for number, commit, again, scale, measured in columns
    )


def left(state: State, but: Experiment | None = None) -> int | None:
    """How many looks the testing budget leaves; None without one. The look of `but` is not counted."""
    budget = _budget(state)
    if not budget:
        return None
    own = but is not None and is_look(but, state)
    return max(0, state.renewed + budget - spent(state) + own)


def _budget(state: State) -> int:
    fixed = state.session is not None and state.session.evaluator == FIXED
    return state.last_engine.testing_budget if fixed and state.last_engine is not None else 0


def beaten(state: State) -> float | None:
    """The baseline's score, to compare the best with; None before there are two.

    With fresh draws, an estimate on the best's draw: its score less what each keep on the way has gained.
    """
    first, best = baseline(state), state.best
    if first is None or best is None or first.value is None or best.value is None or not draws.fresh(state):
        return first.value if first is not None and best is not None else None
    won = {each.experiment.number: each for each in statistics.judged(state) if each.experiment.outcome == Outcome.KEEP}
    score, at = best.value, best
    while at.number != first.number:
        step = won.pop(at.number, None)
        verdict = at.verdict
        if step is None or step.frontier is None or verdict is None or verdict.value is None or verdict.against is None:
            return None
        score, at = score + verdict.against - verdict.value, step.frontier
    return score


def wear(state: State) -> Wear:
    """How worn a fixed evaluation is. Called after each record, so it makes few passes."""
    count, noise, budget = spent(state), noise_of(state), _budget(state)
    first, best, gain = beaten(state), state.best, None
    if first is not None and best is not None and best.value is not None and (count or draws.fresh(state)):
        gain = state.goal.gain(first, best.value)
    luck = None if noise is None else noise * expected_maximum(count + 1)
    return Wear(count, max(0, state.renewed + budget - count) if budget else None, noise, luck, gain)


def noise_of(state: State) -> float | None:
    """Standard deviation of one score, from both kinds of chance; None if neither is measured.

    The spread is that of one run; the stderr (the session's median) is of a difference, with the variance of two
    scores.
    """
    spread, error = statistics.spread(state), state.experiments.known(_squares, _median)
    if spread is None and error is None:
        return None
    noise = math.sqrt((spread or 0.0) ** 2 + (error or 0.0) / 2)
    return noise or None  # repeats with identical scores say nothing about the data


def _squares(chunk: Chunk) -> list[float]:
    return [each**2 for each in chunk.column("stderr") if each is not None]


def _median(parts: Sequence[list[float]]) -> float | None:
    import statistics as medians  # slow to import, and readers of an outline do not need it

    squares = list(chain.from_iterable(parts))
    return medians.median(squares) if squares else None


def expected_maximum(count: int) -> float:
    """The expected maximum of `count` independent standard normal numbers, to within 0.05; 0 for one.

    The approximation in Bailey and López de Prado, "The Deflated Sharpe Ratio" (2014).
    """
    if count < 2:
        return 0.0
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf
    return (1 - _EULER) * quantile(1 - 1 / count) + _EULER * quantile(1 - 1 / (count * math.e))
