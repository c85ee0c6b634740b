"""A run's log as the screen has it: bounded, and never behind for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_tui.cockpit import log_follower
from autoresearch_tui.cockpit.log_follower import KEPT_LINES, MOST_CURVES, RunFeed, kind_of, whole
from tests.cockpit.fakes import progress_line


def drain(feed: RunFeed) -> None:
    while feed.poll(1.0) and feed.behind:
        pass


def test_lines_progress_and_curve(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    feed = RunFeed(log, 3)
    assert not feed.poll(1.0)
    second = progress_line(10, 0.5, 3.0)
    begun = second.index("loss") + 7  # a digit of its loss
    log.write_text("hello\n\r" + progress_line(0, 0, 3.0) + "\r" + second[:begun])
    assert feed.poll(1.0)
    assert len(feed.curve) == 1
    with log.open("a") as file:
        file.write(second[begun:])
    assert feed.poll(1.0)
    assert list(feed.lines) == ["hello"]
    assert feed.progress is not None
    assert feed.progress.step == 10
    assert feed.fraction_done == pytest.approx(0.5)
    assert feed.curve.last == (pytest.approx(0.5), feed.progress.loss)
    with log.open("a") as file:
        file.write("\nTraceback (most recent call last):\n")
    feed.poll(2.0)
    assert [kind_of(line) for line in feed.lines] == ["", "", "error"]
    assert len(feed.curve) == 2


def test_only_the_last_lines_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("".join(f"line {n}\n" for n in range(KEPT_LINES + 700)))
    feed = RunFeed(log)
    drain(feed)
    assert len(feed.lines) == KEPT_LINES
    assert feed.lines[0] == "line 700"
    assert (feed.first, feed.total) == (700, KEPT_LINES + 700)


def test_a_log_that_is_far_ahead_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follower, "SKIP_OVER", 100_000)
    log = tmp_path / "run.log"
    text = "\r".join(progress_line(n, n / 4000, 3.0) for n in range(4000))
    log.write_text(text + "\nthe end\n")
    feed = RunFeed(log)
    drain(feed)
    assert "left out here" in feed.lines[0]
    assert feed.lines[-1] == "the end"
    assert len(feed.curve) > 40


def test_a_log_that_is_replaced_by_a_long_one_is_read_from_its_beginning(tmp_path: Path) -> None:
    log, other = tmp_path / "run.log", tmp_path / "other"
    log.write_text("one\n")
    feed = RunFeed(log)
    drain(feed)
    other.write_text("".join(f"another {n}\n" for n in range(3000)))
    other.replace(log)
    drain(feed)
    assert (feed.lines[0], feed.lines[-1], feed.total) == ("another 0", "another 2999", 3000)


def test_a_log_that_begins_again(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("one\ntwo\n")
    feed = RunFeed(log)
    drain(feed)
    log.write_text("three\n")
    drain(feed)
    assert list(feed.lines) == ["three"]


def test_without_a_percentage_the_remaining_time_tells(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("\rstep 5 | loss: 2.5 | remaining: 75s\r")
    feed = RunFeed(log, budget=300)
    drain(feed)
    assert feed.fraction_done == pytest.approx(0.75)


def test_nan_is_not_plotted(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("\rstep 5 (50.0%) | loss: nan | remaining: 75s\r")
    assert len(whole(log, 0, 300).curve) == 0


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("step 5 (50.0%) | loss: 2.5 | gnorm: 0.75 | lr: 3.00e-04", "gnorm"),
        ("step 5/10 (50.0%) | loss 2.5 (+0.1z)| norm 0.75 (-0.3z)| lr 3.00e-04 | 45.0% bf16 MFU", "norm"),
        ('{"step": 5, "loss": 2.5, "remaining": 150, "grad_norm": 0.75, "lr": 0.0003}', "grad_norm"),
    ],
    ids=["a fork", "bars alone", "JSON"],
)
def test_a_fork_s_own_numbers_have_curves(tmp_path: Path, line: str, key: str) -> None:
    log = tmp_path / "run.log"
    log.write_text(f"{line}\n")
    feed = whole(log, 0, 300)
    assert feed.keys == ["loss", key, "lr"]
    assert feed.curve_of(key).last == (0.5, 0.75)
    assert feed.curve_of("lr").last == (0.5, 0.0003)
    assert len(feed.curve_of("lrm")) == 0


def test_a_log_with_other_names_in_every_line_does_not_fill_the_memory(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("".join(f"step {n} (50.0%) | loss: 2.5 | key{n}: 1.0\n" for n in range(500)))
    assert len(whole(log, 0, 300).keys) == MOST_CURVES


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("RuntimeError: CUDA out of memory", "error"),
        ("FAIL", "error"),
        ("UserWarning: not enough SMs", "warn"),
        ("loss went down", ""),
        ("mean error 0.1", "error"),
        ("terror", ""),
    ],
)
def test_what_a_line_looks_like(text: str, kind: str) -> None:
    assert kind_of(text) == kind
