"""Every row of the table of actions, by its key: what the engine is told, or what the human sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoresearch_tui.cockpit.actions import ACTIONS, REPLAY, by_id
from autoresearch_tui.cockpit.screens.review import ReviewScreen
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Opinion
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
    elsewhere: bool = False
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
READ, AT_IT, HOLD = (cmd.Attend(8, commit_of(8), why=why) for why in ("read", "answer", "hold"))
OVER = cmd.Attend(8, commit_of(8), over=True, why="read")
PROGRAM = "# Program\n\nImprove train.py.\n"
EDITING = ("r", "e")
VERSION = ("e", "ctrl+r", "1")
SEARCHED = ("slash", "l", "i", "n", "e", "enter")
CASES: dict[str, Case] = {
    "approve": Case(sent=(cmd.Approve(8, commit_of(8)),)),
    "veto": Case(
        after=("2",),
        sent=(
            AT_IT,
            cmd.Veto(8, commit_of(8), "games the metric or touches the evaluation"),
        ),
    ),
    "review": Case(sent=(READ,), check=screen("ReviewScreen")),
    "hold": Case(sent=(HOLD,)),
    "undo": Case(says="nothing to take back: #7 is in training already; s stops it"),
    "note": Case(after=(*"hm", "enter"), sent=(cmd.Note("hm"),)),
    "notes": Case(says="no note waits to be sent"),
    "repeat": Case(BELOW, sent=(cmd.Repeat(6),), says="#6 will run again"),
    "transfer": Case(BELOW, sent=(cmd.Transfer(6),), says="#6 and the baseline will run at a larger scale"),
    "overrule": Case(BELOW, ("1",), sent=(cmd.Overrule(6, "discard", "inside the noise of equal runs"),)),
    "continue_from": Case(("5", "end"), ("y",), sent=(cmd.ContinueFrom(0),), says="continues from #0"),
    "holdout": Case(says="this session has no holdout"),
    "renew": Case(says="there is no testing budget"),
    "pause": Case(sent=(cmd.Pause(),)),
    "pause_run": Case(sent=(cmd.Pause(stop_run=True),)),
    "stop_run": Case(after=("3",), sent=(cmd.StopRun(7, "it will not fit in memory"),)),
    "program": Case(shows="Improve train.py.", check=screen("ProgramScreen")),
    "editor": Case(says="an editor cannot run"),
    "details": Case(BELOW, shows="★ #6 best", check=screen("ExperimentScreen")),
    "find": Case(after=("e", "n", "d", "enter"), says="60 lines"),
    "go_to": Case(after=(*"vetoed", "enter"), check=lambda d: d.app.main.results.selected == 5),
    "go_to_number": Case(after=("4", "enter"), check=lambda d: d.app.main.results.selected == 4),
    "copy_menu": Case(BELOW, after=("d",), copied="WARMDOWN_RATIO 0.5→0.7", says="copied the description"),
    "view": Case(BELOW, after=("l",), says="a pager cannot run in this terminal"),
    "find_next": Case((*SEARCHED, "less_than_sign"), shows="▶line 59"),
    "find_previous": Case(SEARCHED, shows="▶line 58"),
    "first_error": Case(shows="▶RuntimeError: boom"),
    "next_run": Case(says="no other run is in training"),
    "choose_run": Case(says="no other run is in training"),
    "newest_run": Case(says="the newest run is shown already"),
    "curve": Case(shows="#7 learning rate"),
    "curves": Case(after=(*"mfu", "enter"), shows="#7 mfu"),
    "smooth": Case(shows="#7 smooth"),
    "follow": Case(shows="not following"),
    "digest": Case(shows="no page yet", check=screen("DigestScreen")),
    "pareto": Case(shows="val_bpb ↓ better", check=screen("ParetoScreen")),
    "all_sessions": Case(check=lambda d: "sessions" in d.said()),
    "zoom": Case(("4",), check=lambda d: "vram" not in d.text()),
    "jump": Case(after=("f",), check=pane("results")),
    "pane(1)": Case(("4",), check=pane("run")),
    "pane(2)": Case(check=pane("load")),
    "pane(3)": Case(check=pane("proposal")),
    "pane(4)": Case(check=pane("results")),
    "pane(5)": Case(check=pane("tree")),
    "pane(6)": Case(shows="Seven attempts so far"),
    "pane(7)": Case(shows="best so far"),
    "help": Case(shows="Approve the proposal", check=screen("HelpScreen")),
    "detach": Case(check=lambda d: d.app.outcome == "detached" and not d.app.is_running),
    "visit.leave": Case(("colon", *"crow7", "enter"), check=screen("MainScreen")),
    "take_over": Case(check=lambda d: d.app.outcome == "take over", elsewhere=True),
    "stop": Case(after=("x",), sent=(cmd.Stop(now=True),)),
    "results.filter": Case(("4",), shows="kept only"),
    "results.mark": Case(("4",), shows="1 marked: c compares"),
    "results.compare": Case(("4", "end"), check=screen("CompareScreen")),
    "results.pin": Case(("4", "end"), says="the grey curve is #0", shows="pinned, #0"),
    "results.copy": Case(("4", "end"), copied="0a3f100\t0.997900\t44.0\tkeep\tbaseline"),
    "results.order": Case(("4",), shows="oldest first"),
    "results.columns": Case(("4",), check=screen("ColumnsScreen")),
    "tree.fold": Case(("5", "end"), says="nothing to fold here"),
    "tree.fold_all": Case(("5",), shows="3 folded"),
    "devices.follow": Case(("2", "down"), says="follows 1: #9 DEPTH 8→10"),
    "stream.fold": Case(("6",), shows="← keep, 0.986800"),
    "stream.next": Case(("6",), says="there is one researcher here"),
    "stream.previous": Case(("6",), says="there is one researcher here"),
    "diff.next": Case(("3",), check=pane("proposal")),
    "diff.previous": Case(("3",), check=pane("proposal")),
    "diff.file": Case(("3",), check=pane("proposal")),
    "diff.file_before": Case(("3",), check=pane("proposal")),
    "diff.flag": Case(("3",), check=lambda d: not d.app.main.log_pane.following or pane("proposal")(d)),
    "diff.split": Case(("3", "Z"), check=lambda d: d.app.main.diff.split),
    "review.approve": Case(("r",), sent=(READ, cmd.Approve(8, commit_of(8)))),
    "review.veto": Case(
        ("r",),
        ("1",),
        sent=(READ, AT_IT, cmd.Veto(8, commit_of(8), "tried before")),
    ),
    "review.edit": Case(("r",), sent=(READ, AT_IT), check=screen("EditScreen")),
    "review.external": Case(("r",), sent=(READ, AT_IT, READ), shows="an editor cannot run"),
    "review.another": Case(
        ("r",), (*"go", "enter"), sent=(READ, AT_IT, cmd.Veto(8, commit_of(8), "asked for another: go"), cmd.Note("go"))
    ),
    "review.onward": Case(("r",), sent=(READ,), shows="waits for you"),
    "review.next": Case(("r",), sent=(READ,), shows="waits for you"),
    "review.hold": Case(("r",), sent=(READ, HOLD)),
    "review.undo": Case(("r",), sent=(READ,)),
    "review.leave": Case(("r",), sent=(READ, OVER), check=screen("MainScreen")),
    "details.earlier": Case(DETAILS, shows="⊘ #5 vetoed"),
    "details.later": Case(DETAILS, shows="▶ #7 running"),
    "details.other": Case(DETAILS, check=pane("experiment-run")),
    "details.approve": Case(DETAILS, says="the critic did not send this one back"),
    "details.compare": Case((*BELOW, "end", "enter"), check=screen("CompareScreen")),
    "details.copy": Case(DETAILS, copied="0a3f106\t0.986800\t44.0\tkeep\tWARMDOWN_RATIO 0.5→0.7"),
    "details.copy_diff": Case(DETAILS, copied=DIFF),
    "details.first_error": Case((*BELOW, "up", "enter"), shows="▶RuntimeError: boom"),
    "details.leave": Case(DETAILS, check=screen("MainScreen")),
    "compare.next": Case((*BELOW, "down", "down", "c"), check=screen("CompareScreen")),
    "compare.leave": Case((*BELOW, "down", "down", "c"), check=screen("MainScreen")),
    "program.save": Case(("e", "x"), shows="✓ saved"),
    "program.external": Case(("e",), says="an editor cannot run"),
    "program.versions": Case(("e",), after=("1",), shows="that version, + now", check=screen("VersionScreen")),
    "program.leave": Case(("e",), check=screen("MainScreen")),
    "version.restore": Case(VERSION, shows="is in the editor", check=on_disk(PROGRAM)),
    "version.whole": Case(VERSION, shows="An older one."),
    "version.leave": Case(VERSION, check=screen("ProgramScreen")),
    "digest.write": Case(("D",), sent=(cmd.WriteDigest(),)),
    "digest.leave": Case(("D",), check=screen("MainScreen")),
    "pareto.left": Case(("F", "right"), shows="WARMDOWN_RATIO 0.5→0.7"),
    "pareto.right": Case(("F",), shows="WEIGHT_DECAY 0.2→0.1"),
    "pareto.front": Case(("F",), shows="◆ on the front"),
    "pareto.axes": Case(("F",), shows="GiB ← better"),
    "pareto.open": Case(("F",), check=screen("ExperimentScreen")),
    "pareto.leave": Case(("F",), check=screen("MainScreen")),
    "edit.save": Case(
        (*EDITING, "x"),
        ("enter",),
        sent=(
            READ,
            AT_IT,
            cmd.Revise(8, commit_of(8), {"train.py": "MATRIX_LR = 0.02\nx"}, "ADAM_BETAS (0.8, 0.95)→(0.9, 0.95)"),
        ),
    ),
    "edit.add": Case(EDITING, sent=(READ, AT_IT), shows="this lab takes no new files"),
    "edit.leave": Case(EDITING, sent=(READ, AT_IT, READ), check=screen("ReviewScreen")),
    "conflict.merge": Case(("e", "Z"), disk=f"{PROGRAM}New.\n", check=on_disk(f"Z{PROGRAM}New.\n")),
    "conflict.both": Case(("e", "Z"), disk="New.\n", shows="resolve the conflict markers", check=on_disk("New.\n")),
    "conflict.theirs": Case(("e", "Z"), disk="New.\n", shows="✓ saved", check=on_disk("New.\n")),
    "conflict.mine": Case(("e", "Z"), disk="New.\n", check=on_disk(f"Z{PROGRAM}")),
    "conflict.leave": Case(("e", "Z"), disk="New.\n", check=screen("ProgramScreen")),
}


def test_every_action_has_a_case() -> None:
    # The keys of a replay have tests of their own: test_playing.py.
    assert [action.id for action in ACTIONS if action not in REPLAY] == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_action(session: FakeSession, host: FakeHost, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    night(session)
    session.log(7, "\n" + MANY)
    folder = session.files.run(8).folder
    Path(folder, "train.py").write_text("MATRIX_LR = 0.02\n")
    kept = session.files.program(session.program)
    kept.parent.mkdir()
    kept.write_text("# Old\n\nAn older one.\n")
    if name in ("all_sessions", "visit.leave"):
        FakeSession(session.lab.root, "crow7").begin()
    if name == "devices.follow":
        session.start(session.propose("DEPTH 8→10"), "1")
    for variable in ("EDITOR", "VISUAL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    case, action = CASES[name], by_id(name)
    host.elsewhere = case.elsewhere

    async def story(driver: Driver) -> None:
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

    drive(session, host, story, size=SIZE)
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


def test_what_the_policy_vetoed_on_the_critics_word_is_approved_in_the_details(
    session: FakeSession, host: FakeHost
) -> None:
    night(session)
    number = session.propose("SCALAR_LR 0.5→0.7")
    session.review(number, "approve-if-critic-agrees")
    session.add(ev.CriticAsked(number, commit_of(number)))
    session.add(ev.CriticAnswered(number, commit_of(number), Opinion.DISAGREE, "it was tried", True))
    session.add(ev.ProposalVetoed(number, commit_of(number), "policy", "it was tried"))

    async def story(driver: Driver) -> None:
        await driver.press("4", "home", "enter")
        assert "it was tried" in driver.text()
        assert "a approve" in driver.row(-1)
        await driver.press("a")
        assert f"#{number} is approved, against the critic" in driver.said()

    drive(session, host, story, size=SIZE)
    assert host.sent == [cmd.Approve(number, commit_of(number))]


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


@pytest.mark.parametrize(
    "keys", [("4", "end", "enter"), ("4", "end", "x", "up", "x", "c")], ids=["details", "comparison"]
)
def test_curves_are_chosen_in_details_and_comparison_as_well(
    session: FakeSession, host: FakeHost, keys: tuple[str, ...]
) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press(*keys, "m")
        assert "#0 learning rate" in driver.text()
        await driver.press("M", *"tok", "enter", "S")
        assert "#0 tok/s smooth" in driver.text()

    drive(session, host, story)
    assert host.sent == []


@pytest.mark.parametrize("line", ["step 00099 (99.0%) | loss: 3.0 | gnorm: 0.5"])
def test_what_a_fork_prints_is_among_the_curves(session: FakeSession, host: FakeHost, line: str) -> None:
    night(session)
    session.log(7, f"\n{line}\n")

    async def story(driver: Driver) -> None:
        await driver.tick()
        await driver.press("M", *"gnorm", "enter")
        assert "#7 gnorm" in driver.text()
        await driver.press("m")
        assert "#7 gnorm" not in driver.text() and "behind" in driver.text(), "after the last the loss again"

    drive(session, host, story)


def test_notes_that_wait_are_counted_on_the_researcher_s_pane(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("6")
        assert "to be sent" not in driver.text()
        session.add(ev.NoteGiven("smaller steps"))
        await driver.tick()
        assert " 1 note to be sent " in driver.text()
        session.add(ev.NoteGiven("and fewer"))
        await driver.tick()
        assert " 2 notes to be sent " in driver.text()

    drive(session, host, story, size=(60, 20))
