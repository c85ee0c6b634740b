"""Bounds on what we measure ourselves, and on what a run says."""

from __future__ import annotations

import pytest

from autoresearch_tui.engine.judging import scoring
from autoresearch_tui.lab.settings import MetricSettings
from autoresearch_tui.session import events as ev

SUMMARY = {"peak_vram_mb": "100.0", "total_seconds": "1.0", "host_memory_mb": "1", "depth": "8"}


def ended(memory: float | None = 900.0, device: float | None = 45_000.0) -> ev.RunEnded:
    return ev.RunEnded(1, "finished", 0, 320.04, memory_mb=memory, device_memory_mb=device)


@pytest.mark.parametrize(
    ("key", "bound", "said"),
    [
        ("total_seconds", 300, "total_seconds 320.04 is more than 300"),
        ("total_seconds", 321, ""),
        ("host_memory_mb", 800, "host_memory_mb 900 is more than 800"),
        ("device_memory_mb", 40_000, "device_memory_mb 45000 is more than 40000"),
        ("depth", 8, ""),
        ("depth", 7, "depth 8 is more than 7"),
        ("num_params_M", 7, "the summary has no num_params_M, which is bounded"),
        ("peak_vram_mb", 24_000, "peak_vram_mb, said to be 100.0, for which the accelerator held 45000 is more than"),
        ("peak_vram_mb", 80_000, ""),
    ],
)
def test_our_own_measure_stands_before_the_runs_word(key: str, bound: float, said: str) -> None:
    found = scoring.out_of_bounds(MetricSettings(at_most={key: bound}), SUMMARY, ended())
    assert [each.startswith(said) for each in found] == ([True] if said else [])


def test_what_cannot_be_measured_here_is_beyond_its_bound() -> None:
    found = scoring.out_of_bounds(MetricSettings(at_most={"device_memory_mb": 9}), SUMMARY, ended(device=None))
    assert found == ("device_memory_mb cannot be measured here, which is bounded",)


@pytest.mark.parametrize(
    ("claimed", "held", "far"),
    [
        ("45060.2", 46_900.0, False),  # a context, and blocks kept
        ("45060.2", 80_000.0, False),  # a fragmented cache
        ("0.0", 500.0, False),
        ("100.0", 45_000.0, True),
        ("100.0", None, False),
        ("nan", 45_000.0, False),  # no number is no bound kept, either
    ],
)
def test_a_claim_far_below_what_was_held_does_not_count(claimed: str, held: float | None, far: bool) -> None:
    assert scoring.understated({"peak_vram_mb": claimed}, ended(device=held)) == far


def test_columns_are_as_measured_else_as_the_referee_says_else_as_the_run_does() -> None:
    metric = MetricSettings(columns=("total_seconds", "+depth", "latency_ms", "cost", "device_memory_mb", "worse"))
    told = {"depth": 9, "latency_ms": 12.5, "cost": True, "worse": 10**400}
    found = scoring.columns(metric, SUMMARY, ended(device=None), told)
    assert found == {"total_seconds": 320.04, "depth": 9.0, "latency_ms": 12.5}


def test_a_bound_is_held_against_what_the_referee_says() -> None:
    metric = MetricSettings(at_most={"depth": 8}, at_least={"recall": 0.5})
    assert scoring.out_of_bounds(metric, SUMMARY, ended(), {"depth": 9, "recall": 0.25}) == (
        "depth 9 is more than 8",
        "recall 0.25 is less than 0.5",
    )
