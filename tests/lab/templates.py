"""Labs of text: their modules as a test may call them, and their referees as the engine does."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from autoresearch_tui.lab import creation
from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.session.state import State
from tests import warm
from tests.history import problems, state_of

TEMPLATES = Path(creation.__file__).with_name("templates")


def module(template: str, name: str) -> ModuleType:
    """A locked module of a template, by its path: a lab is no package."""
    spec = importlib.util.spec_from_file_location(f"{template}_{name}", TEMPLATES / template / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


def evaluate(template: str, folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A template's `evaluate.py` on what is in `folder`."""
    command = [sys.executable, "-I", "-B", str(TEMPLATES / template / "evaluate.py"), *words]
    whole = {"PATH": os.environ["PATH"], **env}
    return subprocess.run(command, cwd=folder, env=whole, capture_output=True, text=True, check=False, timeout=60)


def metric(done: subprocess.CompletedProcess[str], name: str) -> float:
    """The score that a referee has printed."""
    assert done.returncode == 0, done.stderr
    return float(
        next(line for line in done.stdout.splitlines() if line.startswith(f"METRIC:{name}=")).partition("=")[2]
    )


def night(
    folder: Path, template: str, agent: str, experiments: int, *, settings: tuple[str, str] = ("", ""), **env: str
) -> tuple[Path, State]:
    """A new lab in `folder` and a session in it to its end; after the offline search also its report.

    `agent`: the code of a command-line agent; empty for the offline search. `settings`: what in the template's settings
    is put in place of what.
    """
    lab = creation.init(folder / "lab", template)
    table = lab / "autoresearch.toml"
    command = json.dumps([sys.executable, "-c", agent])
    text = table.read_text().replace("[researcher]\n", f"[researcher]\ncommand = {command}\n")
    table.write_text(text.replace(*settings) if settings[0] else text)
    researcher = "command" if agent else "search"
    words = ["--headless", "--researcher", researcher, "--review", "auto", "--experiments", str(experiments)]
    for call in ([str(lab), *words], *([] if agent or settings[0] else [["report", str(lab)]])):
        done = warm.run(call, env={**os.environ, **env})
        assert done.returncode == 0, done.stderr
    (tag,) = open_lab(lab).tags()
    assert problems(lab, tag) == []
    return lab, state_of(lab, tag)
