"""Pure: what a journal amounts to. `fold(state, record)` is the only way that anything becomes known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import reduce, singledispatch
from types import MappingProxyType
from typing import Any

from autoresearch_tui.engine import events as ev


class Stage(StrEnum):
    """Where an experiment is. Everything before DONE is open."""

    PROPOSED = "proposed"
    REVIEW = "review"
    APPROVED = "approved"
    RUNNING = "running"
    ENDED = "ended"
    SCORED = "scored"
    DONE = "done"


# What a record changes, by the field's name.
Changes = dict[str, Any]

IN_FLIGHT = frozenset({Stage.RUNNING, Stage.ENDED, Stage.SCORED})
WAITING = frozenset({Stage.PROPOSED, Stage.REVIEW, Stage.APPROVED})
TABLED = frozenset({"keep", "discard", "crash", "invalid"})


@dataclass(frozen=True, slots=True)
class Experiment:
    """Proposal, review, run, score and verdict together. Times are UTC, ISO 8601; memory is GiB.

    `outcome` is empty while open; then keep, discard, crash, invalid, vetoed or withdrawn. `side`, `mends` and
    `repeats` are :class:`~autoresearch_tui.engine.events.ProposalMade`'s.
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
    flags: tuple[str, ...]
    low_risk: bool
    tokens: int
    usd: float | None
    stage: Stage
    proposed_at: str
    policy: str = ""
    deadline: str = ""
    approved_by: str = ""
    attempt: int = 0
    started_at: str = ""
    ended_at: str = ""
    spoiled: str = ""
    run: ev.RunEnded | None = None
    score: ev.RunScored | None = None
    outcome: str = ""
    value: float | None = None
    memory_gb: float = 0.0
    reason: str = ""
    side: bool = False
    mends: int | None = None
    repeats: int | None = None

    @property
    def name(self) -> str:
        """`0007`: the name of its run folder and of its ref."""
        return f"{self.number:04d}"


@dataclass(frozen=True, slots=True)
class State:
    """The whole session. `experiments[n]` is experiment n; `frontier` is the number of the best kept one."""

    seq: int = 0
    time: str = ""
    session: ev.SessionBegan | None = None
    engine: ev.EngineStarted | None = None
    cage: ev.CageChecked | None = None
    stopped: ev.EngineStopped | None = None
    overrides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    experiments: tuple[Experiment, ...] = ()
    frontier: int | None = None
    program: str = ""
    asked: ev.ProposalAsked | None = None
    asked_at: str = ""
    failed: ev.ProposalFailed | None = None
    failed_at: str = ""
    failures: int = 0
    failed_usd: float = 0.0
    failed_tokens: int = 0
    paused: ev.PauseAsked | None = None
    stopping: str = ""
    trouble: ev.TroubleMet | None = None
    trouble_at: str = ""
    notes: tuple[str, ...] = ()
    refused: ev.CommandRefused | None = None

    @property
    def best(self) -> Experiment | None:
        """The frontier's experiment, where there is one."""
        return None if self.frontier is None else self.experiments[self.frontier]

    @property
    def frontier_commit(self) -> str:
        """Where the next proposal starts: the best kept commit, or the session's base before the first keep."""
        if self.best is not None:
            return self.best.commit
        return self.session.base if self.session else ""

    @property
    def running(self) -> Experiment | None:
        """The experiment between launch and verdict, where there is one."""
        return next((e for e in reversed(self.experiments) if e.stage in IN_FLIGHT), None)

    @property
    def waiting(self) -> tuple[Experiment, ...]:
        """Proposals between their making and their launch, oldest first."""
        return tuple(e for e in self.experiments[-16:] if e.stage in WAITING)

    @property
    def table(self) -> tuple[Experiment, ...]:
        """The rows of results.tsv: every experiment that has a verdict, in the order of their verdicts."""
        return tuple(sorted((e for e in self.experiments if e.outcome in TABLED), key=lambda e: e.ended_at))

    @property
    def usd(self) -> float:
        """What the session's proposals have cost, failed ones included, as far as prices are known."""
        return self.failed_usd + sum(e.usd or 0.0 for e in self.experiments)

    @property
    def tokens(self) -> int:
        """What the session's proposals have taken in tokens, failed ones included, as far as they are counted."""
        return self.failed_tokens + sum(e.tokens for e in self.experiments)


def fold(state: State, record: ev.Record) -> State:
    """The state after one more record. Raises ValueError where the record cannot follow."""
    if record.seq != state.seq + 1:
        raise ValueError(f"record {record.seq} cannot follow {state.seq}")
    return replace(state, **_changes(record.event, state, record.time), seq=record.seq, time=record.time)


def fold_all(records: Iterable[ev.Record], state: State | None = None) -> State:
    """:func:`fold` over many records."""
    return reduce(fold, records, state or State())


def better(state: State, value: float) -> bool:
    """Whether `value` beats the frontier by more than the lab's margin. Strictly: an equal score does not."""
    if state.session is None or state.best is None or state.best.value is None:
        return True
    gain = state.best.value - value if state.session.goal == "minimize" else value - state.best.value
    return gain > state.session.keep_margin


def _update(state: State, number: int, **changes: Any) -> Changes:
    if not 0 <= number < len(state.experiments):
        raise ValueError(f"there is no experiment {number}")
    experiments = list(state.experiments)
    experiments[number] = replace(experiments[number], **changes)
    return {"experiments": tuple(experiments)}


@singledispatch
def _changes(event: ev.Event, state: State, time: str) -> Changes:
    raise ValueError(f"no rule for {type(event).__name__}")


@_changes.register
def _(event: ev.SessionBegan, state: State, time: str) -> Changes:
    return {"session": event}


@_changes.register
def _(event: ev.EngineStarted, state: State, time: str) -> Changes:
    # A proposer that was at work died with its engine; a stop that was asked for has happened.
    return {
        "engine": event,
        "stopped": None,
        "overrides": event.overrides,
        "asked": None,
        "stopping": "",
        "trouble": None,
    }


@_changes.register
def _(event: ev.EngineStopped, state: State, time: str) -> Changes:
    return {"engine": None, "stopped": event, "asked": None}


@_changes.register
def _(event: ev.CageChecked, state: State, time: str) -> Changes:
    return {"cage": event}


@_changes.register
def _(event: ev.ProgramRead, state: State, time: str) -> Changes:
    return {"program": event.version}


@_changes.register
def _(event: ev.ProposalAsked, state: State, time: str) -> Changes:
    return {"asked": event, "asked_at": time, "failed": None}


@_changes.register
def _(event: ev.ProposalFailed, state: State, time: str) -> Changes:
    return {
        "asked": None,
        "failed": event,
        "failed_at": time,
        "failures": state.failures + 1,
        "failed_usd": state.failed_usd + (event.usd or 0.0),
        "failed_tokens": state.failed_tokens + event.tokens,
    }


@_changes.register
def _(event: ev.ProposalMade, state: State, time: str) -> Changes:
    if event.number != len(state.experiments):
        raise ValueError(f"experiment {event.number} cannot follow {len(state.experiments) - 1}")
    made = Experiment(
        number=event.number,
        commit=event.commit,
        base=event.base,
        description=event.description,
        hypothesis=event.hypothesis,
        author=event.author,
        program=event.program,
        added=event.added,
        removed=event.removed,
        flags=event.flags,
        low_risk=event.low_risk,
        tokens=event.tokens,
        usd=event.usd,
        stage=Stage.PROPOSED,
        proposed_at=time,
        side=event.side,
        mends=event.mends,
        repeats=event.repeats,
    )
    return {"experiments": (*state.experiments, made), "asked": None, "failed": None, "failures": 0}


@_changes.register
def _(event: ev.ReviewOpened, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.REVIEW, policy=event.policy, deadline=event.deadline)


@_changes.register
def _(event: ev.ProposalApproved, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.APPROVED, approved_by=event.by, deadline="")


@_changes.register
def _(event: ev.ProposalVetoed, state: State, time: str) -> Changes:
    reason = f"{event.reason} (by {event.by})" if event.by != "human" else event.reason
    return _update(state, event.number, stage=Stage.DONE, outcome="vetoed", reason=reason, deadline="", ended_at=time)


@_changes.register
def _(event: ev.ProposalRebased, state: State, time: str) -> Changes:
    old = state.experiments[event.number]
    # An approval holds for a diff: where the merge changed it, the gate opens again.
    kept = old.stage is Stage.APPROVED and not event.diff_changed
    return _update(
        state,
        event.number,
        commit=event.commit,
        base=event.base,
        added=event.added,
        removed=event.removed,
        flags=event.flags,
        low_risk=event.low_risk,
        stage=Stage.APPROVED if kept else Stage.PROPOSED,
        approved_by=old.approved_by if kept else "",
    )


@_changes.register
def _(event: ev.ProposalWithdrawn, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.DONE, outcome="withdrawn", reason=event.reason, ended_at=time)


@_changes.register
def _(event: ev.ProposalPutBack, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.APPROVED, started_at="", spoiled="", run=None)


@_changes.register
def _(event: ev.RunStarted, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.RUNNING, attempt=event.attempt, started_at=time, run=None)


@_changes.register
def _(event: ev.RunSpoiled, state: State, time: str) -> Changes:
    return _update(state, event.number, spoiled=event.why)


@_changes.register
def _(event: ev.RunEnded, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.ENDED, run=event)


@_changes.register
def _(event: ev.RunScored, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.SCORED, score=event)


@_changes.register
def _(event: ev.VerdictGiven, state: State, time: str) -> Changes:
    changes = _update(
        state,
        event.number,
        stage=Stage.DONE,
        outcome=event.verdict,
        value=event.value,
        memory_gb=event.memory_gb,
        reason=event.reason,
        ended_at=time,
    )
    return changes | {"frontier": event.number} if event.verdict == "keep" else changes


@_changes.register
def _(event: ev.NoteGiven, state: State, time: str) -> Changes:
    return {"notes": (*state.notes, event.text)}


@_changes.register
def _(event: ev.PauseAsked, state: State, time: str) -> Changes:
    return {"paused": event}


@_changes.register
def _(event: ev.Resumed, state: State, time: str) -> Changes:
    return {"paused": None, "failed": None, "failures": 0, "trouble": None, "stopping": ""}


@_changes.register
def _(event: ev.StopAsked, state: State, time: str) -> Changes:
    return {"stopping": event.when}


@_changes.register
def _(event: ev.CommandRefused, state: State, time: str) -> Changes:
    return {"refused": event}


@_changes.register
def _(event: ev.TroubleMet, state: State, time: str) -> Changes:
    return {"trouble": event, "trouble_at": time}


@_changes.register
def _(event: ev.TroubleCleared, state: State, time: str) -> Changes:
    return {"trouble": None}
