"""Pure: `fold(state, record)` is the only way that anything becomes known. One rule for each event."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from functools import reduce, singledispatch
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from autoresearch_tui.session import asks, cost, draws, fleet, prior_results
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import FAILED, JUDGED, Opinion, Outcome, RunEnd
from autoresearch_tui.session.failures import Streak
from autoresearch_tui.session.journal import JournalDamaged, Start, scan
from autoresearch_tui.session.questions import COMMIT, IS_OPEN, OUTCOME
from autoresearch_tui.session.sequence import Experiments
from autoresearch_tui.session.state import TABLE, Experiment, Judgement, Stage, State, best_keep
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.errors import UserError

# What a record changes, by the field's name.
Changes = dict[str, Any]

_RELEASED: Changes = {"held": "", "held_until": ""}
_NOT_RUN: Changes = {"run": None, "stop": None, "given_up": None, "invalidated": "", "draw": None, "rescored": ()}
_UNCRITICISED: Changes = {"critic": None, "criticised_at": "", "critic_attempts": 0}
_UNDECIDED: Changes = {"dropped": None, "ended_at": "", "approved_by": "", "review": None}


def fold(state: State, record: ev.Record) -> State:
    """The state after one more record. Raises ValueError if the record cannot follow."""
    if record.seq != state.seq + 1:
        raise ValueError(f"record {record.seq} cannot follow {state.seq}")
    try:
        changes = _changes(record.event, state, record.time)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(record.event).__name__} cannot happen here: {error!r}") from None
    paid = cost.paid(state, record.event, record.time)
    return replace(state, **changes, **paid, seq=record.seq, time=record.time)


def fold_all(records: Iterable[ev.Record], state: State | None = None) -> State:
    """:func:`fold` over many records."""
    return reduce(fold, records, state or State())


def state_of(path: Path, records: Iterable[ev.Record], state: State | None = None) -> State:
    """What a journal amounts to, or what came after `state` does. Raises JournalDamaged at a record that cannot follow
    those before it."""
    state = state or State()
    for record in records:
        try:
            state = fold(state, record)
        except ValueError as error:
            raise JournalDamaged(path, record.seq, str(error)) from None
    return state


def _update(state: State, number: int, **changes: Any) -> Changes:
    if not 0 <= number < len(state.experiments):
        raise ValueError(f"there is no experiment {number}")
    return {"experiments": state.experiments.replacing(replace(state.experiments[number].whole, **changes))}


@singledispatch
def _changes(event: ev.Event, state: State, time: str) -> Changes:
    raise ValueError(f"no rule for {type(event).__name__}")


@_changes.register(ev.SessionBegan)
def _(event: ev.SessionBegan, state: State, time: str) -> Changes:
    return {"session": event}


@_changes.register(ev.HistoryRead)
def _(event: ev.HistoryRead, state: State, time: str) -> Changes:
    rows = (*state.prior[: event.start], *prior_results.from_rows(event.rows))
    return {
        "prior": rows,
        "prior_source": event.path,
        "prior_total": event.total or len(rows),
        "prior_left_out": event.left_out,
    }


@_changes.register(ev.SharedRead)
def _(event: ev.SharedRead, state: State, time: str) -> Changes:
    known = {one.name: one for one in (*state.shared, *prior_results.from_rows(event.rows))}
    return {"shared": tuple(known.values()), "shared_left_out": event.left_out}


@_changes.register(ev.EngineStarted)
def _(event: ev.EngineStarted, state: State, time: str) -> Changes:
    # A proposer that was at work died with its engine. A human who starts again has got the stop that was asked for.
    return {
        "engine": event,
        "last_engine": event,
        "engine_since": time,
        "away": (*state.away, (state.time, time)) if state.in_flight else (),
        "stopped": None,
        "overrides": event.overrides,
        "asking": asks.after_engine(state.asking),
        "stopping": state.stopping if event.successor else "",
        "trouble": None,
        "digest_asked": None,
        **_critics_again(state),
    }


@_changes.register(ev.EngineStopped)
def _(event: ev.EngineStopped, state: State, time: str) -> Changes:
    gone = {"asking": asks.after_engine(state.asking), "critic_asked": None, "digest_asked": None}
    return {"engine": None, "stopped": event, **gone}


@_changes.register(ev.SandboxChecked)
def _(event: ev.SandboxChecked, state: State, time: str) -> Changes:
    return {"sandbox": event}


@_changes.register(ev.DeviceJoined)
@_changes.register(ev.DeviceLeft)
@_changes.register(ev.DeviceSetAside)
@_changes.register(ev.NodeRefused)
def _(event: fleet.Change, state: State, time: str) -> Changes:
    now = fleet.after(state.fleet, event, time)
    # What is paid for, and how many runs end in an hour, goes by the devices that are there.
    engine = replace(state.engine, devices=max(1, now.present)) if state.engine is not None else None
    return {"fleet": now, "engine": engine, "last_engine": engine or state.last_engine}


@_changes.register(ev.ProgramRead)
def _(event: ev.ProgramRead, state: State, time: str) -> Changes:
    return {"program": event.version}


@_changes.register(ev.ProposalAsked)
def _(event: ev.ProposalAsked, state: State, time: str) -> Changes:
    sent = {"sent_notes": state.notes, "waiting_notes": ()}
    return {"asking": asks.after_request(state, event, time), "failed": None, **sent}


@_changes.register(ev.ProposalFailed)
def _(event: ev.ProposalFailed, state: State, time: str) -> Changes:
    return {**asks.after_failure(state, event, time)}


@_changes.register(ev.ProposalMade)
def _(event: ev.ProposalMade, state: State, time: str) -> Changes:
    if event.number != len(state.experiments):
        raise ValueError(f"experiment {event.number} cannot follow {len(state.experiments) - 1}")
    experiments = state.experiments.with_next(Experiment(event, proposed_at=time))
    if event.front not in state.heads and state.heads:  # the front begins where its first proposal does
        at = next(state.experiments.having(COMMIT, event.base), None)
        if at is not None:
            return {**_proposed(state, event, time, experiments), "heads": _stands(state, event.front, at.number)}
    return _proposed(state, event, time, experiments)


def _proposed(state: State, event: ev.ProposalMade, time: str, experiments: Experiments) -> Changes:
    if event.repeat_of is not None or event.combines is not None or event.origin:  # no answer of the researcher's
        return {"experiments": experiments}
    return {"experiments": experiments, **asks.after_proposal(state, event, time)}


@_changes.register(ev.CriticAsked)
def _(event: ev.CriticAsked, state: State, time: str) -> Changes:
    asked = {"critic_asked": event, "critic_asked_at": time}
    return asked | _update(state, event.number, critic=None, critic_attempts=event.attempt)


@_changes.register(ev.CriticAnswered)
def _(event: ev.CriticAnswered, state: State, time: str) -> Changes:
    answered: Changes = {
        "critic_asked": None,
        "critic_usd": state.critic_usd + (event.usd or 0.0),
        "critic_tokens": state.critic_tokens + event.tokens,
    }
    if state.experiments[event.number].commit != event.commit:  # it changed meanwhile
        return answered
    return answered | _update(state, event.number, critic=event, criticised_at=time)


def _critics_again(state: State) -> Changes:
    """A critic that was at work died with its engine, and one that gave no answer is asked once more, while it may."""
    experiments = state.experiments
    for each in experiments.having(IS_OPEN, True):
        if each.critic is not None and each.critic.opinion == Opinion.NONE:
            experiments = experiments.replacing(replace(each, **_UNCRITICISED))
    return {"critic_asked": None, "experiments": experiments}


@_changes.register(ev.ReviewOpened)
def _(event: ev.ReviewOpened, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.REVIEW, review=event)


@_changes.register(ev.ProposalHeld)
def _(event: ev.ProposalHeld, state: State, time: str) -> Changes:
    review = state.experiments[event.number].review
    if review is not None and event.deadline:
        review = replace(review, deadline=event.deadline)
    return _update(state, event.number, held=event.why, held_until=event.until, review=review)


@_changes.register(ev.ProposalApproved)
def _(event: ev.ProposalApproved, state: State, time: str) -> Changes:
    approved = {"stage": Stage.APPROVED, "review": None, "approved_by": event.by, "edit_refused": ""}
    approved |= {"dropped": None, "ended_at": ""}  # a human may approve what the policy has vetoed
    if not event.by.startswith("human"):
        return _update(state, event.number, **approved)
    changes = _update(state, event.number, **approved, **_RELEASED)
    # Asking for a repeat is its approval, and there is nothing before it to go back to.
    asked_for = state.experiments[event.number].proposal.repeat_of is not None
    return changes if asked_for else changes | _judged(state, event.number, "approved")


@_changes.register(ev.ProposalVetoed)
def _(event: ev.ProposalVetoed, state: State, time: str) -> Changes:
    changes = _update(state, event.number, stage=Stage.DONE, review=None, dropped=event, ended_at=time, **_RELEASED)
    return changes | _judged(state, event.number, "vetoed") if event.by == "human" else changes


@_changes.register(ev.ProposalWithdrawn)
def _(event: ev.ProposalWithdrawn, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.DONE, review=None, dropped=event, ended_at=time)


def _judged(state: State, number: int, what: str) -> Changes:
    """What a human decided, remembered for as long as they may take it back."""
    judgement = Judgement(
        seq=state.seq + 1,
        what=what,
        before=state.experiments[number].whole,
        made=len(state.experiments),
        verdicts=state.verdicts,
        frontier_number=state.frontier_number,
        frontier_history=state.frontier_history,
        heads=state.heads,
    )
    return {"judgements": (*state.judgements, judgement)}


@_changes.register(ev.JudgementUndone)
def _(event: ev.JudgementUndone, state: State, time: str) -> Changes:
    if not state.judgements or state.judgements[-1].seq != event.record:
        raise ValueError(f"record {event.record} is not the last judgement")
    last = state.judgements[-1]
    back = replace(last.before, **_RELEASED)
    if back.stage in (Stage.REVIEW, Stage.PROPOSED):
        # The gate opens again, with a clock of its own. The diff may have been merged onto another base since.
        back = replace(state.experiments[event.number].whole, stage=Stage.PROPOSED, **_RELEASED, **_UNDECIDED)
    experiments = state.experiments.replacing(back)
    changes: Changes = {"experiments": experiments, "judgements": state.judgements[:-1]}
    if back.outcome in JUDGED:
        changes |= {"frontier_number": last.frontier_number, "frontier_history": last.frontier_history}
        changes["heads"] = MappingProxyType({**state.heads, **last.heads})
        changes["best_number"] = _best(state, experiments.having(OUTCOME, Outcome.KEEP))
    return changes


def _best(state: State, experiments: Iterable[Experiment]) -> int | None:
    """The best keep of these. Of fresh draws the newest: it has beaten the one before it on one draw."""
    if not draws.fresh(state):
        return best_keep(experiments, state.goal)
    kept = [e for e in experiments if e.outcome == Outcome.KEEP and e.value is not None]
    return max(kept, key=lambda e: e.judged_after).number if kept else None


@_changes.register(ev.ProposalRebased)
def _(event: ev.ProposalRebased, state: State, time: str) -> Changes:
    old = state.experiments[event.number]
    proposal = replace(
        old.proposal,
        commit=event.commit,
        base=event.base,
        added=event.added,
        removed=event.removed,
        flags=event.flags,
        low_risk=event.low_risk,
        description=event.description or old.description,
        claimed=None,  # it is other code than theirs now
    )
    # An approval holds for a diff: where the merge changed it, the gate opens again.
    still_approved = old.stage is Stage.APPROVED and not event.diff_changed
    changes = _update(
        state,
        event.number,
        proposal=proposal,
        stage=Stage.APPROVED if still_approved else Stage.PROPOSED,
        review=None,
        approved_by=old.approved_by if still_approved else "",
        edited=old.edited or event.edited,
        edit_refused="",
        **(_UNCRITICISED if event.diff_changed else {}),
    )
    asked = state.critic_asked
    if asked is not None and asked.number == event.number and not event.diff_changed:
        changes["critic_asked"] = replace(asked, commit=event.commit)
    if event.approved_by:  # as if its approval followed
        approved = ev.ProposalApproved(event.number, event.commit, event.approved_by)
        return changes | _changes(approved, replace(state, **changes), time)
    return changes


@_changes.register(ev.RunRequeued)
def _(event: ev.RunRequeued, state: State, time: str) -> Changes:
    old = state.experiments[event.number]
    asked_for = bool(old.invalidated) or (old.run is not None and old.run.reason == RunEnd.KILLED)
    retries = old.infrastructure_retries if asked_for or not event.began else old.infrastructure_retries + 1
    again = {"stage": Stage.APPROVED, "started_at": "", "infrastructure_retries": retries}
    return _update(state, event.number, **again, **_NOT_RUN)


@_changes.register(ev.RunStarted)
def _(event: ev.RunStarted, state: State, time: str) -> Changes:
    run = {"stage": Stage.RUNNING, "attempt": event.attempt, "device": event.device, "started_at": time}
    return _update(state, event.number, **run, **_NOT_RUN, **_RELEASED)


@_changes.register(ev.RunStopAsked)
def _(event: ev.RunStopAsked, state: State, time: str) -> Changes:
    return _update(state, event.number, stop=event)


@_changes.register(ev.RunGivenUp)
def _(event: ev.RunGivenUp, state: State, time: str) -> Changes:
    return _update(state, event.number, given_up=event)


@_changes.register(ev.RunInvalidated)
def _(event: ev.RunInvalidated, state: State, time: str) -> Changes:
    return _update(state, event.number, invalidated=event.why)


@_changes.register(ev.RunEnded)
def _(event: ev.RunEnded, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.ENDED, run=event, trained_at=time)


@_changes.register(ev.DataDrawn)
def _(event: ev.DataDrawn, state: State, time: str) -> Changes:
    if state.experiments[event.number].stage is not Stage.ENDED:
        raise ValueError(f"the run of #{event.number} has not ended, or is scored already")
    return _update(state, event.number, draw=event)


@_changes.register(ev.Rescored)
def _(event: ev.Rescored, state: State, time: str) -> Changes:
    if not 0 <= event.other < len(state.experiments):
        raise ValueError(f"there is no experiment {event.other}")
    known = (each for each in state.experiments[event.number].rescored if each.other != event.other)
    return _update(state, event.number, rescored=(*known, event))


@_changes.register(ev.RunScored)
def _(event: ev.RunScored, state: State, time: str) -> Changes:
    return _update(state, event.number, stage=Stage.SCORED, score=event)


@_changes.register(ev.VerdictDeferred)
def _(event: ev.VerdictDeferred, state: State, time: str) -> Changes:
    took = _took(state, event.number, time)
    return _update(state, event.number, stage=Stage.CONFIRMING, deferred=event, took_seconds=took)


def _took(state: State, number: int, time: str) -> float | None:
    """From launch until now, where nothing has happened since but scoring."""
    judged = state.experiments[number]
    if judged.run is None or judged.stage is Stage.CONFIRMING:
        return judged.took_seconds
    # An engine that died in between was away for as long as that lasted.
    since = judged.trained_at if judged.trained_at >= state.engine_since else time
    return judged.run.seconds + timestamps.between(since, time)


@_changes.register(ev.VerdictGiven)
def _(event: ev.VerdictGiven, state: State, time: str) -> Changes:
    judged, took = state.experiments[event.number], _took(state, event.number, time)
    given = {"verdict": event, "judged_after": state.verdicts, "took_seconds": took}
    changes = _update(state, event.number, stage=Stage.DONE, ended_at=time, **given)
    if event.verdict == Outcome.SCALED:
        return changes
    changes["verdicts"] = state.verdicts + 1
    changes["failing_runs"] = _failing_runs(state, event)
    if event.verdict == Outcome.KEEP:
        changes |= {
            "frontier_number": event.number,
            "frontier_history": (*state.frontier_history, (event.number, event.number)),
            "heads": _stands(state, judged.proposal.front, event.number),
        }
        # What beat the best is the best, also where later runs of that one were worse than the score it has.
        beaten = () if state.best is None or state.best is state.frontier else (state.best,)
        changes["best_number"] = _best(state, (*beaten, changes["experiments"][event.number]))
    elif event.leads:
        changes["heads"] = _stands(state, judged.proposal.front, event.number)
    return changes


def _stands(state: State, front: int, number: int) -> Mapping[int, int]:
    return MappingProxyType({**state.heads, front: number})


def _failing_runs(state: State, event: ev.VerdictGiven) -> Streak:
    experiment = state.experiments[event.number]
    killed = experiment.run is not None and experiment.run.reason == RunEnd.KILLED
    if experiment.stop is not None or (killed and experiment.given_up is None):
        return state.failing_runs  # a human's doing, which says nothing about the run
    return state.failing_runs.after(event.reason) if event.verdict in FAILED else Streak()


@_changes.register(ev.VerdictOverruled)
def _(event: ev.VerdictOverruled, state: State, time: str) -> Changes:
    old = state.experiments[event.number]
    if old.stage is Stage.CONFIRMING:  # its verdict follows, and says so
        return _update(state, event.number, decided=event)
    # A damaged journal may have lost the verdict that this is about.
    given = old.verdict or ev.VerdictGiven(event.number, event.verdict, None, 0.0, "")
    verdict = replace(
        given,
        verdict=event.verdict,
        value=old.score.value if old.value is None and old.score is not None else old.value,
        reason=f"{event.reason} (by {event.by}, in place of {old.outcome}: {old.reason})",
    )
    changes = _update(state, event.number, verdict=verdict, overruled=old.overruled or old.outcome)
    changes["best_number"] = _best(state, changes["experiments"].having(OUTCOME, Outcome.KEEP))
    changes |= _judged(state, event.number, "kept" if event.verdict == Outcome.KEEP else "discarded")
    if event.verdict == Outcome.KEEP:
        return changes | _moved(state, event.number)
    if state.frontier_number == event.number:
        return changes | _moved(state, changes["best_number"])
    if state.heads.get(old.proposal.front) == event.number:  # the front begins anew
        heads = {front: number for front, number in state.heads.items() if number != event.number}
        changes["heads"] = MappingProxyType(heads)
    return changes


@_changes.register(ev.FrontierMoved)
def _(event: ev.FrontierMoved, state: State, time: str) -> Changes:
    return _moved(state, event.number) | _judged(state, event.number, "continued from")


def _moved(state: State, number: int | None) -> Changes:
    """A frontier that no verdict of its own moment brought."""
    if number is not None and not 0 <= number < len(state.experiments):
        raise ValueError(f"there is no experiment {number}")
    last = next((e.number for e in reversed(state.experiments) if e.outcome in JUDGED), 0)
    if number is None:
        return {"frontier_number": None}
    front = state.experiments[number].proposal.front
    history = (*state.frontier_history, (last, number))
    return {"frontier_number": number, "frontier_history": history, "heads": _stands(state, front, number)}


@_changes.register(ev.NoteGiven)
def _(event: ev.NoteGiven, state: State, time: str) -> Changes:
    return {"waiting_notes": (*state.waiting_notes, asks.WaitingNote(state.seq + 1, event.text))}


@_changes.register(ev.NoteWithdrawn)
def _(event: ev.NoteWithdrawn, state: State, time: str) -> Changes:
    return {"waiting_notes": tuple(note for note in state.waiting_notes if note.seq != event.record)}


@_changes.register(ev.PauseAsked)
def _(event: ev.PauseAsked, state: State, time: str) -> Changes:
    return {"paused": event}


@_changes.register(ev.Resumed)
def _(event: ev.Resumed, state: State, time: str) -> Changes:
    streaks = {"failures": 0, "failing_proposals": Streak(), "failing_runs": Streak()}
    again = _critics_again(state) if state.critic_asked is None else {}
    return {"paused": None, "failed": None, "trouble": None, "stopping": "", **streaks, **again}


@_changes.register(ev.StopAsked)
def _(event: ev.StopAsked, state: State, time: str) -> Changes:
    return {"stopping": event.when}


@_changes.register(ev.StopCancelled)
def _(event: ev.StopCancelled, state: State, time: str) -> Changes:
    return {"stopping": ""}


@_changes.register(ev.BudgetRenewed)
def _(event: ev.BudgetRenewed, state: State, time: str) -> Changes:
    paused = state.paused
    return {"renewed": event.looks, "paused": None if paused is not None and paused.limit else paused}


@_changes.register(ev.HoldoutAsked)
def _(event: ev.HoldoutAsked, state: State, time: str) -> Changes:
    if state.holdout_asked is not None and (state.holdout is None or state.holdout.seen):
        raise ValueError("the holdout is opened once")
    if not all(0 <= number < len(state.experiments) for number in (event.best, event.baseline)):
        raise ValueError("there is nothing to score on the holdout")
    return {"holdout_asked": event, "holdout": None, "holdout_at": ""}


@_changes.register(ev.HoldoutOpened)
def _(event: ev.HoldoutOpened, state: State, time: str) -> Changes:
    if state.holdout_asked is None or state.holdout is not None:
        raise ValueError("nobody has asked for the holdout")
    return {"holdout": event, "holdout_at": time}


@_changes.register(ev.DigestAsked)
def _(event: ev.DigestAsked, state: State, time: str) -> Changes:
    return {"digest_asked": event}


@_changes.register(ev.DigestWritten)
def _(event: ev.DigestWritten, state: State, time: str) -> Changes:
    return {
        "digest_asked": None,
        "digest": event,
        "digest_usd": state.digest_usd + (event.usd or 0.0),
        "digest_tokens": state.digest_tokens + event.tokens,
    }


@_changes.register(ev.CommandRefused)
def _(event: ev.CommandRefused, state: State, time: str) -> Changes:
    changes = {} if event.number is None else _update(state, event.number, edit_refused=event.why)
    return changes | {"refused": event, "table_is_foreign": state.table_is_foreign or event.command == TABLE}


@_changes.register(ev.CommandRedundant)
def _(event: ev.CommandRedundant, state: State, time: str) -> Changes:
    return {}


@_changes.register(ev.RecordLost)
def _(event: ev.RecordLost, state: State, time: str) -> Changes:
    return {}


@_changes.register(ev.TroubleMet)
def _(event: ev.TroubleMet, state: State, time: str) -> Changes:
    return {"trouble": event, "trouble_at": time}


@_changes.register(ev.TroubleCleared)
def _(event: ev.TroubleCleared, state: State, time: str) -> Changes:
    return {"trouble": None}


def recorded(path: Path) -> tuple[tuple[ev.Record, ...], State]:
    """The records of a journal, at least one, and what they amount to. Raises UserError."""
    records, state, _ = read_from(path, Start(), State())
    return records, state


def read_from(path: Path, start: Start, before: State) -> tuple[tuple[ev.Record, ...], State, Start]:
    """The records of a journal after `start`, which amounts to `before`; what all of it amounts to, of at least one
    record; and its whole records' extent. Raises UserError."""
    try:
        with path.open("rb") as file:
            file.seek(start.size)
            data = file.read()
        found = scan(path, data, start.seq)
        state = state_of(path, found.records, before)
    except FileNotFoundError:
        raise UserError(f"{path}: no such session", "`autoresearch-tui` begins one") from None
    except JournalDamaged as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not state.seq:
        raise UserError(f"{path}: nothing has happened in this session yet")
    whole = memoryview(data)[: found.torn_at]
    return found.records, state, Start(start.size + len(whole), zlib.crc32(whole, start.checksum), state.seq)
