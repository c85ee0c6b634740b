"""Everything that can happen, as one closed family of values that do not change.

An event is a fact that is already true or an intent that the engine will make true (and repeats after a crash).
The journal stores each as :mod:`codec` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from autoresearch_tui.frozen import Frozen


class SessionBegan(Frozen):
    """A tag, a branch, a table. `locked` maps each locked path to the sha256 of its bytes."""

    tag: str
    branch: str
    base: str
    metric: str
    goal: str
    keep_margin: float
    budget_seconds: float
    editable: tuple[str, ...]
    locked: Mapping[str, str]


class HistoryRead(Frozen):
    """What others had left in the lab: the rows of their results.tsv and the commits on their branches.

    `rows` as :func:`~autoresearch_tui.engine.reading.foreign.to_rows` makes them; `malformed` of them are flagged, and
    `left_out` older ones are not here.
    """

    path: str
    rows: tuple[Mapping[str, Any], ...]
    malformed: int
    left_out: int = 0


class EngineStarted(Frozen):
    """An engine took the session: first start, attach, take-over and recovery look the same.

    `successor`: nobody started it; it does what the one before it would have done, a stop that was asked for included.
    """

    pid: int
    host: str
    headless: bool
    version: str
    researcher: str
    review: str
    unattended: str
    after_seconds: float
    timeout_seconds: float
    overrides: Mapping[str, str] = field(default_factory=dict)
    successor: bool = False


class EngineStopped(Frozen):
    """The engine let go of the session. `why`: detached, stopped, finished, failed."""

    why: str
    detail: str = ""


class CageChecked(Frozen):
    """What holds the runs of this engine, as found from inside. `kind`: bubblewrap, landlock, none.

    `holds` and `fails` name every protection that was tried; `note` says why there is no stronger one. `agent` is the
    kind of the command-line researcher's cage, where there is such a researcher, and `agent_fails` what in it fails.
    """

    kind: str
    holds: tuple[str, ...]
    fails: tuple[str, ...]
    note: str = ""
    agent: str = ""
    agent_fails: tuple[str, ...] = ()


class ProgramRead(Frozen):
    """The version of program.md that proposals are made under from here on (sha256, first 12 digits)."""

    version: str
    lines: int


class ProposalAsked(Frozen):
    """The researcher is at work on experiment `number`, from commit `base`; `attempt` counts from 1.

    `side`: `base` is an earlier keep and not the frontier, for the search is on a plateau. `mends`: the crashed
    experiment whose change is to be mended.
    """

    number: int
    base: str
    attempt: int
    side: bool = False
    mends: int | None = None


class ProposalFailed(Frozen):
    """No proposal this time. Asked again after `retry_seconds`; None: the loop pauses until a human helps."""

    number: int
    error: str
    retry_seconds: float | None
    tokens: int = 0
    usd: float | None = None


class ProposalMade(Frozen):
    """An attempt exists as a commit; what is shown, approved, committed and trained is this commit.

    `side` and `mends` as in :class:`ProposalAsked`; a side branch is not merged onto the frontier while it waits.
    `repeats`: the experiment that this is nearly the same as; the researcher was told, and insisted.
    `joins`: the experiment whose change is put on top of the frontier, for the two won side by side.
    `repeat_of`: the experiment whose commit is run once more, under another `seed`; it decides nothing.
    """

    number: int
    commit: str
    base: str
    description: str
    hypothesis: str
    author: str
    program: str
    added: int
    removed: int
    flags: tuple[str, ...] = ()
    low_risk: bool = True
    tokens: int = 0
    usd: float | None = None
    side: bool = False
    mends: int | None = None
    repeats: int | None = None
    joins: int | None = None
    repeat_of: int | None = None
    seed: int = 0


class ReviewOpened(Frozen):
    """At the gate: `policy` decides at `deadline` (UTC, ISO 8601), if set; later while a human is at an answer."""

    number: int
    commit: str
    policy: str
    deadline: str = ""


class ProposalApproved(Frozen):
    """May be trained. `by`: human, auto, or the policy that stood in."""

    number: int
    commit: str
    by: str


class ProposalVetoed(Frozen):
    """Will not be trained, and why; the researcher is told."""

    number: int
    commit: str
    by: str
    reason: str


class ProposalRebased(Frozen):
    """The frontier moved while it waited; merged onto the new one. Where the diff changed, approval is void."""

    number: int
    commit: str
    base: str
    diff_changed: bool
    added: int
    removed: int
    flags: tuple[str, ...] = ()
    low_risk: bool = True


class ProposalWithdrawn(Frozen):
    """Ended without a run and without a veto: it no longer applied to the new frontier, or was replaced."""

    number: int
    reason: str


class ProposalPutBack(Frozen):
    """Its run was stopped by a human's pause or stop, or lost; it stays approved and is run again, from the start."""

    number: int


class RunStarted(Frozen):
    """Intent to train `commit` on `device` (empty: whatever there is); `attempt` is 2 after a lost run."""

    number: int
    commit: str
    attempt: int
    device: str = ""


class RunSpoiled(Frozen):
    """The run was not timed as the others are (a suspended machine, a stepped clock); it is stopped and run again."""

    number: int
    why: str


class RunEnded(Frozen):
    """`reason`: finished, crashed, out of memory, timed out, over budget, disk full, killed, lost.

    `cause`: the last lines of its log. `asked_seconds`: from the start until the run asked its referee to score it, by
    the supervisor's clock. `memory_mb`, `device_memory_mb`: the most (MiB) that it held of the machine and of its
    accelerators, measured from outside. `refused`: why its referee had refused it before. `referee_killed`: by others.
    """

    number: int
    reason: str
    exit_code: int | None
    seconds: float
    cause: tuple[str, ...] = ()
    asked_seconds: float | None = None
    memory_mb: float | None = None
    device_memory_mb: float | None = None
    refused: str = ""
    referee_killed: bool = False


class RunScored(Frozen):
    """`value` is None where there is no valid score, and `problem` says why. Memory in GiB.

    `sealed`: the metric on the split that the loop never sees; for the human alone, never for a researcher.
    `doubts`: what does not go together in the log of a run that scored itself; it decides nothing. `beyond`: the lab's
    bounds that the run does not keep to; it is not kept. `late_seconds`: what single answers took beyond the usual.
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


class VerdictGiven(Frozen):
    """The end of an experiment that ran: keep, discard, crash or invalid. A keep moves the frontier to its commit.

    `stderr`: standard error of the difference to the frontier, from the scores of the same rows. `spread`: how far
    equal runs lie apart, as a standard deviation. None where unknown. `inside_noise`: the difference is no larger
    than these two explain.
    """

    number: int
    verdict: str
    value: float | None
    memory_gb: float
    reason: str
    stderr: float | None = None
    spread: float | None = None
    inside_noise: bool = False


class VerdictOverruled(Frozen):
    """A human knows better: `verdict` (keep or discard) in place of what was given. A keep moves the frontier."""

    number: int
    verdict: str
    by: str
    reason: str


class FrontierMoved(Frozen):
    """The next proposals start from this kept experiment, and are measured against it."""

    number: int
    by: str


class NoteGiven(Frozen):
    """The human's steering note; reaches the next request."""

    text: str


class PauseAsked(Frozen):
    """Nothing new is launched. `by`: human or engine (with the reason). `stop_run`: the present run is put back."""

    by: str
    reason: str = ""
    stop_run: bool = False


class Resumed(Frozen):
    """The loop goes on."""

    by: str


class StopAsked(Frozen):
    """`when`: after this run, or now."""

    when: str


class CommandRefused(Frozen):
    """What a human asked for was not done, and why."""

    command: str
    why: str


class TroubleMet(Frozen):
    """Something outside stands in the way; tried again after `retry_seconds` where that can help."""

    what: str
    remedy: str
    retry_seconds: float | None = None


class TroubleCleared(Frozen):
    """It works again."""

    what: str


Event = (
    SessionBegan
    | HistoryRead
    | EngineStarted
    | EngineStopped
    | CageChecked
    | ProgramRead
    | ProposalAsked
    | ProposalFailed
    | ProposalMade
    | ReviewOpened
    | ProposalApproved
    | ProposalVetoed
    | ProposalRebased
    | ProposalWithdrawn
    | ProposalPutBack
    | RunStarted
    | RunSpoiled
    | RunEnded
    | RunScored
    | VerdictGiven
    | VerdictOverruled
    | FrontierMoved
    | NoteGiven
    | PauseAsked
    | Resumed
    | StopAsked
    | CommandRefused
    | TroubleMet
    | TroubleCleared
)


class Record(Frozen):
    """One line of the journal. `seq` counts from 1 without gaps; `time` is UTC, ISO 8601."""

    seq: int
    time: str
    event: Event
