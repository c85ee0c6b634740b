"""The small screens: help, veto and note."""

from __future__ import annotations

from typing import Any

import pytest
from textual.screen import Screen

from autoresearch_tui.cockpit.screens.dialogs import REASONS, Dialog, note_dialog, veto_dialog
from autoresearch_tui.cockpit.screens.help import Entry, HelpScreen
from tests.cockpit.coloured import Coloured
from tests.cockpit.nights import pilot_test


class Host(Coloured):
    def __init__(self, screen: Screen[Any]) -> None:
        super().__init__()
        self._first = screen
        self.answers: list[object] = []

    def on_mount(self) -> None:
        self.push_screen(self._first, self.answers.append)

    def text(self) -> str:
        strips = self.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    def picture(self) -> str:
        return self.export_screenshot().replace("&#160;", " ")


@pilot_test
@pytest.mark.parametrize("keys", [("3",), ("down", "down", "down", "enter")])
async def test_a_reason_from_the_list(keys: tuple[str, ...]) -> None:
    app = Host(veto_dialog("#7"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*keys)
        assert app.answers == [REASONS[2]]


@pilot_test
async def test_a_reason_in_own_words_digits_included() -> None:
    app = Host(veto_dialog("#7"))
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("tab", "enter", *"tried 2x", "enter")
        assert app.answers == ["tried 2x"]


@pilot_test
@pytest.mark.parametrize("screen", [veto_dialog("#7"), note_dialog(()), HelpScreen(())])
async def test_escape_says_nothing(screen: Screen[Any]) -> None:
    app = Host(screen)
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("escape")
        assert app.answers == [None]


@pilot_test
async def test_a_note() -> None:
    app = Host(note_dialog(()))
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("enter", *"go [b]slower", "enter")
        assert app.answers == ["go [b]slower"]


@pilot_test
async def test_a_choice_needs_a_key_or_an_arrow() -> None:
    app = Host(Dialog("End?", "For good.", [("y", "yes"), ("n", "no")]))
    async with app.run_test(size=(60, 20)) as pilot:
        assert "y or n: choose · Esc: back" in app.text()
        await pilot.press("enter", "x", "1", "tab")
        assert app.answers == []
        await pilot.press("down")
        assert "▸y" in app.text()
        await pilot.press("enter")
        assert app.answers == ["y"]


@pilot_test
async def test_an_answer_is_clicked() -> None:
    app = Host(veto_dialog("#7"))
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.click(offset=(1, 1))
        assert app.answers == []
        await pilot.click("#answers", offset=(6, 2))
        assert app.answers == [REASONS[2]]


@pilot_test
async def test_help_shows_rows_as_text_and_scrolls() -> None:
    entries = [Entry("p", "Pause", "Launch [red]nothing"), *(Entry(f"f{n}", f"Action {n}", "x") for n in range(40))]
    app = Host(HelpScreen(entries))
    async with app.run_test(size=(80, 24)) as pilot:
        assert "Launch [red]nothing" in app.picture()
        assert "Action 39" not in app.picture()
        await pilot.press("end")
        await pilot.pause()
        assert "Action 39" in app.picture()
        await pilot.press("question_mark")
        assert app.answers == [None]


@pilot_test
async def test_help_is_filtered_by_typing_and_runs_what_is_chosen() -> None:
    entries = [Entry(words="Loop"), Entry("p", "Pause", "Start nothing new.", "pause"), Entry("s", "Stop", "", "stop")]
    entries += [Entry(words="Marks"), Entry("★", "best", "the best pause")]
    app = Host(HelpScreen(entries))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"start no")
        assert "Keys · start no" in app.text() and "Loop" in app.text()
        assert "Stop" not in app.text() and "Marks" not in app.text()
        await pilot.press("escape")
        assert app.answers == [] and "Stop" in app.text()
        await pilot.press(*"zzz")
        assert "no key is about this" in app.text()
        await pilot.press(*["backspace"] * 3, *"st", "down")
        assert "▸s  Stop" in app.text()
        await pilot.press("enter")
        assert app.answers == ["stop"]
