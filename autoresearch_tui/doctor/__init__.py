"""Checks for everything that can spoil a night, each with its remedy."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from autoresearch_tui.doctor import cluster, compute, lab_checks, machine, report, terminal
from autoresearch_tui.doctor.item import Item, warning
from autoresearch_tui.doctor.repair import repair as repair_journals
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.engine_lock import held
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import FILE_NAME
from autoresearch_tui.util.errors import UserError

Check = Callable[[], Item | list[Item]]
# Needed on the nodes of a cluster rather than on this machine; each node is checked before it is used.
_OF_NODES = ("command", "profile", "data", "kernels", "accelerator")


def run(path: Path | None, *, as_json: bool, repair: bool) -> int:
    """Runs all checks and prints them; returns the exit code, 1 if there is a problem.

    Without a path: the nearest lab, or the machine alone if there is none. Raises UserError for wrong usage.
    """
    lab, failure = _find(path)
    done: list[Item] = []
    if repair:
        if lab is None:
            raise failure or UserError("--repair needs a lab", "name its folder")
        done = repair_journals(lab)
    items = [*done, *examine(lab, failure)]
    sys.stdout.write(report.as_json(items) if as_json else _as_text(items))
    sys.stdout.flush()
    return 1 if report.count(items, "problem") else 0


def examine(lab: Lab | None, failure: UserError | None = None) -> list[Item]:
    """Every item, in a fixed order; the checks run in parallel."""
    environ = dict(os.environ)
    on_nodes = _OF_NODES if lab is not None and lab.settings.cluster.address else ()
    checks = [
        ("python", machine.python),
        ("git", lambda: machine.git(environ)),
        ("lab", lambda: lab_checks.lab(lab, failure)),
        *(_lab_checks(lab, environ) if lab else []),
        ("researcher", lambda: lab_checks.researcher(lab, environ)),
        *_machine_checks(lab, environ),
    ]
    checks = [(name, check) for name, check in checks if name not in on_nodes]
    with ThreadPoolExecutor(len(checks)) as pool:
        found = pool.map(lambda check: _safely(*check), checks)
        return [item for items in found for item in items]


def _lab_checks(lab: Lab, environ: Mapping[str, str]) -> list[tuple[str, Check]]:
    return [
        ("settings", lambda: lab_checks.doubts(lab)),
        ("command", lambda: lab_checks.command(lab)),
        ("changes", lambda: lab_checks.changes(lab)),
        ("editable", lambda: lab_checks.editable(lab)),
        ("engine", lambda: lab_checks.engine(lab)),
        ("session", lambda: lab_checks.sessions(lab)),
        ("kept files", lambda: lab_checks.kept_files(lab)),
        ("profile", lambda: lab_checks.profile(lab)),
        ("data", lambda: lab_checks.dataset(lab, environ)),
        ("shared", lambda: lab_checks.beside(lab)),
        ("referee", lambda: lab_checks.referee(lab)),
        ("kernels", lambda: lab_checks.kernels(lab, environ)),
        ("cluster", lambda: cluster.check(lab, environ)),
    ]


def _machine_checks(lab: Lab | None, environ: Mapping[str, str]) -> list[tuple[str, Check]]:
    size = shutil.get_terminal_size() if sys.stdout.isatty() else None
    places = {"the lab": lab.root} if lab else {"this folder": Path.cwd()}
    places["data"] = lab_checks.cache_folder(environ)
    return [
        ("accelerator", lambda: compute.check(lab, environ, busy=lab is not None and held(lab.lock))),
        ("sandbox", lambda: machine.sandbox(lab)),
        ("namespaces", machine.namespaces),
        ("memory", machine.memory),
        ("disk", lambda: machine.disk(places)),
        ("clock", lambda: machine.clock(lab_checks.latest(lab) if lab else None)),
        ("terminal", lambda: terminal.terminal(environ, size, sys.stdout.encoding or "")),
        ("clipboard", lambda: terminal.clipboard(environ)),
        ("tmux", lambda: terminal.tmux(environ)),
        ("logout", lambda: machine.logout(environ)),
    ]


def _safely(name: str, check: Check) -> list[Item]:
    try:
        found = check()
    except UserError as error:
        return [warning(name, str(error), "see the other items")]
    except Exception as error:  # a failing check must not hide the others
        return [warning(name, f"could not be looked at: {type(error).__name__}: {error}", "please report this")]
    return found if isinstance(found, list) else [found]


def _find(path: Path | None) -> tuple[Lab | None, UserError | None]:
    start = Path() if path is None else path
    if path is not None and not path.is_dir():
        raise UserError(f"{path}: {'not a folder' if path.exists() else 'no such folder'}", "name the lab's folder")
    try:
        return labs.find(start), None
    except UserError as error:
        folders = (start.resolve(), *start.resolve().parents)
        configured = any((folder / FILE_NAME).exists() for folder in folders)
        return None, error if path is not None or configured else None


def _as_text(items: Sequence[Item]) -> str:
    tty = sys.stdout.isatty()
    return report.as_text(
        items,
        width=shutil.get_terminal_size().columns if tty else None,
        colour=tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
        ascii_only="utf" not in (sys.stdout.encoding or "").lower(),
    )
