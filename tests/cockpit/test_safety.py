"""Text from logs, agents and files is text: never markup, never a control sequence, never endless."""

from __future__ import annotations

import re

import pytest
from rich.segment import Segment

from autoresearch_tui.session import events as ev
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession

NASTY = (
    "[bold red]boo[/] [@click=app.quit]x[/] [link=file:///etc]y[/link]"
    " \x1b[2J\x1b]0;owned\x07\x1b[31mred safe \u202egnp.exe \u2066x\u2069 \u200b"
    " a\x00b\x07c\x08d\x7fe\x9bf 速い🚀 one\ntwo\rthree\u2028four "
)
TEXTS = {"nasty": NASTY, "long": "x" * 10_000}
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\u2028]")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=str)
def test_nasty_text_everywhere(session: FakeSession, text: str, size: tuple[int, int]) -> None:
    host = FakeHost()
    session.begin()
    session.whole("baseline", 1.0, "keep")
    crashed = session.propose(text, flags=(f"train.py:1 seed {text}",), hypothesis=text)
    session.review(crashed, "veto")
    session.start(crashed)
    session.log(crashed, text + "\n" + text)
    session.add(ev.RunEnded(crashed, "crashed", 1, 3.0, (text,)), ev.RunScored(crashed, None, 0.0, "log", text))
    session.add(ev.VerdictGiven(crashed, "crash", None, 0.0, text), ev.TroubleMet(text, text), ev.NoteGiven(text))
    waiting = session.propose(text, diff=f"--- a/{text}\n+++ b/{text}\n@@ -1 +1 @@\n-a\n+{text}\n", hypothesis=text)
    session.review(waiting)
    session.files.researcher_log.write_text(text, "utf-8", "surrogateescape")
    session.add(ev.CommandRefused(text, text), ev.PauseAsked(text, text))

    async def story(driver: Driver) -> None:
        for keys in (
            (),
            ("3",),
            ("4",),
            ("5",),
            ("6",),
            ("7",),
            ("4", "home", "enter"),
            ("escape", "r"),
            ("escape", "v"),
        ):
            await driver.press(*keys)
            await driver.tick(1)
            shown = driver.text()
            assert not FORBIDDEN.search(shown), keys
            for strip in driver.app.screen._compositor.render_strips():
                assert strip.cell_length == size[0], keys
                assert "app.quit" not in str([s.style and s.style.meta for s in strip if isinstance(s, Segment)])
        host.failure = text
        await driver.press("escape")
        await driver.tick()
        assert not FORBIDDEN.search(driver.text())

    drive(session, host, story, size=size)


def test_markup_is_shown_as_it_is(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    session.whole("baseline", 1.0, "keep")
    session.review(session.propose("[bold]not bold[/bold]"))
    session.log(0, "[red]in the log[/red]\n")

    async def story(driver: Driver) -> None:
        assert "#1 [bold]not bold[/bold]" in driver.text()
        assert "[red]in the log[/red]" in driver.text()

    drive(session, host, story)
