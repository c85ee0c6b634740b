"""Requests to researchers and critics: how many at once, their threads, what they may cost, when to ask again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from autoresearch_tui.lab.settings import ResearcherSettings
from autoresearch_tui.researchers.retry_time import LONGEST_SECONDS
from autoresearch_tui.session.limits import spent
from autoresearch_tui.session.state import State
from autoresearch_tui.util.errors import UserError

CANCEL_SECONDS = 0.4
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 2.0, 600.0
SLACK = 1.25
"""How much longer than the median an answer may take if there are several devices."""

T = TypeVar("T")


class Background(Generic[T]):
    """Does one piece of work at a time in its own thread, and delivers the result from there."""

    def __init__(self, name: str, deliver: Callable[[T], None]) -> None:
        self._name = name
        self._deliver = deliver
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[threading.Event], T]) -> None:
        """Begin `work`, which must not raise, and must return soon after its event is set."""
        cancelled = self._cancelled = threading.Event()

        def run() -> None:
            result = work(cancelled)
            if not cancelled.is_set():
                self._deliver(result)

        self._thread = threading.Thread(target=run, name=self._name, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Cancel, without delivering a result, and wait a moment until an agent's processes have ended."""
        cancel_all([self])

    def give_up(self) -> None:
        """Cancel without waiting."""
        self._cancelled.set()

    def wait(self, seconds: float) -> None:
        """Wait until the work is done, or `seconds` have passed."""
        if self._thread is not None:
            self._thread.join(seconds)


def cancel_all(works: Collection[Background[T]]) -> None:
    """:meth:`Background.cancel` each; they share the wait."""
    for work in works:
        work.give_up()
    deadline = time.monotonic() + CANCEL_SECONDS
    for work in works:
        work.wait(max(0.0, deadline - time.monotonic()))


def check_spend_limits(limits: ResearcherSettings, state: State) -> None:
    """Raises UserError if the session has reached its cost limit."""
    if limits.max_usd and state.usd >= limits.max_usd:
        spent = f"${state.usd:.2f}"
        raise UserError(f"the session has cost {spent}; `researcher.max_usd` is ${limits.max_usd:.2f}")
    if limits.max_tokens and state.tokens >= limits.max_tokens:
        spent = f"{state.tokens:,} tokens"
        raise UserError(f"the session has taken {spent}; `researcher.max_tokens` is {limits.max_tokens:,}")


def room_beside(limits: ResearcherSettings, state: State, now: float) -> bool:
    """Whether the open requests leave room for one more within the session's cost limits.

    Each is expected to cost what the last ones did; until that is known, the first goes alone.
    """
    asking, engine = state.asking, state.engine
    most = engine.max_usd if engine is not None else 0.0
    if not asking.asks or not (limits.max_usd or limits.max_tokens or most):
        return True
    if not asking.answered:
        return False
    coming = asking.expected
    return not (
        (limits.max_usd and state.usd + coming.usd >= limits.max_usd)
        or (limits.max_tokens and state.tokens + coming.tokens >= limits.max_tokens)
        or (most and spent(state, now) + coming.usd >= most)
    )


def at_once(devices: int, thinking: float | None, running: float | None, most: int = 0) -> int:
    """How many requests to keep open, at least 1, so that each device finds a proposal when its run ends.

    `thinking` and `running`: median seconds of an answer and of a run; None: not measured yet, then one request per
    device. `most`: the human's limit; 0: one more than there are devices, or one for a single device, as nobody asked
    to spend twice as fast.

    Runs that begin together end together, and then need as many proposals as there are devices; within one run a stream
    gives as many as whole answers fit into it.
    """
    limit = most or (devices + 1 if devices > 1 else 1)
    if not thinking or not running:
        return max(1, min(devices, limit))
    slow = thinking * (SLACK if devices > 1 else 1.0)
    answers = math.floor(running / slow)
    needed = math.ceil(devices / answers) if answers else math.ceil(devices * slow / running)
    return max(1, min(needed, limit))


def wants_another(making: int, waiting: int, may_wait: int, most: int) -> bool:
    """Whether to ask for one more, with `making` open requests and `waiting` proposals.

    `may_wait`: how many proposals may wait; `most`: how many requests may be open, which exceeds the former if an
    answer takes longer than a run.
    """
    return making < most and waiting < may_wait and making + waiting < max(may_wait, most)


def retry_seconds(asked_for: float | None, failures: int) -> float:
    """When to ask again: as the service says, else after a pause that grows with the earlier `failures`."""
    if asked_for is not None:
        return min(max(asked_for, 0.0), LONGEST_SECONDS)
    return min(FIRST_RETRY_SECONDS * 2.0 ** min(failures, 10), LAST_RETRY_SECONDS)
