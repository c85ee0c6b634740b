"""What a human should look at twice in a proposal: constructs on the lines of a diff that could bend the score.

Found in the syntax tree, so a name in a comment or a docstring raises nothing. A flag is a reason to read, not a
proof; what is not flagged here still runs in the sandbox and is still scored by the referee.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from autoresearch_tui.engine.proposing.file_risks import file_risks
from autoresearch_tui.engine.proposing.risk_rules import RiskMatch, risk_matches
from autoresearch_tui.python_source import syntax

KINDS = (
    "evaluation",
    "data",
    "seed",
    "clock",
    "files",
    "network",
    "processes",
    "imports",
    "metrics",
    "code",
)


@dataclass(frozen=True, slots=True)
class Flag:
    """One reason to look: `kind` is one of KINDS, `line` counts from 1 in the new text."""

    path: str
    line: int
    kind: str
    why: str


def flags(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Flag, ...]:
    """The risks on the lines that change between two versions of the editable files, in order of path and line."""
    found: dict[tuple[str, int, str], Flag] = {}  # one of a kind on a line is enough to make a human look
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        code = _compare(old or "", new or "") if path.endswith(".py") else ()
        for line, kind, why in (*file_risks(path, old, new), *code):
            found.setdefault((path, line, kind), Flag(path, line, kind, why))
    return tuple(found[key] for key in sorted(found))


def low_risk(flags: Iterable[Flag]) -> bool:
    """Whether no human needs to look: there is no flag."""
    return not any(True for _ in flags)


def _compare(old: str, new: str) -> Iterator[tuple[int, str, str]]:
    try:
        there = _matches(new)
    except SyntaxError as error:
        yield error.lineno or 1, "code", "is not valid Python, so nothing here can judge it"
        return
    try:
        gone = _matches(old)
    except SyntaxError:
        gone = ()
    a, b = old.splitlines(), new.splitlines()
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            continue
        added = [(line, found) for found in there if (line := _within(found, j1, j2))]
        yield from ((line, found.kind, found.why) for line, found in added)
        # What a hunk still does after the change has been said; what it no longer does is said at its place.
        still = {(found.kind, found.why) for _, found in added}
        for found in gone:
            if _within(found, i1, i2) and (found.kind, found.why) not in still:
                yield max(1, min(j1 + 1, len(b))), found.kind, f"removed or changed: {found.why}"


@lru_cache(maxsize=16)  # most proposals start from the same few files
def _matches(text: str) -> tuple[RiskMatch, ...]:
    return tuple(risk_matches(syntax.parse(text)))


def _within(found: RiskMatch, start: int, end: int) -> int | None:
    """The first line of a finding that lies in the lines after `start` up to `end`, counted from 1."""
    first, last = max(found.first, start + 1), min(found.last, end)
    return first if first <= last else None
