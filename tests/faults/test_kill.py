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

from autoresearch_tui.engine.review import BASELINE
from autoresearch_tui.engine.running import runner
from autoresearch_tui.engine.runs import BASELINE_LOST, LOST_AGAIN
from tests.conftest import SETTINGS, TRAIN, make_lab
from tests.faults.engines import Engines, is_running
from tests.faults.test_trainer_zoo import until
from tests.history import contradictions, problems, state_of, survivors

QUICK = SETTINGS.replace('["python", "train.py"]', '["python", "-I", "-S", "train.py"]')
UNCAGED = {"AUTORESEARCH_NO_CAGE": "1"}
ROWS = 4
KILLS_OF_A_LAB, KILLS_BETWEEN_ENDS = 40, 8
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
WRITTEN = ("diff.patch", "train.py", "score.json", "results.tsv", "results.sha256", "lessons.md")


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


@pytest.mark.parametrize("name", WRITTEN)
def test_killed_before_a_file_has_its_name(engines: Engines, in_memory: Path, name: str) -> None:
    """Also where nobody is to write it again: the session then ends before there is another proposal."""
    lab = make_lab(in_memory / "lab", QUICK)
    end = engines.run(words(lab), in_memory / "errors", orders=f"half:{name}:2", env=UNCAGED)
    assert end == -signal.SIGKILL, (in_memory / "errors-0").read_text()
    assert [*lab.rglob(f".{name}.partial")] != []
    finish(engines, lab, len(state_of(lab, "t").table) + 1)


def test_a_baseline_that_is_lost_twice(engines: Engines, in_memory: Path) -> None:
    """Nothing is blamed for it: the session stands still and says why, and starting again goes on."""
    lab = make_lab(in_memory / "lab", QUICK, TRAIN.replace("PAUSE = 0.0", "PAUSE = 20.0"))
    errors = in_memory / "errors"
    assert [lose_a_run(engines, lab), lose_a_run(engines, lab)] == ["0000", "0000"]
    assert engines.run(words(lab), errors, env=UNCAGED) == 1
    assert gave_up(lab, Path(f"{errors}-0").read_text())
    assert problems(lab, "t") == []
    assert lose_a_run(engines, lab) != "0000"


def lose_a_run(engines: Engines, lab: Path) -> str:
    """Starts an engine, and kills it and the supervisor of what it runs. Returns that run's name."""
    (pid,) = engines.start(words(lab), lab.parent / "errors", env=UNCAGED)
    runs: list[Path] = []
    until(lambda: runs.extend(filter(is_running, lab.glob(".autoresearch/t/runs/*"))) or runs)
    until(lambda: state_of(lab, "t").waiting)  # what was proposed meanwhile is not to stand in a baseline's way
    kill_supervisors(lab)
    os.kill(pid, signal.SIGKILL)
    assert engines.ends() == [-signal.SIGKILL]
    return runs[0].name


def kill_supervisors(lab: Path) -> None:
    """Of all runs that have one."""
    for lock in lab.glob(".autoresearch/t/runs/*/run.lock"):
        if runner.look(lock.parent).state is runner.RunState.RUNNING:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(lock.read_text()), signal.SIGKILL)


def gave_up(lab: Path, said: str) -> bool:
    """Whether an engine has ended for the one reason that kills can lead to: twice they took the baseline's run."""
    state = state_of(lab, "t")
    tries = [each for each in state.experiments if each.author == BASELINE]
    lost = tries != [] and (tries[-1].outcome, tries[-1].reason, tries[-1].spared) == ("crash", "lost", LOST_AGAIN)
    return lost and state.best is None and BASELINE_LOST in said and len(said.splitlines()) == 1


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
            with contextlib.suppress(ProcessLookupError):  # it may have given up
                self._kill_now(how, lab, pid)
        (end,), said = self.engines.ends(), Path(f"{errors}-0").read_text()
        if end == 1 and gave_up(lab, said):
            how = "gave up"
        else:
            assert end == -signal.SIGKILL, f"ended with {end}: {said}"
        self.counts[how] += 1

    def _kill_now(self, how: str, lab: Path, pid: int) -> None:
        if how == "everything":
            # All at once: it is not to see the others die.
            os.kill(pid, signal.SIGSTOP)
            self._kill_children(pid)
        if how != "moment":
            kill_supervisors(lab)
        os.kill(pid, signal.SIGKILL)

    def _kill_children(self, pid: int) -> None:
        """git and whatever else the engine waits for."""
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                for child in task.read_text().split():
                    os.kill(int(child), signal.SIGKILL)


@pytest.mark.timeout(600)
def test_killed_at_random_moments(engines: Engines, in_memory: Path) -> None:
    seed = int(os.environ.get("AUTORESEARCH_TEST_SEED") or time.time_ns() % 1_000_000)
    kills = int(os.environ.get("AUTORESEARCH_TEST_KILLS") or 200)
    print(f"AUTORESEARCH_TEST_SEED={seed} AUTORESEARCH_TEST_KILLS={kills}")
    killer = Killer(seed, engines)
    lab = in_memory
    for number in range(kills):
        if number % KILLS_OF_A_LAB == 0:
            lab = make_lab(in_memory / f"lab-{number}", QUICK, TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.05"))
        killer.kill(lab)
        if (lab / ".autoresearch/t/journal.jsonl").exists():
            assert contradictions(lab, "t") == [], f"after kill {number}"
        if (number + 1) % KILLS_BETWEEN_ENDS == 0 or number + 1 == kills:
            finish(engines, lab, len(state_of(lab, "t").table) + 1)
    print(killer.counts)
    assert survivors(in_memory) == []
