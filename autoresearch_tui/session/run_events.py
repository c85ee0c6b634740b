"""The events of a run, from its start to its verdict and what a human makes of that; part of :mod:`events`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from autoresearch_tui.session.ends import Outcome, RunEnd
from autoresearch_tui.util.frozen import Frozen

SPARSE = {"sparse": True}
"""Marks a field that is written only where it is not its default."""


class RunRequeued(Frozen):
    """Its run was stopped by a human's pause or stop, or lost; it stays approved and is run again, from the start.

    `began`: false if no node could start it, which does not count as a try.
    """

    number: int
    began: bool = True


class RunStarted(Frozen):
    """Intent to train `commit` on `device` (empty: whatever there is); `attempt` is 2 after a lost run."""

    number: int
    commit: str
    attempt: int
    device: str = ""


class RunStopAsked(Frozen):
    """Intent to end this run for good: it counts as a crash, for `reason`, which the researcher is told."""

    number: int
    by: str
    reason: str = ""


class RunGivenUp(Frozen):
    """Intent to end a run that is hopelessly behind: it counts as a discard without a score.

    At `percent` of the budget its training loss was `loss`, that of the frontier, experiment `frontier`, was `against`.
    No keep of the session was further behind there than `most`, and this one was by more than `margin` beyond that.
    """

    number: int
    percent: int
    loss: float
    against: float
    frontier: int
    most: float
    margin: float


class RunInvalidated(Frozen):
    """The run was not timed as the others are (a suspended machine, a stepped clock); it is stopped and run again."""

    number: int
    why: str


class RunEnded(Frozen):
    """A run is over.

    `cause`: the last lines of its log. `ready_seconds`, `asked_seconds`: from the start until its referee handed the
    training data over, and until it asked to be scored, by the supervisor's clock. `memory_mb`, `device_memory_mb`: the
    most (MiB) that it held of the machine and of its accelerators, measured from outside. `refused`: why its referee
    had refused it before. `referee_killed`: by others.
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

    `sealed`: the metric on the split that the loop never sees; for the human alone, never for a researcher.
    `doubts`: what does not go together in the log of a run that scored itself; it decides nothing. `beyond`: the lab's
    bounds that the run does not keep to; it is not kept. `late_seconds`: what single answers took beyond the usual.
    `answer_seconds`: what all of them took. `losses`: the training loss at each tenth of the budget, as the log has it.
    `columns`: the lab's further numbers by name, without those that nobody told.
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
    columns: Mapping[str, float] = field(default_factory=dict, metadata=SPARSE)


class VerdictDeferred(Frozen):
    """A gain that chance may explain: no verdict before it has been run again (`metric.keep = "confirmed"`).

    `stderr` as in :class:`VerdictGiven`.
    """

    number: int
    reason: str
    stderr: float | None = None


class VerdictGiven(Frozen):
    """The end of an experiment that ran: keep, discard, crash or invalid. A keep moves the frontier to its commit.

    `stderr`: standard error of the difference to the frontier, from the scores of the same rows. `spread`: how far
    equal runs lie apart, as a standard deviation. None if unknown. `inside_noise`: the difference is no larger
    than these two explain. `leads`: not kept, for another front is ahead, and better than where its own front stood,
    which stands here from now on.

    Where gains are confirmed, `value` is the mean of the `runs` of its commit, and `error` the standard error of the
    difference between that and the mean of the frontier's runs.

    `against`: what the frontier scored on the same draw, where the evaluator is fresh.
    """

    number: int
    verdict: Outcome
    value: float | None
    memory_gb: float
    reason: str
    stderr: float | None = None
    spread: float | None = None
    inside_noise: bool = False
    leads: bool = field(default=False, metadata=SPARSE)
    runs: int = field(default=1, metadata=SPARSE)
    error: float | None = field(default=None, metadata=SPARSE)
    against: float | None = field(default=None, metadata=SPARSE)


class VerdictOverruled(Frozen):
    """A human knows better: `verdict` (keep or discard) in place of what was given. A keep moves the frontier.

    Of an experiment whose verdict waits for other runs it is the intent: the verdict follows at once.
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
    """The human took back the judgement that `record` (its seq) made about experiment `number`."""

    record: int
    number: int
    by: str
