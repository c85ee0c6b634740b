"""Pure: what a journal amounts to, as :mod:`fold` makes it, and what can be asked of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import chain
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.asks import Ask, Asking, WaitingNote
from autoresearch_tui.session.ends import JUDGED, Opinion, Outcome
from autoresearch_tui.session.failures import Streak
from autoresearch_tui.session.fleet import Fleet
from autoresearch_tui.session.sequence import Chunk, Experiments
from autoresearch_tui.util import timestamps

if TYPE_CHECKING:
    from autoresearch_tui.session.prior_results import PriorResult


class Stage(StrEnum):
    """Where an experiment is. Everything before DONE is open."""

    PROPOSED = "proposed"
    REVIEW = "review"
    APPROVED = "approved"
    RUNNING = "running"
    ENDED = "ended"
    SCORED = "scored"
    CONFIRMING = "confirming"
    """Scored, off its device, and without a verdict until its commit, or the frontier's, has run again."""
    DONE = "done"


IN_FLIGHT = frozenset({Stage.RUNNING, Stage.ENDED, Stage.SCORED})
NEEDS_COPY = IN_FLIGHT | {Stage.CONFIRMING}
"""What has a run whose working copy is still wanted: `run.keep` takes files of it when it is kept."""
WAITING = frozenset({Stage.PROPOSED, Stage.REVIEW, Stage.APPROVED})
# Locked files are hashed as well, a killed supervisor is noticed, and most labs train in one process.
TOLERATED_LEAKS = frozenset(
    {
        "locked files",
        "signals",
        "worker processes",
        "accelerator in child processes",
        "unnamed ports",
        "metadata service",
    }
)
# Without these a run is confined all the same, and cannot train on the accelerator that is there.
NEEDED = frozenset({"accelerator", "moving files"})
# What a refusal is about if the lab's own table was written by others.
TABLE = "results.tsv"


@dataclass(frozen=True, slots=True)
class Experiment:
    """Proposal, review, run, score and verdict together. Times are UTC, ISO 8601."""

    proposal: ev.ProposalMade
    """As it stands: merged onto a newer frontier or edited by hand since it was made."""
    proposed_at: str = ""
    stage: Stage = Stage.PROPOSED
    critic: ev.CriticAnswered | None = None
    """The second opinion on this diff; None before there is one."""
    criticised_at: str = ""
    critic_attempts: int = 0
    """How often a critic was asked about this diff."""
    review: ev.ReviewOpened | None = None
    """The gate that it waits at; None before it opens and once it is answered."""
    held: str = ""
    """Why it is neither decided nor launched (read, answer, hold) until `held_until`; empty if it is not held."""
    held_until: str = ""
    """Empty while it is held: until a human releases it."""
    edited: bool = False
    """A human changed it by hand: its hypothesis is about what the researcher had proposed."""
    edit_refused: str = ""
    """Why a human's edit of it was refused last; empty once another answer was given."""
    approved_by: str = ""
    attempt: int = 0
    """How often it was launched."""
    trained_at: str = ""
    """When its run was found to have ended."""
    took_seconds: float | None = None
    """From launch to verdict, scoring included, without what no engine was there for."""
    infrastructure_retries: int = 0
    """Launches that the machine ended; they are not held against the proposal."""
    device: str = ""
    started_at: str = ""
    ended_at: str = ""
    invalidated: str = ""
    stop: ev.RunStopAsked | None = None
    """A human's wish to end its run for good."""
    given_up: ev.RunGivenUp | None = None
    """The engine's, for it is hopelessly behind."""
    run: ev.RunEnded | None = None
    draw: ev.DataDrawn | None = None
    """Of which data its score is, where the evaluator is fresh."""
    score: ev.RunScored | None = None
    rescored: tuple[ev.Rescored, ...] = ()
    """What others scored on the same draw."""
    deferred: ev.VerdictDeferred | None = None
    """Why its verdict waited, if it did."""
    decided: ev.VerdictOverruled | None = None
    """What a human decided while its verdict waited."""
    verdict: ev.VerdictGiven | None = None
    """As it stands: what a human put in its place, if one did."""
    overruled: Outcome | None = None
    """The outcome that the loop had given, if a human replaced it."""
    judged_after: int = 0
    """How many verdicts the session gave before this one."""
    dropped: ev.ProposalVetoed | ev.ProposalWithdrawn | None = None
    """Why it ended without a run."""

    @property
    def whole(self) -> Experiment:
        """Itself with everything in memory: one that is on disk has little of it here (:mod:`pages`)."""
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
        """Whether something is still to come of it."""
        return self.stage is not Stage.DONE

    @property
    def deadline(self) -> str:
        """When the policy answers for the human; empty if it does not."""
        return self.review.deadline if self.review else ""

    @property
    def auto_approves(self) -> bool:
        """Whether the policy approves it at the deadline, as it stands."""
        match self.review.policy if self.review else "":
            case "approve-low-risk":
                return self.proposal.low_risk
            case "approve-if-critic-agrees":
                return self.critic is not None and self.critic.opinion == Opinion.AGREE
        return False

    @property
    def auto_vetoes(self) -> bool:
        """Whether the policy vetoes it at the deadline, as it stands. It may do neither."""
        match self.review.policy if self.review else "":
            case "approve-low-risk":
                return not self.proposal.low_risk
            case "approve-if-critic-agrees":
                return self.goes_back
        return self.review is not None

    @property
    def goes_back(self) -> bool:
        """Whether the critic did not agree and the researcher is asked for another; at the gate it fills no place."""
        return self.critic is not None and self.critic.goes_back and self.stage is Stage.REVIEW

    @property
    def sent_back(self) -> bool:
        """Whether a policy vetoed it on the critic's word: a human may approve it all the same."""
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
        """Its outcome, with STOPPED or GIVEN_UP for a run that was ended early; the stage of one that is open."""
        if self.outcome == Outcome.CRASH and self.stop is not None:
            return Outcome.STOPPED
        if self.outcome == Outcome.DISCARD and self.given_up is not None and self.score is None:
            return Outcome.GIVEN_UP
        return self.outcome or self.stage

    @property
    def advanced(self) -> bool:
        """Whether its front stood there from its verdict on: it was kept, or leads a front that is not the best."""
        return self.outcome == Outcome.KEEP or (self.verdict is not None and self.verdict.leads)

    @property
    def value(self) -> float | None:
        """The score that its verdict went by, a mean if it was confirmed; None if it has none."""
        return self.verdict.value if self.verdict else None

    @property
    def measured(self) -> float | None:
        """The score of its own run; None if it has none that counts."""
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
        """Of its whole run, by the supervisor's clock."""
        return self.run.seconds if self.run else None

    @property
    def sealed(self) -> float | None:
        return self.score.sealed if self.score else None

    @property
    def doubted(self) -> bool:
        """Whether there is reason to doubt its score."""
        return self.score is not None and bool(self.score.doubts)

    @property
    def objected(self) -> bool:
        """Whether the critic did not agree with it."""
        return self.critic is not None and self.critic.opinion in (Opinion.DISAGREE, Opinion.UNSURE)

    @property
    def leads(self) -> bool:
        """Whether its verdict said that its front stands there, which is not the best one."""
        return self.verdict is not None and self.verdict.leads

    @property
    def inside_noise(self) -> bool:
        return self.verdict is not None and self.verdict.inside_noise

    @property
    def error(self) -> float | None:
        """Standard error of the difference of means, where its gain was confirmed."""
        return self.verdict.error if self.verdict else None

    @property
    def stderr(self) -> float | None:
        """Standard error of the difference to the frontier that its verdict went by."""
        return self.verdict.stderr if self.verdict else None

    @property
    def memory_gb(self) -> float:
        """GiB; 0 if it was not judged or did not say."""
        return self.verdict.memory_gb if self.verdict else 0.0

    @property
    def reason(self) -> str:
        """Why it ended as it did; empty while it is open."""
        ending = self.verdict or self.dropped
        if isinstance(ending, ev.ProposalVetoed) and ending.by != "human":
            return f"{ending.reason} (by {ending.by})"
        return ending.reason if ending else ""

    def held_at(self, now: datetime) -> str:
        """Why it is held at this moment; empty if it is not."""
        lapsed = self.held_until and timestamps.parse(self.held_until) <= now
        return "" if lapsed else self.held


@dataclass(frozen=True, slots=True)
class Judgement:
    """A human's decision, with what was there before it, so that it can be taken back.

    `what`: approved, vetoed, kept, discarded or continued from. `made` and `verdicts` count the experiments and
    verdicts of that moment.
    """

    seq: int
    what: str
    before: Experiment
    made: int
    verdicts: int
    frontier_number: int | None
    frontier_history: tuple[tuple[int, int], ...]
    heads: Mapping[int, int]

    @property
    def number(self) -> int:
        """The experiment that was judged."""
        return self.before.number


@dataclass(frozen=True, slots=True)
class State:
    """The whole session. `experiments[n]` is experiment n.

    Two facts that are usually one: the :attr:`frontier`, where the next proposals start and what they are measured
    against, and the :attr:`best` score that was kept. A human who continues from a worse experiment parts them.
    """

    seq: int = 0
    time: str = ""
    session: ev.SessionBegan | None = None
    prior: tuple[PriorResult, ...] = ()
    prior_source: str = ""
    prior_total: int = 0
    """How many there are when all of them have been read in."""
    prior_left_out: int = 0
    """Older ones that were not taken over."""
    shared: tuple[PriorResult, ...] = ()
    """What other labs say that they tried. Nothing of it is verified, and no figure of the session has any of it."""
    shared_left_out: int = 0
    engine: ev.EngineStarted | None = None
    last_engine: ev.EngineStarted | None = None
    """As `engine`, also when it has stopped."""
    engine_since: str = ""
    away: tuple[tuple[str, str], ...] = ()
    """From when until when no engine was there while what is in flight now ran."""
    device_seconds: float = 0.0
    """Paid seconds of all devices together, as far as they have a price; :mod:`cost` says what is counted."""
    device_usd: float = 0.0
    sandbox: ev.SandboxChecked | None = None
    fleet: Fleet = field(default_factory=Fleet)
    """The devices of a cluster, where one executes the runs."""
    stopped: ev.EngineStopped | None = None
    overrides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    experiments: Experiments = field(default_factory=Experiments)
    verdicts: int = 0
    frontier_number: int | None = None
    best_number: int | None = None
    frontier_history: tuple[tuple[int, int], ...] = ()
    """Each frontier there was, oldest first: (the experiment whose verdict it followed, the frontier)."""
    heads: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    """Where each front stands, by its number. The session's frontier is the head of the best of them."""
    program: str = ""
    asking: Asking = field(default_factory=Asking)
    """The requests for proposals that are in the making, and what the last ones took."""
    critic_asked: ev.CriticAsked | None = None
    critic_asked_at: str = ""
    critic_usd: float = 0.0
    critic_tokens: int = 0
    """What second opinions have cost, also those that gave none or were about an older diff."""
    renewed: int = 0
    """The looks that were spent when the testing budget was renewed last."""
    holdout_asked: ev.HoldoutAsked | None = None
    holdout: ev.HoldoutOpened | None = None
    holdout_at: str = ""
    digest_asked: ev.DigestAsked | None = None
    digest: ev.DigestWritten | None = None
    """The last one."""
    digest_usd: float = 0.0
    digest_tokens: int = 0
    failed: ev.ProposalFailed | None = None
    failed_at: str = ""
    failures: int = 0
    failing_proposals: Streak = field(default_factory=Streak)
    failing_runs: Streak = field(default_factory=Streak)
    """Failures alike since the last success or the last time that a human resumed."""
    failed_usd: float = 0.0
    failed_tokens: int = 0
    paused: ev.PauseAsked | None = None
    stopping: str = ""
    trouble: ev.TroubleMet | None = None
    trouble_at: str = ""
    sent_notes: tuple[str, ...] = ()
    """The human's steering notes that a request had; every later request has them too."""
    waiting_notes: tuple[WaitingNote, ...] = ()
    """Those that the next request will have, oldest first."""
    judgements: tuple[Judgement, ...] = ()
    """A human's decisions that were not taken back, oldest first."""
    refused: ev.CommandRefused | None = None
    table_is_foreign: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """The human's steering notes, oldest first."""
        return (*self.sent_notes, *(note.text for note in self.waiting_notes))

    @property
    def goal(self) -> Goal:
        """Which direction of the score is better; lower before a session says so."""
        return Goal(self.session.goal) if self.session else Goal.MINIMIZE

    @property
    def frontier(self) -> Experiment | None:
        """Where the search stands: the experiment kept last, or the one that a human continued from."""
        return None if self.frontier_number is None else self.experiments[self.frontier_number]

    @property
    def best(self) -> Experiment | None:
        """The kept experiment with the best score, the newest of equals; None before the first."""
        return None if self.best_number is None else self.experiments[self.best_number]

    @property
    def frontier_commit(self) -> str:
        """Where the next proposal starts: the frontier's commit, or the session's base before the first keep."""
        if self.frontier is not None:
            return self.frontier.commit
        return self.session.base if self.session else ""

    def head(self, front: int) -> Experiment | None:
        """Where a front stands; the frontier, if it has not begun. The best front may stand before the frontier, on a
        gain that is not beyond the noise yet."""
        if self.frontier is None or front not in self.heads:
            return self.frontier
        return self.experiments[self.heads[front]]

    def head_commit(self, front: int) -> str:
        """Where the next proposal for a front starts."""
        head = self.head(front)
        return self.frontier_commit if head is None else head.commit

    @property
    def asks(self) -> tuple[Ask, ...]:
        """The requests for proposals that have no answer yet, oldest first."""
        return self.asking.asks

    @property
    def in_flight(self) -> tuple[Experiment, ...]:
        """The experiments between launch and verdict, oldest first: at most one for each device."""
        return self.experiments.known(_in_flight, joined)

    @property
    def running(self) -> Experiment | None:
        """The newest experiment between launch and verdict, where there is one."""
        return self.in_flight[-1] if self.in_flight else None

    @property
    def unsandboxed(self) -> bool:
        """Whether runs can do what none should, as far as that was checked."""
        sandbox = self.sandbox
        return sandbox is not None and (
            sandbox.kind == "none" or not (TOLERATED_LEAKS | NEEDED).issuperset(sandbox.fails)
        )

    @property
    def cannot_train(self) -> bool:
        """Whether the accelerator that is there was found not to work for runs."""
        return self.sandbox is not None and not NEEDED.isdisjoint(self.sandbox.fails)

    @property
    def agent_unsandboxed(self) -> bool:
        """The same of the command-line researcher, where there is one."""
        sandbox = self.sandbox
        return sandbox is not None and (sandbox.agent == "none" or not TOLERATED_LEAKS.issuperset(sandbox.agent_fails))

    @property
    def waiting(self) -> tuple[Experiment, ...]:
        """Proposals between their making and their launch, oldest first."""
        return self.experiments.known(_waiting, joined)

    @property
    def confirming(self) -> tuple[Experiment, ...]:
        """The experiments whose verdict waits for other runs, oldest first."""
        return self.experiments.known(_confirming, joined)

    @property
    def table(self) -> tuple[Experiment, ...]:
        """The rows of results.tsv: every experiment that has a verdict, in the order of their verdicts."""
        return self.experiments.known(_judged, _in_order)

    @property
    def rows(self) -> int:
        """How many rows results.tsv has."""
        return sum(self.ended[outcome] for outcome in JUDGED)

    @property
    def ended(self) -> Counter[str]:
        """How many experiments ended how."""
        return self.experiments.known(_ended, _added)

    @property
    def started_last(self) -> Experiment | None:
        """The experiment whose run was started last; None before the first."""
        return self.experiments.known(_started_last, _newest_start)

    @property
    def kept(self) -> tuple[Experiment, ...]:
        """The experiments that were kept, oldest first."""
        return tuple(self.experiments.having(OUTCOME, Outcome.KEEP))

    @property
    def usd(self) -> float:
        """What proposals, opinions on them and digests have cost, failed ones included, as far as prices are known."""
        return self.failed_usd + self.critic_usd + self.digest_usd + self.experiments.known(_usd, _sum)

    @property
    def tokens(self) -> int:
        """What these have taken in tokens, failed ones included, as far as they are counted."""
        return self.failed_tokens + self.critic_tokens + self.digest_tokens + self.experiments.known(_tokens, _count)


# What experiments are looked up by.
OUTCOME, COMMIT, AUTHOR, BASE, FRONT = map(attrgetter, ("outcome", "commit", "author", "base", "front"))
CONFIRMS, COMBINES, FIXES, ORIGIN, SCALE = map(attrgetter, ("confirms", "combines", "fixes", "origin", "scale"))
EXPLORATORY, IS_OPEN, STATUS, REPEAT_OF = map(attrgetter, ("exploratory", "is_open", "status", "repeat_of"))


def _in_flight(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk.having(IS_OPEN, True) if e.stage in IN_FLIGHT)


def _waiting(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk.having(IS_OPEN, True) if e.stage in WAITING)


def _confirming(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk.having(IS_OPEN, True) if e.stage is Stage.CONFIRMING)


def joined(parts: Sequence[tuple[Experiment, ...]]) -> tuple[Experiment, ...]:
    """What each chunk has, one after the other."""
    return tuple(chain.from_iterable(parts))


def _judged(chunk: Chunk) -> tuple[Experiment, ...]:
    return tuple(e for e in chunk if e.outcome in JUDGED)


def _in_order(parts: Sequence[tuple[Experiment, ...]]) -> tuple[Experiment, ...]:
    return tuple(sorted(chain.from_iterable(parts), key=attrgetter("judged_after")))


def _ended(chunk: Chunk) -> Counter[str]:
    return Counter(e.outcome for e in chunk if e.outcome is not None)


def _added(parts: Sequence[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


def _started_last(chunk: Chunk) -> Experiment | None:
    return max((e for e in chunk if e.started_at), key=attrgetter("started_at"), default=None)


def _newest_start(parts: Sequence[Experiment | None]) -> Experiment | None:
    return max((e for e in parts if e is not None), key=attrgetter("started_at"), default=None)


def _sum(parts: Sequence[float]) -> float:
    return sum(parts)


def _count(parts: Sequence[int]) -> int:
    return sum(parts)


def _usd(chunk: Chunk) -> float:
    return sum(e.usd or 0.0 for e in chunk)


def _tokens(chunk: Chunk) -> int:
    return sum(e.tokens for e in chunk)


def better(state: State, value: float) -> bool:
    """Whether `value` beats the frontier by more than the lab's margin. Strictly: an equal score does not."""
    return state.session is None or gained(state, value) > state.session.keep_margin


def gained(state: State, value: float) -> float:
    """By how much a score is better than the frontier's; infinite if there is nothing to measure it against."""
    if state.session is None or state.frontier is None or state.frontier.value is None:
        return math.inf
    return state.goal.gain(state.frontier.value, value)


def leads(state: State, front: int, value: float, stands: float | None = None, *, ahead: bool = False) -> bool:
    """Whether a score that is not kept is better, by more than the lab's margin, than where its own front stands.

    `stands`: what that scores on the same draw, where each verdict has its own. `ahead`: also if it is the frontier.
    """
    head = state.head(front)
    if head is None or head.value is None or state.session is None or (head is state.frontier and not ahead):
        return False
    return state.goal.gain(head.value if stands is None else stands, value) > state.session.keep_margin


def best_keep(experiments: Iterable[Experiment], goal: Goal) -> int | None:
    """The number of the best of the kept experiments, the newest of equals; None if nothing is kept."""
    kept = [e for e in experiments if e.outcome == Outcome.KEEP and e.value is not None]
    return min(kept, key=lambda e: (goal.sort_key(e.value or 0.0), -e.number)).number if kept else None
