"""The main screen's picture at the sizes that it promises, as text; `pictures/` has what it was when last approved.

`UPDATE_PICTURES=1 pytest …` writes them anew; read the difference before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, judged, night

PICTURES = Path(__file__).parent / "pictures"
SIZES = [(60, 20), (80, 24), (120, 30), (200, 50)]


def paused(session: FakeSession) -> None:
    night(session)
    session.add(
        ev.PauseAsked("engine", "three crashes in a row"), ev.TroubleMet("the disk is full", "free space", 60.0)
    )


def empty(session: FakeSession) -> None:
    session.begin()


STORIES: dict[str, Callable[[FakeSession], None]] = {"night": night, "empty": empty, "paused": paused}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", STORIES)
def test_picture(session: FakeSession, host: FakeHost, name: str, size: tuple[int, int]) -> None:
    STORIES[name](session)
    found: list[str] = []

    async def story(driver: Driver) -> None:
        found.append(driver.text())

    drive(session, host, story, size=size)
    compare(f"{name}-{size[0]}x{size[1]}", found[0])


@pytest.mark.parametrize("size", SIZES[:3], ids=lambda size: f"{size[0]}x{size[1]}")
def test_details(session: FakeSession, host: FakeHost, size: tuple[int, int]) -> None:
    night(session)
    found: list[str] = []

    async def story(driver: Driver) -> None:
        await driver.press("4", "down", "down", "enter")
        found.append(driver.text())

    drive(session, host, story, size=size)
    compare(f"details-{size[0]}x{size[1]}", found[0])


# How to get to every other screen from the main one; Escape leads back.
SCREENS: dict[str, tuple[str, ...]] = {
    "review": ("r",),
    "veto": ("3", "v"),
    "note": ("n",),
    "help": ("question_mark",),
    "program": ("e",),
    "stop": ("Q",),
    "stop-run": ("s",),
    "results": ("4",),
    "search": ("4", "slash", "l", "r"),
    "run": ("4", "end", "enter", "tab"),
    "compare": ("4", "end", "c"),
    "overrule": ("4", "end", "O"),
    "continue": ("5", "end", "C"),
    "tree": ("5",),
    "load": ("2",),
    "researcher": ("6",),
    "progress": ("7",),
}


@pytest.mark.parametrize("size", SIZES[:3], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("tell", [night, judged], ids=["night", "judged"])
def test_every_other_screen(
    session: FakeSession, host: FakeHost, tell: Callable[[FakeSession], None], size: tuple[int, int]
) -> None:
    tell(session)
    session.files.run(8).folder.mkdir(parents=True, exist_ok=True)
    session.files.run(8).folder.joinpath("train.py").write_text("MATRIX_LR = 0.02\n")
    names = list(SCREENS) if tell is night else ["results", "run", "overrule", "tree", "progress"]
    found: dict[str, str] = {}

    async def story(driver: Driver) -> None:
        driver.later(1)
        for name in names:
            for key in SCREENS[name]:
                await driver.press(key)
                driver.later(0.6)
            found[name] = driver.text()
            await driver.press("escape", "escape")
            assert driver.app.screen is driver.app.main, name

    drive(session, host, story, size=size)
    prefix = "" if tell is night else "judged-"
    for name, shown in found.items():
        compare(f"{prefix}{name}-{size[0]}x{size[1]}", shown)
    assert all(isinstance(command, cmd.Attend) for command in host.sent)


def test_all_five_views_at_once(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        for words in ("1 run", "2 load", "3 diff #8", "4 results", "5 tree", "loss 2.9", "Gradient accumulation"):
            assert words in driver.text()

    drive(session, host, story, size=(120, 30))


def compare(name: str, shown: str) -> None:
    file = PICTURES / f"{name}.txt"
    if os.environ.get("UPDATE_PICTURES"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown + "\n", "utf-8")
    assert shown + "\n" == file.read_text("utf-8")
