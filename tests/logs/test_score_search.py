"""A score is found as `grep` finds it, wherever it stands, and what is none is named."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_tui.logs.encoding import piece
from autoresearch_tui.logs.lines import parse_summary
from autoresearch_tui.logs.score_search import find_score, number
from autoresearch_tui.logs.trace import read_trace

SUMMARY = "---\nval_bpb:          0.997900\ntraining_seconds: 300.1\npeak_vram_mb:     45060.2\nnum_steps: 953\n"


def last_match(text: str | Path, pattern: str, name: str = "score") -> float | None:
    return find_score(text, pattern, name).value


def find_metric(text: str | Path, pattern: str, name: str) -> float | None:
    return find_score(text, pattern, name, any_form=True).value


PATTERN = r"^val_bpb:\s+(\S+)"


def test_last_match_decides() -> None:
    assert last_match("val_bpb: 2.5\n" + SUMMARY, PATTERN) == 0.9979
    assert last_match("score=7 score=8", r"score=(\d+)") == 8


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "garbage", "1.5x", "0,997", "2026-11-28"])
def test_what_is_no_number_is_none(value: str) -> None:
    assert last_match(f"val_bpb: 0.5\nval_bpb: {value}\n", PATTERN) is None


@pytest.mark.parametrize(
    "text",
    [
        "val_bpb=0.9979",
        "val_bpb 0.9979",
        "done | val_bpb: 0.9979 | 300 s",
        "final val bpb: 0.9979.",
        "Val-BPB is 0.9979",
        '{"step": 9, "val_bpb": 0.9979, "depth": 8}',
        '{"metrics": {"val_bpb":9.979e-1}}',
        "[rank0]: val_bpb:          0.997900\n[rank1]: bye",
        "val_bpb → 0.9979",
        "val_bpb: 2.5\rval_bpb: .9979\r",
    ],
)
def test_the_metric_in_another_form(text: str) -> None:
    assert find_metric("step 1 | loss: 3\n" + text + "\n", PATTERN, "val_bpb") == 0.9979


@pytest.mark.parametrize(
    "text", ["", "my_val_bpbs: 3", "best val_bpb so far: 3", "val_bpb: x", "val_bpb nan", "eval bpb 2"]
)
def test_what_is_not_the_metric(text: str) -> None:
    assert find_metric(text, PATTERN, "val_bpb") is None


def test_a_pattern_that_matches_is_the_last_word() -> None:
    assert find_metric("val_bpb=0.5\nval_bpb:  nan\n", PATTERN, "val_bpb") is None
    assert find_metric("val_bpb=0.5\nval_bpb:  0.7\nval_bpb=0.4\n", PATTERN, "val_bpb") == 0.7


@given(st.text(max_size=60), st.text(max_size=12))
@settings(max_examples=10)
def test_no_text_and_no_name_breaks_the_search(text: str, name: str) -> None:
    find_metric(text, r"^x (\S+)", name)


def test_no_match_is_none() -> None:
    assert last_match("nothing here", PATTERN) is None
    assert last_match("x", r"x(\d)?") is None
    assert last_match("lone surrogate \udc80 val_bpb: 1", PATTERN) is None


def test_a_pattern_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoresearch_tui.logs.score_search.MATCH_SECONDS", 0.3)
    found = find_score("a" * 60 + "!", r"^(a+)+$", "score")
    assert found.value is None
    assert "takes more than 0.3 s on the log" in found.problem


NOISE = b"INFO worker 3 loaded batch 000123 of shard 7, iteration 12, in 0.013 s\n"


@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize(("pattern", "any_form"), [(PATTERN, True), (r"^bpb of val is (\S+)", False)])
def test_a_long_log_is_searched_to_its_beginning(tmp_path: Path, where: str, pattern: str, any_form: bool) -> None:
    """In 16 MiB; how long 50 MB take is a benchmark's to say."""
    lines = SUMMARY.encode() + b"bpb of val is 0.9979\n" + (b"final val-bpb = 0.9979\n" if any_form else b"")
    noise = NOISE * ((16 << 20) // len(NOISE))
    half = NOISE * ((8 << 20) // len(NOISE))
    log = tmp_path / "run.log"
    log.write_bytes({"first": lines + noise, "middle": half + lines + half, "last": noise + lines}[where])
    began = time.process_time()
    found = find_score(log, pattern, "val_bpb", any_form=any_form)
    assert found.value == 0.9979
    assert parse_summary(piece(log, 1 << 20, found.at))["peak_vram_mb"] == "45060.2"
    assert read_trace(log).count == 0
    assert time.process_time() - began < 5  # of this process; the search's own is limited to as much


def test_a_match_that_lies_across_two_pieces_is_found(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    for shift in range(0, 24, 3):
        log.write_bytes(
            b"val_bpb: 7\n" + b"x" * 99 + b"\nval_bpb:\n  0.5\n" + b"y" * ((1 << 20) - 20 + shift) + b"\nend"
        )
        assert find_metric(log, PATTERN, "val_bpb") == 0.5
    log.write_bytes(b"val_bpb: 0.25\n" + b"z" * (3 << 20))
    assert find_metric(log, PATTERN, "val_bpb") == 0.25


@pytest.mark.parametrize(
    "printed",
    [
        "\x1b[32mval_bpb: 0.9979\x1b[0m",
        "\x1b[1mval_bpb\x1b[0m:   \x1b[38;5;208m0.9979\x1b[0m",
        "val_bpb: np.float64(0.9979)",
        "val_bpb: tensor(0.9979, device='cuda:0')",
        "val_bpb: 0.9979, the best so far",
        "val_bpb: **0.9979**",
        "val_bpb: [0.9979]",
        "val_bpb: '0.9979'",
        "epoch 1\rval_bpb: 0.9979\r",
        "val_bpb: 0.9979\r\n",
        "metrics = {'val_bpb': np.float32(0.9979), 'depth': 8}",
    ],
)
def test_a_score_in_the_dress_of_a_console_or_a_library(printed: str) -> None:
    assert find_metric(f"val_bpb 9\n{printed}\n", PATTERN, "val_bpb") == 0.9979


@pytest.mark.parametrize(
    ("group", "value"),
    [
        (" 0.9979 (best of 3)", 0.9979),
        (" 1,024.5", 1024.5),
        (" -3e-2 nats", -0.03),
        (" 97.5%", 97.5),
        *((text, None) for text in (" 0,998", " 1.0.3", " 12:30", " better", " 1.5x", "")),
    ],
)
def test_the_number_that_a_group_begins_with(group: str, value: float | None) -> None:
    assert number(group) == value
    assert find_score(f"score:{group}\n", r"^score:(.*)$", "score").value == value


@pytest.mark.parametrize(
    ("text", "pattern", "problem"),
    [
        (
            "val_bpb: 0.9979\n",
            r"^score: (\S+)",
            "`metric.pattern` matches no line of the log, which has `val_bpb: 0.9979`",
        ),
        ("val_bpb: 0.9979\n", r"^val_bpb: (x)?", "the group of `metric.pattern` matches nothing in `val_bpb: 0.9979`"),
        ("val_bpb: later\n", PATTERN, "the log's val_bpb is later, which is no finite number"),
        ("all is well\n", PATTERN, "the log has no val_bpb that `metric.pattern` finds"),
    ],
)
def test_the_true_reason_is_named(text: str, pattern: str, problem: str) -> None:
    found = find_score(text, pattern, "val_bpb")
    assert (found.value, found.problem.startswith(problem)) == (None, True), found.problem


def test_a_log_that_is_not_there_has_no_score(tmp_path: Path) -> None:
    assert find_score(tmp_path / "run.log", PATTERN, "val_bpb").problem.startswith("the log has no val_bpb")
    (tmp_path / "run.log").write_bytes(b"")
    assert find_score(tmp_path / "run.log", PATTERN, "val_bpb").value is None
