"""The events of a run, of its evaluation and of its verdict; part of :mod:`events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from msgspec import field

from autoresearch_tui.session.ends import Outcome, RunEnd
from autoresearch_tui.util.frozen import Frozen

T = TypeVar("T")
SPARSE = "sparse"
Sparse = Annotated[T, SPARSE]
"""The type of a field that is written only if it differs from its default."""


class RunRequeued(Frozen):
    """The run was lost, or stopped by a human's pause or stop; it stays approved and runs again from the start.

    `began`: False if no node could start it, which does not count as an attempt.
    """

    number: int
    began: bool = True


class RunStarted(Frozen):
    """Intent to train `commit` on `device` (empty: the only one); `attempt` is 2 after a lost run."""

    number: int
    commit: str
    attempt: int
    device: str = ""


class RunStopAsked(Frozen):
    """Intent to end this run for good: it counts as a crash, and the researcher gets the `reason`."""

    number: int
    by: str
    reason: str = ""


class RunGivenUp(Frozen):
    """Intent to end a run that is hopelessly behind: it counts as a discard without a score.

    At `percent` of the budget its training loss was `loss`, and that of experiment `frontier` was `against`. No keep
    was further behind at that point than `most`, and this run is behind by more than `most` + `margin`.
    """

    number: int
    percent: int
    loss: float
    against: float
    frontier: int
    most: float
    margin: float


class RunInvalidated(Frozen):
    """The run was not timed like the others (a suspended machine, a stepped clock); it is stopped and run again."""

    number: int
    why: str


class RunEnded(Frozen):
    """A run is over.

    `cause`: the last lines of its log. `ready_seconds`, `asked_seconds`: from the start until its referee handed over
    the training data, and until the run asked to be scored, by the supervisor's clock. `memory_mb`, `device_memory_mb`:
    its peak use (MiB) of the machine's memory and its accelerators', measured from outside. `refused`: why its referee
    had refused it. `referee_killed`: by something other than us.
    """

    number: int
    reason: RunEnd
    exit_code: int | None
    seconds: float
    cause: tuple[str, ...] = ()
    asked_seconds: float | None = None
    memory_mb: float | None = None
    device_memory_mb: float | None = None
    refused: str = ""
    referee_killed: bool = False
    ready_seconds: float | None = None


class RunScored(Frozen):
    """`value` is None if there is no valid score, and `problem` says why. Memory in GiB.

    `sealed`: the metric on the split that the loop never sees; for the human alone, never for a researcher. `doubts`:
    contradictions in the log of a run that scored itself; they decide nothing. `beyond`: the lab's bounds that the run
    violates, so that it is not kept. `late_seconds`: what single answers to the referee took beyond the usual.
    `answer_seconds`: what all answers took. `losses`: the training loss at each tenth of the budget, from the log.
    `columns`: the lab's further numbers by name, as far as the run reported them.
    """

    number: int
    value: float | None
    memory_gb: float
    source: str
    problem: str = ""
    summary: Mapping[str, str] = field(default_factory=dict)
    sealed: float | None = None
    doubts: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    late_seconds: float = 0.0
    answer_seconds: float = 0.0
    losses: tuple[float, ...] = ()
    columns: Sparse[Mapping[str, float]] = field(default_factory=dict)


class DataDrawn(Frozen):
    """Intent to score the run of `number` on data of this seed, drawn after the run had ended."""

    number: int
    seed: int


class Rescored(Frozen):
    """Experiment `other`, from the files that its run left, scored on the draw of `number`.

    `value` is None if there is no score, and `problem` says why. `stderr`: standard error of the difference between the
    two scores, from the same cases; None if the referee does not report cases.
    """

    number: int
    other: int
    value: float | None
    stderr: float | None = None
    problem: str = ""


class VerdictDeferred(Frozen):
    """A gain that chance may explain: the verdict waits for further runs (`metric.keep = "confirmed"`).

    `stderr` as in :class:`VerdictGiven`.
    """

    number: int
    reason: str
    stderr: float | None = None


class VerdictGiven(Frozen):
    """The end of an experiment that ran: keep, discard, crash or invalid. A keep moves the frontier to its commit.

    `stderr`: standard error of the difference to the frontier, from the scores of the same rows. `spread`: standard
    deviation between equal runs. Both are None if unknown; `inside_noise`: they explain the difference. `leads`: not
    kept, because another front is ahead, but the new head of its own front.

    If gains are confirmed, `value` is the mean of the `runs` runs of its commit, and `error` the standard error of the
    difference between that and the mean of the frontier's runs.

    `against`: the frontier's score on the same draw, if the evaluator is fresh.
    """

    number: int
    verdict: Outcome
    value: float | None
    memory_gb: float
    reason: str
    stderr: float | None = None
    spread: float | None = None
    inside_noise: bool = False
    leads: Sparse[bool] = False
    runs: Sparse[int] = 1
    error: Sparse[float | None] = None
    against: Sparse[float | None] = None


class VerdictOverruled(Frozen):
    """A human replaces the verdict by `verdict` (keep or discard). A keep moves the frontier.

    For an experiment whose verdict waits for other runs it is an intent: the verdict follows at once.
    """

    number: int
    verdict: Outcome
    by: str
    reason: str


class FrontierMoved(Frozen):
    """The next proposals start from this kept experiment, and are measured against it."""

    number: int
    by: str


class JudgementUndone(Frozen):
    """A human took back the judgement of `record` (its seq) on experiment `number`."""

    record: int
    number: int
    by: str


class BudgetRenewed(Frozen):
    """A human renews the testing budget, `looks` of which were spent by then."""

    by: str
    looks: int


class HoldoutAsked(Frozen):
    """Intent to open the holdout, once, after `looks` looks: `best` and `baseline` are scored on it."""

    by: str
    best: int
    baseline: int
    looks: int


class HoldoutOpened(Frozen):
    """The scores of the best and the baseline on the holdout; None, with the `problem`, for a missing one.

    `stderr`: standard error of the difference, from the same cases; None if these are unknown.
    """

    value: float | None
    baseline: float | None
    stderr: float | None = None
    problem: str = ""

    @property
    def seen(self) -> bool:
        """Whether it gave a score; if not, the holdout may be opened again."""
        return self.value is not None or self.baseline is not None
