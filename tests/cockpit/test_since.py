"""What the human is told on coming back."""

from __future__ import annotations

from typing import ClassVar

import pytest
from textual.binding import Binding, BindingType

from autoresearch_tui.cockpit.screens.since import SinceScreen, digest
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import State
from tests.cockpit.coloured import Coloured
from tests.cockpit.nights import Night, long_night, pilot_test


def test_the_night_in_a_few_lines() -> None:
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    before = night.state
    first = night.commit(night.experiment("keep", 0.99, base, "deeper"))
    night.experiment("discard", 0.995, first)
    night.experiment("crash", None, first)
    night.experiment("vetoed", None, first)
    night.add(ev.ProgramRead("2" * 12, 90))
    second = night.commit(night.experiment("keep", 0.9899, first, "a little \x1b[1mwider"))
    night.launch(night.propose(second, "the next idea"))
    night.review(night.propose(second, "the one after", flags=("train.py:1 x y",)))
    lines = digest(before, night.state)
    assert lines[0] == "● #7 waits for you, ⚑ 1: the one after"
    assert "★ best 0.997900 → 0.989900 by #5, a little ·[1mwider (better by 0.008000)" in lines
    assert "5 experiments finished: 2 kept, 1 discarded, 1 crashed, 1 vetoed" in lines
    assert "≈ 1 of the kept is within the noise of equal runs: #5" in lines
    assert f"program.md: 1f3a5c7e9b0d → {'2' * 12}" in lines
    assert "spent $0.28, $0.32 in all" in lines
    assert lines[-1].startswith("▶ #6 running since ") and lines[-1].endswith(": the next idea")


def test_trouble_is_said_first() -> None:
    night = Night()
    night.experiment("keep", 0.9979)
    before = night.state
    night.add(ev.TroubleMet("the disk is full", "make room", 60))
    night.add(ev.ProposalFailed(1, "529 overloaded", None))
    night.add(ev.ProposalFailed(1, "529 overloaded", None))
    night.add(ev.PauseAsked("engine", "the researcher cannot be reached"))
    night.add(ev.EngineStopped("failed", "no space left"))
    lines = digest(before, night.state)
    assert lines[0] == "! paused by the engine: the researcher cannot be reached"
    assert "the disk is full; make room" in lines[1]
    assert lines[2] == "! no proposal, 2 times: 529 overloaded"
    assert lines[3] == "! the engine failed: no space left"
    assert "no experiment finished" in lines
    assert "= best unchanged: 0.997900 by #0, baseline" in lines


def test_nothing_and_a_first_look() -> None:
    state = long_night(5).state
    assert "nothing happened while you were away" in digest(state, state)
    assert any(line.startswith("★ best ") for line in digest(State(), state))
    assert digest(State(), State()) == (
        "nothing happened while you were away",
        "no score yet",
        "no experiment finished",
    )


@pytest.mark.parametrize("key", ["enter", "escape", "Q", "a"])
@pilot_test
async def test_any_key_closes_the_digest_and_does_nothing_else(key: str) -> None:
    class Host(Coloured):
        BINDINGS: ClassVar[list[BindingType]] = [Binding("a,Q,enter", "exit", "Exit")]

        def on_mount(self) -> None:
            self.push_screen(SinceScreen(State(), long_night(30).state))

    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        assert "Since you left" in app.export_screenshot().replace("&#160;", " ")
        await pilot.press("down")
        assert isinstance(app.screen, SinceScreen)
        await pilot.press(key)
        assert not isinstance(app.screen, SinceScreen)
        assert app.is_running
