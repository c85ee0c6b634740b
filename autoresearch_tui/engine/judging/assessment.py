"""What the machine that executed a run says of it: whether its folder is as it was, and what the referee says."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_tui.engine.judging import referee
from autoresearch_tui.engine.judging.referee import RefereeResult
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.lab.settings import Settings


@dataclass(frozen=True, slots=True)
class Assessment:
    """`tampered`: what a run did to its folder, so that no referee looked at it; empty if nothing.

    `said`: what the referee says; neither a score nor a problem in a lab without one.
    """

    tampered: str
    said: RefereeResult

    def to_json(self) -> dict[str, Any]:
        """Plain values, as :meth:`from_json` takes them."""
        return {
            "tampered": self.tampered,
            "value": self.said.value,
            "problem": self.said.problem,
            "details": self.said.details,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Assessment:
        """Raises KeyError for anything else."""
        return Assessment(values["tampered"], RefereeResult(values["value"], values["problem"], values["details"]))


def assess(
    files: RunFiles,
    cwd: Path,
    settings: Settings,
    locked: Mapping[str, str],
    env: Mapping[str, str],
    cancelled: threading.Event,
) -> Assessment:
    """Look at a run that has finished, where it ran. Slow in a lab with a referee.

    `cwd` is the folder that the training command ran in, whose locked files must still be the session's. Raises
    OSError, also if it was cancelled.
    """
    if problem := tampered(files, cwd, locked, settings):
        return Assessment(problem, RefereeResult(None, problem, {}))
    if not settings.metric.referee:
        return Assessment("", RefereeResult(None, "", {}))
    return Assessment("", referee.read_or_run(settings, files, cwd, env, cancelled))


def tampered(files: RunFiles, cwd: Path, locked: Mapping[str, str], settings: Settings) -> str:
    """What a run did to the folder that it ran in, so that no referee is to look at it; empty if nothing."""
    if any(path.is_relative_to(files.work) and path.is_symlink() for path in (cwd, *cwd.parents)):
        return "the run put a link in place of its own folder"  # a referee would be started wherever it leads
    visible = tuple(path for path in locked if path in settings.lab.visible)
    touched = [path for path, digest in hashes(cwd, visible).items() if digest != locked[path]]
    return f"{', '.join(touched)} was changed during the run" if touched else ""


def hashes(folder: Path, paths: tuple[str, ...]) -> dict[str, str]:
    """The sha256 of each file's bytes; empty for a file that is not there, not a plain one, or shut."""
    found: dict[str, str] = {}
    for path in paths:
        file = folder / path
        try:
            plain = file.is_file() and not file.is_symlink()
            found[path] = hashlib.sha256(file.read_bytes()).hexdigest() if plain else ""
        except PermissionError:  # by the run: trying again would not help
            found[path] = ""
    return found
