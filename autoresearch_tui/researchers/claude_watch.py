"""Asynchronous work that can be given up at once, from a thread that only waits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_ENDING = 0.3


class GivenUp(Exception):
    """The work was given up; the text says why."""


class _Work(Generic[T]):
    """The work in its own thread and event loop. Abandoned, not joined, where a lookup of a name hangs in it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._given_up = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self.done = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = asyncio.run(self._main())
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()

    async def _main(self) -> T:
        with self._lock:
            if self._given_up:
                raise asyncio.CancelledError
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        return await self._work()

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True
            loop, task = self._loop, self._task
        if loop is not None and task is not None:
            # closed meanwhile: it ended by itself
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)


def watched(work: Callable[[], Coroutine[Any, Any, T]], trouble: Callable[[], str], tick: float) -> T:
    """The result of `work`. Asks `trouble` each tick, and gives up with GivenUp where it names any."""
    running = _Work(work)
    threading.Thread(target=running.run, name="researcher", daemon=True).start()
    while not running.done.wait(tick):
        reason = trouble()
        if reason:
            running.give_up()
            running.done.wait(_ENDING)
            raise GivenUp(reason)
    if running.error is not None:
        raise running.error
    return running.result  # type: ignore[return-value]
