"""Everything that can happen, as one closed family of immutable values.

An event is a fact, or an intent that the engine carries out (again after a crash). :mod:`journal` has their form on
disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import field

from autoresearch_tui.session.ends import EngineEnd, Opinion
from autoresearch_tui.session.run_events import (
    SPARSE,
    BudgetRenewed,
    DataDrawn,
    FrontierMoved,
    HoldoutAsked,
    HoldoutOpened,
    JudgementUndone,
    Rescored,
    RunEnded,
    RunGivenUp,
    RunInvalidated,
    RunRequeued,
    RunScored,
    RunStarted,
    RunStopAsked,
    Sparse,
    VerdictDeferred,
    VerdictGiven,
    VerdictOverruled,
)
from autoresearch_tui.util.frozen import Frozen

# The events of runs have a file of their own, but are imported from here like all others.
__all__ = [
    "SPARSE",
    "BudgetRenewed",
    "DataDrawn",
    "FrontierMoved",
    "HoldoutAsked",
    "HoldoutOpened",
    "JudgementUndone",
    "Rescored",
    "RunEnded",
    "RunGivenUp",
    "RunInvalidated",
    "RunRequeued",
    "RunScored",
    "RunStarted",
    "RunStopAsked",
    "VerdictDeferred",
    "VerdictGiven",
    "VerdictOverruled",
]


class SessionBegan(Frozen):
    """A tag, a branch, a table. `locked` maps each locked path to the sha256 of its bytes.

    `evaluator`: fixed, or fresh if each verdict draws new data. `holdout`: there is a split to open at the end.
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
    evaluator: Sparse[str] = "fixed"
    holdout: Sparse[bool] = False


class HistoryRead(Frozen):
    """Prior results in the lab: the rows of others' results.tsv and the commits on their branches.

    Many rows are split over several records: this one begins at index `start`, of `total` rows (0: it has all). `rows`
    as :func:`~autoresearch_tui.session.prior_results.to_rows` makes them; `malformed` of them are flagged, and
    `left_out` older ones are in no record.
    """

    path: str
    rows: tuple[Mapping[str, Any], ...]
    malformed: int
    left_out: int = 0
    start: int = 0
    total: int = 0


class SharedRead(Frozen):
    """Results of other labs that `fetch-shared` brought, new or changed.

    `rows` as :func:`~autoresearch_tui.session.prior_results.to_rows` makes them, identified by name; `left_out`: how
    many exceed a session's limit.
    """

    rows: tuple[Mapping[str, Any], ...]
    left_out: int = 0


class EngineStarted(Frozen):
    """An engine took the session: first start, attach, take-over and recovery look the same.

    `successor`: not started by a human; it continues what its predecessor had begun, including a requested stop.
    `accelerators`: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER in the environment of its runs. `devices`: how many runs
    go at once. `accelerator_usd_per_hour` (for each device) and `max_usd` (in total): 0 for none. `hardware`: the
    models that runs see (:mod:`~autoresearch_tui.lab.hardware`). `columns`: the numbers recorded beside the score; a
    leading `+` means that more is better. `testing_budget`: looks at a fixed evaluation after which nothing is kept
    until a human renews it; 0 for no limit. `device_names`: the devices of this machine that the lab names.
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
    columns: Sparse[tuple[str, ...]] = ()
    testing_budget: Sparse[int] = 0
    device_names: Sparse[tuple[str, ...]] = ()


class EngineStopped(Frozen):
    """The engine left the session. `limit`: until or max_usd, if that was the reason (:mod:`.limits`)."""

    why: EngineEnd
    detail: str = ""
    limit: str = ""


class SandboxChecked(Frozen):
    """The sandbox of this engine's runs, tested from inside. `kind`: bubblewrap, landlock, none.

    `holds` and `fails` name every protection that was tested; `note` says why there is no stronger one. `agent`: the
    kind of a command-line researcher's sandbox, or empty, and `agent_fails` what fails in it.
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

    `number` is a guess: repeats and other answers may come first. `exploratory`: on a plateau `base` is an earlier
    keep, not the frontier. `fixes`: the crashed experiment whose change is to be fixed. `front`: which of several
    frontiers it is for. `stream`: which of several simultaneous requests; the answer names it again. `direction`: what
    this request should look at, so that simultaneous answers differ.
    """

    number: int
    base: str
    attempt: int
    exploratory: bool = False
    fixes: int | None = None
    front: Sparse[int] = 0
    stream: Sparse[int] = 0
    direction: Sparse[str] = ""


class ProposalFailed(Frozen):
    """No proposal this time. Asked again after `retry_seconds`; None: the loop waits for a human.

    `outage`: the network or the service is in trouble, which passes by itself and is not counted. `refused`: why the
    last answer was refused; the next request says so. `stream` as in :class:`ProposalAsked`.
    """

    number: int
    error: str
    retry_seconds: float | None
    tokens: int = 0
    usd: float | None = None
    outage: bool = False
    refused: str = ""
    stream: Sparse[int] = 0


class ProposalMade(Frozen):
    """A proposal exists as a commit, which is what is shown, approved and trained.

    `exploratory`, `fixes`, `front` and `stream` as in :class:`ProposalAsked`; an exploratory proposal is not merged
    onto the frontier. `duplicate_of`: the experiment that this nearly repeats; the researcher was warned, and insisted.
    `combines`: the experiment whose change is put on top of the frontier, because the two won side by side.
    `repeat_of`: the experiment whose commit runs again under another `seed`; a repeat decides nothing by itself.
    `confirms`: the experiment whose verdict waits for this repeat, of its own commit or of the frontier's. `scale`: it
    runs with so many times the budget (0: an ordinary run), and with `scale_env` (`NAME=value`). `origin`: the result
    of another lab that it repeats or builds on; `claimed`: the other lab's score for this very code, if comparable with
    ours.
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
    front: Sparse[int] = 0
    confirms: Sparse[int | None] = None
    scale: Sparse[float] = 0.0
    scale_env: Sparse[tuple[str, ...]] = ()
    origin: Sparse[str] = ""
    claimed: Sparse[float | None] = None
    stream: Sparse[int] = 0


class CriticAsked(Frozen):
    """A critic reads the proposal `commit` of experiment `number`; `attempt` counts from 1."""

    number: int
    commit: str
    attempt: int = 1


class CriticAnswered(Frozen):
    """The second opinion on that commit. `reasons`: the critic's own words, or why it gave no answer.

    `goes_back`: the critic did not agree, and the researcher is asked for another proposal with that objection; False
    if that has happened as often in a row as the lab allows. `retry_seconds`: when a critic without an answer is asked
    again; None: when a human resumes, or an engine starts.
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
    """Neither decided by the policy nor launched before `until` (UTC, ISO 8601; empty: until it is released).

    `why`: "read" or "answer" while a human is at it, "hold" on request, empty once it is released. `deadline`: the
    policy's new one, so that a human who leaves may come back; empty: unchanged.
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
    """Will not be trained; the researcher gets the reason."""

    number: int
    commit: str
    by: str
    reason: str


class ProposalRebased(Frozen):
    """Merged onto the frontier, which moved while it waited. If the diff changed, an approval is void.

    `edited`: instead, a human changed it by hand, and `description`, if any, is the human's. `approved_by`: set if the
    edit is an approval.
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
    """Ended without a run or a veto: it no longer applies to the frontier, or was replaced."""

    number: int
    reason: str


class NoteGiven(Frozen):
    """A human's steering note for the next request."""

    text: str


class NoteWithdrawn(Frozen):
    """A human took back the note of `record` (its seq) before a request carried it."""

    record: int
    by: str


class PauseAsked(Frozen):
    """Nothing new is launched. `by`: human, or engine with a reason. `stop_run`: the present run is requeued.

    `limit`: the limit that is used up (testing_budget), if that is the reason; then only its renewal ends the pause.
    """

    by: str
    reason: str = ""
    stop_run: bool = False
    limit: Sparse[str] = ""


class Resumed(Frozen):
    by: str


class StopAsked(Frozen):
    """`when`: `after` the present run, or `now`."""

    when: str


class StopCancelled(Frozen):
    """The requested stop after the present run is cancelled."""

    by: str


class DigestAsked(Frozen):
    """A page about the session so far is being written for the human. `by`: human, or engine at the session's end."""

    by: str


class DigestWritten(Frozen):
    """The page is in the session's folder as digest.md.

    It has `numbers` numbers, of which `missing` are not in the journal and marked. `why`: why its author is not the
    researcher; `verdicts`: how many the session had given by then.
    """

    author: str
    verdicts: int
    numbers: int
    missing: int
    why: str = ""
    tokens: int = 0
    usd: float | None = None


class DeviceJoined(Frozen):
    """A device of a cluster may be given runs from now on: its node passed the checks of the session's class.

    `device` is its name (`gpu-3:0`), `node` its machine, `model` the accelerator or empty. `found`: what the checks
    found on the node (versions, driver, the data's manifest), by name.
    """

    device: str
    node: str
    model: str = ""
    found: Mapping[str, str] = field(default_factory=dict)


class DeviceLeft(Frozen):
    """It gets no more runs: its node is gone, about to be taken away, or failed."""

    device: str
    reason: str


class DeviceSetAside(Frozen):
    """It is present but gets no more runs: its baseline lies outside the others' spread, or a human decided so."""

    device: str
    reason: str
    by: str = "engine"


class NodeRefused(Frozen):
    """A present node is not used: how it differs from the session's class, and the remedy."""

    node: str
    reason: str
    remedy: str = ""


class CommandRefused(Frozen):
    """A human's command was not carried out. `number`: the experiment, if an edit was refused."""

    command: str
    why: str
    number: int | None = None


class CommandRedundant(Frozen):
    """A human's command asks for what already holds: nothing changes."""

    command: str
    why: str


class RecordLost(Frozen):
    """Stands in place of a line of the journal that was damaged beyond repair; changes nothing."""

    line: int


class TroubleMet(Frozen):
    """Something outside blocks the next step, which is retried after `retry_seconds` unless that cannot help."""

    what: str
    remedy: str
    retry_seconds: float | None = None


class TroubleCleared(Frozen):
    """The blocked step works again."""

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

    `request`: the id of the command that this answers, if it came through the session's inbox.
    """

    seq: int
    time: str
    event: Event
    request: str = ""
