"""Pure: the knobs of a text that is no code: its numbers, each named by its key or the words before it.

As with Python (:mod:`constants`), a text is read as a skeleton, which is the text without its numbers, and the numbers.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from autoresearch_tui.python_source.constants import Knob, Reading, Value, written

STATED, SAID = "stated", "said"  # the value of a key; a number within a sentence

_MOST = 100
_NUMBER = re.compile(
    r"(?<![\w.,:/#-])-?(?:0|[1-9]\d{0,11})(?:\.\d{1,12})?(?:[eE][+-]?\d{1,3})?(?![\w:/]|[.,]\d|-\w)", re.ASCII
)
_SECTION = re.compile(r"\s*\[+([A-Za-z][\w.-]*)\]+\s*(?:[#;].*)?")
_KEY = re.compile(r"""\s*(?:[-*+]\s+)?["'`*]*([A-Za-z_][\w.-]*(?: [\w.-]+){0,2})["'`*]*\s*[=:]\s*""")
_MARKER = re.compile(r"\s*\d+[.)](?=\s)", re.ASCII)
"""The number of a list item is no knob."""
_WORD = re.compile(r"[^\W\d_]{2,24}")


def is_text(path: str) -> bool:
    """Whether a file is read as plain text, not as Python."""
    return not path.endswith(".py")


@lru_cache(maxsize=256)
def read(path: str, text: str) -> Reading:
    """The skeleton and the knobs of a text; one with very many numbers is data, and has no knobs."""
    knobs = tuple(itertools.islice(_knobs(path, text), _MOST + 1))
    if len(knobs) > _MOST:
        knobs = ()
    return Reading(hashlib.sha256(_hollowed(text, knobs).encode("utf-8", "surrogatepass")).hexdigest(), knobs)


def edit(text: str, changes: Mapping[Knob, Value]) -> str:
    """The text with the given numbers changed and every other character unchanged."""
    lines = text.split("\n")
    for knob, value in sorted(changes.items(), key=lambda item: -item[0].column):
        line = lines[knob.line - 1]
        lines[knob.line - 1] = f"{line[: knob.column]}{written(knob.source, value)}{line[knob.end_column :]}"
    return "\n".join(lines)


def _knobs(path: str, text: str) -> Iterator[Knob]:
    taken: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if heading := _SECTION.fullmatch(line):
            section = f"{heading[1]}."
            continue
        marker, key = _MARKER.match(line), _KEY.match(line)
        for found in _NUMBER.finditer(line, marker.end() if marker else 0):
            stated = key[1] if key is not None and key.end() == found.start() else ""
            label = f"{section}{stated.replace(' ', '_')}" if stated else _context(line, found.start())
            taken[label] = taken.get(label, 0) + 1
            name = label if taken[label] == 1 else f"{label}#{taken[label]}"
            value = float(found[0]) if re.search(r"[.eE]", found[0]) else int(found[0])
            ends = (number, found.start(), number, found.end())
            yield Knob(path, name, STATED if stated else SAID, value, found[0], *ends)


def _context(line: str, start: int) -> str:
    """The two words before a number, or else the one after it: a name that survives when the line moves."""
    before, after = _WORD.findall(line[:start]), _WORD.findall(line[start:])
    return "_".join(before[-2:] or after[:1]) or "number"


def _hollowed(text: str, knobs: tuple[Knob, ...]) -> str:
    lines = text.rstrip().split("\n")
    for knob in reversed(knobs):
        line = lines[knob.line - 1]
        lines[knob.line - 1] = f"{line[: knob.column]}\0{line[knob.end_column :]}"
    return "\n".join(lines)
