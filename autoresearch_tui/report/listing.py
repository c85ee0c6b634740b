"""The sessions of several labs, one row each, for `ls`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autoresearch_tui.lab import session_files
from autoresearch_tui.report import standing
from autoresearch_tui.session import devices_now
from autoresearch_tui.session.ends import JUDGED, Outcome
from autoresearch_tui.session.format import ago
from autoresearch_tui.session.status import Condition
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.columns import cells
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

_HEAD = ("STATE", "BEST", "KEPT", "OF", "LAST", "SESSION", "LAB")


class Row(Frozen):
    """One session; if its journal cannot be read, `standing` is None and `problem` says why."""

    root: Path
    tag: str
    standing: standing.Standing | None = None
    problem: str = ""


def sessions(roots: Iterable[Path]) -> list[Row]:
    """Every session of these labs; the one written to last is at the end of its lab."""
    return [_row(root, tag) for root in roots for tag in session_files.tags(root)]


def _row(root: Path, tag: str) -> Row:
    try:
        return Row(root, tag, standing.look(root, tag))
    except UserError as error:
        return Row(root, tag, problem=str(error))


def as_lines(rows: Iterable[Row], home: str) -> list[str]:
    """A table whose last column is the longest, the lab's path. `home` is written `~`."""
    table = [_HEAD, *((*_cells(row), _path(row.root, home)) for row in rows)]
    widths = [max(cells(line[column]) for line in table) for column in range(len(_HEAD) - 1)]
    return [
        "  ".join([*(text + " " * (width - cells(text)) for text, width in zip(line, widths, strict=False)), line[-1]])
        for line in table
    ]


def _cells(row: Row) -> tuple[str, ...]:
    tag = clean_line(row.tag)
    if row.standing is None:
        return ("damaged", "", "", "", "", tag)
    found = row.standing.outline
    best = "" if found.best is None or found.best.value is None else f"{found.best.value:.6f}"
    done = sum(found.counts.get(name, 0) for name in JUDGED)
    age = ago(row.standing.view.now - timestamps.seconds(found.time))
    return (_condition(row.standing), best, str(found.counts.get(Outcome.KEEP, 0)), str(done), age, tag)


def _condition(found: standing.Standing) -> str:
    """`running`, or `running 14/16` with the number of devices that train."""
    devices = devices_now.summary(found.view.devices, nodes=False).partition(" train")[0]
    return f"{found.condition} {devices}" if devices and found.condition == Condition.RUNNING else found.condition


def _path(root: Path, home: str) -> str:
    text = clean_line(str(root))
    return f"~{text.removeprefix(home)}" if text.startswith(f"{home}/") else text


def as_object(row: Row) -> dict[str, Any]:
    """The object of `status --json`; for a session that cannot be read, the reason."""
    if row.standing is None:
        return {"lab": str(row.root), "tag": row.tag, "state": "damaged", "reason": row.problem}
    return standing.as_object(row.standing)
