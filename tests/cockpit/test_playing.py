"""The keys of a replay, on the screen: pause, step, speed, where to go; and none of them without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest
from textual.pilot import Pilot

from autoresearch_tui.cockpit.actions import REPLAY
from autoresearch_tui.cockpit.app import Cockpit
from autoresearch_tui.cockpit.preferences import Preferences
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.report.replay import Replay
from autoresearch_tui.session import events as ev
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, night


class Played(Driver):
    """Ticks come only by :meth:`until`, which waits for the player."""

    player: Replay

    async def until(self, *words: str) -> None:
        async with asyncio.timeout(60):
            while True:
                await self.tick()
                if all(word in self.text() for word in words):
                    return
                await asyncio.sleep(0.01)


def replay(session: FakeSession, story: Callable[[Played], Awaitable[None]], size: tuple[int, int] = (80, 24)) -> None:
    """So slow that nothing comes by itself."""
    player = Replay(session.lab, session.tag, 0.01)
    player.start()
    app = Cockpit(
        player.lab,
        session.tag,
        None,
        silent=True,
        bridge=Bridge(player.lab, session.tag, None, player=player),
        settings=Preferences(),
        tick_seconds=3600,
    )

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            driver = Played(app, _typed(pilot), session, [0.0])
            driver.player = player
            await driver.tick()
            await story(driver)

    try:
        asyncio.run(run())
    finally:
        player.stop()


def _typed(pilot: Pilot[object]) -> Pilot[int]:
    return pilot  # type: ignore[return-value]


def when(session: FakeSession, kind: type[ev.Event], number: int) -> str:
    record = next(r for r in session.records if isinstance(r.event, kind) and r.event.number == number)
    return f"{datetime.fromisoformat(record.time).astimezone():%a %H:%M:%S}"


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (200, 50)])
def test_steps_and_the_nights_own_clock(session: FakeSession, size: tuple[int, int]) -> None:
    night(session)

    async def story(driver: Played) -> None:
        assert "Space pause" in driver.text() and ". step" in driver.text() and "@ go to" in driver.text()
        await driver.press("full_stop")
        await driver.until(when(session, ev.VerdictGiven, 0), "0.01×, paused", "Space continue")
        assert [e.number for e in driver.app.bridge.state.table] == [0]
        await driver.press("full_stop", "full_stop")
        await driver.until(when(session, ev.VerdictGiven, 2), "paused")
        await driver.press("space", "right_curly_bracket", "right_curly_bracket", "left_curly_bracket")
        await driver.until("0.02×", "Space pause")
        assert "paused" not in driver.text()

    replay(session, story, size)


def test_where_to_go(session: FakeSession) -> None:
    night(session)
    session.files.researcher_log.write_text("the first words\n" + "more\n" * 200 + "the last words\n")

    async def story(driver: Played) -> None:
        await driver.press("space", "at", *"100%", "enter", "6")
        await driver.until("the replay has ended", "the last words")
        assert driver.app.bridge.state.experiments[-1].number == 8
        await driver.press("at", "#", "4", "enter", "4", "end", "home")
        await driver.until(when(session, ev.RunStarted, 4), "paused", "#4")
        assert driver.app.bridge.state.experiments[-1].number == 4
        await driver.press("6")
        await driver.until("more")
        assert "the last words" not in driver.text()
        # What is counted is counted by the night's clock, which stands still.
        assert "starting #4" in driver.text() and "· 0:00" in driver.text()
        for nonsense, why in (("#99", "the replay has no experiment #99"), ("[red]", "[red] is neither")):
            await driver.press("at", *nonsense, "enter")
            assert why in driver.said()
        await driver.press("at", "escape", "6", "space")
        await driver.until("Space pause")

    replay(session, story)


def test_a_replay_has_no_load(session: FakeSession) -> None:
    night(session)

    async def story(driver: Played) -> None:
        await driver.press("2")
        await driver.until("A replay has no load: none was recorded.")
        assert driver.app.monitor is None

    replay(session, story)


def test_the_help_of_a_replay_begins_with_its_keys(session: FakeSession) -> None:
    night(session)

    async def story(driver: Played) -> None:
        await driver.press("question_mark")
        assert [action.title for action in REPLAY if action.title not in driver.text()] == []
        await driver.press(*"next verdict", "enter")
        await driver.until("paused")

    replay(session, story, (120, 40))


def test_nothing_is_decided_in_a_replay(session: FakeSession) -> None:
    night(session)

    async def story(driver: Played) -> None:
        await driver.press("space", "at", *"100%", "enter")
        await driver.until("the replay has ended")
        await driver.press("a")
        assert "the replay has ended" in driver.said()
        await driver.press("slash", "space", "full_stop", "at")
        await driver.until(" .@")
        assert driver.app.screen is driver.app.main

    replay(session, story)


def test_without_a_replay_these_keys_are_the_panes(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.log(7, "".join(f"line {n}\n" for n in range(500)))

    async def story(driver: Driver) -> None:
        assert "Space" not in driver.text()
        await driver.press("home", "space")
        await driver.tick()
        assert "line 0\n" not in driver.text()
        await driver.press("at", "full_stop", "left_curly_bracket")
        assert driver.app.screen is driver.app.main

    drive(session, host, story)
    assert host.sent == []
