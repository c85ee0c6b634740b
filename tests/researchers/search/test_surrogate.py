"""The surrogate: what it believes after scores of a known surface."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.researchers.search.surrogate import Points, Surrogate, expected_gain


def points(offsets: list[list[float]], forms: list[int] | None = None, groups: list[int] | None = None) -> Points:
    """With one site, where forms are given."""
    codes = np.array(forms or [0] * len(offsets), dtype=np.int64)[:, None]
    return Points(np.array(offsets), codes, np.array(groups or [0] * len(offsets), dtype=np.int64))


def bowl(offset: list[float]) -> float:
    x, y = offset
    return (x - 1) ** 2 + 0.5 * (y + 1) ** 2 + 0.4 * (x - 1) * (y + 1)


def tried(seed: int, count: int, noise: float = 0.1) -> tuple[list[list[float]], np.ndarray]:
    dice = np.random.default_rng(seed)
    offsets = dice.uniform(-2, 2, (count, 2)).tolist()
    return offsets, np.array([bowl(o) for o in offsets]) + noise * dice.normal(size=count)


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_the_bottom_of_a_noisy_bowl(seed: int) -> None:
    offsets, scores = tried(seed, 30)
    grid = [[0.0, 0.0], *([x, y] for x in np.linspace(-2, 2, 9) for y in np.linspace(-2, 2, 9))]
    mean, _ = Surrogate(points(offsets), scores, [0.6, 0.6]).gains(points(grid))
    best = grid[int(np.argmax(mean))]
    assert bowl(best) < 0.2


def test_the_base_gains_nothing_over_itself() -> None:
    offsets, scores = tried(0, 12)
    mean, spread = Surrogate(points(offsets), scores, [0.6, 0.6]).gains(points([[0.0, 0.0], [0.0, 0.0]]))
    assert mean == pytest.approx([0, 0])
    assert spread == pytest.approx([0, 0], abs=1e-3)


def test_what_was_never_moved_is_less_certain() -> None:
    offsets = [[x, 0.0] for x in np.linspace(-2, 2, 12)]
    scores = np.array([bowl(o) for o in offsets])
    _, spread = Surrogate(points(offsets), scores, [0.6, 0.6]).gains(points([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert spread[2] > 2 * spread[1]


def test_a_session_that_is_worse_throughout_says_nothing_about_its_settings() -> None:
    offsets, scores = tried(1, 24)
    groups = [at % 2 for at in range(24)]
    shifted = scores + 10.0 * np.array(groups)
    there = points([[0.0, 0.0], [1.0, -1.0]])
    plain, _ = Surrogate(points(offsets), scores, [0.6, 0.6]).gains(there)
    apart, _ = Surrogate(points(offsets, groups=groups), shifted, [0.6, 0.6]).gains(there)
    assert apart[1] == pytest.approx(plain[1], abs=0.3)


def test_another_form_is_believed_by_what_it_scored() -> None:
    offsets, scores = tried(2, 24)
    forms = [1 if at % 4 == 0 else 2 if at % 4 == 1 else 0 for at in range(24)]
    level = np.array([{0: 0.0, 1: -2.0, 2: 2.0}[form] for form in forms])
    model = Surrogate(points(offsets, forms), scores + level, [0.6, 0.6])
    mean, _ = model.gains(points([[0.0, 0.0]] * 3, [0, 1, 2]))
    assert mean[1] > 1 > -1 > mean[2]


def test_equal_scores_are_no_obstacle() -> None:
    offsets, scores = tried(0, 8)
    mean, spread = Surrogate(points(offsets), np.zeros_like(scores), [0.6, 0.6]).gains(points(offsets))
    assert np.all(np.isfinite(mean))
    assert np.all(np.isfinite(spread))


@given(st.floats(-5, 5), st.floats(0.01, 5), st.floats(0.01, 2), st.floats(0, 2))
def test_a_run_is_worth_more_the_more_it_may_gain(mean: float, spread: float, noise: float, bar: float) -> None:
    low, high = expected_gain(np.array([mean, mean + 0.5]), np.array([spread, spread]), noise, bar)
    assert high >= low - 0.2  # a gain that is missed for noise is no gain
    assert expected_gain(np.array([mean]), np.array([spread]), 0.0, 0.0)[0] >= max(mean, 0.0) - 1e-6
