"""The gate, pure: what a waiting proposal needs next, from the lab's settings and the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.state import Experiment, Stage
from autoresearch_tui.settings import ReviewSettings

BASELINE = "baseline"
REPEAT = "repeat"
JOIN = "join"
HUMAN = "human"
# How long a human who has begun an answer is waited for.
ATTENDED_SECONDS = 600.0
# And what they get to think again where they gave none.
RELEASED_SECONDS = 15.0


def at_gate(experiment: Experiment, settings: ReviewSettings, now: datetime) -> ev.Event | None:
    """The next event of a proposal that is not approved yet, or None while it waits for a human.

    The policy's clock runs from the opening of the review, whoever watches: a dropped line neither starts nor
    shortens it, so it can never launch what a human was still reading.
    """
    if experiment.stage is Stage.PROPOSED:
        return _open(experiment, settings, now)
    due = experiment.deadline and datetime.fromisoformat(experiment.deadline) <= now
    return _policy(experiment) if experiment.stage is Stage.REVIEW and due else None


def _open(experiment: Experiment, settings: ReviewSettings, now: datetime) -> ev.Event:
    if experiment.author == BASELINE:
        return ev.ProposalApproved(experiment.number, experiment.commit, BASELINE)
    if experiment.author == REPEAT:
        return ev.ProposalApproved(experiment.number, experiment.commit, HUMAN)
    if settings.mode == "auto":
        return ev.ProposalApproved(experiment.number, experiment.commit, "auto")
    deadline = ""
    if settings.unattended != "hold":
        deadline = _stamp(now + timedelta(seconds=settings.after_seconds))
    return ev.ReviewOpened(experiment.number, experiment.commit, settings.unattended, deadline)


def attended(experiment: Experiment, deadline: str, now: datetime, seconds: float) -> ev.Event | None:
    """The policy's clock put to its deadline, or `seconds` from now where that is later.

    That is on disk, for a line may drop while a human is at an answer.
    """
    if experiment.stage is not Stage.REVIEW or not deadline:
        return None
    later = max(datetime.fromisoformat(deadline), now + timedelta(seconds=seconds))
    return ev.ReviewOpened(experiment.number, experiment.commit, experiment.policy, _stamp(later))


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _policy(experiment: Experiment) -> ev.Event:
    by = f"policy {experiment.policy}"
    if experiment.policy == "approve-low-risk" and experiment.low_risk:
        return ev.ProposalApproved(experiment.number, experiment.commit, by)
    reason = "nobody answered in time"
    if experiment.flags:
        reason += f", and the diff touches {', '.join(sorted({kind(flag) for flag in experiment.flags}))}"
    return ev.ProposalVetoed(experiment.number, experiment.commit, by, reason)


def flag_text(path: str, line: int, kind: str, why: str) -> str:
    """A risk flag as the journal carries it."""
    return f"{path}:{line} {kind} {why}"


def kind(flag: str) -> str:
    """The kind of a flag that :func:`flag_text` wrote."""
    words = flag.split(" ", 2)
    return words[1] if len(words) > 1 else flag
