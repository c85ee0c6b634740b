"""Pure: what a proposal at the gate needs next, by the lab's settings and the clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from autoresearch_tui.lab.settings import ReviewSettings
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Opinion
from autoresearch_tui.session.state import Experiment, Stage
from autoresearch_tui.util import timestamps

BASELINE = "baseline"
REPEAT = "repeat"
JOIN = "join"
SHARED = "shared"
HUMAN = "human"
# Why a proposal is held: for a human who reads or answers it, or until it is released.
READ, ANSWER, HOLD = "read", "answer", "hold"
# The longest wait for a human who reads, or has begun an answer.
ATTENDED_SECONDS = 600.0
# A present human is journalled again after this.
RENEWED_SECONDS = 30.0
# The time that a human has to come back after leaving without an answer.
RELEASED_SECONDS = 15.0


def at_gate(experiment: Experiment, settings: ReviewSettings, now: datetime) -> ev.Event | None:
    """The next event of a proposal that is not approved yet, or None while it waits for a human.

    The policy's clock runs from the opening of the review, with or without a screen, so a dropped line can never launch
    what a human was still reading.
    """
    if experiment.stage is Stage.PROPOSED:
        return _open(experiment, settings, now)
    review = experiment.review
    if review is None or not review.deadline or timestamps.parse(review.deadline) > now or experiment.held_at(now):
        return None
    return _policy(experiment, review)


def _open(experiment: Experiment, settings: ReviewSettings, now: datetime) -> ev.Event:
    if experiment.proposal.author == BASELINE:
        return ev.ProposalApproved(experiment.number, experiment.commit, BASELINE)
    if experiment.proposal.author == REPEAT:
        return ev.ProposalApproved(experiment.number, experiment.commit, HUMAN)
    if settings.mode == "auto":
        return ev.ProposalApproved(experiment.number, experiment.commit, "auto")
    deadline = ""
    if settings.unattended != "hold":
        deadline = timestamps.stamp(now + timedelta(seconds=settings.after_seconds))
    return ev.ReviewOpened(experiment.number, experiment.commit, settings.unattended, deadline)


def hold(experiment: Experiment, why: str, now: datetime) -> ev.ProposalHeld | None:
    """A human is at it, or holds it; None if that is already journalled, or it is held."""
    before = experiment.held_at(now)
    if HOLD in (before, why):
        return None if before == HOLD else ev.ProposalHeld(experiment.number, experiment.commit, HOLD)
    until = now + timedelta(seconds=ATTENDED_SECONDS)
    if before == why and until - timestamps.parse(experiment.held_until) < timedelta(seconds=RENEWED_SECONDS):
        return None
    return ev.ProposalHeld(experiment.number, experiment.commit, why, timestamps.stamp(until))


def release(experiment: Experiment, now: datetime) -> ev.ProposalHeld:
    """The policy's clock runs again, with some seconds left for a human who left without an answer."""
    deadline = ""
    if experiment.deadline:
        later = max(timestamps.parse(experiment.deadline), now + timedelta(seconds=RELEASED_SECONDS))
        deadline = timestamps.stamp(later)
    return ev.ProposalHeld(experiment.number, experiment.commit, "", deadline=deadline)


def _policy(experiment: Experiment, review: ev.ReviewOpened) -> ev.Event | None:
    by = f"policy {review.policy}"
    if experiment.auto_approves:
        return ev.ProposalApproved(experiment.number, experiment.commit, by)
    if not experiment.auto_vetoes:
        return None
    if experiment.goes_back and experiment.critic is not None:
        return ev.ProposalVetoed(experiment.number, experiment.commit, by, objection(experiment.critic))
    reason = "nobody answered in time"
    if experiment.proposal.flags:
        reason += f", and the diff touches {', '.join(sorted({kind(flag) for flag in experiment.proposal.flags}))}"
    return ev.ProposalVetoed(experiment.number, experiment.commit, by, reason)


def objection(answer: ev.CriticAnswered) -> str:
    """Why the critic did not agree."""
    return f"the critic {'disagrees' if answer.opinion == Opinion.DISAGREE else 'is unsure'}: {answer.reasons}"


def flag_text(path: str, line: int, kind: str, why: str) -> str:
    """A risk flag as the journal carries it."""
    return f"{path}:{line} {kind} {why}"


def kind(flag: str) -> str:
    """The kind of a flag that :func:`flag_text` wrote."""
    words = flag.split(" ", 2)
    return words[1] if len(words) > 1 else flag
