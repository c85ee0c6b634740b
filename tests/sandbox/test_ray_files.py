"""What a Ray cluster keeps on this machine is shown to no run and no agent, whatever names a folder around it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab import ray_files
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.runs.environment import environment
from autoresearch_tui.sandbox import for_agents, for_runs
from autoresearch_tui.util.errors import UserError
from tests.conftest import SETTINGS, TRAIN


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a token, and with Ray's own in use: its path is short, and is not below /tmp."""
    folder = Path(f"/var/tmp/ar-{os.getpid()}")
    sockets = folder / "ray" / "session_1" / "sockets"
    sockets.mkdir(parents=True)
    (folder / "token").write_text("secret")
    with socket.socket(socket.AF_UNIX) as raylet:
        raylet.bind(str(sockets / "raylet"))
        yield folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def shown(folder: Path) -> tuple[Path, ...]:
    lab = labs.find(folder)
    env = environment(lab, lab.state_folder)
    return for_runs.of_lab(lab, GitRepo(lab.root), env).readable


def test_its_folder_is_found_by_its_sockets(scratch: Path) -> None:
    assert scratch / "ray" in ray_files.private({"HOME": "/nowhere"})
    assert scratch / "token" in ray_files.private({"RAY_AUTH_TOKEN_PATH": str(scratch / "token")})


def test_no_run_sees_a_folder_that_has_it(scratch: Path, new_lab: Callable[..., Path]) -> None:
    for number, name in enumerate((scratch, scratch / "ray", scratch / "ray" / "session_1")):
        settings = SETTINGS.replace("budget", f'env = {{ DATA = "{name}" }}\nbudget', 1)
        lab = new_lab(f"lab{number}", settings=settings, train=f"DATA = '{name}/x'\n{TRAIN}")
        assert not [path for path in shown(lab) if path.is_relative_to(scratch) or scratch.is_relative_to(path)]


def test_neither_does_an_agent(scratch: Path, new_lab: Callable[..., Path]) -> None:
    agent = f'kind = "command"\ncommand = ["cat", "{scratch}"]'
    lab = labs.find(new_lab(settings=SETTINGS.replace('kind = "search"', agent)))
    with pytest.raises(UserError, match=r"is to be hidden, but .* would show it to the command-line agent"):
        for_agents.of_lab(lab, GitRepo(lab.root), os.environ)
