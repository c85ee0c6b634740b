"""An experiment's files in the user's own programs, what is copied of it, and where its diff opens."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoresearch_tui.session import events as ev
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, commit_of, night
from tests.conftest import git
from tests.e2e.terminal import Terminal

FAR = "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1,40 +1,40 @@\n" + "".join(
    f" line {n}\n" if n != 30 else "-DEPTH = 8\n+DEPTH = 9\n" for n in range(40)
)


@pytest.mark.parametrize(("key", "copied"), [("h", commit_of(6)), ("s", "0.986800"), ("d", "WARMDOWN_RATIO 0.5→0.7")])
@pytest.mark.parametrize("way", [("4", "down", "down"), ("4", "down", "down", "enter")], ids=["list", "details"])
def test_what_is_copied(session: FakeSession, host: FakeHost, way: tuple[str, ...], key: str, copied: str) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press(*way, "Y")
        assert "Copy of #6" in driver.text()
        await driver.press(key)
        assert driver.app.clipboard.startswith(copied)

    drive(session, host, story, size=(60, 20))


def test_the_path_of_its_folder(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", "Y", "p")
        assert Path(driver.app.clipboard) == session.files.run(8).folder

    drive(session, host, story, size=(60, 20))


def test_an_experiment_without_files_says_so(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    number = session.propose("nothing yet")
    session.files.run(number).diff.unlink()

    async def story(driver: Driver) -> None:
        await driver.press("4", "V")
        assert "#0 has no files yet" in driver.said()

    drive(session, host, story)


@pytest.mark.parametrize("keys", [("4", "number_sign", "6", "enter", "enter"), ("4", "end", "x", "up", "up", "c")])
def test_a_diff_opens_at_its_first_change(session: FakeSession, host: FakeHost, keys: tuple[str, ...]) -> None:
    night(session)
    for number in range(9):
        session.files.run(number).diff.write_text(FAR)

    async def story(driver: Driver) -> None:
        await driver.press(*keys)
        shown = driver.text().count("DEPTH = 9")
        assert shown
        await driver.press("home")
        assert driver.text().count("DEPTH = 9") == shown - 1, "it stays where the reader goes"

    drive(session, host, story, size=(60, 20))


def test_a_log_in_the_pager_and_back(session: FakeSession, tmp_path: Path) -> None:
    night(session)
    session.add(ev.EngineStopped("detached"))
    session.lab.root.joinpath("prepare.py").write_text("")
    git(session.lab.root, "init", "--quiet")
    pager = tmp_path / "pager.py"
    pager.write_text("import sys\nprint('PAGED', open(sys.argv[1]).read()[:40], flush=True)\ninput()\n")
    env = {"PAGER": f"{sys.executable} {pager}"}
    with Terminal("watch", str(session.lab.root), columns=80, lines=24, env=env) as t:
        t.wait("training #7")
        t.press("4")
        t.wait("vs best")
        t.press("V")
        t.wait("Read #8")
        t.press("d")
        t.wait("PAGED")
        t.press("\r")
        t.wait("vs best")
