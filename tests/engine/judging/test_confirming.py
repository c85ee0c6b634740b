"""`metric.keep = "confirmed"`: a gain within the noise moves the frontier only when other runs bear it out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from autoresearch_tui.engine.proposing import base_choice
from autoresearch_tui.lab.settings import SearchSettings
from autoresearch_tui.report.report import look_at_first
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import confirmation
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, Stage, State
from tests.conftest import SETTINGS, git, make_lab
from tests.engine.test_loop import Driver, Move, Script, rows, running
from tests.history import problems, state_of

pytestmark = pytest.mark.usefixtures("unconfined")

# SCORES has the score of each seed; with BLOCK a run waits for as long as that file is there.
TRAIN = """\
import os, time
SCORES = (1.00, 1.02, 0.98, 1.00)
BLOCK = ""
seed = int(os.environ.get("AUTORESEARCH_SEED", "0"))
while BLOCK and seed and os.path.exists(BLOCK):
    time.sleep(0.01)
score = SCORES[seed]
assert score is not None, "diverged"
print("---")
print(f"val_bpb: {score:.6f}")
"""
CONFIRMED = SETTINGS.replace("budget_seconds = 5", "budget_tokens = 5")
CONFIRMED += '\n[metric]\nkeep = "confirmed"\nbaseline_runs = 3\n'


def scoring(*scores: float | None, block: str = "") -> Move:
    """A proposal whose runs score this, seed by seed."""

    def move(brief: Brief) -> Proposal:
        text = re.sub(r"^SCORES = .*$", f"SCORES = {scores!r}", brief.files["train.py"], flags=re.MULTILINE)
        text = re.sub(r"^BLOCK = .*$", f"BLOCK = {block!r}", text, flags=re.MULTILINE)
        return Proposal(f"scores {scores[0]}", "because", {"train.py": text})

    return move


def in_turn(base: float, *steps: tuple[float, ...]) -> list[Move]:
    """Each builds on the one before, beginning at `base`: an ask that comes before that one's verdict gets none."""
    following = dict(zip((base, *(step[0] for step in steps[:-1])), steps, strict=True))

    def move(brief: Brief) -> Proposal | None:
        found = re.search(r"^SCORES = \((\S+),", brief.files["train.py"], flags=re.MULTILINE)
        assert found is not None
        step = following.pop(float(found[1]), None)
        return scoring(*step)(brief) if step is not None else None

    return [move] * 20


@pytest.fixture(scope="module")
def baselines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a session whose baselines, #0 to #2, have scored 1.00, 1.02 and 0.98."""
    folder = make_lab(tmp_path_factory.mktemp("baselines") / "lab", CONFIRMED, TRAIN)
    with running(folder, Script(lambda _: None), rows=3) as driver:
        assert driver.join() == "finished"
    return folder


@pytest.fixture
def folder(baselines: Path, tmp_path: Path) -> Path:
    return shutil.copytree(baselines, tmp_path / "lab", symlinks=True)


def change(folder: Path, old: str, new: str) -> None:
    """Another word in the lab's settings."""
    settings = folder / "autoresearch.toml"
    assert old in settings.read_text()
    settings.write_text(settings.read_text().replace(old, new))


def night(folder: Path, *moves: Move, rows: int) -> State:
    with running(folder, Script(*moves), rows=rows) as driver:
        assert driver.join() == "finished"
    assert problems(folder, "t") == []
    return state_of(folder, "t")


def ran(state: State) -> list[Experiment]:
    return [experiment for experiment in state.experiments if experiment.run is not None]


def test_a_gain_beyond_the_noise_is_kept_at_once(folder: Path) -> None:
    state = night(folder, scoring(0.9), rows=4)
    kept = state.experiments[3]
    assert (kept.outcome, kept.deferred, state.frontier_number) == ("keep", None, 3)
    assert kept.reason.startswith("0.900000 against 1.000000, the mean of 3 runs (#0), better by 0.100000")


def test_a_gain_within_the_noise_that_holds_is_kept_on_its_mean(folder: Path) -> None:
    state = night(folder, scoring(0.975, 0.974, 0.973), rows=6)
    candidate, first, second = state.experiments[3:6]
    assert [(e.proposal.confirms, e.commit, e.proposal.seed) for e in (first, second)] == [
        (3, candidate.commit, 1),
        (3, candidate.commit, 2),
    ]
    assert candidate.value is not None and candidate.verdict is not None and candidate.score is not None
    assert (candidate.outcome, round(candidate.value, 6), candidate.score.value) == ("keep", 0.974, 0.975)
    assert candidate.verdict.runs == 3
    assert candidate.reason.startswith(
        "confirmed: 0.974000, the mean of 3 runs, against 1.000000, the mean of 3 runs (#0)"
    )
    assert [e.number for e in state.table] == [0, 1, 2, 4, 5, 3]
    # One row a run; the candidate's has the mean that decided.
    assert [row[1:4:2] for row in rows(folder)[4:]] == [
        ["0.974000", "discard"],
        ["0.973000", "discard"],
        ["0.974000", "keep"],
    ]
    assert git(folder, "rev-parse", "autoresearch/t") == candidate.commit


def test_one_that_does_not_hold_is_discarded_after_one_run(folder: Path) -> None:
    state = night(folder, scoring(0.97, 1.05), rows=5)
    candidate = state.experiments[3]
    assert (candidate.outcome, state.frontier_number) == ("discard", 0)
    assert candidate.reason.startswith("1.010000, the mean of 2 runs, against 1.000000, the mean of 3 runs")


def test_a_lucky_frontier_is_measured_again_and_can_be_beaten(folder: Path) -> None:
    """#3 was kept for a single score, which its second run does not reach."""
    lucky, better = (0.85, 0.95, 0.95), (0.849, 0.847, 0.845)
    state = night(folder, *in_turn(1.0, lucky, better), rows=7)
    frontier, candidate, own, other = ran(state)[3:]
    number = candidate.number
    assert (own.commit, other.commit) == (candidate.commit, frontier.commit)
    assert (other.proposal.repeat_of, other.proposal.confirms) == (3, number)
    assert (candidate.outcome, state.frontier_number, state.best_number) == ("keep", number, number)
    assert "against 0.900000, the mean of 2 runs (#3)" in candidate.reason


def test_one_that_diverges_under_another_seed_is_discarded(folder: Path) -> None:
    state = night(folder, scoring(0.97, None), rows=5)
    assert state.experiments[3].outcome == "discard"
    assert state.experiments[3].reason.startswith("#4, its run under another seed, ended as crash: ")


def test_a_table_without_room_decides_on_what_is_known(folder: Path) -> None:
    state = night(folder, scoring(0.99), rows=4)
    assert len(state.experiments) == 4
    assert (state.experiments[3].outcome, state.frontier_number) == ("discard", 0)
    assert state.experiments[3].reason.startswith("not confirmed: 0.990000 against")
    first = [line for line in look_at_first(state) if "not confirmed" in line]
    assert len(first) == 1
    assert first[0].startswith("Better than 0000, but not confirmed; worth another run: 0003 by 0.010000 ± ")


def test_strict_keeps_the_same_gain_at_once(folder: Path) -> None:
    change(folder, "confirmed", "strict")
    state = night(folder, scoring(0.99), rows=4)
    assert (state.frontier_number, state.experiments[3].verdict.error) == (3, None)  # type: ignore[union-attr]


def test_with_fronts_the_search_continues_from_a_gain_within_the_noise_and_keeps_the_whole(folder: Path) -> None:
    with (folder / "autoresearch.toml").open("a") as settings:
        settings.write('\n[search]\nplateau = "fronts"\n')
    change(folder, "baseline_runs = 3", "baseline_runs = 4")
    state = night(folder, *in_turn(1.0, (0.98,), (0.97,), (0.975,)), rows=7)
    first, second, third = ran(state)[4:]
    assert [e.outcome for e in (first, second, third)] == ["discard"] * 3
    assert [e.advanced for e in (first, second, third)] == [True, True, False]
    assert first.reason.startswith("not kept yet: 0.980000 against 1.000000, the mean of 4 runs (#0), better by")
    assert first.reason.endswith("front A stands here now")
    assert (state.frontier_number, state.heads) == (0, {0: second.number})
    assert base_choice.choose(state, can_fix=False, search=SearchSettings(plateau="fronts")).base == second.commit
    assert look_at_first(state)[0].startswith("Better than 0000, but not confirmed; worth another run: 0004 by 0.02")
    state = night(folder, *in_turn(0.97, (0.968,), (0.9,)), rows=9)
    last = ran(state)[-1]
    assert [e.outcome for e in ran(state)[7:]] == ["discard", "keep"]
    assert (state.frontier_number, state.heads) == (last.number, {0: last.number})
    assert git(folder, "rev-parse", "autoresearch/t") == last.commit


def test_before_the_noise_is_known_a_gain_is_run_again_with_fronts_as_well(tmp_path: Path) -> None:
    settings = CONFIRMED.replace("baseline_runs = 3", "baseline_runs = 1") + "\n[search]\nfronts = 2\n"
    folder = make_lab(tmp_path / "lab", settings, TRAIN)
    state = night(folder, scoring(0.97, 0.96), rows=3)
    assert [e.proposal.confirms for e in state.experiments] == [None, None, 1]


def test_the_accelerator_confirms_at_once_and_what_waits_keeps_its_base(folder: Path, tmp_path: Path) -> None:
    block = tmp_path / "block"
    block.touch()
    script = Script(scoring(0.97, 0.969, 0.968, block=str(block)), scoring(1.5))
    with running(folder, script) as driver:
        state = driver.wait(lambda s: len(s.experiments) > 5 and s.in_flight and s.waiting)
        candidate, run = state.experiments[3], state.in_flight[0]
        assert (candidate.stage, run.proposal.confirms) == (Stage.CONFIRMING, 3)
        assert confirmation.progress(candidate, state) == "confirming 1 of 2"
        (waiting,) = state.waiting
        assert (waiting.stage, waiting.proposal.base) == (Stage.APPROVED, state.experiments[0].commit)
        assert {a.number: (a.outcome, a.value) for a in script.briefs[-1].history}[3] in (
            ("confirming", 0.97),
            ("waiting", None),
        )
        block.unlink()
        state = driver.wait(lambda s: s.experiments[waiting.number].outcome)
    assert state.frontier_number == 3
    assert state.experiments[waiting.number].judged_after > candidate.judged_after
    assert problems(folder, "t") == []


def test_the_other_devices_go_on(folder: Path, tmp_path: Path) -> None:
    block = tmp_path / "block"
    block.touch()
    change(folder, "[researcher]", 'devices = ["cpu0", "cpu1"]\n\n[researcher]')
    script = Script(scoring(0.97, 0.969, 0.968, block=str(block)), scoring(1.5), scoring(1.6))
    with running(folder, script) as driver:
        state = driver.wait(lambda s: sum(e.value is not None and e.value > 1.4 for e in s.experiments) == 2)
        assert [e.number for e in state.confirming] == [state.in_flight[0].proposal.confirms]
        block.unlink()
        driver.wait(lambda s: not s.confirming)
    assert problems(folder, "t") == []


def confirming(folder: Path, block: Path) -> Driver:
    """A session in which #3 is being confirmed, by a run that waits for a file to go."""
    block.touch()
    driver = Driver(folder, Script(scoring(0.97, 0.9, block=str(block))))
    driver.start()
    driver.wait(lambda s: any(e.proposal.confirms == 3 and e.stage is Stage.RUNNING for e in s.experiments))
    return driver


def test_a_human_decides_before_it_is_confirmed(folder: Path, tmp_path: Path) -> None:
    block = tmp_path / "block"
    driver = confirming(folder, block)
    driver.engine.send(cmd.Veto(3, driver.state.experiments[3].commit, "no"))
    state = driver.wait(lambda s: s.refused is not None)
    assert state.refused is not None
    assert state.refused.why == "#3: it has run and is being confirmed; overrule keeps it now"
    driver.engine.send(cmd.Overrule(3, Outcome.KEEP, "simpler"))
    state = driver.wait(lambda s: s.frontier_number == 3)
    assert state.experiments[3].reason.startswith("simpler (by human, before it was confirmed: 0.970000 against")
    assert state.running is not None and state.running.proposal.confirms == 3  # a plain repeat now
    block.unlink()
    state = driver.wait(lambda s: len(s.table) == 5)
    assert state.frontier_number == 3
    driver.detach()
    assert problems(folder, "t") == []


def test_a_human_stops_its_run_and_it_is_decided_on_what_is_known(folder: Path, tmp_path: Path) -> None:
    driver = confirming(folder, tmp_path / "block")
    driver.engine.send(cmd.StopRun(4, "no time for this"))
    state = driver.wait(lambda s: s.experiments[3].outcome)
    assert (state.experiments[4].status, state.experiments[3].outcome) == ("stopped", "keep")
    assert state.experiments[3].reason.startswith("not run again: 0.970000 against")
    driver.detach()
    assert problems(folder, "t") == []


def test_a_session_that_ends_in_between_goes_on_with_it(folder: Path, tmp_path: Path) -> None:
    block = tmp_path / "block"
    driver = confirming(folder, block)
    driver.engine.send(cmd.Stop(now=True))
    assert driver.join() == "stopped"
    state = state_of(folder, "t")
    assert (state.experiments[3].stage, state.experiments[4].stage) == (Stage.CONFIRMING, Stage.APPROVED)
    assert problems(folder, "t") == []
    block.unlink()
    with running(folder, Script(), rows=5) as driver:
        assert driver.join() == "finished"
    state = state_of(folder, "t")
    assert (state.frontier_number, len(state.experiments)) == (3, 5)
    assert problems(folder, "t") == []


def test_an_engine_whose_lab_is_strict_again_decides_it(folder: Path, tmp_path: Path) -> None:
    block = tmp_path / "block"
    confirming(folder, block).detach()
    block.unlink()
    change(folder, "confirmed", "strict")
    with running(folder, Script()) as driver:
        driver.wait(lambda s: s.frontier_number == 3)
    assert problems(folder, "t") == []
