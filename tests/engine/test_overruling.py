"""A human's second thoughts about a verdict: repeat, overrule, continue from here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.session import commands as cmd
from tests.conftest import SETTINGS, TRAIN, git
from tests.engine.test_loop import Driver, Script, rows, running, turn
from tests.history import problems, state_of

pytestmark = pytest.mark.usefixtures("unconfined")


def head(folder: Path) -> str:
    return git(folder, "rev-parse", "autoresearch/t")


def test_a_repeat_runs_the_same_commit_under_another_seed(new_lab: Callable[..., Path]) -> None:
    train = TRAIN.replace("score = 1.0", "score = int(os.environ.get('AUTORESEARCH_SEED', '0')) / 100 + 1.0")
    folder = new_lab(train=train)
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        driver.wait(lambda s: len(s.table) == 2)
        driver.engine.send(cmd.Repeat(1))
        driver.engine.send(cmd.Repeat(1))
        driver.wait(lambda s: len(s.table) == 3)
        driver.engine.send(cmd.Repeat(1))
        state = driver.wait(lambda s: len(s.table) == 4)
    first, again, third = state.experiments[1:4]
    assert [e.commit for e in (again, third)] == [first.commit] * 2
    assert [(e.proposal.repeat_of, e.proposal.seed, e.approved_by) for e in (again, third)] == [
        (1, 1, "human"),
        (1, 2, "human"),
    ]
    assert first.value is not None
    assert again.value == first.value + 0.01
    assert again.outcome == "discard"
    assert state.frontier_number == 1
    assert third.verdict is not None and third.verdict.spread is not None
    assert head(folder) == first.commit
    assert problems(folder, "t") == []


def test_a_repeat_that_is_asked_for_while_the_researcher_thinks_takes_the_next_number(lab_folder: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(brief: Brief) -> Proposal | None:
        asked.set()
        assert go_on.wait(60)
        return turn("RATE", 0.25)(brief)

    with running(lab_folder, Script(slow)) as driver:
        driver.wait(lambda s: len(s.table) == 1 and asked.is_set())
        driver.engine.send(cmd.Repeat(0))
        driver.wait(lambda s: len(s.experiments) == 2)
        go_on.set()
        state = driver.wait(lambda s: len(s.table) == 3)
    assert [e.proposal.author for e in state.experiments] == ["baseline", "repeat", "search"]
    assert problems(lab_folder, "t") == []


def test_the_researcher_is_told_of_a_repeat_as_one(lab_folder: Path) -> None:
    script = Script(turn("RATE", 0.25))
    with running(lab_folder, script) as driver:
        driver.wait(lambda s: len(s.table) == 2)
        driver.engine.send(cmd.Repeat(0))
        driver.wait(lambda s: len(s.table) == 3)
    assert len(script.briefs) >= 2
    script = Script(lambda _: None)
    with running(lab_folder, script) as driver:
        driver.wait(lambda s: script.briefs)
    assert [a.outcome for a in script.briefs[0].history] == ["keep", "keep", "repeat"]


def test_repeats_of_the_baseline_come_first_and_have_seeds(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=SETTINGS + "\n[metric]\nbaseline_runs = 3\n")
    with running(folder, Script(), rows=3) as driver:
        assert driver.join() == "finished"
    experiments = state_of(folder, "t").experiments
    assert [(e.proposal.author, e.outcome, e.proposal.repeat_of, e.proposal.seed) for e in experiments] == [
        ("baseline", "keep", None, 0),
        ("baseline", "discard", 0, 1),
        ("baseline", "discard", 0, 2),
    ]


def test_a_discard_that_is_overruled_becomes_the_frontier_and_back(lab_folder: Path) -> None:
    with running(lab_folder, Script(turn("RATE", 0.25), turn("WIDTH", 4))) as driver:
        driver.wait(lambda s: len(s.table) == 3)
        driver.engine.send(cmd.Overrule(2, "keep", "simpler\nand nearly as good"))
        state = driver.wait(lambda s: s.frontier_number == 2)
        assert state.experiments[2].outcome == "keep"
        assert state.experiments[2].overruled == "discard"
        assert state.experiments[2].reason.startswith("simpler and nearly as good (by human")
        driver.engine.send(cmd.Overrule(2, "discard", "no, after all"))
        state = driver.wait(lambda s: s.frontier_number == 1)
    assert state_of(lab_folder, "t").experiments[2].overruled == "discard"
    assert [row[3] for row in rows(lab_folder)[1:]] == ["keep", "keep", "discard"]
    assert head(lab_folder) == state.experiments[1].commit
    assert problems(lab_folder, "t") == []


def test_what_cannot_be_overruled_is_refused_with_the_reason(lab_folder: Path) -> None:
    with running(lab_folder, Script(turn("FAIL", "no"))) as driver:
        driver.wait(lambda s: len(s.table) == 2)
        for command, why in (
            (cmd.Overrule(1, "keep", "please"), "no score"),
            (cmd.Overrule(0, "discard", "bad"), "only one"),
            (cmd.Overrule(1, "discard", "worse"), "not kept"),
            (cmd.Overrule(7, "keep", "what"), "no verdict"),
            (cmd.Repeat(-1), "no verdict"),
        ):
            driver.engine.send(command)
            driver.wait(lambda s, why=why: s.refused and why in s.refused.why)  # type: ignore[misc]
    assert state_of(lab_folder, "t").frontier_number == 0


def test_the_search_goes_on_from_an_earlier_experiment(lab_folder: Path) -> None:
    script = Script(turn("RATE", 0.25), turn("WIDTH", 4))
    with running(lab_folder, script) as driver:
        driver.wait(lambda s: len(s.table) == 3)
        driver.engine.send(cmd.ContinueFrom(0))
        driver.wait(lambda s: head(lab_folder) == s.experiments[0].commit)
        driver.engine.send(cmd.ContinueFrom(2))
        state = driver.wait(lambda s: s.frontier_number == 2)
        assert state.experiments[2].outcome == "keep"
        driver.wait(lambda _: head(lab_folder) == state.experiments[2].commit)
    script = Script(turn("WIDTH", 16))
    with running(lab_folder, script) as driver:
        state = driver.wait(lambda s: len(s.table) == 4)
    assert state.experiments[3].proposal.base == state.experiments[2].commit
    assert problems(lab_folder, "t") == []


def test_a_killed_engine_finds_the_branch_where_the_overruling_left_it(lab_folder: Path) -> None:
    with running(lab_folder, Script(turn("RATE", 0.25))) as driver:
        driver.wait(lambda s: len(s.table) == 2)
        driver.engine.send(cmd.ContinueFrom(0))
        state = driver.wait(lambda s: s.frontier_number == 0)
    git(lab_folder, "update-ref", "refs/heads/autoresearch/t", state.experiments[1].commit)
    driver = Driver(lab_folder, Script())
    driver.start()
    driver.wait(lambda s: s.engine is not None)
    assert driver.detach() == "detached"
    assert head(lab_folder) == state.experiments[0].commit
