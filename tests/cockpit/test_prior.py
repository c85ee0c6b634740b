"""Results from before the session: under those of the session, set apart, and never in the way."""

from __future__ import annotations

from msgspec.structs import replace

from autoresearch_tui.session import events as ev
from autoresearch_tui.session.prior_results import PriorResult, to_rows
from autoresearch_tui.session.prior_tables import parse
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession

TABLE = (
    "commit\tval_bpb\tmemory_gb\tstatus\tdescription\na1b2c3d\t1.25\t2.0\tkeep\tolder idea\nbad\t\x1b[31mrow [red]x\n"
)


def test_earlier_results_stand_under_their_heading(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    session.add(ev.HistoryRead("results.tsv", to_rows(parse(TABLE, "val_bpb")), 1))
    session.whole("baseline", 1.1, "keep")

    async def story(driver: Driver) -> None:
        await driver.tick()
        text = driver.text()
        lines = text.split("\n")
        heading = next(index for index, line in enumerate(lines) if "before this session: 2 results" in line)
        assert "baseline" in "\n".join(lines[:heading])
        assert "a1b2c3d" in lines[heading + 2]
        assert "older idea" in lines[heading + 2]
        assert "bad" in lines[heading + 1]
        assert " ! " in lines[heading + 1]
        assert "2 prior results" in text
        results = driver.app.main.results
        assert results.count == 4
        results.focus()
        await driver.press("down", "down", "down")
        assert results.selected == 0
        await driver.press("t")
        assert "before this session" not in driver.text()

    drive(session, host, story, size=(200, 50))


def test_the_number_in_an_earlier_session_is_whole(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    rows = to_rows(parse(TABLE.replace("a1b2c3d", "x"), "val_bpb"))
    named = [
        {**rows[0], "name": "nov29#15"},
        {**rows[0], "name": "nov29-gpu0#15", "status": "withdrawn", "value": None},
    ]
    session.add(ev.HistoryRead("autoresearch/nov29", tuple(named), 1))

    async def story(driver: Driver) -> None:
        await driver.press("4")
        assert " nov29#15 ✓" in driver.text()
        assert "nov29-…#15 ↶ withdrawn " in driver.text()

    drive(session, host, story, size=(80, 24))


def test_what_other_labs_shared_has_its_origin_and_what_became_of_it_here(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    session.add(ev.HistoryRead("results.tsv", to_rows(parse(TABLE, "val_bpb")), 1))
    theirs = PriorResult("ada/s#7", 1.05, 2.0, "keep", "an \x1b[31midea", number=7, origin="ada", judged_alike=True)
    other = replace(theirs, name="bob/s#2", number=2, origin="bob", flags=("it ran on a toaster",))
    session.add(ev.SharedRead(to_rows((theirs, other)), left_out=3))
    session.whole("baseline", 1.1, "keep")
    made = session.proposal("ada: an idea", author="shared", origin="ada/s#7", claimed=1.05)
    session.launch(made)
    session.end(made, 1.06, "keep")

    async def story(driver: Driver) -> None:
        await driver.tick()
        text = driver.text()
        assert "from other labs, unverified: the best 2 of 5" in text
        assert "ada#7 ✓" in text
        assert "#1 here: keep" in text
        assert "it ran on a toaster" in text
        assert driver.app.main.results.count == 2 + 3 + 3
        driver.app.main.results.focus()
        await driver.press("enter")
        assert "an idea of ada/s#7; verified here: 1.060000 against their 1.050000" in driver.text()

    drive(session, host, story, size=(200, 50))


def test_without_them_nothing_is_shown(session: FakeSession, host: FakeHost) -> None:
    session.begin()

    async def story(driver: Driver) -> None:
        await driver.tick()
        assert "before this session" not in driver.text()
        assert "earlier results" not in driver.text()

    drive(session, host, story, size=(200, 50))
