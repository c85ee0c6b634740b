"""A score that the training printed itself: an honest log raises no doubt, a log that contradicts itself is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.logs.lines import Progress, parse_summary
from autoresearch_tui.logs.plausibility import Usual, count_scores, doubts, wall
from autoresearch_tui.logs.trace import Trace, read_trace

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


def held_against(real: str, text: str, tmp_path: Path, value: float = 1.774935) -> list[str]:
    """The findings of a log beside that of a baseline, which is the real one."""
    (tmp_path / "run.log").write_text(text)
    return list(
        doubts(
            read_trace(tmp_path / "run.log"),
            parse_summary(text),
            metric="val_bpb",
            value=value,
            wall_seconds=850.0,
            budget_seconds=300.0,
            scores=count_scores(text, "val_bpb"),
            usual=Usual(read_trace(LOG), 1.774935, count_scores(real, "val_bpb")),
        )
    )


SUMMARY = "---\nval_bpb:          0.010000\ntraining_seconds: 300.9\ntotal_seconds:    846.3\n"


def test_what_the_baselines_log_has_is_missed(real: str, tmp_path: Path) -> None:
    assert held_against(real, real, tmp_path) == []
    assert held_against(real, SUMMARY, tmp_path, 0.01) == ["progress: 0 progress lines, the baseline had 87"]
    head = real[: real.index("\rstep 00002")] + "\n"
    assert held_against(real, head + SUMMARY, tmp_path, 0.01)[-2].startswith("progress: ")


@pytest.mark.parametrize(("value", "found"), [(0.8, True), (1.4, False), (1.9, False)])
def test_a_score_that_the_training_loss_does_not_allow_is_named(
    value: float, found: bool, real: str, tmp_path: Path
) -> None:
    said = held_against(real, real, tmp_path, value)
    assert bool(said) is found
    assert all("times the last training loss, the baseline's" in each for each in said)


def test_several_scores_are_named_where_the_baseline_has_one(real: str, tmp_path: Path) -> None:
    assert held_against(real, f"{real}\nval_bpb: 1.700000\n", tmp_path) == [
        "metric: the log has 2 different values of val_bpb, the last counts"
    ]
    same = next(line for line in real.splitlines() if line.startswith("val_bpb:"))
    assert held_against(real, f"{real}\n{same}\n", tmp_path) == []


@pytest.mark.parametrize(
    ("seconds", "usual", "budget", "found"),
    [
        (52.0, 13.0, 10.0, "it took 52.0 s, the baseline 13.0 s of the same budget"),  # four times the wall time
        (33.0, 13.0, 10.0, "it took 33.0 s"),  # 20 s before its own clock begins
        (345.0, 325.0, 300.0, "it took 345.0 s"),
        (5.0, 13.0, 10.0, "it took 5.0 s of a budget of 10 s, the baseline 13.0 s"),
        (40.0, 10.0, 0.0, "it took 40.0 s, the baseline 10.0 s for as many tokens"),
        (16.0, 13.0, 10.0, ""),  # a busy machine
        (335.0, 325.0, 300.0, ""),
        (290.0, 325.0, 300.0, ""),
        (1.2, 0.9, 300.0, ""),  # a lab that has no use for its budget
        (18.0, 10.0, 0.0, ""),  # a deeper model, for as many tokens
    ],
)
def test_the_wall_time_is_held_against_the_baselines(seconds: float, usual: float, budget: float, found: str) -> None:
    said = wall(seconds, usual, budget)
    assert [each.startswith(f"clock: {found}") for each in said] == ([True] if found else [])


def test_a_run_that_takes_far_more_than_it_says_is_named(real: str, tmp_path: Path) -> None:
    assert look(real, tmp_path, wall=1030.0) == ["clock"]
    assert look(real, tmp_path, wall=1000.0) == []


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
