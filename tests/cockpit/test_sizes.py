"""Every screen of a decision or a text, on a phone, a small and a large terminal: what matters is in the picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.screen import Screen

from autoresearch_tui.cockpit.screens.dialogs import Dialog, note_dialog, one_of, veto_dialog
from autoresearch_tui.cockpit.screens.edit import EditScreen
from autoresearch_tui.cockpit.screens.help import Entry, HelpScreen
from autoresearch_tui.cockpit.screens.program import ProgramScreen
from autoresearch_tui.cockpit.screens.program_diffs import ConflictScreen
from autoresearch_tui.cockpit.screens.review import ReviewScreen
from autoresearch_tui.cockpit.screens.since import SinceScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.session.state import State
from tests.cockpit.coloured import Coloured
from tests.cockpit.fakes import FakeHost
from tests.cockpit.nights import long_night, pilot_test

SIZES = [(60, 20), (80, 24), (200, 50)]
STATE = long_night(40).state
DIFF = "--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n-LR = 1\n+LR = 2\n x = 1\n"


def view(root: Path) -> Bridge:
    made = Bridge(labs.Lab(root, Settings()), "nov21", FakeHost())
    made.state = STATE
    return made


def review(root: Path) -> Screen[Any]:
    made, number = view(root), STATE.waiting[-1].number
    run = made.files.run(number)
    run.folder.mkdir(parents=True)
    run.diff.write_text(DIFF)
    return ReviewScreen(made, number)


def program(root: Path) -> Screen[Any]:
    (root / "program.md").write_text("# Program\n\nBe bold.\n")
    return ProgramScreen(view(root))


SCREENS: list[tuple[Callable[[Path], Screen[Any]], list[str]]] = [
    (review, ["LR = 2", "waits for you", "approve", "veto", "another", "back", "risk"]),
    (program, ["Be bold.", "version", "save", "back", "✓ saved"]),
    (lambda _: veto_dialog("#7"), ["tried before", "wrong direction", "or in your own words", "Esc: back"]),
    (lambda _: note_dialog(()), ["Note to the researcher", "Esc: back"]),
    (lambda _: HelpScreen([Entry("a", "Approve", "Train it")]), ["Approve", "Train it", "Esc: back"]),
    (lambda _: SinceScreen(State(), STATE), ["best", "finished", "waits for you"]),
    (
        lambda root: EditScreen(view(root), STATE.waiting[-1], {"a.py": "x = 1\n", "b.py": ""}),
        ["x = 1", "b.py", "run this version", "back"],
    ),
    (lambda _: ConflictScreen("a\n", "b\n", False), ["changed on disk", "+ a", "- b", "edit both", "back"]),
    (
        lambda _: Dialog("End the session", "Stops this session's engine.", [("a", "after this run"), ("x", "now")]),
        ["End the session", "after this run", "a or x: choose", "Esc: back"],
    ),
]


def test_the_keys_of_answers_are_those_that_choose() -> None:
    assert [one_of(keys) for keys in ("1", "yn", "123", "1234", "rhdp")] == [
        "1",
        "y or n",
        "1, 2 or 3",
        "1-4",
        "r, h, d or p",
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
