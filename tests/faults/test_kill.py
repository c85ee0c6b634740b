"""kill -9 at every journal transition and at random moments: the next start goes on, and the history is sound."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch_tui.engine.running import runner
from tests.conftest import SETTINGS, TRAIN, make_lab
from tests.faults.engines import Engines
from tests.history import contradictions, problems, state_of, survivors

QUICK = SETTINGS.replace('["python", "train.py"]', '["python", "-I", "-S", "train.py"]')
UNCAGED = {"AUTORESEARCH_NO_CAGE": "1"}
ROWS = 4
KILLS_OF_A_LAB = 25
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


def words(lab: Path, rows: int = ROWS) -> list[str]:
    return [str(lab), "--headless", "--tag", "t", "--experiments", str(rows)]


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    with Engines() as started:
        yield started


def finish(engines: Engines, lab: Path, rows: int) -> None:
    errors = lab.parent / "errors"
    assert engines.run(words(lab, rows), errors, env=UNCAGED) == 0, Path(f"{errors}-0").read_text()
    assert problems(lab, "t") == []
    assert len(state_of(lab, "t").table) == rows


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", TYPES)
def test_killed_at_a_journal_transition(engines: Engines, in_memory: Path, when: str, name: str) -> None:
    lab = make_lab(in_memory / "lab", QUICK)
    nth = 2 if name in ("proposal_made", "run_started", "run_ended", "run_scored", "verdict_given") else 1
    env = {} if name in ("cage_checked", "run_started") else UNCAGED
    end = engines.run(words(lab), in_memory / "errors", orders=f"{when}:{name}:{nth}", env=env)
    assert end == -signal.SIGKILL, (in_memory / "errors-0").read_text()
    assert contradictions(lab, "t") == []
    finish(engines, lab, ROWS)


class Killer:
    """Draws how an engine is to die, and sees to it."""

    def __init__(self, seed: int, engines: Engines) -> None:
        self.dice = random.Random(seed)
        self.engines = engines
        self.counts = {"effect": 0, "moment": 0, "everything": 0, "supervisor": 0}

    def kill(self, lab: Path) -> None:
        """One engine's life, up to its death."""
        how = self.dice.choices(list(self.counts), (50, 30, 12, 8))[0]
        env = {} if self.dice.random() < 0.15 else UNCAGED
        orders = f"effect:{self.dice.randint(1, 160)}" if how == "effect" else ""
        moment = self.dice.uniform(0.0, 0.6)
        errors = lab.parent / "errors"
        (pid,) = self.engines.start(words(lab, 100_000), errors, orders=orders, env=env)
        if how != "effect":
            time.sleep(moment)
            if how != "moment":
                self._kill_supervisors(lab)
            if how == "everything":
                self._kill_children(pid)
            os.kill(pid, signal.SIGKILL)
        assert self.engines.ends() == [-signal.SIGKILL], Path(f"{errors}-0").read_text()
        self.counts[how] += 1

    def _kill_supervisors(self, lab: Path) -> None:
        for lock in lab.glob(".autoresearch/t/runs/*/run.lock"):
            if runner.look(lock.parent).state is runner.RunState.RUNNING:
                with contextlib.suppress(OSError, ValueError):
                    os.kill(int(lock.read_text()), signal.SIGKILL)

    def _kill_children(self, pid: int) -> None:
        """git and whatever else the engine waits for."""
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                for child in task.read_text().split():
                    os.kill(int(child), signal.SIGKILL)


@pytest.mark.timeout(600)
def test_killed_at_random_moments(engines: Engines, in_memory: Path) -> None:
    seed = int(os.environ.get("AUTORESEARCH_TEST_SEED") or time.time_ns() % 1_000_000)
    kills = int(os.environ.get("AUTORESEARCH_TEST_KILLS") or 40)
    print(f"AUTORESEARCH_TEST_SEED={seed} AUTORESEARCH_TEST_KILLS={kills}")
    killer = Killer(seed, engines)
    for first in range(0, kills, KILLS_OF_A_LAB):
        lab = make_lab(in_memory / f"lab-{first}", QUICK, TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.05"))
        for number in range(first, min(first + KILLS_OF_A_LAB, kills)):
            killer.kill(lab)
            if (lab / ".autoresearch/t/journal.jsonl").exists():
                assert contradictions(lab, "t") == [], f"after kill {number}"
        finish(engines, lab, len(state_of(lab, "t").table) + 1)
    print(killer.counts)
    assert survivors(in_memory) == []
