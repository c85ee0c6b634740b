"""A human who is at an answer: neither the policy nor the launch comes before it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autoresearch_tui.cockpit.screens.review import gate
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session.outline import outline
from autoresearch_tui.session.state import Stage, State
from autoresearch_tui.session.status import View, status
from autoresearch_tui.util import timestamps
from tests.conftest import TRAIN
from tests.e2e.terminal import rows
from tests.engine.test_loop import ASK, Script, running, turn
from tests.history import problems

pytestmark = pytest.mark.usefixtures("unconfined")

LOW_RISK = f'{ASK}unattended = "approve-low-risk"\nafter_seconds = '
# Long enough for a proposal to be made, approved and attended to beside it.
SLOW = TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0")


def at(stage: Stage, number: int = 1) -> Callable[[State], bool]:
    return lambda state: len(state.experiments) > number and state.experiments[number].stage is stage


def held_for(state: State) -> float:
    """For how many seconds the first proposal is held."""
    return (datetime.fromisoformat(state.experiments[1].held_until) - datetime.now(UTC)).total_seconds()


def now() -> float:
    return datetime.now(UTC).timestamp()


def test_the_policy_waits_for_an_answer_that_was_begun(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=f"{LOW_RISK}60\n")
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        state = driver.wait(at(Stage.REVIEW))
        before = state.experiments[1]
        driver.engine.send(cmd.Attend(1, before.commit))
        state = driver.wait(lambda s: s.experiments[1].held)
        assert (state.experiments[1].held, state.experiments[1].deadline) == ("answer", before.deadline)
        assert held_for(state) > 540
        driver.engine.send(cmd.Attend(1, before.commit, over=True))
        state = driver.wait(lambda s: not s.experiments[1].held)
        assert state.experiments[1].deadline == before.deadline
        driver.engine.send(cmd.Attend(1, before.commit))
        driver.engine.send(cmd.Veto(1, before.commit, "no"))
        driver.wait(lambda s: s.experiments[1].outcome == "vetoed")
    assert problems(folder, "t") == []


def test_an_approved_one_is_not_launched_under_an_answer(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=SLOW, settings=f"{LOW_RISK}0\n")
    with running(folder, Script(turn("RATE", 0.25), turn("WIDTH", 16)), rows=3) as driver:
        commit = driver.wait(at(Stage.APPROVED)).experiments[1].commit
        driver.engine.send(cmd.Attend(1, commit))
        driver.wait(lambda s: s.experiments[0].outcome)
        # Whatever else is approved goes first.
        driver.engine.send(cmd.Repeat(0))
        state = driver.wait(lambda s: any(e.proposal.repeat_of == 0 and e.outcome for e in s.experiments))
        assert at(Stage.APPROVED)(state)
        driver.engine.send(cmd.Attend(1, commit, over=True))
        driver.wait(lambda s: s.experiments[1].outcome)
        assert driver.join() == "finished"
    assert problems(folder, "t") == []


def test_a_late_answer_is_told_what_still_helps(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=SLOW, settings=f"{LOW_RISK}0\n")
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        commit = driver.wait(at(Stage.RUNNING)).experiments[1].commit
        driver.engine.send(cmd.Attend(1, commit))
        driver.engine.send(cmd.Veto(1, commit, "too late"))
        refused = driver.wait(lambda s: s.refused).refused
        assert refused is not None
        assert refused.why == "#1: it is in training already; s stops it"


def test_a_foreign_table_is_told_of_once(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=f"{ASK}")
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        # The row is in the journal first; what is written over the table before it is there, is lost in turn.
        driver.wait(lambda s: s.table and rows(folder))
        folder.joinpath("results.tsv").write_text("mine\n")
        commit = driver.wait(at(Stage.REVIEW)).experiments[1].commit
        driver.engine.send(cmd.Veto(1, "f" * 40, "another one's"))
        driver.wait(lambda s: s.refused and s.refused.command == "veto")
        driver.engine.send(cmd.Approve(1, commit))
        driver.wait(lambda s: s.experiments[1].outcome)
        driver.wait(lambda s: s.table_is_foreign)
        driver.engine.send(cmd.Veto(1, "f" * 40, "again"))
        driver.wait(lambda s: s.refused and s.refused.command == "veto")
        driver.engine.send(cmd.Repeat(0))
        driver.wait(lambda s: len(s.table) == 3)
        assert driver.state.refused is not None and driver.state.refused.command == "veto"
    assert folder.joinpath("results.tsv").read_text() == "mine\n"


def test_a_refused_edit_gives_the_clock_back_and_says_why(new_lab: Callable[..., Path]) -> None:
    """The human is on the main screen again: nothing may wait ten minutes for an answer that nobody is giving."""
    folder = new_lab(settings=f"{LOW_RISK}60\n")
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        before = driver.wait(at(Stage.REVIEW)).experiments[1]
        driver.engine.send(cmd.Attend(1, before.commit))
        state = driver.wait(lambda s: s.experiments[1].held)
        assert "held while you answer, 9:5" in status(View(outline(state), now())).next.text
        driver.engine.send(cmd.Revise(1, before.commit, {"train.py": "x = (\n"}))
        state = driver.wait(lambda s: s.experiments[1].edit_refused)
        state = driver.wait(lambda s: not s.experiments[1].held)
        assert state.experiments[1].deadline == before.deadline
        answers = status(View(outline(state), now()))
        assert "auto-approves in 0:" in answers.next.text
        assert answers.wait.text == "#1 waits for you: your edit was refused · r, then e reopens it"
        assert "your edit was refused: train.py:1: '(' was never closed" in gate(
            state.experiments[1], datetime.now(UTC)
        )
        # Going back to it holds the clock again; leaving without an answer gives it back.
        driver.engine.send(cmd.Attend(1, before.commit))
        driver.wait(lambda s: s.experiments[1].held)
        driver.engine.send(cmd.Attend(1, before.commit, over=True))
        driver.wait(lambda s: not s.experiments[1].held and s.experiments[1].deadline == before.deadline)
    assert problems(folder, "t") == []


def test_a_refused_edit_of_an_approved_one_lets_it_run(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=SLOW, settings=f"{LOW_RISK}0\n")
    with running(folder, Script(turn("RATE", 0.25)), rows=2) as driver:
        commit = driver.wait(at(Stage.APPROVED)).experiments[1].commit
        driver.engine.send(cmd.Attend(1, commit))
        driver.wait(lambda s: s.experiments[0].outcome)
        driver.engine.send(cmd.Revise(1, commit, {"elsewhere.py": "x = 1\n"}))
        driver.wait(lambda s: s.experiments[1].outcome)
    assert problems(folder, "t") == []


def test_a_hold_stands_until_it_is_released(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=f"{LOW_RISK}2\n")
    with running(folder, Script(turn("RATE", 0.25)), rows=2) as driver:
        before = driver.wait(at(Stage.REVIEW)).experiments[1]
        driver.engine.send(cmd.Attend(1, before.commit, why="read"))
        driver.wait(lambda s: s.experiments[1].held == "read")
        driver.engine.send(cmd.Attend(1, before.commit, why="hold"))
        for why in ("read", "answer"):
            driver.engine.send(cmd.Attend(1, before.commit, why=why))
            driver.engine.send(cmd.Attend(1, before.commit, why=why, over=True))
        state = driver.wait(lambda s: s.experiments[1].held == "hold" and now() > timestamps.seconds(before.deadline))
        assert "held by you, h releases it" in status(View(outline(state), now())).next.text
        assert driver.detach() == "detached"
    with running(folder, Script(), rows=2) as driver:
        driver.wait(lambda s: s.experiments[0].outcome)
        assert driver.state.experiments[1].stage is Stage.REVIEW, "the next engine knows of it"
        driver.engine.send(cmd.Attend(1, before.commit, over=True, why="hold"))
        state = driver.wait(lambda s: not s.experiments[1].held)
        left = timestamps.seconds(state.experiments[1].deadline) - timestamps.seconds(state.time)
        assert 14 < left <= 15, "there is time to think again"
    assert problems(folder, "t") == []


def test_a_stop_is_on_disk_before_the_run_is_told(new_lab: Callable[..., Path]) -> None:
    """An engine that dies in between has a successor that does it."""
    folder = new_lab()
    with running(folder, Script(turn("PAUSE", 60.0)), rows=2) as driver:
        driver.wait(lambda s: s.running and s.running.number == 1)
        driver.engine._human._stop_runs = lambda _: None
        driver.engine.send(cmd.StopRun(1, "too slow"))
        assert driver.join() == "finished"
        assert (driver.state.experiments[1].status, driver.state.experiments[1].reason) == ("stopped", "too slow")
