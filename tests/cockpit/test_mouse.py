"""The mouse, the rows' filter, and terminals with few colours or none."""

from __future__ import annotations

import re

import pytest

from autoresearch_tui.cockpit.preferences import Preferences
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, commit_of, judged, night


def test_clicks_on_keys_tabs_and_rows(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        async def click(words: str, times: int = 1) -> None:
            rows = driver.text().split("\n")
            row = next(number for number, text in reversed(list(enumerate(rows))) if words in text)
            await driver.pilot.click(offset=(rows[row].index(words), row), times=times)
            await driver.pilot.pause()

        await click("4 results")
        assert "vs best" in driver.text()
        await click("0.9893")
        assert driver.app.main.results.selected == 4
        await click("0.9893", times=2)
        assert "✓ #4 keep" in driver.text()
        await click("Esc back")
        await click("3 diff")
        driver.later(1)
        await click("approve ")

    drive(session, host, story, size=(80, 24))
    assert host.sent == [cmd.Approve(8, commit_of(8))]


@pytest.mark.parametrize("size", [(60, 20), (120, 40)])
def test_clicks_on_the_palette_and_in_jump_mode(session: FakeSession, host: FakeHost, size: tuple[int, int]) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        async def click(words: str) -> None:
            rows = driver.text().split("\n")
            row = next(number for number, text in enumerate(rows) if words in text)
            await driver.pilot.click(offset=(rows[row].index(words) + 1, row))
            await driver.pilot.pause()

        main = driver.app.main
        await driver.press("J")
        await click(" g  tree ")
        assert driver.app.screen is main and main.tree_pane.has_focus
        await driver.press("J")
        await driver.pilot.click(offset=(2, size[1] // 2 - 2))
        await driver.pilot.pause()
        assert driver.app.screen is main
        assert main.tree_pane.has_focus if size[0] < 120 else main.log_pane.has_focus, "the pane itself"
        await driver.press("ctrl+p", *"zoom")
        await driver.app.workers.wait_for_complete()
        await driver.pilot.pause()
        await click("Zoom the pane · Z")
        await driver.pilot.pause()
        assert main._zoomed
        await driver.press("M")
        await driver.pilot.pause(0.2)
        await click("learning rate")
        await driver.pilot.pause()
        assert main.plot.key == "lrm"

    drive(session, host, story, size=size)
    assert host.sent == []


def test_rows_with_all_the_words(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        results = driver.app.main.results
        await driver.press("4", "slash", *"lr 0.0")
        assert [e.number for e in results.experiments] == [7, 1]
        assert '"lr 0.0" 2 of 9' in driver.text()
        await driver.press("enter")
        assert results.has_focus
        assert len(results.experiments) == 2
        await driver.press("slash", *"zz")
        assert "No row contains all these words" in driver.text()
        await driver.press("enter")
        assert "details" not in driver.row(-1), "a key that would do nothing"
        await driver.press("slash", "escape")
        assert len(results.experiments) == 9

    drive(session, host, story)


def test_a_night_that_overfits_is_said(session: FakeSession, host: FakeHost) -> None:
    judged(session)

    async def story(driver: Driver) -> None:
        assert "! overfits its referee" in driver.text()
        assert "sealed 1.0021 gap +0.0199 ↗" in driver.text()
        session.add(ev.FrontierMoved(0, "human"))
        await driver.tick()
        assert "from here" in driver.text()

    drive(session, host, story, size=(140, 40))


@pytest.mark.parametrize("theme", ["textual-light", "nord", "ansi-dark"])
def test_themes(session: FakeSession, host: FakeHost, theme: str) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        if theme in driver.app.available_themes:
            assert driver.app.theme == theme
        for key in ("3", "4", "5", "6", "7"):
            await driver.press(key)
        assert "approve" in driver.text()

    drive(session, host, story, settings=Preferences(theme=theme))


def test_without_colours_nothing_is_lost(session: FakeSession, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    night(session)

    async def story(driver: Driver) -> None:
        # Greys at the most.
        colours = set(re.findall(r"#([0-9a-f]{6})", driver.app.export_screenshot().split("<text")[-1]))
        assert all(colour[:2] == colour[2:4] == colour[4:] for colour in colours)
        for mark in ("★ ", "✓ ", "⊘ ", "● ", "▶ "):
            assert mark in driver.text()

    drive(session, host, story)
