"""The training loss at each tenth of the budget, of logs that are whole and of logs that grow."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoresearch_tui.logs.loss_curve import TENTHS, CurveTail, LossCurve
from autoresearch_tui.logs.trace import read_trace


def frames(*points: tuple[float, float]) -> str:
    return "\r".join(
        f"step {n:05d} ({percent:.1f}%) | loss: {loss} | dt: 300ms" for n, (percent, loss) in enumerate(points)
    )


def tenths(tmp_path: Path, *points: tuple[float, float]) -> tuple[float, ...]:
    path = tmp_path / "run.log"
    path.write_text(frames(*points) + "\n---\nval_bpb: 1.0\n")
    return read_trace(path).curve.tenths()


def test_the_loss_at_each_tenth_is_the_mean_of_the_lines_just_before(tmp_path: Path) -> None:
    found = tenths(tmp_path, *((percent, 10 - percent / 20) for percent in range(101)))
    # Of 6 % to 10 %, the mean is at 8 %.
    assert found == tuple(10 - (percent - 2) / 20 for percent in range(10, 101, 10))


def test_a_run_that_broke_off_has_the_tenths_that_it_reached(tmp_path: Path) -> None:
    assert tenths(tmp_path, (0, 9.0), (10, 8.0), (31, 7.0)) == (8.0, 8.0, 8.0)
    assert tenths(tmp_path, (0, 9.0), (4, 8.0)) == ()


@pytest.mark.parametrize("text", ["", "loss 3 at step 4\n", "step 1 loss 4.0\nstep 2 loss 3.0\n"])
def test_a_log_that_does_not_say_how_far_it_is_has_no_curve(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.log"
    path.write_text(text)
    assert read_trace(path).curve.tenths() == ()
    assert read_trace(tmp_path / "none.log").curve.tenths() == ()


def test_a_percentage_that_begins_again_is_none_of_the_budget(tmp_path: Path) -> None:
    epoch = [(percent, 9.0) for percent in range(0, 101, 2)]
    assert tenths(tmp_path, *epoch, *epoch) == ()
    ranks = [(percent + back, 9.0) for percent in range(4, 101, 2) for back in (0, -4)]
    assert tenths(tmp_path, *ranks) == (9.0,) * TENTHS


def test_a_loss_that_is_no_number_ends_it(tmp_path: Path) -> None:
    assert tenths(tmp_path, (10, 5.0), (20, 4.0), (30, math.nan), (40, 3.0)) == (5.0, 4.0)


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=50))
@example([(11.0, 1.79765e308)])
def test_whatever_a_log_says_it_is_at_most_ten_finite_numbers(points: list[tuple[float, float]]) -> None:
    curve = LossCurve()
    for percent, loss in points:
        curve.add(percent, loss)
    found = curve.tenths()
    assert len(found) <= TENTHS
    assert all(map(math.isfinite, found))
    assert found[: len(curve.tenths(passed=True))] == curve.tenths(passed=True)


def test_while_it_grows_the_curve_has_the_tenths_that_are_over(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    tail = CurveTail(path)
    assert not tail.read()
    points = [(float(percent), 10 - percent / 20) for percent in range(101)]
    text = frames(*points)
    for end in range(0, len(text), 97):
        path.write_text(text[:end])
        tail.read()
        far = max((int(part.split("(")[1].split(".")[0]) for part in text[:end].split("\r")[:-1]), default=0)
        assert len(tail.curve.tenths(passed=True)) == max(0, (far - 1) // 10)
    path.write_text(text + "\r")
    tail.read()
    assert tail.curve.tenths(passed=True) == read_trace(path).curve.tenths()[:9]
    path.write_text(frames((0, 9.0), (11, 1.0)) + "\r")  # another try of the same run
    tail.read()
    assert tail.curve.tenths(passed=True) == (9.0,)
