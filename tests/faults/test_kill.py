"""kill -9 at every journal transition and at random moments: the next start goes on, and the history is sound."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import SETTINGS, TRAIN, make_lab
from tests.history import problems, state_of, survivors

DRIVER = Path(__file__).with_name("driver.py")
ROWS = 4
TYPES = (
    "session_began",
    "engine_started",
    "cage_checked",
    "program_read",
    "proposal_asked",
    "proposal_made",
    "proposal_approved",
    "run_started",
    "run_ended",
    "run_scored",
    "verdict_given",
    "engine_stopped",
)


def command(lab: Path, *first: str, rows: int = ROWS) -> list[str]:
    return [sys.executable, *first, str(lab), "--headless", "--tag", "t", "--experiments", str(rows)]


def finish(lab: Path, rows: int = ROWS) -> None:
    done = subprocess.run(
        command(lab, "-m", "autoresearch_tui", rows=rows), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", TYPES)
def test_killed_at_a_journal_transition(tmp_path: Path, when: str, name: str) -> None:
    lab = make_lab(tmp_path / "lab")
    nth = 2 if name in ("proposal_made", "run_started", "run_ended", "run_scored", "verdict_given") else 1
    killed = subprocess.run(
        command(lab, str(DRIVER), f"{when}:{name}:{nth}"), capture_output=True, text=True, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    finish(lab)
    assert problems(lab, "t") == []
    assert len(state_of(lab, "t").table) == ROWS
    assert survivors(lab) == []


def test_killed_at_random_moments(tmp_path: Path) -> None:
    seed = int(os.environ.get("AUTORESEARCH_TEST_SEED") or time.time_ns() % 1_000_000)
    kills = int(os.environ.get("AUTORESEARCH_TEST_KILLS") or 60)
    print(f"AUTORESEARCH_TEST_SEED={seed} AUTORESEARCH_TEST_KILLS={kills}")
    dice = random.Random(seed)
    lab = make_lab(tmp_path / "lab", SETTINGS, TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.1"))
    for _ in range(kills):
        process = subprocess.Popen(
            command(lab, "-m", "autoresearch_tui", rows=100_000), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(timeout=dice.uniform(0.05, 1.5))
        except subprocess.TimeoutExpired:
            process.kill()
        assert process.wait() == -signal.SIGKILL, process.stderr.read().decode() if process.stderr else ""
    rows = len(state_of(lab, "t").table) + 1
    finish(lab, rows)
    assert problems(lab, "t") == []
    assert len(state_of(lab, "t").table) == rows
    assert survivors(lab) == []
