"""A score that the training printed itself: an honest log raises no doubt, a log that contradicts itself is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.engine.reading.plausible import Trace, doubts, read_trace
from autoresearch_tui.engine.reading.runlog import Progress, parse_summary

DATA = Path(__file__).parent / "data"
LOG = DATA / "run-mps-carriage-returns.log"


def look(
    text: str, tmp_path: Path, *, wall: float = 850.0, budget: float = 300.0, value: float = 1.774935
) -> list[str]:
    """The names of what is found in a log."""
    path = tmp_path / "run.log"
    path.write_bytes(text.encode())
    found = doubts(
        read_trace(path),
        parse_summary(text),
        metric="val_bpb",
        value=value,
        wall_seconds=wall,
        budget_seconds=budget,
    )
    return [each.partition(":")[0] for each in found]


@pytest.fixture
def real() -> str:
    return LOG.read_bytes().decode()


def test_a_real_log_raises_no_doubt(real: str, tmp_path: Path) -> None:
    assert read_trace(LOG).count == 87
    assert look(real, tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "options", "found"),
    [
        ("", "", {"wall": 40.0}, ["clock", "clock"]),
        ("total_seconds:    846.3", "total_seconds:    1846.3", {}, ["clock"]),
        ("training_seconds: 300.9", "training_seconds: 12.0", {}, ["budget", "pace"]),
        ("", "", {"budget": 600.0}, ["budget"]),
        ("step 00050 ", "step 00010 ", {}, ["order"]),
        ("remaining: 4s", "remaining: 290s", {}, ["order"]),
        ("num_steps:        87", "num_steps:        953", {}, ["steps"]),
        ("num_steps:        87", "num_steps:        40", {}, ["steps"]),
        ("total_tokens_M:   5.7", "total_tokens_M:   499.6", {}, ["pace"]),
        ("peak_vram_mb:     197.8", "peak_vram_mb:     -3", {}, ["memory"]),
        ("peak_vram_mb:     197.8", "peak_vram_mb:     a lot", {}, ["memory"]),
        ("", "", {"value": 0.0001}, ["metric"]),
        ("", "", {"value": -1.0}, ["metric"]),
        ("", "", {"value": 1.9e9}, ["metric"]),
    ],
)
def test_what_does_not_go_together_is_named(
    old: str, new: str, options: dict[str, float], found: list[str], real: str, tmp_path: Path
) -> None:
    text = real
    if old == "remaining: 4s":
        # The time that is left goes up in the middle of the run.
        at = real.index("step 00060")
        text = real[:at] + real[at:].replace("| remaining: ", "| remaining: 2", 1)
    elif old:
        assert old in real
        text = real.replace(old, new)
    assert look(text, tmp_path, **options) == found


def test_a_log_cut_in_the_middle_does_not_reach_its_end(real: str, tmp_path: Path) -> None:
    cut = real[: real.index("step 00040")] + "\n" + real[real.index("---\n") :]
    assert look(cut, tmp_path) == ["end", "steps"]


def test_a_log_without_progress_or_summary_is_no_contradiction(tmp_path: Path) -> None:
    assert look("val_bpb: 1.2\n", tmp_path) == []
    assert look("", tmp_path) == []


def test_other_ranks_between_the_lines_are_no_contradiction(real: str, tmp_path: Path) -> None:
    lines = [part for part in real.split("\r") if part.startswith("step")]
    both = "\n".join(f"[rank{rank}]: {line.strip()}" for line in lines[:-1] for rank in (1, 0))
    assert look(both + "\n" + lines[-1], tmp_path) == []


@given(st.lists(st.builds(Progress, st.integers(0, 10**6), st.floats(), st.floats(), remaining_seconds=st.floats())))
def test_no_numbers_break_it(lines: list[Progress]) -> None:
    trace = Trace()
    for line in lines:
        trace.add(line)
    summary = {"training_seconds": "nan", "num_steps": "1e999", "peak_vram_mb": "inf", "total_tokens_M": "-1"}
    for value in (None, 0.0, 1e300):
        doubts(trace, summary, metric="val_bpb", value=value, wall_seconds=0.0, budget_seconds=300)
