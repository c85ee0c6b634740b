"""Pure: what a journal amounts to, as :mod:`fold` makes it, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.reading.foreign import Earlier


class Stage(StrEnum):
    """Where an experiment is. Everything before DONE is open."""

    PROPOSED = "proposed"
    REVIEW = "review"
    APPROVED = "approved"
    RUNNING = "running"
    ENDED = "ended"
    SCORED = "scored"
    DONE = "done"


IN_FLIGHT = frozenset({Stage.RUNNING, Stage.ENDED, Stage.SCORED})
WAITING = frozenset({Stage.PROPOSED, Stage.REVIEW, Stage.APPROVED})
# Locked files are hashed as well, a killed supervisor is noticed, and a silent accelerator harms nobody's data.
BEARABLE = frozenset({"locked files", "signals", "accelerator"})
# What a refusal is about where the lab's own table is somebody else's.
TABLE = "results.tsv"
TABLED = frozenset({"keep", "discard", "crash", "invalid"})


@dataclass(frozen=True, slots=True)
class Experiment:
    """Proposal, review, run, score and verdict together. Times are UTC, ISO 8601; memory is GiB.

    `outcome` is empty while open; then keep, discard, crash, invalid, vetoed or withdrawn. `side`, `mends`, `repeats`,
    `joins`, `repeat_of` and `seed` are :class:`~autoresearch_tui.engine.events.ProposalMade`'s; `stderr`, `spread` and
    `inside_noise` :class:`~autoresearch_tui.engine.events.VerdictGiven`'s. `attempt` counts its launches, `spared`
    those that its machine ended and that were not held against it. `turn`: how many verdicts the session gave before
    its own. `overruled`: the verdict that a human replaced by `outcome`; empty where none did.
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
    spared: int = 0
    device: str = ""
    started_at: str = ""
    ended_at: str = ""
    turn: int = 0
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
    joins: int | None = None
    repeat_of: int | None = None
    seed: int = 0
    stderr: float | None = None
    spread: float | None = None
    inside_noise: bool = False
    overruled: str = ""

    @property
    def name(self) -> str:
        """`0007`: the name of its run folder and of its ref."""
        return f"{self.number:04d}"


@dataclass(frozen=True, slots=True)
class State:
    """The whole session. `experiments[n]` is experiment n; `frontier` is the number of the best kept one, or of the one
    that a human had the search go on from. `way`: each frontier there was, after whose verdict it came, oldest first.
    """

    seq: int = 0
    time: str = ""
    session: ev.SessionBegan | None = None
    earlier: tuple[Earlier, ...] = ()
    earlier_from: str = ""
    engine: ev.EngineStarted | None = None
    cage: ev.CageChecked | None = None
    stopped: ev.EngineStopped | None = None
    overrides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    experiments: tuple[Experiment, ...] = ()
    verdicts: int = 0
    frontier: int | None = None
    way: tuple[tuple[int, int], ...] = ()
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
    table_is_foreign: bool = False

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
    def in_flight(self) -> tuple[Experiment, ...]:
        """The experiments between launch and verdict, oldest first: at most one for each device."""
        return tuple(e for e in self.experiments[-64:] if e.stage in IN_FLIGHT)

    @property
    def running(self) -> Experiment | None:
        """The newest experiment between launch and verdict, where there is one."""
        return next((e for e in reversed(self.experiments[-64:]) if e.stage in IN_FLIGHT), None)

    @property
    def uncaged(self) -> bool:
        """Whether runs can do what none should, as far as that was checked."""
        return self.cage is not None and (self.cage.kind == "none" or not BEARABLE.issuperset(self.cage.fails))

    @property
    def agent_uncaged(self) -> bool:
        """The same of the command-line researcher, where there is one."""
        cage = self.cage
        return cage is not None and (cage.agent == "none" or not BEARABLE.issuperset(cage.agent_fails))

    @property
    def waiting(self) -> tuple[Experiment, ...]:
        """Proposals between their making and their launch, oldest first."""
        return tuple(e for e in self.experiments if e.stage in WAITING)

    @property
    def table(self) -> tuple[Experiment, ...]:
        """The rows of results.tsv: every experiment that has a verdict, in the order of their verdicts."""
        return tuple(sorted((e for e in self.experiments if e.outcome in TABLED), key=lambda e: e.turn))

    @property
    def usd(self) -> float:
        """What the session's proposals have cost, failed ones included, as far as prices are known."""
        return self.failed_usd + sum(e.usd or 0.0 for e in self.experiments)

    @property
    def tokens(self) -> int:
        """What the session's proposals have taken in tokens, failed ones included, as far as they are counted."""
        return self.failed_tokens + sum(e.tokens for e in self.experiments)


def better(state: State, value: float) -> bool:
    """Whether `value` beats the frontier by more than the lab's margin. Strictly: an equal score does not."""
    if state.session is None or state.best is None or state.best.value is None:
        return True
    gain = state.best.value - value if state.session.goal == "minimize" else value - state.best.value
    return gain > state.session.keep_margin


def best_keep(experiments: Iterable[Experiment], session: ev.SessionBegan | None) -> int | None:
    """The number of the best of the kept experiments; None where none is."""
    kept = [e for e in experiments if e.outcome == "keep" and e.value is not None]
    sign = -1.0 if session is not None and session.goal == "maximize" else 1.0
    return min(kept, key=lambda e: sign * (e.value or 0.0)).number if kept else None
