"""Assesses a run on the machine that executed it: whether its folder was tampered with, and the referee's result."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path

from autoresearch_tui.engine.judging import referee
from autoresearch_tui.engine.judging.referee import RefereeResult
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.session.state import Experiment
from autoresearch_tui.util.frozen import Frozen


class FinishedRun(Frozen):
    """What an executor assesses. `locked`: the sha256 of each locked file; `env`: added to the run's environment."""

    experiment: Experiment
    files: RunFiles
    locked: Mapping[str, str]
    env: Mapping[str, str]
    cancelled: threading.Event


class Assessment(Frozen):
    """`tampered`: what a run did to its folder, so that no referee was asked; empty if nothing.

    `result`: the referee's; in a lab without one it has neither a score nor a problem.
    """

    tampered: str
    result: RefereeResult


def assess(run: FinishedRun, cwd: Path, settings: Settings, env: Mapping[str, str]) -> Assessment:
    """Check the run's folder, and ask the referee. Slow in a lab with a referee.

    `cwd`: where the training command ran; its locked files must still be the session's. `env`: the whole environment.
    Raises OSError, also if cancelled.
    """
    if problem := tampered(run.files, cwd, run.locked, settings):
        return Assessment(problem, RefereeResult(None, problem, {}))
    if not settings.metric.referee:
        return Assessment("", RefereeResult(None, "", {}))
    return Assessment("", referee.read_or_run(settings, run.files, cwd, env, run.cancelled))


def tampered(files: RunFiles, cwd: Path, locked: Mapping[str, str], settings: Settings) -> str:
    """What a run did to its folder that rules out scoring it; empty if nothing."""
    if any(path.is_relative_to(files.work) and path.is_symlink() for path in (cwd, *cwd.parents)):
        return "the run put a link in place of its own folder"  # a referee would be started wherever it leads
    visible = tuple(path for path in locked if path in settings.lab.visible)
    touched = [path for path, digest in hashes(cwd, visible).items() if digest != locked[path]]
    return f"{', '.join(touched)} was changed during the run" if touched else ""


def hashes(folder: Path, paths: tuple[str, ...]) -> dict[str, str]:
    """The sha256 of each file's bytes; empty if it is missing, unreadable, or no plain file."""
    found: dict[str, str] = {}
    for path in paths:
        file = folder / path
        try:
            plain = file.is_file() and not file.is_symlink()
            found[path] = hashlib.sha256(file.read_bytes()).hexdigest() if plain else ""
        except PermissionError:  # set by the run: a retry would not help
            found[path] = ""
    return found
