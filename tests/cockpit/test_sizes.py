"""Every screen of a decision or a text, on a phone, a small and a large terminal: what matters is in the picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.screen import Screen

from autoresearch_tui import lab as labs
from autoresearch_tui.cockpit.screens.conflict import ConflictScreen
from autoresearch_tui.cockpit.screens.edit import EditScreen
from autoresearch_tui.cockpit.screens.help import HelpScreen
from autoresearch_tui.cockpit.screens.note import NoteScreen
from autoresearch_tui.cockpit.screens.program import ProgramScreen
from autoresearch_tui.cockpit.screens.review import ReviewScreen
from autoresearch_tui.cockpit.screens.since import SinceScreen
from autoresearch_tui.cockpit.screens.unsaved import UnsavedScreen
from autoresearch_tui.cockpit.screens.veto import VetoScreen
from autoresearch_tui.engine.state import State
from autoresearch_tui.settings import Settings
from tests.cockpit.coloured import Coloured
from tests.cockpit.nights import long_night, pilot_test

SIZES = [(60, 20), (80, 24), (200, 50)]
STATE = long_night(40).state
DIFF = "--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n-LR = 1\n+LR = 2\n x = 1\n"


def review(_: Path) -> Screen[Any]:
    return ReviewScreen(STATE.waiting[-1], DIFF, STATE, lambda: {"train.py": "LR = 2\n"})


def program(root: Path) -> Screen[Any]:
    (root / "program.md").write_text("# Program\n\nBe bold.\n")
    return ProgramScreen(labs.Lab(root, Settings()), STATE)


SCREENS: list[tuple[Callable[[Path], Screen[Any]], list[str]]] = [
    (review, ["LR = 2", "waits for you", "approve", "veto", "another", "back", "risk"]),
    (program, ["Be bold.", "version", "save", "back", "as on disk"]),
    (lambda _: VetoScreen("0007"), ["tried before", "wrong direction", "or in your own words", "Esc: back"]),
    (lambda _: NoteScreen(), ["note to the researcher", "Esc: back"]),
    (lambda _: HelpScreen([("a", "Approve", "Train it")]), ["Approve", "Train it", "Esc: back"]),
    (lambda _: SinceScreen(State(), STATE), ["best", "ended", "waits for you"]),
    (
        lambda _: EditScreen({"a.py": "x = 1\n", "b.py": ""}, "0007"),
        ["x = 1", "b.py", "run this version", "back"],
    ),
    (lambda _: ConflictScreen("a\n", "b\n", False), ["changed on disk", "+ a", "- b", "edit both", "back"]),
    (lambda _: UnsavedScreen(), ["not saved", "discard"]),
]


@pilot_test
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("make", "texts"), SCREENS)
async def test_what_matters_is_in_the_picture(
    make: Callable[[Path], Screen[Any]], texts: list[str], size: tuple[int, int], tmp_path: Path
) -> None:
    class Host(Coloured):
        def on_mount(self) -> None:
            self.push_screen(make(tmp_path))

    app = Host()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        # Words only: a picture has its blanks between pieces of different colour.
        picture = re.sub(r"<[^>]+>|\s|&#160;", "", app.export_screenshot())
        missing = [text for text in texts if text.replace(" ", "") not in picture]
        assert not missing
