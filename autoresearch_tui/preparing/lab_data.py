"""Checks and prepares the data of a lab.

A `prepare.py` of ours answers for itself and reports its progress; :mod:`reference_data` handles the reference's.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch_tui.lab.paths import Lab, preparer
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.text import clean_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Check:
    """Runs `prepare.py --check` in a process of its own, so that a start need not wait for it.

    A context manager: at its end the process has ended too, even if nobody asked for the answer.
    """

    def __init__(self, lab: Lab) -> None:
        path = preparer(lab)
        self._lab = lab
        self._process = _start(lab, path, ("--check", "--json")) if path is not None else None
        self._output = ""

    def __enter__(self) -> Check:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    def problem(self) -> str:
        """Wait for the answer: what is missing, in one line, or empty."""
        if self._process is None:
            from autoresearch_tui.preparing import reference_data

            return reference_data.problem(self._lab, os.environ)
        self._output, errors = self._process.communicate()
        if self._process.returncode == 0:
            return ""
        lines = errors.strip().splitlines()
        return clean_line(lines[-1]) if lines else "the data is not ready; run `autoresearch-tui prepare`"

    def identity(self) -> str:
        """Identifies the data, once :meth:`problem` has found none; empty if unknown."""
        if self._process is None:
            from autoresearch_tui.preparing import reference_data

            return reference_data.identity(self._lab, os.environ)
        reports = (report for report in _reports(iter(self._output.splitlines())) if report.get("stage") == "ready")
        return clean_line(str(next(reports, {}).get("data", "")))


Report = Mapping[str, object]
"""Progress of preparing: `stage`, `done` of `total`, and `unit`; or a `note`."""


def prepare(lab: Lab, arguments: Sequence[str] = (), tell: Callable[[Report], None] | None = None) -> str:
    """Make a lab ready, unless it is. Returns what was done.

    Progress goes to `tell`, by default to stderr. Raises UserError with the preparer's last line.
    """
    path = preparer(lab)
    if path is None:
        from autoresearch_tui.preparing import reference_data

        say = partial(_tell_line, tell) if tell is not None else None
        return reference_data.prepare(lab, arguments, say)
    process = _start(lab, path, ("--json", *arguments))
    assert process.stdout is not None and process.stderr is not None
    with process.stderr, process.stdout:
        if tell is None:
            _draw(_reports(process.stdout))
        else:
            for report in _reports(process.stdout):
                tell(report)
        errors = process.stderr.read()
    if process.wait() != 0:
        lines = errors.strip().splitlines()
        raise UserError(clean_line(lines[-1]) if lines else f"{path}: ended with exit code {process.returncode}")
    _find_copies(lab)
    return "Data and tokenizer are ready."


def _tell_line(tell: Callable[[Report], None], line: str) -> None:
    tell({"stage": "note", "note": line})


def _find_copies(lab: Lab) -> None:
    """Find copies of the scored text on this machine now, for which the first run would otherwise wait."""
    from autoresearch_tui.engine.launching import Launcher
    from autoresearch_tui.lab.git import GitRepo

    sys.stderr.write("looking for copies of the scored text, which runs must not see\n")
    with contextlib.suppress(UserError, OSError):  # the start of a run reports it
        Launcher(lab, GitRepo(lab.root)).sandbox_policy()


def _start(lab: Lab, path: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    # Unlike a run, preparing may use the user's network settings; the lab's `run.env` may select the data.
    return subprocess.Popen(
        [sys.executable, str(path), *arguments],
        cwd=path.parent,
        env={**os.environ, **lab.settings.run.env, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _reports(lines: Iterator[str]) -> Iterator[Report]:
    for line in lines:
        try:
            report = json.loads(line)
        except ValueError:
            continue
        if isinstance(report, dict):
            yield report


def _draw(reports: Iterator[Report]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<12}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}
        for report in reports:
            if report.get("stage") == "note":
                progress.console.print(clean_line(str(report.get("note", ""))), markup=False, highlight=False)
                continue
            _show(progress, tasks, report)


def _show(progress: Progress, tasks: dict[str, TaskID], report: Report) -> None:
    stage = clean_line(str(report.get("stage", "")))
    total, done = (report.get(key) for key in ("total", "done"))
    if not stage or stage == "done" or not isinstance(total, int | float) or not isinstance(done, int | float):
        return
    if stage not in tasks:
        tasks[stage] = progress.add_task(stage, total=total, unit=clean_line(str(report.get("unit", ""))))
    progress.update(tasks[stage], completed=done, total=total)
