"""One experiment: proposal, review, run, score and verdict together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Opinion, Outcome
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.frozen import Frozen


class Stage(StrEnum):
    """How far an experiment is. Every stage before DONE is open."""

    PROPOSED = "proposed"
    REVIEW = "review"
    APPROVED = "approved"
    RUNNING = "running"
    ENDED = "ended"
    SCORED = "scored"
    CONFIRMING = "confirming"
    """Scored, off its device, and without a verdict until its commit or the frontier's has run again."""
    DONE = "done"


IN_FLIGHT = frozenset({Stage.RUNNING, Stage.ENDED, Stage.SCORED})
NEEDS_COPY = IN_FLIGHT | {Stage.CONFIRMING}
"""The stages whose working copy is still needed: a keep saves the files of `run.keep` from it."""
WAITING = frozenset({Stage.PROPOSED, Stage.REVIEW, Stage.APPROVED})


class Experiment(Frozen):
    """Proposal, review, run, score and verdict together. Times are UTC, ISO 8601."""

    proposal: ev.ProposalMade
    """As it is now, after merges onto a newer frontier and edits by hand."""
    proposed_at: str = ""
    stage: Stage = Stage.PROPOSED
    critic: ev.CriticAnswered | None = None
    """The second opinion on this diff, if there is one."""
    criticised_at: str = ""
    critic_attempts: int = 0
    """How often a critic was asked about this diff."""
    review: ev.ReviewOpened | None = None
    """The gate at which it waits; None before that and once it is answered."""
    held: str = ""
    """Why it is neither decided nor launched before `held_until` (read, answer, hold); empty if it is not held."""
    held_until: str = ""
    """If it is held and this is empty, until a human releases it."""
    edited: bool = False
    """A human changed it by hand; its hypothesis is about the researcher's version."""
    edit_refused: str = ""
    """Why a human's last edit was refused; empty after another answer."""
    approved_by: str = ""
    attempt: int = 0
    """How many times it was launched."""
    trained_at: str = ""
    """When its run was found to have ended."""
    took_seconds: float | None = None
    """From launch to verdict, scoring included, without times when no engine was there."""
    infrastructure_retries: int = 0
    """Launches that ended through the machine's fault; they do not count against the proposal."""
    device: str = ""
    started_at: str = ""
    ended_at: str = ""
    invalidated: str = ""
    stop: ev.RunStopAsked | None = None
    """A human's request to end its run for good."""
    given_up: ev.RunGivenUp | None = None
    """The engine's decision to end its run, which is hopelessly behind."""
    run: ev.RunEnded | None = None
    draw: ev.DataDrawn | None = None
    """The data of its score, if the evaluator is fresh."""
    score: ev.RunScored | None = None
    rescored: tuple[ev.Rescored, ...] = ()
    """The scores of others on the same draw."""
    deferred: ev.VerdictDeferred | None = None
    """Why its verdict waited, if it did."""
    decided: ev.VerdictOverruled | None = None
    """A human's decision while its verdict waited."""
    verdict: ev.VerdictGiven | None = None
    """As it is now, perhaps replaced by a human."""
    overruled: Outcome | None = None
    """The loop's own outcome, if a human replaced it."""
    judged_after: int = 0
    """How many verdicts the session had given before this one."""
    dropped: ev.ProposalVetoed | ev.ProposalWithdrawn | None = None
    """Why it ended without a run."""

    @property
    def whole(self) -> Experiment:
        """This experiment with everything in memory; one on disk keeps only some fields there (:mod:`pages`)."""
        return self

    @property
    def number(self) -> int:
        return self.proposal.number

    @property
    def name(self) -> str:
        """`0007`: the name of its run folder and of its ref."""
        return f"{self.number:04d}"

    @property
    def commit(self) -> str:
        return self.proposal.commit

    @property
    def description(self) -> str:
        return self.proposal.description

    @property
    def base(self) -> str:
        """The commit that it changes."""
        return self.proposal.base

    @property
    def author(self) -> str:
        return self.proposal.author

    @property
    def front(self) -> int:
        return self.proposal.front

    @property
    def repeat_of(self) -> int | None:
        return self.proposal.repeat_of

    @property
    def combines(self) -> int | None:
        return self.proposal.combines

    @property
    def confirms(self) -> int | None:
        return self.proposal.confirms

    @property
    def fixes(self) -> int | None:
        return self.proposal.fixes

    @property
    def exploratory(self) -> bool:
        return self.proposal.exploratory

    @property
    def scale(self) -> float:
        return self.proposal.scale

    @property
    def origin(self) -> str:
        return self.proposal.origin

    @property
    def is_open(self) -> bool:
        """Whether it has no outcome yet."""
        return self.stage is not Stage.DONE

    @property
    def deadline(self) -> str:
        """When the policy answers in place of the human; empty if it does not."""
        return self.review.deadline if self.review else ""

    @property
    def auto_approves(self) -> bool:
        """Whether the policy, as things are, approves it at the deadline."""
        match self.review.policy if self.review else "":
            case "approve-low-risk":
                return self.proposal.low_risk
            case "approve-if-critic-agrees":
                return self.critic is not None and self.critic.opinion == Opinion.AGREE
        return False

    @property
    def auto_vetoes(self) -> bool:
        """Whether the policy, as things are, vetoes it at the deadline. It may do neither."""
        match self.review.policy if self.review else "":
            case "approve-low-risk":
                return not self.proposal.low_risk
            case "approve-if-critic-agrees":
                return self.goes_back
        return self.review is not None

    @property
    def goes_back(self) -> bool:
        """Whether it goes back to the researcher at the critic's objection; then it takes no place at the gate."""
        return self.critic is not None and self.critic.goes_back and self.stage is Stage.REVIEW

    @property
    def sent_back(self) -> bool:
        """Whether a policy vetoed it at the critic's objection; a human may still approve it."""
        dropped = isinstance(self.dropped, ev.ProposalVetoed) and self.dropped.by != "human"
        return dropped and self.critic is not None and self.critic.goes_back

    @property
    def outcome(self) -> Outcome | None:
        """None while it is open."""
        if self.verdict is not None:
            return self.verdict.verdict
        if self.dropped is None:
            return None
        return Outcome.VETOED if isinstance(self.dropped, ev.ProposalVetoed) else Outcome.WITHDRAWN

    @property
    def status(self) -> Outcome | Stage:
        """Its outcome, STOPPED or GIVEN_UP for a run that was ended early, or the stage if it is open."""
        if self.outcome == Outcome.CRASH and self.stop is not None:
            return Outcome.STOPPED
        if self.outcome == Outcome.DISCARD and self.given_up is not None and self.score is None:
            return Outcome.GIVEN_UP
        return self.outcome or self.stage

    @property
    def advanced(self) -> bool:
        """Whether its verdict made it the head of its front: it was kept, or leads a front that is not the best."""
        return self.outcome == Outcome.KEEP or (self.verdict is not None and self.verdict.leads)

    @property
    def value(self) -> float | None:
        """The score that its verdict used, a mean if it was confirmed; None if it has none."""
        return self.verdict.value if self.verdict else None

    @property
    def measured(self) -> float | None:
        """The score of its own run; None if none counts."""
        if self.value is None and self.stage is not Stage.CONFIRMING:
            return None
        return self.value if self.score is None else self.score.value

    @property
    def usd(self) -> float | None:
        return self.proposal.usd

    @property
    def tokens(self) -> int:
        return self.proposal.tokens

    @property
    def seconds(self) -> float | None:
        """The duration of its whole run, by the supervisor's clock."""
        return self.run.seconds if self.run else None

    @property
    def sealed(self) -> float | None:
        return self.score.sealed if self.score else None

    @property
    def columns(self) -> Mapping[str, float]:
        """The lab's own numbers beside its score."""
        return self.score.columns if self.score else {}

    @property
    def drawn(self) -> bool:
        """Whether it was scored on a draw of its own."""
        return self.draw is not None

    @property
    def doubted(self) -> bool:
        return self.score is not None and bool(self.score.doubts)

    @property
    def objected(self) -> bool:
        """Whether the critic did not agree with it."""
        return self.critic is not None and self.critic.opinion in (Opinion.DISAGREE, Opinion.UNSURE)

    @property
    def leads(self) -> bool:
        """Whether it is the head of a front that is not the best, by its verdict."""
        return self.verdict is not None and self.verdict.leads

    @property
    def inside_noise(self) -> bool:
        return self.verdict is not None and self.verdict.inside_noise

    @property
    def error(self) -> float | None:
        """Standard error of the difference of means, if its gain was confirmed."""
        return self.verdict.error if self.verdict else None

    @property
    def stderr(self) -> float | None:
        """Standard error of the difference to the frontier, by its verdict."""
        return self.verdict.stderr if self.verdict else None

    @property
    def memory_gb(self) -> float:
        """GiB; 0 if unknown."""
        return self.verdict.memory_gb if self.verdict else 0.0

    @property
    def reason(self) -> str:
        """Why it ended as it did; empty while it is open."""
        ending = self.verdict or self.dropped
        if isinstance(ending, ev.ProposalVetoed) and ending.by != "human":
            return f"{ending.reason} (by {ending.by})"
        return ending.reason if ending else ""

    def held_at(self, now: datetime) -> str:
        """Why it is held at the moment `now`; empty if it is not."""
        lapsed = self.held_until and timestamps.parse(self.held_until) <= now
        return "" if lapsed else self.held
