"""Pure: what a journal amounts to, as :mod:`fold` makes it, and what can be asked of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import field

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import questions
from autoresearch_tui.session.asks import Ask, Asking, WaitingNote
from autoresearch_tui.session.ends import JUDGED, Outcome
from autoresearch_tui.session.experiment import IN_FLIGHT, NEEDS_COPY, WAITING, Experiment, Stage
from autoresearch_tui.session.failures import Streak
from autoresearch_tui.session.fleet import Fleet
from autoresearch_tui.session.sequence import Experiments, Selection
from autoresearch_tui.util.frozen import Frozen

if TYPE_CHECKING:
    from autoresearch_tui.session.prior_results import PriorResult


# With what an experiment is.
__all__ = [
    "IN_FLIGHT", "NEEDED", "NEEDS_COPY", "TABLE", "TOLERATED_LEAKS", "WAITING", "Ask", "Asking", "Experiment",
    "Judgement", "Stage", "State", "WaitingNote", "best_keep", "better", "gained", "leads",
]  # fmt: skip

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


class Judgement(Frozen):
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


class State(Frozen):
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
        return self.experiments.known(questions.in_flight, questions.joined)

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
        return self.experiments.known(questions.waiting, questions.joined)

    @property
    def confirming(self) -> tuple[Experiment, ...]:
        """The experiments whose verdict waits for other runs, oldest first."""
        return self.experiments.known(questions.confirming, questions.joined)

    @property
    def table(self) -> Selection:
        """The rows of results.tsv: every experiment that has a verdict, in the order of their verdicts."""
        return Selection(self.experiments, self.experiments.known(questions.judged, questions.in_order))

    @property
    def rows(self) -> int:
        """How many rows results.tsv has."""
        return sum(self.ended[outcome] for outcome in JUDGED)

    @property
    def ended(self) -> Counter[str]:
        """How many experiments ended how."""
        return self.experiments.known(questions.ended, questions.added)

    @property
    def started_last(self) -> Experiment | None:
        """The experiment whose run was started last; None before the first."""
        started_at, number = self.experiments.known(questions.started_last, questions.newest_start)
        return self.experiments[number] if started_at else None

    @property
    def kept(self) -> tuple[Experiment, ...]:
        """The experiments that were kept, oldest first."""
        return tuple(self.experiments.having(questions.OUTCOME, Outcome.KEEP))

    @property
    def usd(self) -> float:
        """What proposals, opinions on them and digests have cost, failed ones included, as far as prices are known."""
        return (
            self.failed_usd + self.critic_usd + self.digest_usd + self.experiments.known(questions.usd, questions.total)
        )

    @property
    def tokens(self) -> int:
        """What these have taken in tokens, failed ones included, as far as they are counted."""
        return (
            self.failed_tokens
            + self.critic_tokens
            + self.digest_tokens
            + self.experiments.known(questions.tokens, questions.counted)
        )


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
