"""Searching in every pane, and a log that stays while it is being read."""

from __future__ import annotations

import pytest

from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, commit_of, night

LONG_DIFF = "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1,60 +1,60 @@\n" + "".join(
    f" line {n} of the file\n" if n != 40 else "-WARMUP = 0\n+WARMUP = 200\n" for n in range(60)
)


def test_the_diff_is_searched_where_it_has_the_keys(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.files.run(8).diff.write_text(LONG_DIFF)
    session.add(ev.ProposalRebased(8, commit_of(9), commit_of(6), True, 1, 1), ev.ReviewOpened(8, commit_of(9), "hold"))

    async def story(driver: Driver) -> None:
        await driver.press("3")
        assert "WARMUP" not in driver.text()
        await driver.press("slash", *"warmup", "enter")
        assert "2 lines" in driver.said() and "WARMUP = 200" in driver.text()
        await driver.press("greater_than_sign")
        await driver.press("slash", *"nowhere", "enter")
        assert "not found" in driver.said()
        await driver.press("escape")
        assert driver.app.main.diff.query_text == ""

    drive(session, host, story, size=(80, 24))


def test_the_researcher_is_searched(session: FakeSession, host: FakeHost) -> None:
    night(session)
    said = "".join(f"» thought number {n}\n" for n in range(80))
    session.files.researcher_log.write_text(said.replace("number 7\n", "number 7, about MOMENTUM\n"))

    async def story(driver: Driver) -> None:
        await driver.press("6", "slash", *"momentum", "enter")
        assert "1 line" in driver.said() and "▶» thought number 7, about MOMENTUM" in driver.text()
        await driver.press("greater_than_sign")
        assert "no more matches that way" in driver.said()

    drive(session, host, story, size=(80, 24))


def test_a_match_far_to_the_right_comes_into_sight(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.log(7, "\n" + "窓" * 90 + " needle and more\n" + "end\n" * 30)

    async def story(driver: Driver) -> None:
        await driver.tick()
        await driver.press("1", "slash", *"needle", "enter")
        assert "needle" in driver.text()

    drive(session, host, story, size=(60, 20))


def test_the_log_of_the_details_is_searched(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", "end", "enter", "tab", "slash", *"vocab", "enter")
        assert "▶Model config" in driver.text()
        await driver.press("escape")
        assert type(driver.app.screen).__name__ == "ExperimentScreen", "out of the search first"
        await driver.press("escape")
        assert driver.app.screen is driver.app.main

    drive(session, host, story, size=(80, 24))


def test_a_log_that_is_being_read_stays_when_another_run_starts(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.log(7, "\n" + "".join(f"the line {n}\n" for n in range(100)))

    async def story(driver: Driver) -> None:
        await driver.tick()
        await driver.press("1", *["up"] * 30)
        before = [line for line in driver.text().split("\n") if "the line" in line]
        assert before
        session.log(7, "the last words\n")
        session.end(7, 0.98, "keep")
        session.approve(8)
        session.start(8)
        session.log(8, "words of another run\n")
        await driver.tick()
        assert [line for line in driver.text().split("\n") if "the line" in line][: len(before) - 1] == before[:-1]
        assert "#8 has started · f to follow it" in driver.text() and "log of #7" in driver.text()
        await driver.press("end")
        assert "the last words" in driver.text(), "the end of the log that is being read can be read"
        await driver.press("f")
        assert "words of another run" in driver.text() and "has started" not in driver.text()

    drive(session, host, story, size=(80, 24))


def test_who_follows_the_log_sees_the_next_run(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("1")
        session.end(7, 0.98, "keep")
        session.approve(8)
        session.start(8)
        session.log(8, "words of another run\n")
        await driver.tick()
        assert "words of another run" in driver.text()

    drive(session, host, story, size=(80, 24))


@pytest.mark.parametrize("size", [(60, 20), (120, 40)])
@pytest.mark.parametrize("keys", [("r",), ("4", "down", "down", "x", "down", "down", "x", "c")], ids=["one", "two"])
def test_diffs_are_searched_wherever_they_are_shown(
    session: FakeSession, host: FakeHost, keys: tuple[str, ...], size: tuple[int, int]
) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press(*keys)
        screen = driver.app.screen
        driver.later(1)
        await driver.press("slash", *"a vlr", "enter")
        assert "not found" in driver.said()
        await driver.press("slash", *"adam", "enter")
        assert "1 line" in driver.said() and "ADAM_BETAS" in driver.text()
        await driver.press("slash", "escape")
        assert driver.app.screen is screen, "Escape closes the line first"
        await driver.press("escape")
        assert driver.app.screen is screen, "then the search"
        await driver.press("escape")
        assert driver.app.screen is driver.app.main

    drive(session, host, story, size=size)
    assert not [command for command in host.sent if not isinstance(command, cmd.Attend)]
