"""Every row of the table of actions, by its key: what the engine is told, or what the human sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoresearch_tui.cockpit.actions import ACTIONS, by_id
from autoresearch_tui.cockpit.screens.review import ReviewScreen
from autoresearch_tui.engine import commands as cmd
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import DIFF, FakeHost, FakeSession, commit_of, night

SIZE = (120, 40)
BELOW = ("4", "down", "down")
DETAILS = (*BELOW, "enter")


@dataclass(frozen=True)
class Case:
    """Press `before`, then the action's key, then `after`; then all of these hold.

    `disk`: what another editor writes to program.md after `before`, and then it is saved here.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    sent: tuple[cmd.Command, ...] = ()
    shows: str = ""
    says: str = ""
    copied: str = ""
    check: Callable[[Driver], bool] = lambda _: True
    hosted: bool = True
    disk: str = ""


def on_disk(text: str) -> Callable[[Driver], bool]:
    return lambda driver: driver.session.lab.program.read_text() == text


def screen(name: str) -> Callable[[Driver], bool]:
    return lambda driver: type(driver.app.screen).__name__ == name


def pane(name: str) -> Callable[[Driver], bool]:
    def holds(driver: Driver) -> bool:
        focused = driver.app.screen.focused
        return focused is not None and name in {node.id for node in focused.ancestors_with_self}

    return holds


MANY = "".join(f"line {n}\n" for n in range(60)) + "RuntimeError: boom\n" + "end\n" * 60
AT_IT, OVER = cmd.Attend(8, commit_of(8)), cmd.Attend(8, commit_of(8), over=True)
PROGRAM = "# Program\n\nImprove train.py.\n"
EDITING = ("r", "e")
SEARCHED = ("slash", "l", "i", "n", "e", "enter")
CASES: dict[str, Case] = {
    "approve": Case(sent=(cmd.Approve(8, commit_of(8)),), says="approving #8"),
    "veto": Case(
        after=("2",),
        sent=(
            AT_IT,
            cmd.Veto(8, commit_of(8), "games the metric or touches the evaluation"),
        ),
    ),
    "review": Case(check=screen("ReviewScreen")),
    "note": Case(after=(*"hm", "enter"), sent=(cmd.Note("hm"),)),
    "repeat": Case(BELOW, sent=(cmd.Repeat(6),), says="#6 runs once more"),
    "overrule": Case(BELOW, ("1",), sent=(cmd.Overrule(6, "discard", "inside the noise of equal runs"),)),
    "continue_from": Case(("5", "end"), ("y",), sent=(cmd.ContinueFrom(0),), says="goes on from #0"),
    "pause": Case(sent=(cmd.Pause(),)),
    "pause_run": Case(sent=(cmd.Pause(stop_run=True),)),
    "stop_run": Case(after=("y",), sent=(cmd.StopRun(7),)),
    "program": Case(shows="Improve train.py.", check=screen("ProgramScreen")),
    "editor": Case(says="lent to an editor"),
    "details": Case(BELOW, shows="★ #6 best", check=screen("ExperimentScreen")),
    "find": Case(after=("e", "n", "d", "enter"), says="60 lines"),
    "find_next": Case((*SEARCHED, "less_than_sign"), shows="▶line 59"),
    "find_previous": Case(SEARCHED, shows="▶line 58"),
    "first_error": Case(shows="▶RuntimeError: boom"),
    "next_run": Case(says="no other experiment is in training"),
    "follow": Case(shows="standing still"),
    "zoom": Case(("4",), check=lambda d: "vram" not in d.text()),
    "pane(1)": Case(("4",), check=pane("run")),
    "pane(2)": Case(check=pane("load")),
    "pane(3)": Case(check=pane("proposal")),
    "pane(4)": Case(check=pane("results")),
    "pane(5)": Case(check=pane("tree")),
    "pane(6)": Case(shows="Seven attempts so far"),
    "pane(7)": Case(shows="best so far"),
    "help": Case(shows="Approve the proposal", check=screen("HelpScreen")),
    "detach": Case(check=lambda d: d.app.outcome == "detached" and not d.app.is_running),
    "take_over": Case(check=lambda d: d.app.outcome == "take over", hosted=False),
    "stop": Case(after=("x",), sent=(cmd.Stop(now=True),)),
    "results.order": Case(("4",), shows="oldest first"),
    "results.filter": Case(("4",), shows="keep only"),
    "results.mark": Case(("4",), shows="1 marked: c compares"),
    "results.compare": Case(("4", "end"), check=screen("CompareScreen")),
    "results.copy": Case(("4", "end"), copied="0a3f100\t0.997900\t44.0\tkeep\tbaseline"),
    "diff.next": Case(("3",), check=pane("proposal")),
    "diff.previous": Case(("3",), check=pane("proposal")),
    "diff.flag": Case(("3",), check=lambda d: not d.app.main.log_pane.following or pane("proposal")(d)),
    "diff.split": Case(("3", "z"), check=lambda d: d.app.main.diff.split),
    "review.approve": Case(("r",), sent=(cmd.Approve(8, commit_of(8)),)),
    "review.veto": Case(
        ("r",),
        ("1",),
        sent=(
            AT_IT,
            cmd.Veto(8, commit_of(8), "tried before"),
        ),
    ),
    "review.edit": Case(("r",), sent=(AT_IT,), check=screen("EditScreen")),
    "review.external": Case(("r",), sent=(AT_IT, OVER), says="lent to an editor"),
    "review.another": Case(
        ("r",), (*"go", "enter"), sent=(AT_IT, cmd.Veto(8, commit_of(8), "another is wanted: go"), cmd.Note("go"))
    ),
    "review.leave": Case(("r",), check=screen("MainScreen")),
    "details.earlier": Case(DETAILS, shows="⊘ #5 vetoed"),
    "details.later": Case(DETAILS, shows="▶ #7 running"),
    "details.other": Case(DETAILS, check=pane("experiment-run")),
    "details.compare": Case((*BELOW, "end", "enter"), check=screen("CompareScreen")),
    "details.copy": Case(DETAILS, copied="0a3f106\t0.986800\t44.0\tkeep\tWARMDOWN_RATIO 0.5→0.7"),
    "details.copy_diff": Case(DETAILS, copied=DIFF),
    "details.first_error": Case((*BELOW, "up", "enter"), shows="▶RuntimeError: boom"),
    "details.leave": Case(DETAILS, check=screen("MainScreen")),
    "compare.next": Case((*BELOW, "down", "down", "c"), check=screen("CompareScreen")),
    "compare.leave": Case((*BELOW, "down", "down", "c"), check=screen("MainScreen")),
    "program.save": Case(("e", "x"), shows="as on disk"),
    "program.external": Case(("e",), says="lent to an editor"),
    "program.leave": Case(("e",), check=screen("MainScreen")),
    "edit.save": Case((*EDITING, "x"), sent=(AT_IT, cmd.Revise(8, commit_of(8), {"train.py": "MATRIX_LR = 0.02\nx"}))),
    "edit.leave": Case(EDITING, sent=(AT_IT, OVER), check=screen("ReviewScreen")),
    "conflict.merge": Case(("e", "Z"), disk=f"{PROGRAM}New.\n", check=on_disk(f"Z{PROGRAM}New.\n")),
    "conflict.both": Case(("e", "Z"), disk="New.\n", shows="settle them, then ctrl+s", check=on_disk("New.\n")),
    "conflict.theirs": Case(("e", "Z"), disk="New.\n", shows="as on disk", check=on_disk("New.\n")),
    "conflict.mine": Case(("e", "Z"), disk="New.\n", check=on_disk(f"Z{PROGRAM}")),
    "conflict.leave": Case(("e", "Z"), disk="New.\n", check=screen("ProgramScreen")),
}


def test_every_action_has_a_case() -> None:
    assert [action.id for action in ACTIONS] == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_action(session: FakeSession, host: FakeHost, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    night(session)
    session.log(7, "\n" + MANY)
    folder = session.files.run(8).folder
    Path(folder, "train.py").write_text("MATRIX_LR = 0.02\n")
    for variable in ("EDITOR", "VISUAL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    case, action = CASES[name], by_id(name)
    hosted = host if case.hosted else None

    async def story(driver: Driver) -> None:
        if not case.hosted:
            driver.app.bridge.takeable = True
        for key in case.before:
            await driver.press(key)
            if isinstance(driver.app.screen, ReviewScreen):
                # What was typed for the screen before does not count.
                driver.app.screen._appeared -= 1
        if case.disk:
            session.lab.program.write_text(case.disk)
            await driver.press("ctrl+s")
        await driver.press(action.key, *case.after)
        assert case.check(driver)
        assert case.shows in driver.text()
        assert case.says in driver.said()
        assert driver.app.clipboard.startswith(case.copied)

    drive(session, hosted, story, size=SIZE, reason="" if hosted else "another cockpit has it")
    assert host.sent == list(case.sent)


@pytest.mark.parametrize("name", ["repeat", "overrule", "continue_from"])
def test_the_details_judge_as_well(session: FakeSession, host: FakeHost, name: str) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", "end", "enter", by_id(name).key)
        if name != "repeat":
            await driver.press("1" if name == "overrule" else "y")

    drive(session, host, story, size=(80, 24))
    assert [type(command).__name__ for command in host.sent] == [name.title().replace("_F", "F").replace("_", "")]
    assert {command.number for command in host.sent} == {0}


@pytest.mark.parametrize("key", ["R", "O", "C"])
def test_a_judgement_needs_a_verdict(session: FakeSession, host: FakeHost, key: str) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", key)
        assert "choose an experiment" in driver.said()
        await driver.press("1", key)
        assert driver.app.screen is driver.app.main

    drive(session, host, story)
    assert host.sent == []
