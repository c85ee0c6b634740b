"""Hopeless runs are given up, and no run that a keep has been like: the rule, and the loop that keeps to it."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from autoresearch_tui.engine.judging import giving_up
from autoresearch_tui.engine.judging.giving_up import (
    FIRST,
    KEEPS,
    LAST,
    RUNS,
    Course,
    comparable,
    courses,
    hopeless,
    same_start,
)
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.logs.loss_curve import TENTHS
from autoresearch_tui.report.report import write_report
from autoresearch_tui.researchers import history
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.prior_tables import parse
from autoresearch_tui.session.state import Experiment
from tests.engine.curves import GIVE_UP, train
from tests.engine.making import experiment, state
from tests.engine.test_loop import Script, rows, running
from tests.history import problems, state_of

pytestmark = pytest.mark.usefixtures("unconfined")

REPLAY = Path(__file__).parents[3] / "benchmarks/give_up.py"
FRONTIER = tuple(5 - tenth / 4 for tenth in range(1, TENTHS + 1))
LEVEL = (0.0,) * TENTHS


def course(behind: tuple[float, ...] = LEVEL, *, kept: bool = False) -> Course:
    return Course(tuple(map(sum, zip(FRONTIER, behind, strict=True))), FRONTIER, kept)


def session(*keeps: tuple[float, ...]) -> list[Course]:
    return [*(course(each, kept=True) for each in keeps), *[course()] * RUNS]


def at(tenth: int, behind: float) -> tuple[float, ...]:
    """So far behind the frontier all the way up to there."""
    return tuple(loss + behind for loss in FRONTIER[:tenth])


KNOWN = session(LEVEL, (0.05,) * 9 + (0.0,), (0.1,) * 9 + (-0.1,))


@pytest.mark.parametrize("tenth", range(FIRST, LAST + 1))
def test_far_behind_is_given_up_with_its_figures(tenth: int) -> None:
    found = hopeless(at(tenth, 1.0), FRONTIER, KNOWN)
    assert found is not None
    assert (found.tenth, found.loss, found.against) == (tenth, FRONTIER[tenth - 1] + 1, FRONTIER[tenth - 1])
    assert found.most == pytest.approx(0.1)
    assert found.margin == pytest.approx(0.1)  # so far the keeps lie apart
    assert hopeless(at(tenth, 0.21), FRONTIER, KNOWN) and not hopeless(at(tenth, 0.19), FRONTIER, KNOWN)


def test_a_run_that_came_near_in_spite_of_all_widens_the_margin() -> None:
    late = course((0.8,) * 9 + (0.05,))
    found = hopeless(at(5, 1.0), FRONTIER, [*KNOWN, late])
    assert found is not None and found.margin == pytest.approx(0.7)
    assert hopeless(at(5, 0.79), FRONTIER, [*KNOWN, late]) is None
    never = course((0.8,) * 9 + (0.4,))
    assert hopeless(at(5, 0.79), FRONTIER, [*KNOWN, never])


@pytest.mark.parametrize("losses", [(), at(FIRST - 1, 9.0), at(TENTHS, 9.0)])
def test_too_early_too_late_and_without_a_curve_it_is_not(losses: tuple[float, ...]) -> None:
    assert hopeless(losses, FRONTIER, KNOWN) is None


def test_too_little_is_known_to_give_up() -> None:
    few = [course(kept=True)] * (KEEPS - 1) + [course()] * 20
    assert hopeless(at(5, 9.0), FRONTIER, few) is None
    assert hopeless(at(5, 9.0), FRONTIER, [course(kept=True)] * (RUNS - 1)) is None
    assert hopeless(at(5, 9.0), (), KNOWN) is None


def test_one_bad_stretch_is_not_enough() -> None:
    assert hopeless((*at(4, 0.0), FRONTIER[4] + 9.0), FRONTIER, KNOWN) is None
    assert hopeless((*at(4, 9.0), FRONTIER[4]), FRONTIER, KNOWN) is None


@pytest.mark.parametrize("tenth", range(FIRST, LAST + 1))
def test_near_the_frontier_nothing_is_hopeless_however_alike_the_keeps_were(tenth: int) -> None:
    alike = session(LEVEL, LEVEL, LEVEL)
    assert hopeless(at(tenth, 0.04), FRONTIER, alike) is None
    assert hopeless(at(tenth, 0.2), FRONTIER, alike)


losses = st.lists(st.floats(0.01, 100), min_size=TENTHS, max_size=TENTHS).map(tuple)
earlier = st.lists(st.builds(Course, losses, losses, st.booleans()), max_size=20)


@given(losses, earlier, st.integers(0, TENTHS), st.data())
def test_a_run_that_is_as_far_behind_as_a_keep_was_is_never_given_up(
    frontier: tuple[float, ...], earlier: list[Course], tenth: int, data: st.DataObject
) -> None:
    known = [*earlier, Course(data.draw(losses), data.draw(losses), kept=True)]
    keep = data.draw(st.sampled_from([each for each in known if each.kept]))
    own = [loss + keep.behind(at) for at, loss in enumerate(frontier, 1)]
    assert hopeless(own[:tenth], frontier, known) is None
    assert hopeless([loss - 0.5 for loss in own[:tenth]], frontier, known) is None


@given(losses, losses, earlier)
def test_what_is_given_up_is_further_behind_than_every_keep(
    own: tuple[float, ...], frontier: tuple[float, ...], earlier: list[Course]
) -> None:
    for tenth in range(TENTHS + 1):
        if found := hopeless(own[:tenth], frontier, earlier):
            assert all(found.loss - found.against > each.behind(tenth) for each in earlier if each.kept)
            assert found.margin > 0 and all(map(math.isfinite, (found.most, found.margin)))


@pytest.mark.parametrize(
    ("first", "other", "same"), [(9.0, 9.0, True), (9.1, 9.0, True), (13.5, 9.0, False), (math.nan, 9.0, False)]
)
def test_runs_that_do_not_begin_alike_are_of_two_measures(first: float, other: float, *, same: bool) -> None:
    assert same_start(first, other) is same and same_start(other, first) is same


def test_each_run_is_held_against_what_its_own_front_stood_at() -> None:
    def scored(number: int, outcome: str, front: int = 0, *, leads: bool = False, **made: object) -> Experiment:
        score = ev.RunScored(number, 1.0, 0.0, "referee", losses=(float(number),) * TENTHS)
        found = experiment(number, outcome, 1.0, score=score, front=front, **made)
        assert found.verdict is not None
        return replace(found, verdict=replace(found.verdict, leads=leads))

    repeat = scored(6, "discard", repeat_of=4)
    night = (scored(0, "keep"), scored(1, "keep"), scored(2, "discard", 1, leads=True), scored(3, "discard", 1))
    night = (*night, scored(4, "discard"), experiment(5, "crash"), repeat)
    found = [(each.losses[0], each.against[0], each.kept) for each in courses(state(*night))]
    assert found == [(1.0, 0.0, True), (2.0, 1.0, True), (3.0, 2.0, False), (4.0, 1.0, False)]


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("MATRIX_LR = 0.06", True),
        ("x = remainder(schema)", True),
        ("SMOOTHING = 0.1", False),
        ("x = F.dropout(x)", False),
        ("TOTAL_BATCH_SIZE = 2**18", False),
        ("EMA = 0.99", False),
        ("WARMDOWN_RATIO = 0.7", False),
        ("print(step)", False),
    ],
)
def test_a_change_of_what_the_loss_is_is_not_compared(line: str, *, same: bool) -> None:
    assert comparable(["--- a/drop.py", "+++ b/drop.py", " loss = 1", f"+{line}"]) is same
    assert comparable([f"-{line}"]) is same


def test_in_recorded_sessions_hopeless_runs_are_given_up_and_no_keep_is_lost() -> None:
    done = subprocess.run([sys.executable, REPLAY, "--orders", "20"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "LEARNING_RATE 0.4 to 4" in done.stdout
    assert done.stdout.count("keeps lost: 0 of") == 3


def play(brief: Brief) -> Proposal:
    text = brief.files["train.py"].replace(f"SWITCH_{brief.number} = False", f"SWITCH_{brief.number} = True")
    return Proposal(f"switch {brief.number}", "it helps", {"train.py": text})


def test_a_hopeless_run_is_given_up_told_and_not_blamed(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_up, "RUNS", KEEPS)
    folder, script = new_lab(settings=GIVE_UP, train=train(KEEPS + 1, KEEPS + 3)), Script(*[play] * (KEEPS + 3))
    with running(folder, script) as driver:
        driver.wait(lambda s: len(s.table) == KEEPS + 3 and len(script.briefs) > KEEPS + 2)
    assert problems(folder, "t", at_rest=False) == []
    night = state_of(folder, "t")
    *keeps, given_up, after = night.table[: KEEPS + 3]
    assert given_up.status == "given up" and {each.status for each in (*keeps, after)} == {"keep"}
    assert given_up.reason.startswith(
        "given up at 40 %: 5.01 against 4.02 (#3); no keep was further behind there than "
    )
    assert given_up.run is not None and given_up.run.reason == "killed"
    assert night.failing_runs.count == 0
    # Its row has no number that anybody could take for a score, and is read again as a discard without one.
    row = rows(folder)[given_up.number + 1]
    assert (row[1], row[2], row[3]) == ("nan", "0.0", "discard")
    again = parse((folder / "results.tsv").read_text(), "val_bpb")[given_up.number]
    assert (again.status, again.value) == ("discard", None)
    # The researcher is told so, in the brief and in what the experiments taught.
    brief = script.briefs[-1]
    told = history.render(brief.history, brief.goal, brief.files_at)
    assert "#4 given up: switch 4 | given up at 40 %: 5.01 against 4.02 (#3);" in told
    assert "## #4 discard: switch 4\nNo score.\nLesson: it did not hold here, and was given up at 40 %" in brief.lessons
    report = write_report(labs.find(folder), "t", tmp_path / "report")[0].read_text()
    assert "1 given up" in report and "crash" not in report
