"""How many proposals are in the making at once."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.engine.proposing.asking import at_once, wants_another


def busy(devices: int, thinking: float, running: float, most: int = 0, runs: int = 30) -> float:
    """The share of the devices' time that trains, where every answer and every run takes the same, by the rules."""
    free, making, waiting = [0.0] * devices, [], 0
    now = began = 0.0
    while began < runs * devices:
        while free and free[0] <= now and (waiting or now == 0):  # the baselines are there
            heapq.heapreplace(free, now + running)
            waiting, began = waiting - (now > 0), began + 1
        limit = at_once(devices, thinking, running, most)
        while wants_another(len(making), waiting, devices, limit):
            heapq.heappush(making, now + thinking)
        now = min([making[0] if making else 1e9, *(end for end in free if end > now)])
        while making and making[0] <= now:
            heapq.heappop(making)
            waiting += 1
    return began * running / (devices * now)


def test_sixteen_devices_and_two_minutes_of_thought_are_never_idle() -> None:
    assert at_once(16, 120, 300) == 8
    assert busy(16, 120, 300) > 0.98
    assert busy(16, 10, 20) > 0.98
    assert busy(16, 120, 300, most=1) < 0.2


@pytest.mark.parametrize(
    ("devices", "thinking", "running", "most", "wanted"),
    [
        (1, None, None, 0, 1),
        (1, 10, 300, 0, 1),
        (1, 300, 300, 0, 1),
        (1, 310, 300, 0, 1),
        (1, 3000, 300, 0, 1),
        (1, 3000, 300, 8, 8),
        (1, 10, 300, 8, 1),
        (16, None, 300, 0, 16),
        (16, 0.1, 300, 0, 1),
        (16, 3000, 300, 0, 17),
        (16, 3000, 300, 4, 4),
    ],
)
def test_one_device_has_one_and_the_human_may_raise_the_limit(
    devices: int, thinking: float | None, running: float | None, most: int, wanted: int
) -> None:
    assert at_once(devices, thinking, running, most) == wanted


@given(st.integers(1, 40), st.floats(0.1, 2000), st.floats(1, 2000), st.integers(0, 64))
def test_never_none_and_never_more_than_the_limit(devices: int, thinking: float, running: float, most: int) -> None:
    assert 1 <= at_once(devices, thinking, running, most) <= (most or devices + 1)


@given(st.integers(1, 20), st.floats(0.1, 900), st.floats(60, 600))
def test_devices_are_idle_only_where_a_thought_is_too_long_for_the_limit(
    devices: int, thinking: float, running: float
) -> None:
    if at_once(devices, thinking, running) <= devices and thinking < 0.99 * running:
        assert busy(devices, thinking, running) > 0.9


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20))
def test_one_at_a_time_is_as_it_always_was(making: int, waiting: int, may_wait: int) -> None:
    assert wants_another(making, waiting, may_wait, 1) == (making == 0 and waiting < may_wait)
