"""Runs of a few lines of Python, as the engine starts them."""

from __future__ import annotations

import sys
from pathlib import Path

from autoresearch_tui.runs import runner
from autoresearch_tui.runs.environment import base_environment
from autoresearch_tui.runs.runner import Exit, RunSpec, RunState
from tests.waiting import wait_for


def begin(folder: Path, code: str, **limits: float) -> None:
    """Starts a Python trainer."""
    folder.mkdir(exist_ok=True)
    env = base_environment({}, python_bin=Path(sys.executable), scratch=folder / "scratch")
    spec = {"min_free_bytes": 0, "timeout_seconds": 30, **limits}
    runner.start(folder, RunSpec((sys.executable, "-I", "-S", "-c", code), env, **spec))  # type: ignore[arg-type]


def end(folder: Path) -> Exit:
    """Waits for the end, and for the supervisor to be gone."""
    wait_for(lambda: runner.look(folder).state is RunState.ENDED)
    ended = runner.look(folder).exit
    assert ended
    return ended


def run(folder: Path, code: str, **limits: float) -> Exit:
    """From its start to its end."""
    begin(folder, code, **limits)
    return end(folder)


def alive(pid: int) -> bool:
    """A zombie that nobody collects is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
    except OSError:
        return False
