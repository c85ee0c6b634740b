"""Edits of the lines of a text that is not code: one left out, swapped, moved, repeated, or restored from an earlier
version. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from autoresearch_tui.python_source.plain_text import is_text
from autoresearch_tui.researchers.search.structure import Edit
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe

_MOST = 400  # edits of one file
_LONGEST = 32_000  # characters: each edit is a whole text
_MOST_EARLIER = 40
_WIDTH = 60
_GONE = "(left out)"
_NUMBERS = re.compile(r"[\d.]+")
_WHOLE = (".json", ".jsonl", ".csv", ".tsv", ".lock")
"""Formats in which a missing or moved line is hardly ever valid, or makes another test set."""

DROP, SWAP, MOVE, REPEAT, RESTORE = "drop", "swap", "move", "repeat", "restore"
_WHY = {
    DROP: "a line that does not help costs attention, and may do harm",
    SWAP: "what comes first may count for more",
    MOVE: "where a line stands may decide how much it counts",
    REPEAT: "what is said twice may be followed more often",
    RESTORE: "it was there before, and the rest has changed since",
}


class Earlier(Frozen):
    """A line of an earlier version of a file, and the line that stood before it ("": none)."""

    text: str
    after: str


@lru_cache(maxsize=16)
def edits(path: str, text: str, earlier: tuple[Earlier, ...] = ()) -> tuple[Edit, ...]:
    """Every edit of one line, or of two neighbours, of a text; none for code, unordered data or a long
    text."""
    if not is_text(path) or path.endswith(_WHOLE) or not text.strip() or len(text) > _LONGEST:
        return ()
    found: dict[str, Edit] = {}
    for each in _edits(path, text, earlier):
        if each.text.strip() and each.text != text and len(found) < _MOST:
            found.setdefault(each.text, each)
    return tuple(found.values())


def between(before: Mapping[str, str], after: Mapping[str, str]) -> Edit | None:
    """The edit that turns one set of files into another; None if it takes more than one."""
    changed = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    if len(changed) != 1 or changed[0] not in before or changed[0] not in after:
        return None
    path = changed[0]
    old, new = before[path], after[path]
    return next((each for each in edits(path, old, earlier(old, [new])) if each.text == new), None)


def earlier(text: str, versions: Iterable[str]) -> tuple[Earlier, ...]:
    """Lines of other versions of a text that are not in it, ignoring numbers; those of the first version come
    first."""
    here = {_NUMBERS.sub("", line).strip() for line in text.splitlines()}
    found: dict[str, Earlier] = {}
    for version in versions:
        last = ""
        for line in version.splitlines():
            bare = _NUMBERS.sub("", line).strip()
            if bare and bare not in here:
                found.setdefault(bare, Earlier(line, last))
            last = line
        if len(found) >= _MOST_EARLIER:
            break
    return tuple([*found.values()][:_MOST_EARLIER])


def _edits(path: str, text: str, before: Sequence[Earlier]) -> Iterator[Edit]:
    lines = text.splitlines()
    end = "\r\n" if "\r\n" in text else "\n"

    def edit(family: str, line: str, old: str, new: str, words: str, result: Sequence[str]) -> Edit:
        whole = end.join(result) + (end if text.endswith("\n") else "")
        return Edit(path, _short(line), family, old, new, _WHY[family], whole, f"{path}: {words}")

    for at, line in enumerate(lines):
        if line.strip():
            rest = [*lines[:at], *lines[at + 1 :]]
            yield edit(DROP, line, line, _GONE, f"leave out {_quoted(line)}", rest)
    for old in before:
        at = next((n for n, each in enumerate(lines, 1) if each == old.after), len(lines))
        result = [*lines[:at], old.text, *lines[at:]]
        yield edit(RESTORE, old.text, _GONE, old.text, f"take back {_quoted(old.text)}", result)
    for first, last in _blocks(lines):
        for at in range(first, last):
            one, two = lines[at], lines[at + 1]
            both = " ⇄ ".join(sorted((_short(one), _short(two))))
            result = [*lines[:at], two, one, *lines[at + 2 :]]
            yield edit(SWAP, both, f"{one} first", f"{two} first", f"{_quoted(two)} before {_quoted(one)}", result)
        for at in range(first, last + 1):
            line, rest = lines[at], [*lines[:at], *lines[at + 1 :]]
            top, bottom = [*rest[:first], line, *rest[first:]], [*rest[:last], line, *rest[last:]]
            yield edit(MOVE, line, "", "first", f"{_quoted(line)} first in its block", top)
            yield edit(MOVE, line, "", "last", f"{_quoted(line)} last in its block", bottom)
            if last > first:
                again = [*lines[: last + 1], line, *lines[last + 1 :]]
                yield edit(REPEAT, line, "once", "twice", f"say {_quoted(line)} again at the end of its block", again)


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """First and last line of each run of lines that stand alike: no blank one, and one indentation."""
    start = 0
    for at in range(len(lines) + 1):
        if at == len(lines) or not lines[at].strip() or (at > start and _indent(lines[at]) != _indent(lines[start])):
            if at > start and lines[start].strip():
                yield start, at - 1
            start = at if at < len(lines) and lines[at].strip() else at + 1


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _short(line: str) -> str:
    return describe(line, _WIDTH)


def _quoted(line: str) -> str:
    return f"`{_short(line)}`"
