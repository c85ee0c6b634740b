"""What a human should look at twice in a file as such: its name, its kind, what in it cannot be seen."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator

from autoresearch_tui.engine.proposing.risk_rules import KIND_OF_MODULE, PLAIN

_READ_ONLY = (".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".toml", ".ini", ".yaml", ".yml")
"""Kinds of text that are read and never executed."""
_LOADED = re.compile(
    r"(?:site|user)customize\.py|conftest\.py|__(?:init|main)__\.py|setup\.(?:py|cfg)|pyproject\.toml|pytest\.ini|tox\.ini"
    r"|(?:claude|agents?|gemini|copilot-instructions)\.md|requirements.*\.txt|constraints.*\.txt|uv\.(?:toml|lock)|makefile|dockerfile|.*\.pth|.*\.pyi?c|\..*",
    re.IGNORECASE,
)
_IMPORTED_ELSEWHERE = sys.stdlib_module_names | PLAIN | KIND_OF_MODULE.keys()
# A YAML file names an object that its reader is to make.
_YAML_TAG = re.compile(r"(?:^|[\s\[{,-])!(?:[!<]|[\w./])")
# Joins emoji, and nothing else in plain text needs it.
_JOINER = "\u200d"


def file_risks(path: str, old: str | None, new: str | None) -> Iterator[tuple[int, str, str]]:
    """Line, kind and reason of each risk of a file that changes, comes (`old` is None) or goes (`new` is None)."""
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
