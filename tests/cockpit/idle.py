"""When an app under test has nothing left to do: asked of its event loop.

Textual's pilot sleeps 20 ms, several times a key, until the process takes little processor time, and sends a message
to every widget and back. That is most of what a key costs in a test, and on a busy machine no proof of anything.

Nor is the screen drawn before that: nobody sees what would be drawn while the app is still busy.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import Any

import pytest
from textual._context import active_app
from textual._queue import Queue
from textual.app import App
from textual.message_pump import MessagePump
from textual.pilot import Pilot
from textual.screen import Screen

from tests.waiting import PATIENCE

# A timer that is due so soon is waited for.
SOON = 0.05
# So long for what is done elsewhere, in a thread or by a timer, as Textual's pilot does.
ELSEWHERE = 1.0

_compositor_refresh = Screen._compositor_refresh
_undrawn = weakref.WeakSet[Screen[Any]]()


async def until_idle(app: App[Any]) -> None:
    """Until every message is handled, what they led to as well, and the screen is up to date."""
    began = time.monotonic()
    while await _calm(app, began + PATIENCE):
        busy = any(map(_busy, (app, *app.screen.walk_children(with_self=True))))
        if not busy and (not _elsewhere(app) or time.monotonic() - began > ELSEWHERE):
            return
        await asyncio.sleep(0.002)


async def _calm(app: App[Any], deadline: float) -> bool:
    """Lets all tasks go on as far as they can; False where the app has ended."""
    loop = asyncio.get_running_loop()
    calm = 0
    while calm < 2:
        assert time.monotonic() < deadline, "the app is never idle"
        if app._exit or app._exception is not None:
            return False
        await asyncio.sleep(0)
        # Twice: the first time round the loop has not yet asked for what arrived from outside.
        calm = 0 if loop._ready else calm + 1  # type: ignore[attr-defined]
        if calm == 2 and app.screen._update_timer._active.is_set():
            app.screen._on_timer_update()
            calm = 0
        if calm == 2 and app.screen in _undrawn:
            _draw(app, app.screen)
            calm = 0
    return True


def _draw(app: App[Any], screen: Screen[Any]) -> None:
    _undrawn.discard(screen)
    try:
        _compositor_refresh(screen)
    except Exception as error:  # as where a timer draws
        app._handle_exception(error)


def _elsewhere(app: App[Any]) -> bool:
    """Whether a thread or a timer will have more for it to do."""
    return any(map(_soon, (app, app.screen))) or any(worker.is_running for worker in app.workers)


def _busy(pump: MessagePump) -> bool:
    """Whether it has messages, or its handler waits for something."""
    queue: Queue[Any] = pump._message_queue
    return pump._running and not (queue.empty() and queue.ready_event._waiters)


def _soon(pump: MessagePump) -> bool:
    return any(
        timer._interval <= SOON and timer._task is not None and not timer._task.done() and timer._active.is_set()
        for timer in pump._timers
    )


def take_the_place_of_textuals(patch: pytest.MonkeyPatch) -> None:
    """Textual's pilot waits so from now on."""

    async def wait_for_screen(self: Pilot[Any], timeout: float = 0) -> bool:
        await until_idle(self.app)
        return self.app._exception is None

    async def wait_for_idle(min_sleep: float = 0, max_sleep: float = 0) -> None:
        await until_idle(active_app.get())

    def draw_when_idle(self: Screen[Any]) -> None:
        if self is not self.app.screen or not self.app.is_headless:
            _compositor_refresh(self)
            return
        _undrawn.add(self)
        self._dirty_widgets.clear()
        self.app._update_mouse_over(self)

    patch.setattr(Screen, "_compositor_refresh", draw_when_idle)
    patch.setattr(Pilot, "_wait_for_screen", wait_for_screen)
    patch.setattr("textual.pilot.wait_for_idle", wait_for_idle)
    patch.setattr("textual.app.wait_for_idle", wait_for_idle)
