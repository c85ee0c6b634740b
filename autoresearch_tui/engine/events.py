"""Everything that can happen, as one closed family of frozen dataclasses.

An event is a fact that is already true or an intent that the engine will make true (and repeats after a crash).
The journal stores each as :mod:`codec` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SessionBegan:
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


@dataclass(frozen=True, slots=True)
class HistoryRead:
    """What others had left in the lab: the rows of their results.tsv and the commits on their branches.

    `rows` as :func:`~autoresearch_tui.engine.reading.foreign.to_rows` makes them; `malformed` of them are flagged, and
    `left_out` older ones are not here.
    """

    path: str
    rows: tuple[Mapping[str, Any], ...]
    malformed: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class EngineStarted:
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


@dataclass(frozen=True, slots=True)
class EngineStopped:
    """The engine let go of the session. `why`: detached, stopped, finished, failed."""

    why: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CageChecked:
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


@dataclass(frozen=True, slots=True)
class ProgramRead:
    """The version of program.md that proposals are made under from here on (sha256, first 12 digits)."""

    version: str
    lines: int


@dataclass(frozen=True, slots=True)
class ProposalAsked:
    """The researcher is at work on experiment `number`, from commit `base`; `attempt` counts from 1.

    `side`: `base` is an earlier keep and not the frontier, for the search is on a plateau. `mends`: the crashed
    experiment whose change is to be mended.
    """

    number: int
    base: str
    attempt: int
    side: bool = False
    mends: int | None = None


@dataclass(frozen=True, slots=True)
class ProposalFailed:
    """No proposal this time. Asked again after `retry_seconds`; None: the loop pauses until a human helps."""

    number: int
    error: str
    retry_seconds: float | None
    tokens: int = 0
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class ProposalMade:
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


@dataclass(frozen=True, slots=True)
class ReviewOpened:
    """At the gate: `policy` decides at `deadline` (UTC, ISO 8601), if set; later while a human is at an answer."""

    number: int
    commit: str
    policy: str
    deadline: str = ""


@dataclass(frozen=True, slots=True)
class ProposalApproved:
    """May be trained. `by`: human, auto, or the policy that stood in."""

    number: int
    commit: str
    by: str


@dataclass(frozen=True, slots=True)
class ProposalVetoed:
    """Will not be trained, and why; the researcher is told."""

    number: int
    commit: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProposalRebased:
    """The frontier moved while it waited; merged onto the new one. Where the diff changed, approval is void."""

    number: int
    commit: str
    base: str
    diff_changed: bool
    added: int
    removed: int
    flags: tuple[str, ...] = ()
    low_risk: bool = True


@dataclass(frozen=True, slots=True)
class ProposalWithdrawn:
    """Ended without a run and without a veto: it no longer applied to the new frontier, or was replaced."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class ProposalPutBack:
    """Its run was stopped by a human's pause or stop; it stays approved and is run again, from the start."""

    number: int


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Intent to train `commit` on `device` (empty: whatever there is); `attempt` is 2 after a lost run."""

    number: int
    commit: str
    attempt: int
    device: str = ""


@dataclass(frozen=True, slots=True)
class RunSpoiled:
    """The run was not timed as the others are (a suspended machine, a stepped clock); it is stopped and run again."""

    number: int
    why: str


@dataclass(frozen=True, slots=True)
class RunEnded:
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


@dataclass(frozen=True, slots=True)
class RunScored:
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


@dataclass(frozen=True, slots=True)
class VerdictGiven:
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


@dataclass(frozen=True, slots=True)
class VerdictOverruled:
    """A human knows better: `verdict` (keep or discard) in place of what was given. A keep moves the frontier."""

    number: int
    verdict: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class FrontierMoved:
    """The next proposals start from this kept experiment, and are measured against it."""

    number: int
    by: str


@dataclass(frozen=True, slots=True)
class NoteGiven:
    """The human's steering note; reaches the next request."""

    text: str


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """Nothing new is launched. `by`: human or engine (with the reason). `stop_run`: the present run is put back."""

    by: str
    reason: str = ""
    stop_run: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """The loop goes on."""

    by: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    """`when`: after this run, or now."""

    when: str


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """What a human asked for was not done, and why."""

    command: str
    why: str


@dataclass(frozen=True, slots=True)
class TroubleMet:
    """Something outside stands in the way; tried again after `retry_seconds` where that can help."""

    what: str
    remedy: str
    retry_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TroubleCleared:
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


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the journal. `seq` counts from 1 without gaps; `time` is UTC, ISO 8601."""

    seq: int
    time: str
    event: Event
