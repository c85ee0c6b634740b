"""The small screens: help, veto and note."""

from __future__ import annotations

from typing import Any

import pytest
from textual.screen import Screen

from autoresearch_tui.cockpit.screens.help import HelpScreen
from autoresearch_tui.cockpit.screens.note import NoteScreen
from autoresearch_tui.cockpit.screens.veto import REASONS, VetoScreen
from tests.cockpit.coloured import Coloured
from tests.cockpit.nights import pilot_test


class Host(Coloured):
    def __init__(self, screen: Screen[Any]) -> None:
        super().__init__()
        self._first = screen
        self.answers: list[object] = []

    def on_mount(self) -> None:
        self.push_screen(self._first, self.answers.append)

    def picture(self) -> str:
        return self.export_screenshot().replace("&#160;", " ")


@pilot_test
@pytest.mark.parametrize("keys", [("3",), ("down", "down", "enter")])
async def test_a_reason_from_the_list(keys: tuple[str, ...]) -> None:
    app = Host(VetoScreen("0007"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*keys)
        assert app.answers == [REASONS[2]]


@pilot_test
async def test_a_reason_in_own_words_digits_included() -> None:
    app = Host(VetoScreen())
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("tab", "enter", *"tried 2x", "enter")
        assert app.answers == ["tried 2x"]


@pilot_test
@pytest.mark.parametrize("screen", [VetoScreen(), NoteScreen(), HelpScreen(())])
async def test_escape_says_nothing(screen: Screen[Any]) -> None:
    app = Host(screen)
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("escape")
        assert app.answers == [None]


@pilot_test
async def test_a_note() -> None:
    app = Host(NoteScreen())
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("enter", *"go [b]slower", "enter")
        assert app.answers == ["go [b]slower"]


@pilot_test
async def test_help_shows_rows_as_text_and_scrolls() -> None:
    rows = [("p", "Pause", "Launch [red]nothing"), *((f"f{n}", f"Action {n}", "x") for n in range(40))]
    app = Host(HelpScreen(rows))
    async with app.run_test(size=(80, 24)) as pilot:
        assert "Launch [red]nothing" in app.picture()
        assert "Action 39" not in app.picture()
        await pilot.press("end")
        await pilot.pause()
        assert "Action 39" in app.picture()
        await pilot.press("question_mark")
        assert app.answers == [None]
