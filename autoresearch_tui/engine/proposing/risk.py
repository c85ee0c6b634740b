"""What a human should look at twice in a proposal: files, and constructs on changed lines, that could bend the score.

Constructs are found in the syntax tree, so names in comments and docstrings do not count. A flag is a reason to read,
not a proof; unflagged code still runs in the sandbox and is still scored by the referee.
"""

from __future__ import annotations

import difflib
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from autoresearch_tui.engine.proposing.risk_rules import KIND_OF_MODULE, PLAIN, RiskMatch, risk_matches
from autoresearch_tui.python_source import syntax
from autoresearch_tui.util.frozen import Frozen

_READ_ONLY = (".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".toml", ".ini", ".yaml", ".yml")
"""Text files that are read and never executed."""
_LOADED = re.compile(
    r"(?:site|user)customize\.py|conftest\.py|__(?:init|main)__\.py|setup\.(?:py|cfg)|pyproject\.toml|pytest\.ini|tox\.ini"
    r"|(?:claude|agents?|gemini|copilot-instructions)\.md|requirements.*\.txt|constraints.*\.txt|uv\.(?:toml|lock)|makefile|dockerfile|.*\.pth|.*\.pyi?c|\..*",
    re.IGNORECASE,
)
_IMPORTED_ELSEWHERE = sys.stdlib_module_names | PLAIN | KIND_OF_MODULE.keys()
# A tag makes a reader of YAML create any object.
_YAML_TAG = re.compile(r"(?:^|[\s\[{,-])!(?:[!<]|[\w./])")
# The zero-width joiner of emoji, which is harmless.
_JOINER = "\u200d"


class Flag(Frozen):
    """One reason to look: `kind` is that of a rule, `line` counts from 1 in the new text."""

    path: str
    line: int
    kind: str
    why: str


def flags(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Flag, ...]:
    """The risks of a change of the editable files, in order of path and line."""
    found: dict[tuple[str, int, str], Flag] = {}  # one of each kind per line is enough
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        code = _compare(old or "", new or "") if path.endswith(".py") else ()
        for line, kind, why in (*_file_risks(path, old, new), *code):
            found.setdefault((path, line, kind), Flag(path, line, kind, why))
    return tuple(found[key] for key in sorted(found))


def low_risk(flags: Iterable[Flag]) -> bool:
    """Whether there is no flag."""
    return not any(True for _ in flags)


def _file_risks(path: str, old: str | None, new: str | None) -> Iterator[tuple[int, str, str]]:
    """Line, kind and reason of each risk of a changed, new (`old` is None) or removed (`new` is None) file."""
    name = path.rpartition("/")[2]
    module = name.removesuffix(".py")
    if old is None and _LOADED.fullmatch(name):
        yield 1, "code", "is a new file that Python or a tool loads by its name"
    elif old is None and name.endswith(".py") and module in _IMPORTED_ELSEWHERE:
        yield 1, "imports", f"is a new file that may be imported in place of the module {module}"
    if not name.endswith((".py", *_READ_ONLY)):
        yield 1, "files", "is neither Python nor plain text, so nothing here can judge it"
    elif not name.endswith(".py") and new is not None:
        if new.startswith("#!"):
            yield 1, "processes", "names a program that is to run it"
        known = {*(old or "")}
        tagged = path.endswith((".yaml", ".yml"))
        for number, line in enumerate(new.splitlines(), 1):
            if tagged and _YAML_TAG.search(line) and line not in (old or "").splitlines():
                yield number, "code", "has a tag, by which a reader of YAML may make any object"
            hidden = (c for c in line if c not in known and c != _JOINER and unicodedata.category(c) in ("Cf", "Co"))
            if not line.isascii() and (first := next(hidden, "")):
                yield number, "code", f"has a character that cannot be seen (U+{ord(first):04X})"


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
        # A hunk's remaining matches are already flagged; what it lost is flagged at its place.
        still = {(found.kind, found.why) for _, found in added}
        for found in gone:
            if _within(found, i1, i2) and (found.kind, found.why) not in still:
                yield max(1, min(j1 + 1, len(b))), found.kind, f"removed or changed: {found.why}"


@lru_cache(maxsize=16)  # most proposals start from the same few files
def _matches(text: str) -> tuple[RiskMatch, ...]:
    return tuple(risk_matches(syntax.parse(text)))


def _within(found: RiskMatch, start: int, end: int) -> int | None:
    """The first line of a match within the lines after `start` up to `end`, counted from 1."""
    first, last = max(found.first, start + 1), min(found.last, end)
    return first if first <= last else None
