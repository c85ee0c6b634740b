"""Exports a lab's experiments for other programs: a folder that is replaced as a whole."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.report.export import rows, tables
from autoresearch_tui.report.export.curves import Curve, of_sessions
from autoresearch_tui.report.export.rows import Table
from autoresearch_tui.report.sessions import read_sessions
from autoresearch_tui.sandbox.known_agents import redactor
from autoresearch_tui.util.atomic import whole_folder
from autoresearch_tui.util.errors import UserError

FORMATS = ("parquet", "csv", "jsonl", "wandb", "tensorboard")
# Marks a folder as our export, and lists its files.
MANIFEST = "export.json"
_LIBRARIES = {"parquet": "pyarrow", "wandb": "wandb", "tensorboard": "tensorboard"}


def export(lab: Lab, tags: Sequence[str], to: str, folder: Path) -> Path:
    """Exports these sessions into `folder`, in place of an earlier export there. Raises UserError."""
    write = _writer(lab, to)
    folder = folder.expanduser().resolve()
    _check_place(folder)
    sessions = read_sessions(lab, tags)
    table = rows.table(((each.tag, each.state) for each in sessions), redactor(os.environ))
    try:
        with whole_folder(folder) as half:
            write(table, of_sessions(sessions), half)
            files = sorted(path.name for path in half.iterdir())
            manifest = {"to": to, "sessions": [each.tag for each in sessions], "files": files}
            (half / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise UserError(f"{folder}: the export cannot be written: {error.strerror or error}") from None
    return folder


def _writer(lab: Lab, to: str) -> Callable[[Table, Sequence[Curve], Path], None]:
    """The function that writes a format. Raises UserError if its library is not installed."""
    library = _LIBRARIES.get(to, "")
    if library:
        try:
            importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            raise UserError(
                f"--to {to}: needs {library}, which is not installed: pip install 'autoresearch-tui[{to}]'"
            ) from None
    if to == "tensorboard":
        from autoresearch_tui.report.export import to_tensorboard

        return to_tensorboard.write
    if to == "wandb":
        from autoresearch_tui.report.export import to_wandb

        return lambda table, curves, folder: to_wandb.write(table, curves, folder, lab.root.name)
    return {"parquet": tables.parquet, "csv": tables.to_csv, "jsonl": tables.jsonl}[to]


def _check_place(folder: Path) -> None:
    """Raises UserError unless `folder` is missing, empty, or an export of ours with nothing added to it."""
    try:
        found = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"-o {folder}: cannot be written to: {error.strerror}") from None
    if not found:
        return
    try:
        ours = {MANIFEST, *json.loads((folder / MANIFEST).read_text("utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"-o {folder}: has files in it that are no export", "name a new folder") from None
    if added := sorted(found - ours):
        raise UserError(f"-o {folder}: {added[0]} in it is not part of the export", "move it, or name a new folder")
