"""Nights in memory for the screens' tests: written as events, so that every state in a test is one that can happen."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from tests import night as real


class Night(real.Night):
    """With the baseline's commit named by its number, and proposals whose base is said."""

    def __init__(self, goal: str = "minimize", seed: int = 7) -> None:
        super().__init__(goal=goal, seed=seed)

    def propose(
        self,
        base: str | None = None,
        description: str = "",
        flags: Iterable[str] = (),
        program: str = real.Night.program,
        usd: float | None = 0.04,
    ) -> int:
        fields: dict[str, object] = {"author": "claude", "added": 3, "removed": 2}
        return self.proposal(description, base=base or "b" * 40, flags=flags, program=program, usd=usd, **fields)

    def review(self, number: int, policy: str = "", deadline: str = "") -> None:
        self.gate(number, policy, deadline)

    def launch(self, number: int, device: str = "") -> None:
        self.approve(number)
        super().launch(number, device)

    def finish(self, number: int, verdict: str, value: float | None = None) -> None:
        self.end(number, verdict, value)

    def experiment(self, verdict: str, value: float | None = None, base: str = "", idea: str = "") -> int:  # type: ignore[override]
        return super().experiment(verdict, value, description=idea, base=base or "b" * 40)


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
