"""A night's journal for tests: written as events, so that every state in a test is one that can happen."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.fold import fold_all
from autoresearch_tui.engine.state import State

IDEAS = (
    "raise MATRIX_LR to 0.035",
    "add a learnt residual scale to each block",
    "halve the batch and double the steps",
    "swap the random seed from 42 to 137",
    "RoPE base 10,000 → 200,000",
    "value embeddings on every layer instead of every other layer, with a gate for each head of the attention",
    "window pattern SSSL → SSLL",
    "weight decay 0.1 on the embeddings only",
)
BEGAN = datetime(2026, 11, 20, 22, 58, tzinfo=UTC)


class Night:
    """Appends events a few seconds apart; `records` is the journal so far."""

    def __init__(self, goal: str = "minimize", seed: int = 7) -> None:
        self.records: list[ev.Record] = []
        self.now = BEGAN
        self.random = random.Random(seed)
        self.count = 0
        began = ev.SessionBegan(
            tag="nov20",
            branch="autoresearch/nov20",
            base="b" * 40,
            metric="val_bpb",
            goal=goal,
            keep_margin=0.0,
            budget_seconds=300,
            editable=("train.py",),
            locked={"prepare.py": "0" * 64},
        )
        self.add(began)
        self.engine()
        self.add(ev.ProgramRead("1f3a5c7e9b0d", 80))

    @property
    def state(self) -> State:
        return fold_all(self.records)

    def add(self, event: ev.Event, seconds: float = 2) -> None:
        self.now += timedelta(seconds=seconds)
        time = self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.records.append(ev.Record(len(self.records) + 1, time, event))

    def engine(self) -> None:
        self.add(
            ev.EngineStarted(
                pid=1,
                host="here",
                headless=False,
                version="0.1.0",
                researcher="search",
                review="ask",
                unattended="hold",
                after_seconds=300,
                timeout_seconds=600,
            )
        )

    def commit(self, number: int) -> str:
        return f"{number:07x}".ljust(40, "c")

    def propose(
        self,
        base: str | None = None,
        description: str = "",
        flags: Iterable[str] = (),
        program: str = "1f3a5c7e9b0d",
        usd: float | None = 0.04,
    ) -> int:
        number = self.count
        self.count += 1
        if number == 0:
            description = "baseline"
        self.add(
            ev.ProposalMade(
                number=number,
                commit=self.commit(number),
                base=base or "b" * 40,
                description=description or IDEAS[number % len(IDEAS)],
                hypothesis="It converges sooner, for the gradient's noise is smaller." if number else "",
                author="claude",
                program=program,
                added=3,
                removed=2,
                flags=tuple(flags),
                low_risk=not flags,
                tokens=1200,
                usd=usd,
            )
        )
        return number

    def review(self, number: int, policy: str = "", deadline: str = "") -> None:
        self.add(ev.ReviewOpened(number, self.commit(number), policy, deadline))

    def approve(self, number: int, by: str = "human") -> None:
        self.add(ev.ProposalApproved(number, self.commit(number), by))

    def veto(self, number: int, reason: str = "seed hacking") -> None:
        self.add(ev.ProposalVetoed(number, self.commit(number), "human", reason))

    def launch(self, number: int) -> None:
        self.approve(number)
        self.add(ev.RunStarted(number, self.commit(number), 1))

    def finish(self, number: int, verdict: str, value: float | None = None) -> None:
        crashed = verdict == "crash"
        ended = ev.RunEnded(number, "crashed" if crashed else "finished", int(crashed), 325.8)
        self.add(ended, seconds=325.8)
        self.add(ev.RunScored(number, value, 0.0 if crashed else 44.0, "referee", "no score" if crashed else ""))
        reason = "RuntimeError: shapes do not match" if crashed else ""
        self.add(ev.VerdictGiven(number, verdict, value, 0.0 if crashed else 44.0, reason))

    def experiment(self, verdict: str, value: float | None = None, base: str | None = None, idea: str = "") -> int:
        number = self.propose(base, idea)
        if verdict == "vetoed":
            self.review(number)
            self.veto(number)
        elif verdict == "withdrawn":
            self.add(ev.ProposalWithdrawn(number, "replaced by another"))
        else:
            self.launch(number)
            self.finish(number, verdict, value)
        return number


def long_night(experiments: int = 12, open_ones: bool = True, seed: int = 7) -> Night:
    """A baseline, then some of everything; a run and a proposal at the gate where `open_ones`."""
    night = Night(seed=seed)
    best = 0.9979
    frontier = night.commit(night.experiment("keep", best))
    for _ in range(experiments - 1):
        dice = night.random.random()
        if dice < 0.2:
            best -= night.random.random() * 0.002
            frontier = night.commit(night.experiment("keep", round(best, 6), frontier))
        elif dice < 0.75:
            value = round(best + night.random.random() * 0.01, 6)
            night.experiment("discard", value, frontier)
        elif dice < 0.88:
            night.experiment("crash", None, frontier)
        else:
            night.experiment("vetoed" if dice < 0.95 else "withdrawn", None, frontier)
    if open_ones:
        night.launch(night.propose(frontier))
        waiting = night.propose(frontier, flags=("train.py:6 import os reaches outside the model",))
        night.review(waiting, "hold")
    return night


def pilot_test(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine, run in a loop of its own."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(function(*args, **kwargs))

    return run
