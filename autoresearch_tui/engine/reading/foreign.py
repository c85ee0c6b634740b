"""What others left in a lab: a results.tsv that this product did not write, and `autoresearch/*` branches. Pure.

No two loops agree on the columns. What can be read is read; what looks wrong is flagged, and kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autoresearch_tui.text import describe

LIMIT = 1000
"""Rows that are taken over, the newest; a journal is no archive."""

_USUAL = ("commit", "value", "memory", "status", "description")
_NAMES: Mapping[str, frozenset[str]] = {
    "commit": frozenset({"commit", "hash", "sha", "id", "exp", "experiment", "run", "iter", "iteration", "#"}),
    "memory": frozenset({"memory_gb", "memory", "mem_gb", "vram_gb", "peak_vram_gb", "peak_memory_gb"}),
    "status": frozenset({"status", "outcome", "verdict", "decision", "kept", "keep"}),
    "description": frozenset({"description", "desc", "change", "idea", "notes", "note", "summary", "hypothesis"}),
}
_STATUS = {
    "keep": "keep", "kept": "keep", "accept": "keep", "accepted": "keep", "baseline": "keep", "best": "keep",
    "discard": "discard", "discarded": "discard", "revert": "discard", "reverted": "discard", "reject": "discard",
    "rejected": "discard", "crash": "crash", "crashed": "crash", "fail": "crash", "failed": "crash", "oom": "crash",
    "timeout": "crash", "invalid": "invalid", "skip": "skip", "skipped": "skip",
}  # fmt: skip
_HASH = re.compile(r"[0-9a-f]{6,64}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Earlier:
    """One result from before the session. `name` is what its table calls it; `commit` where that is one that is here.

    `value` is None where there is no score, memory is GiB, `flags` say what was wrong with the row.
    """

    name: str
    value: float | None
    memory_gb: float
    status: str
    description: str
    flags: tuple[str, ...] = ()
    commit: str = ""


def parse(text: str, metric: str) -> tuple[Earlier, ...]:
    """The rows of a table of any schema, oldest first."""
    lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    if not lines:
        return ()
    mark = "\t" if any("\t" in line for line in lines) else ","
    cells = [[cell.strip().strip('"') for cell in line.split(mark)] for line in lines]
    columns = _columns(cells[0], metric)
    if columns is None:
        columns = {name: place for place, name in enumerate(_USUAL)}
    else:
        header, cells = cells[0], [row for row in cells[1:] if row != cells[0]]
        return tuple(_row(row, columns, len(header)) for row in cells)
    return tuple(_row(row, columns, len(_USUAL)) for row in cells)


def joined(
    rows: Sequence[Earlier], commits: Mapping[str, str], branches: Mapping[str, Sequence[tuple[str, str]]]
) -> tuple[Earlier, ...]:
    """The table's rows with their commits, and before them the commits on branches that no row names.

    `commits` has the whole hash of each name that is one; `branches` have their commits and subjects, oldest first.
    """
    found = [replace(row, commit=commits.get(row.name, "")) for row in rows]
    named = {row.commit for row in found if row.commit}
    kept: dict[str, Earlier] = {}
    for branch, history in branches.items():
        for commit, subject in history:
            if commit not in named and commit not in kept:
                flags = (f"only a commit on {branch}",)
                kept[commit] = Earlier(commit[:7], None, 0.0, "keep", describe(subject), flags, commit)
    return (*kept.values(), *found)


def to_rows(earlier: Iterable[Earlier]) -> tuple[Mapping[str, Any], ...]:
    """As a journal keeps them."""
    return tuple({**asdict(each), "flags": list(each.flags)} for each in earlier)


def from_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[Earlier, ...]:
    """What :func:`to_rows` was given."""
    return tuple(Earlier(**{**row, "flags": tuple(row.get("flags", ()))}) for row in rows)


def best(earlier: Iterable[Earlier], goal: str) -> Earlier | None:
    """The best kept one that has a score."""
    kept = [each for each in earlier if each.status == "keep" and each.value is not None]
    sign = -1 if goal == "maximize" else 1
    return min(kept, key=lambda each: sign * (each.value or 0.0), default=None)


def _columns(header: Sequence[str], metric: str) -> dict[str, int] | None:
    """Where each thing stands, from the first line; None where that is a row already."""
    names = [name.lower().replace(" ", "_") for name in header]
    if not any(name in _NAMES["status"] | _NAMES["description"] | _NAMES["commit"] for name in names):
        return None
    found: dict[str, int] = {}
    for what, known in _NAMES.items():
        place = next((place for place, name in enumerate(names) if name in known), None)
        if place is not None and place not in found.values():
            found[what] = place
    wanted = (metric.lower(), "val_bpb", "score", "metric", "value")
    place = next((names.index(name) for name in wanted if name in names), None)
    if place is None:
        taken = set(found.values())
        place = next((place for place in range(len(names)) if place not in taken), None)
    if place is not None:
        found["value"] = place
    return found


def _row(cells: Sequence[str], columns: Mapping[str, int], width: int) -> Earlier:
    flags = [] if len(cells) == width else [f"{len(cells)} columns where there are {width}"]
    said = {what: cells[place] if place < len(cells) else "" for what, place in columns.items()}
    last = max(columns.values())
    if len(cells) > width and columns.get("description") == last:
        said["description"] = " ".join(cells[last:])
    name = said.get("commit", "")
    if not _HASH.fullmatch(name):
        flags.append("no commit's hash" if name else "no name")
    status = _STATUS.get(said.get("status", "").lower(), "")
    if not status:
        status = describe(said.get("status", ""), 12)
        flags.append(f"an unknown status: {status}" if status != "-" else "no status")
    value, memory = _number(said.get("value", "")), _number(said.get("memory", ""))
    if value is None:
        flags.append("no score")
    elif status in ("crash", "skip") or (value == 0 and status == "invalid"):
        value = None
    text = describe(said.get("description", ""))
    return Earlier(describe(name, 40), value, max(memory or 0.0, 0.0), status, text, tuple(flags))


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
