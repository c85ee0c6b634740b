"""Checkouts of the reference and of its forks, as they are: found, run with their own command, in the real cage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch_tui.lab import find
from tests import checkouts
from tests.checkouts import FORKS
from tests.conftest import git
from tests.history import problems, state_of


def command(*words: str | Path, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`autoresearch-tui`, as a user would call it."""
    return subprocess.run(
        [sys.executable, "-m", "autoresearch_tui", *map(str, words)],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", FORKS)
def test_a_checkout_is_a_lab_as_it_is(name: str, tmp_path: Path) -> None:
    fork = FORKS[name]
    folder = checkouts.make(tmp_path / "checkout", fork)
    home = tmp_path / "home"
    checkouts.fill_home(home)
    checkouts.sync(folder)
    env = checkouts.environ(home, checkouts.install_uv(tmp_path / "tools"))
    before = sorted(path.name for path in folder.iterdir())
    done = command(
        "--headless", "--researcher", "search", "--review", "auto", "--experiments", "3", cwd=folder, env=env
    )
    assert done.returncode == 0, done.stderr
    tag = find(folder).tags()[-1]
    state = state_of(folder, tag)
    assert [e.outcome for e in state.table][:1] == ["keep"]
    assert len(state.table) == 3
    assert {e.outcome for e in state.table} <= {"keep", "discard"}
    assert all(e.score is not None and e.score.source == "self-reported" for e in state.table)
    log = (folder / ".autoresearch" / tag / "runs" / "0000" / "run.log").read_text()
    assert ("uv ran" in log) == fork.run.startswith("uv")
    assert problems(folder, tag) == []
    # Nothing of the user's has changed but the two that are ours.
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, ".autoresearch", "results.tsv"])
    assert git(folder, "status", "--porcelain") == ""
