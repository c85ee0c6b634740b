"""Pure: three-way merge by lines.

Unlike with `git merge-file`, changes of neighbouring lines do not conflict: two experiments that change neighbouring
constants are independent. Changes of the same lines, and insertions at the same place, do.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.line_ends import like, plain


class _Change(Frozen):
    """Lines [start, end) of the base are replaced by `lines`."""

    start: int
    end: int
    lines: tuple[str, ...]


def merge(base: str, ours: str, theirs: str) -> str | None:
    """`base` with the changes of both, in the line ends of `ours`; None if they change the same place differently."""
    merged = _merge(*(plain(text) for text in (base, ours, theirs)))
    return None if merged is None else like(merged, ours)


def merge_files(base: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str] | None:
    """Our files with what `theirs` changed, added and removed since `base`; None on a conflict: in a text, between a
    removal and a change, or between two new files of one name."""
    merged: dict[str, str] = {}
    for path in dict.fromkeys((*ours, *theirs)):
        before, our, their = base.get(path), ours.get(path), theirs.get(path)
        text = our
        if our == before:
            text = their
        elif their not in (before, our):
            if before is None or our is None or their is None:
                return None
            text = merge(before, our, their)
            if text is None:
                return None
        if text is not None:
            merged[path] = text
    return merged


def _merge(base: str, ours: str, theirs: str) -> str | None:
    lines = base.splitlines(keepends=True)
    changes = sorted({*_changes(lines, ours), *_changes(lines, theirs)}, key=lambda c: (c.start, c.end))
    merged: list[str] = []
    place = 0
    for index, change in enumerate(changes):
        if index and _clash(changes[index - 1], change):
            return None
        merged += lines[place : change.start]
        merged += change.lines
        place = change.end
    return "".join(merged + lines[place:])


def _changes(base: list[str], text: str) -> set[_Change]:
    new = text.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(None, base, new, autojunk=False)
    return {
        _Change(start, end, tuple(new[new_start:new_end]))
        for kind, start, end, new_start, new_end in matcher.get_opcodes()
        if kind != "equal"
    }


def _clash(one: _Change, two: _Change) -> bool:
    # An insertion (start == end) at the edge of a replaced range: the order is undefined.
    if one.start == one.end or two.start == two.end:
        return two.start <= one.end
    return two.start < one.end
