"""Pure: whether a human's last judgement can still be taken back."""

from __future__ import annotations

from autoresearch_tui.session.state import IN_FLIGHT, WAITING, Judgement, Stage, State


def last(state: State) -> Judgement | None:
    """The judgement that an undo would take back; None if there is none, or it is too late."""
    return state.judgements[-1] if state.judgements and not too_late(state) else None


def too_late(state: State) -> str:
    """Why the last judgement stands; empty if it can be taken back."""
    if not state.judgements:
        return "you have decided nothing yet"
    judgement = state.judgements[-1]
    number = judgement.number
    if judgement.what == "approved":
        return _launched(state, number)
    if judgement.what == "vetoed":
        later = (e for e in state.experiments.since(judgement.made) if e.repeat_of is None and e.combines is None)
        instead = next(later, None)
        return f"#{instead.number} was proposed in place of #{number}" if instead else ""
    if state.verdicts > judgement.verdicts:
        return f"another verdict was given since #{number} was {judgement.what}; O overrules, C continues from another"
    return ""


def _launched(state: State, number: int) -> str:
    experiment = state.experiments[number]
    if experiment.stage in IN_FLIGHT:
        return f"#{number} is in training already; s stops it"
    if experiment.stage not in WAITING:
        return f"#{number} has already run"
    if experiment.stage is not Stage.APPROVED:
        return f"#{number} changed since you approved it, and waits for your review again"
    return ""
