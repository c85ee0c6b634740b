"""A run's log as the screen has it: bounded, and never behind for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_tui.cockpit import runfeed
from autoresearch_tui.cockpit.runfeed import KEPT_LINES, RunFeed, curve_of, kind_of
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
    monkeypatch.setattr(runfeed, "SKIP_OVER", 100_000)
    log = tmp_path / "run.log"
    text = "\r".join(progress_line(n, n / 4000, 3.0) for n in range(4000))
    log.write_text(text + "\nthe end\n")
    feed = RunFeed(log)
    drain(feed)
    assert "left out here" in feed.lines[0]
    assert feed.lines[-1] == "the end"
    assert len(feed.curve) > 40


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
    assert len(curve_of(log, 300)) == 0


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
