"""Everything that can happen, as one closed family of values that do not change.

An event is a fact that is already true or an intent that the engine will make true (and repeats after a crash).
The journal stores each as :mod:`codec` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from autoresearch_tui.session.device_events import DeviceJoined, DeviceLeft, DeviceSetAside, NodeRefused
from autoresearch_tui.session.ends import EngineEnd, Opinion
from autoresearch_tui.session.evaluation_events import (
    BudgetRenewed,
    DataDrawn,
    HoldoutAsked,
    HoldoutOpened,
    Rescored,
)
from autoresearch_tui.session.run_events import (
    SPARSE,
    FrontierMoved,
    JudgementUndone,
    RunEnded,
    RunGivenUp,
    RunInvalidated,
    RunRequeued,
    RunScored,
    RunStarted,
    RunStopAsked,
    VerdictDeferred,
    VerdictGiven,
    VerdictOverruled,
)
from autoresearch_tui.util.frozen import Frozen

# Those of runs, of devices and of the evaluation have files of their own; code that makes or reads one finds all here.
__all__ = [
    "BudgetRenewed",
    "CommandRedundant",
    "CommandRefused",
    "CriticAnswered",
    "CriticAsked",
    "DataDrawn",
    "DeviceJoined",
    "DeviceLeft",
    "DeviceSetAside",
    "DigestAsked",
    "DigestWritten",
    "EngineStarted",
    "EngineStopped",
    "Event",
    "FrontierMoved",
    "HistoryRead",
    "HoldoutAsked",
    "HoldoutOpened",
    "JudgementUndone",
    "NodeRefused",
    "NoteGiven",
    "NoteWithdrawn",
    "PauseAsked",
    "ProgramRead",
    "ProposalApproved",
    "ProposalAsked",
    "ProposalFailed",
    "ProposalHeld",
    "ProposalMade",
    "ProposalRebased",
    "ProposalVetoed",
    "ProposalWithdrawn",
    "Record",
    "RecordLost",
    "Rescored",
    "Resumed",
    "ReviewOpened",
    "RunEnded",
    "RunGivenUp",
    "RunInvalidated",
    "RunRequeued",
    "RunScored",
    "RunStarted",
    "RunStopAsked",
    "SandboxChecked",
    "SessionBegan",
    "StopAsked",
    "StopCancelled",
    "TroubleCleared",
    "TroubleMet",
    "VerdictDeferred",
    "VerdictGiven",
    "VerdictOverruled",
]


class SessionBegan(Frozen):
    """A tag, a branch, a table. `locked` maps each locked path to the sha256 of its bytes.

    `evaluator`: fixed, or fresh where each verdict draws new data. `holdout`: there is a split to open at the end.
    """

    tag: str
    branch: str
    base: str
    metric: str
    goal: str
    keep_margin: float
    budget_seconds: float
    editable: tuple[str, ...]
    locked: Mapping[str, str]
    evaluator: str = field(default="fixed", metadata=SPARSE)
    holdout: bool = field(default=False, metadata=SPARSE)


class HistoryRead(Frozen):
    """What others had left in the lab: the rows of their results.tsv and the commits on their branches.

    Many rows come in several records, so that each stays short: this one has the rows from index `start`, of `total`
    together (0: it has all). `rows` as :func:`~autoresearch_tui.session.prior_results.to_rows` makes them; `malformed`
    of them are flagged, and `left_out` older ones are in no record.
    """

    path: str
    rows: tuple[Mapping[str, Any], ...]
    malformed: int
    left_out: int = 0
    start: int = 0
    total: int = 0


class SharedRead(Frozen):
    """What other labs had shared, as `fetch-shared` brought it: results that are new, or no longer what they were.

    `rows` as :func:`~autoresearch_tui.session.prior_results.to_rows` makes them, by their names; `left_out` more than a
    session gets.
    """

    rows: tuple[Mapping[str, Any], ...]
    left_out: int = 0


class EngineStarted(Frozen):
    """An engine took the session: first start, attach, take-over and recovery look the same.

    `successor`: not started by a human; it does what the one before it would have done, also a stop asked for.
    `accelerators`: what the environment of its runs says of them, CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER.
    `devices`: how many run at once. `accelerator_usd_per_hour`, for each of them, and `max_usd`, for all: 0 for none.
    `hardware`: the models of what runs see (:mod:`~autoresearch_tui.lab.hardware`). `columns`: the numbers that are
    recorded beside the score; of those that begin with `+` more is better. `testing_budget`: looks at a fixed
    evaluation after which nothing is kept before a human renews it; 0: no limit. `device_names`: the devices of this
    machine, where the lab names some.
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
    accelerators: Mapping[str, str] = field(default_factory=dict)
    devices: int = 1
    accelerator_usd_per_hour: float = 0.0
    max_usd: float = 0.0
    hardware: str = ""
    columns: tuple[str, ...] = field(default=(), metadata=SPARSE)
    testing_budget: int = field(default=0, metadata=SPARSE)
    device_names: tuple[str, ...] = field(default=(), metadata=SPARSE)


class EngineStopped(Frozen):
    """The engine let go of the session.

    `limit`: what it ended for, until or max_usd (:mod:`~autoresearch_tui.session.limits`), if it was one of these.
    """

    why: EngineEnd
    detail: str = ""
    limit: str = ""


class SandboxChecked(Frozen):
    """What holds the runs of this engine, as found from inside. `kind`: bubblewrap, landlock, none.

    `holds` and `fails` name every protection that was tried; `note` says why there is no stronger one. `agent` is the
    kind of the command-line researcher's sandbox, where there is such a researcher, and `agent_fails` what in it fails.
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

    `exploratory`: `base` is an earlier keep and not the frontier, for the search is on a plateau. `fixes`: the crashed
    experiment whose change is to be fixed. `front`: which of several frontiers it is for. `number` is a guess: repeats
    and other answers may come first. `stream`: which of several requests at once, each with a stream of its own; what
    comes of it names the stream again. `direction`: what it was told to look at, so that it does not think what the
    others think.
    """

    number: int
    base: str
    attempt: int
    exploratory: bool = False
    fixes: int | None = None
    front: int = field(default=0, metadata=SPARSE)
    stream: int = field(default=0, metadata=SPARSE)
    direction: str = field(default="", metadata=SPARSE)


class ProposalFailed(Frozen):
    """No proposal this time. Asked again after `retry_seconds`; None: the loop pauses until a human helps.

    `outage`: the network or the other side is in trouble, which passes by itself however often it comes. `refused`:
    why its last answer was refused; the next request says so. `stream` as in :class:`ProposalAsked`.
    """

    number: int
    error: str
    retry_seconds: float | None
    tokens: int = 0
    usd: float | None = None
    outage: bool = False
    refused: str = ""
    stream: int = field(default=0, metadata=SPARSE)


class ProposalMade(Frozen):
    """An attempt exists as a commit; what is shown, approved, committed and trained is this commit.

    `exploratory`, `fixes`, `front` and `stream` as in :class:`ProposalAsked`; an exploratory proposal is not merged
    onto the frontier.
    `duplicate_of`: the experiment that this is nearly the same as; the researcher was told, and insisted.
    `combines`: the experiment whose change is put on top of the frontier, for the two won side by side.
    `repeat_of`: the experiment whose commit is run once more, under another `seed`; it decides nothing by itself.
    `confirms`: the experiment whose verdict waits for this repeat, of its own commit or of the frontier's.
    `scale`: it is run with so many times the budget (0: an ordinary run), and `scale_env` (`NAME=value`) besides.
    `origin`: the shared result of another lab that it is, or that it has the change of; `claimed`: the score that
    they say this very code has, if theirs compare with ours.
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
    exploratory: bool = False
    fixes: int | None = None
    duplicate_of: int | None = None
    combines: int | None = None
    repeat_of: int | None = None
    seed: int = 0
    front: int = field(default=0, metadata=SPARSE)
    confirms: int | None = field(default=None, metadata=SPARSE)
    scale: float = field(default=0.0, metadata=SPARSE)
    scale_env: tuple[str, ...] = field(default=(), metadata=SPARSE)
    origin: str = field(default="", metadata=SPARSE)
    claimed: float | None = field(default=None, metadata=SPARSE)
    stream: int = field(default=0, metadata=SPARSE)


class CriticAsked(Frozen):
    """A critic reads the proposal `commit` of experiment `number`; `attempt` counts from 1."""

    number: int
    commit: str
    attempt: int = 1


class CriticAnswered(Frozen):
    """The second opinion on that commit. `reasons`: the critic's own words, or why it gave no answer.

    `goes_back`: the critic did not agree, and the researcher is told and asked for another proposal; False if that was
    done as often in a row as the lab allows. `retry_seconds`: when one that gave no answer is asked again; None: when a
    human resumes, or an engine starts.
    """

    number: int
    commit: str
    opinion: Opinion
    reasons: str
    goes_back: bool = False
    retry_seconds: float | None = None
    tokens: int = 0
    usd: float | None = None


class ReviewOpened(Frozen):
    """At the gate: `policy` decides at `deadline` (UTC, ISO 8601), if set."""

    number: int
    commit: str
    policy: str
    deadline: str = ""


class ProposalHeld(Frozen):
    """Neither decided by the policy nor launched until `until` (UTC, ISO 8601; empty: until it is released).

    `why`: "read" or "answer" while a human is at it, "hold" if they asked for it, empty once it is released.
    `deadline`: the policy's new one, for a human who let go has time to think again; empty: as it was.
    """

    number: int
    commit: str
    why: str
    until: str = ""
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
    """The frontier moved while it waited; merged onto the new one. Where the diff changed, approval is void.

    `edited`: a human changed it by hand instead, and `description`, if any, is theirs. `approved_by`: who approves the
    new diff, where writing it was an approval.
    """

    number: int
    commit: str
    base: str
    diff_changed: bool
    added: int
    removed: int
    flags: tuple[str, ...] = ()
    low_risk: bool = True
    description: str = ""
    edited: bool = False
    approved_by: str = ""


class ProposalWithdrawn(Frozen):
    """Ended without a run and without a veto: it no longer applied to the new frontier, or was replaced."""

    number: int
    reason: str


class NoteGiven(Frozen):
    """The human's steering note; reaches the next request."""

    text: str


class NoteWithdrawn(Frozen):
    """The human took back the note that `record` (its seq) gave, before a request had it."""

    record: int
    by: str


class PauseAsked(Frozen):
    """Nothing new is launched. `by`: human or engine (with the reason). `stop_run`: the present run is put back.

    `limit`: what has run out, if that is the reason (testing_budget); only renewing it ends the pause then.
    """

    by: str
    reason: str = ""
    stop_run: bool = False
    limit: str = field(default="", metadata=SPARSE)


class Resumed(Frozen):
    """The loop continues."""

    by: str


class StopAsked(Frozen):
    """`when`: after this run, or now."""

    when: str


class StopCancelled(Frozen):
    """The session does not end after this run after all."""

    by: str


class DigestAsked(Frozen):
    """A page about the session so far is being written for the human. `by`: human, or engine at the session's end."""

    by: str


class DigestWritten(Frozen):
    """It is in the session's folder, digest.md, written by `author`.

    `numbers` are in it, of which `missing` are not in the journal, as it says itself. `why`: why its author is not the
    researcher; `verdicts`: how many the session had given.
    """

    author: str
    verdicts: int
    numbers: int
    missing: int
    why: str = ""
    tokens: int = 0
    usd: float | None = None


class CommandRefused(Frozen):
    """What a human asked for was not done, and why. `number`: the experiment whose edit was refused, if it was one."""

    command: str
    why: str
    number: int | None = None


class CommandRedundant(Frozen):
    """What a human asked for holds already: nothing changes."""

    command: str
    why: str


class RecordLost(Frozen):
    """A line of the journal that was damaged beyond reading: it stands where the record stood, and changes nothing."""

    line: int


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
    | SharedRead
    | EngineStarted
    | EngineStopped
    | SandboxChecked
    | ProgramRead
    | ProposalAsked
    | ProposalFailed
    | ProposalMade
    | CriticAsked
    | CriticAnswered
    | ReviewOpened
    | ProposalHeld
    | ProposalApproved
    | ProposalVetoed
    | ProposalRebased
    | ProposalWithdrawn
    | RunRequeued
    | RunStarted
    | RunStopAsked
    | RunGivenUp
    | RunInvalidated
    | RunEnded
    | DataDrawn
    | RunScored
    | Rescored
    | VerdictDeferred
    | VerdictGiven
    | VerdictOverruled
    | FrontierMoved
    | JudgementUndone
    | NoteGiven
    | NoteWithdrawn
    | PauseAsked
    | Resumed
    | StopAsked
    | StopCancelled
    | BudgetRenewed
    | HoldoutAsked
    | HoldoutOpened
    | DigestAsked
    | DigestWritten
    | DeviceJoined
    | DeviceLeft
    | DeviceSetAside
    | NodeRefused
    | CommandRefused
    | CommandRedundant
    | RecordLost
    | TroubleMet
    | TroubleCleared
)


class Record(Frozen):
    """One line of the journal. `seq` counts from 1 without gaps; `time` is UTC, ISO 8601.

    `request`: the id of the request that this is the answer to, if it came through the session's inbox.
    """

    seq: int
    time: str
    event: Event
    request: str = ""
