"""Opens the cockpit on a made-up session and drives it by keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from autoresearch_tui.cockpit.app import Cockpit
from autoresearch_tui.cockpit.preferences import Preferences
from autoresearch_tui.cockpit.screens.main import TICKS_A_SECOND
from autoresearch_tui.cockpit.session_view import Bridge
from tests.cockpit.fakes import FakeHost, FakeMonitor, FakeSession

Story = Callable[["Driver"], Awaitable[None]]


class Driver:
    """The app under test. Time passes only by :meth:`later`, ticks come only by :meth:`tick`."""

    def __init__(self, app: Cockpit, pilot: Pilot[int], session: FakeSession, monotonic: list[float]) -> None:
        self.app, self.pilot, self.session = app, pilot, session
        self._monotonic = monotonic

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def tick(self, count: int = TICKS_A_SECOND) -> None:
        """Let the screen see what is on disk now."""
        for _ in range(count):
            self.app.tick()
        await self.pilot.pause()

    def later(self, seconds: float) -> None:
        self._monotonic[0] += seconds
        self.session.now += seconds

    def text(self) -> str:
        """What the terminal shows."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    def said(self) -> str:
        """The notices that are up."""
        return "\n".join(notice.message for notice in self.app._notifications)

    def row(self, number: int) -> str:
        return self.text().split("\n")[number]


def drive(
    session: FakeSession,
    host: FakeHost | None,
    story: Story,
    size: tuple[int, int] = (120, 30),
    reason: str = "",
    settings: Preferences = Preferences(),  # noqa: B008
    *,
    silent: bool = False,
) -> Cockpit:
    """Run `story` on the cockpit of `session`; the app, after it has ended."""
    monotonic = [1000.0]
    bridge = Bridge(session.lab, session.tag, host, reason, clock=session.clock, monotonic=lambda: monotonic[0])
    app = Cockpit(
        session.lab,
        session.tag,
        host,
        silent=silent,
        bridge=bridge,
        monitor=FakeMonitor(),
        settings=settings,
        tick_seconds=3600,
    )

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await pilot.pause()
            driver = Driver(app, pilot, session, monotonic)
            await driver.tick()
            driver.later(1)
            await story(driver)

    asyncio.run(run())
    return app
