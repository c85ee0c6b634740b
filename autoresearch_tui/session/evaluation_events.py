"""The events of an evaluation that is drawn anew, or that wears out; part of :mod:`events`."""

from __future__ import annotations

from autoresearch_tui.util.frozen import Frozen


class DataDrawn(Frozen):
    """Intent to score the run of `number` on data of this seed, which nothing knew before the run had ended."""

    number: int
    seed: int


class Rescored(Frozen):
    """Experiment `other`, from the files that its run has left, scored on the draw of `number`.

    `value` is None if it has no score there, and `problem` says why. `stderr`: standard error of the difference between
    the two scores, from the same cases; None if the referee does not give them.
    """

    number: int
    other: int
    value: float | None
    stderr: float | None = None
    problem: str = ""


class BudgetRenewed(Frozen):
    """A human renews the testing budget: `looks` were spent by then, and as many again may follow."""

    by: str
    looks: int


class HoldoutAsked(Frozen):
    """Intent to open the holdout, once and for all, after `looks` looks: `best` and `baseline` are scored on it."""

    by: str
    best: int
    baseline: int
    looks: int


class HoldoutOpened(Frozen):
    """What the best and the baseline scored on the holdout; None, with the `problem`, for one that has no score there.

    `stderr`: standard error of the difference, from the same cases; None if they are not known.
    """

    value: float | None
    baseline: float | None
    stderr: float | None = None
    problem: str = ""

    @property
    def seen(self) -> bool:
        """Whether it showed anything: an opening that gave no score at all may be tried again."""
        return self.value is not None or self.baseline is not None
