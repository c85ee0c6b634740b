"""`[transfer]`: the best and the baseline run once at a larger scale; what comes of it is told, and decides nothing."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.engine import results_table
from autoresearch_tui.engine.judging import transferring
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.report import facts
from autoresearch_tui.report.report import look_at_first
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import limits, statistics
from autoresearch_tui.session.badges import marking
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import State
from autoresearch_tui.session.transfer import Scale, at, missing, transfer
from autoresearch_tui.util import timestamps
from tests.conftest import SETTINGS, make_lab
from tests.engine.test_loop import Script, rows, running, turn
from tests.history import problems, state_of

# With more budget all scores are better, and what RATE gains is multiplied by GAIN.
TRAIN = """\
import os
RATE = 0.5
GAIN = 1.5
SCALE = int(os.environ.get("AUTORESEARCH_TOKEN_BUDGET", "5")) / 5 + int(os.environ.get("WIDTH", "0"))
assert SCALE == 1 or GAIN, "out of memory"
print("---")
print(f"val_bpb: {2.0 / SCALE - (0.5 - RATE) * (1 if SCALE == 1 else GAIN):.6f}")
"""
TWICE = Scale(2)
PLAIN = SETTINGS.replace("budget_seconds = 5", "budget_tokens = 5")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a session in which #1 gained 0.25 over the baseline, 2.0."""
    folder = make_lab(tmp_path_factory.mktemp("kept") / "lab", PLAIN, TRAIN)
    with running(folder, Script(turn("RATE", 0.25)), rows=2) as driver:
        assert driver.join() == "finished"
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept, tmp_path / "lab", symlinks=True)


def add(folder: Path, settings: str) -> None:
    with (folder / "autoresearch.toml").open("a") as file:
        file.write(f"\n{settings}\n")


def scaled(state: State) -> list[int | None]:
    """Of what experiments there are runs at another scale."""
    return [e.proposal.repeat_of for e in state.experiments if e.outcome == Outcome.SCALED]


def test_a_gain_that_holds_is_told_and_changes_nothing(folder: Path) -> None:
    before, table = state_of(folder, "t"), rows(folder)
    script = Script(lambda _: None, turn("RATE", 0.75), lambda _: None)
    with running(folder, script) as driver:
        driver.engine.send(cmd.Transfer(1))
        driver.engine.send(cmd.Transfer(1))
        state = driver.wait(lambda s: len(scaled(s)) == 2)
        assert rows(folder) == table
        assert (state.frontier_number, state.best_number, state.verdicts) == (1, 1, before.verdicts)
        driver.engine.send(cmd.Transfer(1))
        driver.wait(lambda s: len(s.table) == 3)
    state = state_of(folder, "t")
    assert scaled(state) == [1, 0]
    runs = [e for e in state.experiments if e.proposal.scale]
    assert [(e.value, e.proposal.seed, e.proposal.scale) for e in runs] == [(None, 0, 2), (None, 0, 2)]
    its = transfer(state, state.experiments[1])
    assert its is not None and its.holds
    assert its.words == "holds at 2×: +0.250000 → +0.375000"
    assert its.words in "\n".join(facts.as_lines(state.experiments[1], state, 200))
    assert f"0001 {its.words} — RATE to 0.25" in look_at_first(state)
    assert its.words in [a.transfer for a in script.briefs[-1].history]
    # Nowhere among the ordinary ones.
    assert statistics.spread(state) is None
    assert len(results_table.render(state).splitlines()) == 1 + 3
    assert all(e.number not in statistics.gains(state) for e in runs)
    assert problems(folder, "t") == []


def test_one_that_does_not_hold_and_the_baselines_run_is_used_again(folder: Path) -> None:
    def fades(brief: Brief) -> Proposal | None:
        made = turn("RATE", 0.2)(brief)
        assert made is not None
        return Proposal("fades", "because", {"train.py": made.files["train.py"].replace("GAIN = 1.5", "GAIN = 0.1")})

    with running(folder, Script(fades)) as driver:
        driver.engine.send(cmd.Transfer(1))
        driver.wait(lambda s: len(scaled(s)) == 2 and s.best_number not in (0, 1))
        best = driver.state.best
        assert best is not None
        driver.engine.send(cmd.Transfer(best.number))
        state = driver.wait(lambda s: len(scaled(s)) == 3)
    assert scaled(state) == [1, 0, best.number]
    assert state.best is not None
    its = transfer(state, state.best)
    assert its is not None
    assert its.words == "does not hold at 2×: +0.300000 → +0.030000"
    assert marking(state).of(state.best) == "⇓"
    assert marking(state).of(state.experiments[1]) == "⇑"
    assert problems(folder, "t") == []


def test_a_run_that_fails_at_the_larger_scale(folder: Path) -> None:
    with running(folder, Script(turn("GAIN", 0))) as driver:
        driver.wait(lambda s: len(s.table) == 3)
        driver.engine.send(cmd.Transfer(2))
        state = driver.wait(lambda s: scaled(s) == [2])
    its = transfer(state, state.experiments[2])
    assert its is not None and not its.holds
    assert its.words.startswith(
        f"not known at 2×: #{state.experiments[-1].number} crashed: AssertionError: out of memory"
    )
    assert state.failing_runs.count == 0
    assert problems(folder, "t") == []


def test_after_every_so_many_keeps_and_a_full_table_waits_for_it(folder: Path) -> None:
    add(folder, "[transfer]\nevery = 2\nfactor = 3\nenv = { WIDTH = '1' }")
    with running(folder, Script(turn("RATE", 0.2)), rows=3) as driver:
        assert driver.join() == "finished"
    state = state_of(folder, "t")
    assert scaled(state) == [2, 0]
    its = transfer(state, state.experiments[2])
    assert its is not None
    assert its.words == "holds at 3× with WIDTH=1: +0.300000 → +0.450000"
    assert [e.approved_by for e in state.experiments if e.proposal.scale] == ["auto", "auto"]
    with running(folder, Script(turn("RATE", 0.1)), rows=4) as driver:
        assert driver.join() == "finished"
    assert scaled(state_of(folder, "t")) == [2, 0]
    assert problems(folder, "t") == []


def test_in_the_rest_of_a_session_with_an_hour(folder: Path) -> None:
    """The clock stands where nothing else could be run first."""
    add(folder, "[transfer]\nrest = true")
    state, now = state_of(folder, "t"), time.time()
    both = missing(state, state.experiments[1], TWICE)
    needed = sum(limits.needed_seconds(state, at(each, TWICE)) for each in both)
    until = datetime.fromtimestamp(now + needed + limits.needed_seconds(state) / 2, UTC)

    def ends(line: bytes) -> None:
        if b'"verdict":"scaled"' in line and len(scaled(engine.state)) == 2:
            engine.send(cmd.Stop(now=True))

    session = Session(labs.find(folder), "t", overrides={"until": timestamps.stamp(until)}, on_line=ends)
    engine = Engine(session, Script(), headless=True, now=lambda: now)
    assert engine.run() == "stopped"
    assert scaled(state_of(folder, "t")) == [1, 0]
    assert problems(folder, "t") == []


def test_it_takes_its_multiple_of_the_time(folder: Path) -> None:
    state = state_of(folder, "t")
    best = state.experiments[1]
    assert limits.needed_seconds(state, at(best, TWICE)) == pytest.approx(2 * limits.needed_seconds(state, best))
    lab = transferring.lab_of(labs.find(folder), at(best, TWICE))
    assert (lab.settings.run.budget_tokens, lab.settings.run.timeout_seconds) == (10, 60)
    now = time.time()
    hour = datetime.fromtimestamp(now + 1.5 * limits.needed_seconds(state, best), UTC)
    ends = replace(state, overrides={"until": timestamps.stamp(hour)})
    assert limits.fits(ends, now, best)
    assert not limits.fits(ends, now, at(best, TWICE))


def test_refusals(folder: Path) -> None:
    with running(folder, Script()) as driver:
        driver.engine.send(cmd.Transfer(7))
        state = driver.wait(lambda s: s.refused)
        assert state.refused is not None and state.refused.why == "#7: it has no verdict"
