"""Pure: which commits of a branch a later one undid, by the resulting files or by its message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from autoresearch_tui.util.frozen import Frozen

_REVERT = re.compile(r"(?i)\s*(?:revert|roll\s?back|undo|reset to)\b")
_HASH = re.compile(r"\b[0-9a-f]{7,64}\b")
_NAMED = re.compile(r"(?i)this reverts commit ([0-9a-f]{7,64})")
_QUOTED = re.compile(r'^Revert "(.*)"$')


class Change(Frozen):
    """One commit of a branch: its message, and for each changed path the blobs before and after."""

    commit: str
    branch: str
    subject: str
    body: str
    blobs: Mapping[str, tuple[str, str]]


class Attempt(Frozen):
    """A commit that tried something. `undone_by`: the commit that reverted it, or empty."""

    commit: str
    branch: str
    subject: str
    undone_by: str = ""


def attempts(changes: Iterable[Change]) -> list[Attempt]:
    """Every change, oldest first, except those that only revert or restore others."""
    made: dict[str, Change] = {}
    undone: dict[str, str] = {}
    standing: dict[str, list[Change]] = {}
    for change in changes:
        line = standing.setdefault(change.branch, [])
        if taken_back := _taken_back(change, line) or _named(change, made.values()):
            for each in taken_back:
                undone[each.commit] = change.commit
            line[:] = [each for each in line if each.commit not in undone]
        elif again := next((made[old] for old in undone if dict(made[old].blobs) == dict(change.blobs)), None):
            del undone[again.commit]
            line.append(again)
        else:
            made[change.commit] = change
            line.append(change)
            if _REVERT.match(change.subject):
                undone[change.commit] = change.commit
    return [Attempt(each.commit, each.branch, each.subject, undone.get(each.commit, "")) for each in made.values()]


def _taken_back(change: Change, line: Sequence[Change]) -> list[Change]:
    """The newest changes of a branch that `change` undoes completely: every file is as before them."""
    before: dict[str, str] = {path: old for path, (old, _) in change.blobs.items()}
    after = {path: new for path, (_, new) in change.blobs.items()}
    for place in range(len(line) - 1, -1, -1):
        before |= {path: old for path, (old, _) in line[place].blobs.items()}
        if before == after:
            return [*line[place:]]
    return []


def _named(change: Change, made: Iterable[Change]) -> list[Change]:
    """The change that is reverted according to the message."""
    if not _REVERT.match(change.subject):
        return []
    hashes = [*_NAMED.findall(change.body), *_HASH.findall(change.subject)]
    quoted = _QUOTED.match(change.subject)
    for old in reversed([*made]):
        if any(old.commit.startswith(each) for each in hashes) or (quoted and old.subject == quoted[1]):
            return [old]
    return []
