"""`metric.evaluator = "fresh"`: each verdict draws new data, and what it compares is scored on the same draw."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.settings_reading import from_table, table
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.runs.environment import check_command
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import statistics
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import State
from autoresearch_tui.util.errors import UserError
from tests.conftest import SETTINGS, git, make_lab
from tests.engine.test_loop import Move, Script, rows, running
from tests.faults.engines import Engines
from tests.faults.test_kill import UNSANDBOXED
from tests.history import problems, state_of

# What a run leaves is a number; the score is that number, moved by far more than any change of it on each draw.
TRAIN = """\
import os
PART_1 = 5.0
PART_2 = 0.0
PART_3 = 0.0
PART_4 = 0.0
SKILL = PART_1 + PART_2 + PART_3 + PART_4
assert not {"AUTORESEARCH_DRAW", "AUTORESEARCH_SPLIT"} & set(os.environ)
seed = int(os.environ.get("AUTORESEARCH_SEED", "0"))
with open("left.txt", "w") as file:
    file.write(repr(SKILL + seed / 1000))
"""
JUDGE = """\
import json, os
draw = os.environ["AUTORESEARCH_DRAW"]
assert draw == str(int(draw)) and "AUTORESEARCH_SPLIT" not in os.environ
left = float(open("left.txt").read())
cases = [left + int(draw) % 997 + case for case in (-0.5, 0.5)]
print(json.dumps({"scores": cases}))
print(f"val_bpb: {sum(cases) / 2:.6f}")
"""
FRESH = (
    SETTINGS
    + f"""
[lab]
locked = ["prepare.py", "judge.py"]

[metric]
referee = ["{sys.executable}", "-I", "-S", "judge.py"]
evaluator = "fresh"
range = [-inf, inf]
"""
)


def lab(folder: Path, settings: str = FRESH, judge: str = JUDGE) -> Path:
    made = make_lab(folder, settings, TRAIN)
    (made / "judge.py").write_text(judge)
    git(made, "add", "judge.py")
    git(made, "commit", "--quiet", "--message=judge")
    return made


def part(number: int, value: float) -> Move:
    """One of the constants that add up; each has a line of its own, so that proposals can be merged."""

    def move(brief: Brief) -> Proposal:
        line, text = rf"^PART_{number} = .*$", brief.files["train.py"]
        text = re.sub(line, f"PART_{number} = {value!r}", text, flags=re.MULTILINE)
        return Proposal(f"part {number} to {value}", "because", {"train.py": text})

    return move


def night(folder: Path, *moves: Move, wanted: int) -> State:
    with running(folder, Script(*moves), rows=wanted) as driver:
        assert driver.join() == "finished"
    assert problems(folder, "t") == []
    return state_of(folder, "t")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a session whose second proposal is worse, and whose runs keep what they leave."""
    keeps = FRESH.replace("[researcher]", 'keep = ["left.txt"]\n\n[researcher]')
    folder = lab(tmp_path_factory.mktemp("judged") / "lab", keeps)
    night(folder, part(2, -1.0), part(3, 0.5), part(4, -1.0), wanted=4)
    return folder


def test_each_verdict_is_on_new_data_and_compares_on_the_same(judged: Path) -> None:
    state = state_of(judged, "t")
    assert [e.outcome for e in state.experiments[:4]] == ["keep", "keep", "discard", "keep"]
    seeds = [e.draw.seed for e in state.experiments[:4] if e.draw is not None]
    assert len(set(seeds)) == 4
    told = zip(state.experiments[1:4], (4.0, 4.5, 3.0), (5.0, 4.0, 4.0), (0, 1, 1), strict=True)
    for experiment, own, other, beaten in told:
        assert experiment.draw is not None and experiment.verdict is not None
        moved = experiment.draw.seed % 997
        assert (experiment.value, experiment.verdict.against) == (own + moved, other + moved)
        assert experiment.verdict.stderr == pytest.approx(0)
        assert experiment.reason == (f"{own + moved:.6f} against {other + moved:.6f} on the same draw (#{beaten})")
    assert (state.frontier_number, state.best_number) == (3, 3)
    # One value an experiment: its own score at its verdict.
    assert [row[1] for row in rows(judged)[1:]] == [f"{e.value:.6f}" for e in state.table]
    assert statistics.gains(state) == pytest.approx({1: 1.0, 2: -0.5, 3: 1.0})


def test_only_what_may_be_scored_again_keeps_its_copy(judged: Path) -> None:
    runs = judged / ".autoresearch/t/runs"
    assert [e.outcome for e in state_of(judged, "t").table] == ["keep", "keep", "discard", "keep"]
    assert sorted(path.parent.name for path in runs.glob("*/work")) == ["0000", "0001", "0003"]
    assert [(runs / "0003" / copy / "left.txt").read_text() for copy in ("kept", "work")] == ["3.0", "3.0"]
    assert not [path for path in runs.glob("*/*") if path.name in ("again", "scoring", "referee", "scratch")]


def test_copies_do_not_grow_with_the_night(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab")
    moves = [part(2 + number % 3, -1.0 - number) for number in range(5)]
    state = night(folder, *moves, wanted=6)
    assert [e.outcome for e in state.table] == ["keep"] * 6
    copies = sorted(path.parent.name for path in (folder / ".autoresearch/t/runs").glob("*/work"))
    assert copies == ["0000", "0003", "0004", "0005"]
    assert all(e.rescored and e.rescored[0].value is not None for e in state.table[1:])


def test_equal_runs_on_one_draw_show_the_noise_and_nothing_of_the_draws(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", FRESH + "baseline_runs = 2\n")
    state = night(folder, wanted=2)
    first, second = state.experiments
    assert first.value != second.value
    assert second.outcome == "discard" and second.reason.startswith("a repeat")
    assert statistics.spread(state) == pytest.approx(0.001 / 2**0.5 if second.proposal.seed else 0, abs=1e-6)


def test_a_discard_that_a_human_keeps_is_scored_again_from_its_commit(tmp_path: Path) -> None:
    """Its copy is gone; what its run left, and this referee reads, is not in the commit: nothing can be compared."""
    folder = lab(tmp_path / "lab")
    with running(folder, Script(part(2, 1.0), part(3, -0.5)), rows=0) as driver:
        copy = folder / ".autoresearch/t/runs/0001/work"
        driver.wait(lambda state: len(state.table) >= 2 and not copy.exists())
        driver.engine.send(cmd.Overrule(1, Outcome.KEEP, "simpler"))
        driver.wait(lambda state: state.paused is not None)
        state = driver.state
    last = state.experiments[2]
    assert last.outcome == "discard" and last.reason.startswith("not compared: #1 has no score on the same draw: ")
    assert state.paused is not None and state.paused.reason.startswith("the frontier, #1, has no score on new data")


def test_one_whose_score_comes_from_its_code_needs_no_copy(tmp_path: Path) -> None:
    sums = 'sum(float(line.split()[2]) for line in open("train.py") if line.startswith("PART_"))'
    code = JUDGE.replace('float(open("left.txt").read())', sums)
    folder = lab(tmp_path / "lab", judge=code)
    with running(folder, Script(part(2, 1.0), part(3, -0.5)), rows=0) as driver:
        driver.wait(lambda state: len(state.table) >= 2)
        driver.engine.send(cmd.Overrule(1, Outcome.KEEP, "simpler"))
        state = driver.wait(lambda state: len(state.table) >= 3)
    assert state.experiments[2].verdict is not None and state.experiments[2].rescored
    assert state.experiments[2].outcome in ("keep", "discard")
    assert not state.experiments[2].reason.startswith("not compared")


def test_a_fresh_evaluator_needs_a_referee_that_draws(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", judge="print('val_bpb: 1.0')")
    with pytest.raises(UserError, match="no locked file reads AUTORESEARCH_DRAW"):
        check_command(labs.find(folder))
    (folder / "autoresearch.toml").write_text('[metric]\nevaluator = "fresh"\n')
    with pytest.raises(UserError, match=r"there is no `metric\.referee`"):
        from_table(*table(folder))
    for name in ("run", "transfer"):
        (folder / "autoresearch.toml").write_text(f'[{name}]\nenv = {{ AUTORESEARCH_SPLIT = "holdout" }}\n')
        with pytest.raises(UserError, match=rf"`{name}.env` has AUTORESEARCH_SPLIT, which is the referee's alone"):
            from_table(*table(folder))


def test_a_gain_within_the_noise_is_confirmed_on_draws_of_its_own(tmp_path: Path) -> None:
    """The two cases of a draw disagree by more than the gain, so that one draw does not tell."""
    rough = JUDGE.replace("for case in (-0.5, 0.5)", "for case in (-1.5 + (left != 5.0), 1.5 - (left != 5.0))")
    folder = lab(tmp_path / "lab", FRESH + 'keep = "confirmed"\n', judge=rough)
    state = night(folder, part(2, -0.5), wanted=4)
    candidate = state.experiments[1]
    runs = [e for e in state.experiments if e.proposal.confirms == 1]
    assert candidate.deferred is not None and len(runs) == 2
    assert all(run.commit == candidate.commit for run in runs)  # the frontier is scored on each draw, and runs no more
    assert len({e.draw.seed for e in (candidate, *runs) if e.draw is not None}) == 3
    assert candidate.verdict is not None
    assert (candidate.verdict.runs, candidate.verdict.against is not None) == (3, True)
    assert "the means of 3 draws, better by 0.499000 ± " in candidate.reason


def test_a_run_beside_another_win_is_compared_with_the_new_frontier_on_its_draw(tmp_path: Path) -> None:
    settings = FRESH.replace("[researcher]", 'devices = ["cpu0", "cpu0-0"]\n\n[researcher]\nqueue = 2')
    folder = lab(tmp_path / "lab", settings.replace('"cpu0-0"', '"cpu0-1"'))
    state = night(folder, part(2, -1.0), part(3, -0.5), part(4, -0.25), wanted=5)
    frontier = None
    for experiment in state.table:
        if experiment.number and experiment.verdict is not None and frontier is not None:
            again = {each.other: each.value for each in experiment.rescored}
            assert experiment.verdict.against == again[frontier]
        if experiment.outcome == "keep":
            frontier = experiment.number
    assert state.best_number == state.frontier_number == frontier


def test_a_front_is_compared_with_where_it_stands(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", FRESH + "\n[search]\nfronts = 2\n")
    state = night(folder, *(part(1 + number % 3, 5.0 - number / 8) for number in range(1, 7)), wanted=6)
    for experiment in state.table:
        if experiment.verdict is not None and experiment.verdict.leads:
            assert len(experiment.rescored) >= 2


def test_kills_and_restarts_score_on_the_same_draw(engines: Engines, tmp_path: Path) -> None:
    """All of them while the first proposal is judged."""
    folder, errors = lab(tmp_path / "lab"), tmp_path / "errors"
    words = [str(folder), "--tag", "t", "--headless", "--experiments", "3"]
    kills = ("after:data_drawn:2", "before:run_scored:1", "after:run_scored:1", "before:rescored:1", "after:rescored:1")
    drawn = []
    for orders in kills:
        assert engines.run(words, errors, orders=orders, env=UNSANDBOXED) == -signal.SIGKILL, orders
        drawn.append([e.draw for e in state_of(folder, "t").experiments if e.draw is not None])
    assert [len(each) for each in drawn] == [2] * len(kills)
    assert engines.run(words, errors, env=UNSANDBOXED) == 0, (tmp_path / "errors-0").read_text()
    state = state_of(folder, "t")
    assert all([e.draw for e in state.experiments][:2] == each for each in drawn)
    for experiment in state.table[1:]:
        assert experiment.draw is not None and experiment.verdict is not None and experiment.value is not None
        moved = experiment.draw.seed % 997
        assert 0 < experiment.value - moved < 20 and 0 < (experiment.verdict.against or 0) - moved < 20
    assert problems(folder, "t") == []
