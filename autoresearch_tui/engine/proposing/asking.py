"""What every request has in common, to a researcher or to a critic: a thread, what it may cost, when to ask again."""

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
"""By how much an answer may take longer than the median, where several devices wait."""

T = TypeVar("T")


class Background(Generic[T]):
    """One piece of work at a time, in a thread of its own; what it returns is delivered from there."""

    def __init__(self, name: str, deliver: Callable[[T], None]) -> None:
        self._name = name
        self._deliver = deliver
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[threading.Event], T]) -> None:
        """Begin. `work` raises nothing, and returns soon after its event is set."""
        cancelled = self._cancelled = threading.Event()

        def run() -> None:
            result = work(cancelled)
            if not cancelled.is_set():
                self._deliver(result)

        self._thread = threading.Thread(target=run, name=self._name, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """The result is no longer wanted; it is not delivered. An agent's processes get a moment to be ended."""
        cancel_all([self])

    def give_up(self) -> None:
        """The same, without that moment."""
        self._cancelled.set()

    def wait(self, seconds: float) -> None:
        """Until the work is done, so long at most."""
        if self._thread is not None:
            self._thread.join(seconds)


def cancel_all(works: Collection[Background[T]]) -> None:
    """:meth:`Background.cancel` each; all of them together get one moment."""
    for work in works:
        work.give_up()
    deadline = time.monotonic() + CANCEL_SECONDS
    for work in works:
        work.wait(max(0.0, deadline - time.monotonic()))


def check_spend_limits(limits: ResearcherSettings, state: State) -> None:
    """Raises UserError if the session has cost as much as it may."""
    if limits.max_usd and state.usd >= limits.max_usd:
        spent = f"${state.usd:.2f}"
        raise UserError(f"the session has cost {spent}; `researcher.max_usd` is ${limits.max_usd:.2f}")
    if limits.max_tokens and state.tokens >= limits.max_tokens:
        spent = f"{state.tokens:,} tokens"
        raise UserError(f"the session has taken {spent}; `researcher.max_tokens` is {limits.max_tokens:,}")


def room_beside(limits: ResearcherSettings, state: State, now: float) -> bool:
    """Whether what is in the making leaves room, within what the session may cost, for one more request.

    Each counts what the last ones have cost; while nothing is known of that, the first goes alone.
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
    """So many that each device finds a proposal when its run ends, at least 1.

    `thinking` and `running` are the median seconds of an answer and of a run; None: not measured yet, when each device
    counts as one. `most`: the human's limit; 0: one more than there are devices, and one for a single device: the human
    has not asked for answers that cost twice as much at a time.

    Runs that begin together end together, and then as many proposals are wanted as there are devices; within one run
    a stream gives as many as there are whole thoughts in it.
    """
    limit = most or (devices + 1 if devices > 1 else 1)
    if not thinking or not running:
        return max(1, min(devices, limit))
    slow = thinking * (SLACK if devices > 1 else 1.0)
    answers = math.floor(running / slow)
    needed = math.ceil(devices / answers) if answers else math.ceil(devices * slow / running)
    return max(1, min(needed, limit))


def wants_another(making: int, waiting: int, may_wait: int, most: int) -> bool:
    """Whether to ask for one more beside those in the making and those that wait for a run.

    `may_wait`: how many may wait; `most`: how many may be in the making. Where a thought takes longer than a run there
    are more in the making than may wait.
    """
    return making < most and waiting < may_wait and making + waiting < max(may_wait, most)


def retry_seconds(asked_for: float | None, failures: int) -> float:
    """When to ask again: as the other side says, else after a pause that grows with the `failures` before this one."""
    if asked_for is not None:
        return min(max(asked_for, 0.0), LONGEST_SECONDS)
    return min(FIRST_RETRY_SECONDS * 2.0 ** min(failures, 10), LAST_RETRY_SECONDS)
