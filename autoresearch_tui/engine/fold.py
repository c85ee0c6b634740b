"""Pure: `fold(state, record)` is the only way that anything becomes known. One rule for each event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce, singledispatch
from typing import Any

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.reading import foreign
from autoresearch_tui.engine.state import TABLE, TABLED, Experiment, Stage, State, best_keep

# What a record changes, by the field's name.
Changes = dict[str, Any]


def fold(state: State, record: ev.Record) -> State:
    """The state after one more record. Raises ValueError where the record cannot follow."""
    if record.seq != state.seq + 1:
        raise ValueError(f"record {record.seq} cannot follow {state.seq}")
    return replace(state, **_changes(record.event, state, record.time), seq=record.seq, time=record.time)


def fold_all(records: Iterable[ev.Record], state: State | None = None) -> State:
    """:func:`fold` over many records."""
    return reduce(fold, records, state or State())


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
def _(event: ev.HistoryRead, state: State, time: str) -> Changes:
    return {"earlier": foreign.from_rows(event.rows), "earlier_from": event.path}


@_changes.register
def _(event: ev.EngineStarted, state: State, time: str) -> Changes:
    # A proposer that was at work died with its engine. A human who starts again has got the stop that was asked for.
    return {
        "engine": event,
        "stopped": None,
        "overrides": event.overrides,
        "asked": None,
        "stopping": state.stopping if event.successor else "",
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
        joins=event.joins,
        repeat_of=event.repeat_of,
        seed=event.seed,
    )
    if event.repeat_of is not None or event.joins is not None:  # no answer of the researcher's
        return {"experiments": (*state.experiments, made)}
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
    old = state.experiments[event.number]
    asked_for = bool(old.spoiled) or (old.run is not None and old.run.reason == "killed")
    spared = old.spared if asked_for else old.spared + 1
    return _update(state, event.number, stage=Stage.APPROVED, started_at="", spoiled="", run=None, spared=spared)


@_changes.register
def _(event: ev.RunStarted, state: State, time: str) -> Changes:
    run = {"attempt": event.attempt, "device": event.device, "started_at": time, "run": None}
    return _update(state, event.number, stage=Stage.RUNNING, **run)


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
        stderr=event.stderr,
        spread=event.spread,
        inside_noise=event.inside_noise,
        ended_at=time,
        turn=state.verdicts,
    )
    changes["verdicts"] = state.verdicts + 1
    if event.verdict == "keep":
        changes |= {"frontier": event.number, "way": (*state.way, (event.number, event.number))}
    return changes


@_changes.register
def _(event: ev.VerdictOverruled, state: State, time: str) -> Changes:
    old = state.experiments[event.number]
    value = old.value if old.score is None else old.score.value
    changes = _update(
        state,
        event.number,
        outcome=event.verdict,
        value=value,
        overruled=old.overruled or old.outcome,
        reason=f"{event.reason} (by {event.by}, in place of {old.outcome}: {old.reason})",
    )
    if event.verdict == "keep":
        return changes | _moved(state, event.number)
    if state.frontier == event.number:
        return changes | _moved(state, best_keep(changes["experiments"], state.session))
    return changes


@_changes.register
def _(event: ev.FrontierMoved, state: State, time: str) -> Changes:
    return _moved(state, event.number)


def _moved(state: State, number: int | None) -> Changes:
    """A frontier that no verdict of its own moment brought."""
    last = max((e.number for e in state.experiments if e.outcome in TABLED), default=0)
    return {"frontier": number} if number is None else {"frontier": number, "way": (*state.way, (last, number))}


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
    return {"refused": event, "table_is_foreign": state.table_is_foreign or event.command == TABLE}


@_changes.register
def _(event: ev.TroubleMet, state: State, time: str) -> Changes:
    return {"trouble": event, "trouble_at": time}


@_changes.register
def _(event: ev.TroubleCleared, state: State, time: str) -> Changes:
    return {"trouble": None}
