"""A human who is at an answer: neither the policy nor the launch comes before it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine.state import Stage, State
from tests.conftest import TRAIN
from tests.e2e.terminal import rows
from tests.engine.test_loop import ASK, Script, running, turn
from tests.history import problems

LOW_RISK = f'{ASK}unattended = "approve-low-risk"\nafter_seconds = '
# Long enough for a proposal to be made, approved and attended to beside it.
SLOW = TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0")


def at(stage: Stage, number: int = 1) -> Callable[[State], bool]:
    return lambda state: len(state.experiments) > number and state.experiments[number].stage is stage


def left(state: State) -> float:
    """Seconds until the policy decides on the first proposal."""
    return (datetime.fromisoformat(state.experiments[1].deadline) - datetime.now(UTC)).total_seconds()


def test_the_policy_waits_for_an_answer_that_was_begun(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=f"{LOW_RISK}60\n")
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        state = driver.wait(at(Stage.REVIEW))
        before = state.experiments[1]
        driver.engine.send(cmd.Attend(1, before.commit))
        state = driver.wait(lambda s: s.experiments[1].deadline > before.deadline)
        assert left(state) > 60
        driver.engine.send(cmd.Attend(1, before.commit, over=True))
        driver.wait(lambda s: s.experiments[1].deadline == before.deadline)
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
        state = driver.wait(lambda s: any(e.repeat_of == 0 and e.outcome for e in s.experiments))
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
