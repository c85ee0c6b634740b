"""A human takes back what they decided last, as long as nothing came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import undo
from autoresearch_tui.session.state import Stage, State
from tests.conftest import TRAIN, git
from tests.engine.test_attending import LOW_RISK, at
from tests.engine.test_loop import ASK, Driver, Script, rows, running, turn
from tests.history import problems, state_of

pytestmark = pytest.mark.usefixtures("unconfined")


def waiting(go_on: threading.Event) -> Callable[[Brief], Proposal | None]:
    """A researcher that thinks until it is let go."""

    def propose(brief: Brief) -> Proposal | None:
        assert go_on.wait(60)
        return turn("WIDTH", 4)(brief)

    return propose


def take_back(driver: Driver) -> None:
    driver.engine.send(cmd.Undo(driver.state.judgements[-1].seq))


def refused(why: str) -> Callable[[State], bool]:
    return lambda state: state.refused is not None and why in state.refused.why


def test_a_veto_is_taken_back_until_another_was_proposed(new_lab: Callable[..., Path]) -> None:
    folder, go_on = new_lab(settings=f"{LOW_RISK}3600\n"), threading.Event()
    with running(folder, Script(turn("RATE", 0.25), waiting(go_on))) as driver:
        before = driver.wait(at(Stage.REVIEW)).experiments[1]
        driver.wait(lambda s: s.best)
        driver.engine.send(cmd.Veto(1, before.commit, ""))
        state = driver.wait(lambda s: s.experiments[1].outcome == "vetoed")
        assert state.experiments[1].reason == ""
        take_back(driver)
        state = driver.wait(at(Stage.REVIEW))
        assert state.experiments[1].deadline > before.deadline, "the policy has a clock of its own again"
        assert state.judgements == ()
        driver.engine.send(cmd.Veto(1, before.commit, "after all"))
        driver.wait(lambda s: s.experiments[1].outcome == "vetoed")
        go_on.set()
        state = driver.wait(lambda s: len(s.experiments) > 2)
        assert undo.last(state) is None
        take_back(driver)
        driver.wait(refused("#2 was proposed in place of #1"))
    assert problems(folder, "t") == []


def test_an_approval_is_taken_back_until_it_starts(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=ASK, train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.5"))
    with running(folder, Script(turn("RATE", 0.25)), rows=2) as driver:
        commit = driver.wait(at(Stage.REVIEW)).experiments[1].commit
        driver.engine.send(cmd.Pause())
        driver.engine.send(cmd.Approve(1, commit))
        driver.wait(at(Stage.APPROVED))
        take_back(driver)
        state = driver.wait(at(Stage.REVIEW))
        assert (state.experiments[1].approved_by, state.judgements) == ("", ())
        driver.engine.send(cmd.Undo(1))
        driver.wait(refused("taken back already"))
        driver.engine.send(cmd.Approve(1, commit))
        driver.engine.send(cmd.Resume())
        driver.wait(lambda s: s.running and s.running.number == 1)
        take_back(driver)
        driver.wait(refused("#1 is in training already; s stops it"))
        assert driver.join() == "finished"
    assert problems(folder, "t") == []


def test_an_edit_is_taken_back_to_the_gate_as_it_was_edited(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=ASK)
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        commit = driver.wait(at(Stage.REVIEW)).experiments[1].commit
        driver.engine.send(cmd.Pause())
        driver.engine.send(cmd.Revise(1, commit, {"train.py": TRAIN.replace("WIDTH = 8", "WIDTH = 4")}, "smaller"))
        driver.wait(at(Stage.APPROVED))
        take_back(driver)
        edited = driver.wait(at(Stage.REVIEW)).experiments[1]
        assert (edited.description, edited.edited, edited.approved_by) == ("smaller", True, "")
        assert edited.commit != commit
    assert problems(folder, "t") == []


def test_verdicts_by_hand_are_taken_back_one_after_the_other(new_lab: Callable[..., Path]) -> None:
    folder = new_lab()
    with running(folder, Script(turn("RATE", 0.25), turn("WIDTH", 4))) as driver:
        before = driver.wait(lambda s: len(s.table) == 3)
        driver.engine.send(cmd.Overrule(2, "keep", "simpler"))
        driver.engine.send(cmd.ContinueFrom(0))
        driver.wait(lambda s: s.frontier_number == 0)
        take_back(driver)
        state = driver.wait(lambda s: s.frontier_number == 2)
        assert [j.what for j in state.judgements] == ["kept"]
        take_back(driver)
        state = driver.wait(lambda s: not s.judgements)
        assert state.frontier_number == before.frontier_number == 1
        assert (state.experiments[2], state.best_number) == (before.experiments[2], before.best_number)
        assert state.frontier_history == before.frontier_history
    assert [row[3] for row in rows(folder)[1:]] == ["keep", "keep", "discard"]
    assert git(folder, "rev-parse", "autoresearch/t") == before.experiments[1].commit
    assert problems(folder, "t") == []


def test_a_verdict_by_hand_stands_once_another_was_given(new_lab: Callable[..., Path]) -> None:
    folder, go_on = new_lab(), threading.Event()
    with running(folder, Script(turn("RATE", 0.25), waiting(go_on)), rows=3) as driver:
        driver.wait(lambda s: len(s.table) == 2)
        driver.engine.send(cmd.ContinueFrom(0))
        driver.wait(lambda s: s.frontier_number == 0)
        go_on.set()
        driver.wait(lambda s: len(s.table) == 3)
        driver.join()
    assert "another verdict was given" in undo.too_late(state_of(folder, "t"))
    assert problems(folder, "t") == []


def test_nothing_was_decided_yet(new_lab: Callable[..., Path]) -> None:
    assert undo.too_late(State()) == "you have decided nothing yet"
    with running(new_lab(settings=ASK), Script(turn("RATE", 0.25))) as driver:
        driver.wait(at(Stage.REVIEW))
        driver.engine.send(cmd.Undo(3))
        driver.wait(refused("isn't your last decision"))
