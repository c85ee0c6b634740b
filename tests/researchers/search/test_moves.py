"""The steps of a knob, whatever number a file holds."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoresearch_tui.python_source.constants import read
from autoresearch_tui.researchers.search.moves import LEVELS, steps


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
@example(10**400)
@example(1.79e308)
@example(5e-324)
@pytest.mark.parametrize("name", ["MATRIX_LR", "WARMUP_RATIO", "BETA", "DEPTH", "WIDTH", "BATCH", "TABLE_BUCKETS"])
def test_every_step_is_a_finite_number_of_the_same_type(name: str, value: float) -> None:
    for knob in read("train.py", f"{name} = {value!r}\n").knobs:
        for level in range(LEVELS):
            for step in steps(knob, level):
                assert type(step.after) is type(value)
                assert math.isfinite(float(step.after))
