"""The digest's screen: what an author wrote is text, and a new page arrives while it is open."""

from __future__ import annotations

from autoresearch_tui.cockpit.screens.digest import about
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import State
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, night


def test_a_page_arrives_while_the_screen_is_open(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("D")
        assert "no page yet" in driver.text()
        session.files.digest.write_text("# Digest\n\n[bold red]#6 was best[/] \x1b[2J 0.95?\n")
        session.add(ev.DigestWritten("claude", 6, 4, 1))
        await driver.tick()
        assert "[bold red]#6 was best[/]" in driver.text()
        assert "up to date · 4 numbers checked, 1 not in the journal (marked ?)" in driver.text()

    drive(session, host, story, size=(100, 24))


def test_how_old_it_is() -> None:
    page = ev.DigestWritten("claude", 6, 4, 0)
    assert about(State(digest=page, verdicts=9)).startswith("3 verdicts ago; w writes a new one")
    assert about(State(digest=page, digest_asked=ev.DigestAsked("human"))) == "a new page is being written …"
