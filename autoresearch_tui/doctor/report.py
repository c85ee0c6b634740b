"""The items as text, or as one JSON object."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from msgspec.structs import asdict

from autoresearch_tui.doctor.item import Item, Status

_GLYPHS: dict[Status, str] = {"ok": "✓", "warning": "!", "problem": "✗"}
_ASCII_GLYPHS: dict[Status, str] = {"ok": "+", "warning": "!", "problem": "x"}
_COLOURS: dict[Status, str] = {"ok": "\x1b[32m", "warning": "\x1b[33m", "problem": "\x1b[31m"}
_PLAIN = "\x1b[0m"
_WORD, _NAME = 10, 13
# Between a name and the finding.
_GAP = 2
_LEAST_WIDTH = 20


def count(items: Sequence[Item], status: Status) -> int:
    return sum(item.status == status for item in items)


def as_json(items: Sequence[Item]) -> str:
    """`ok` is whether there is no problem."""
    body = {"items": [asdict(item) for item in items], "ok": not count(items, "problem")}
    return json.dumps(body, ensure_ascii=False, indent=2) + "\n"


def as_text(items: Sequence[Item], *, width: int | None, colour: bool, ascii_only: bool) -> str:
    """One block for each item: status, name and finding side by side, the remedy below. Without `width`, no line is
    wrapped."""
    glyphs, arrow = (_ASCII_GLYPHS, "->") if ascii_only else (_GLYPHS, "→")
    column = max([_NAME, *(len(item.name) + _GAP for item in items)])
    room = None if width is None else max(_LEAST_WIDTH, width - _WORD - 1 - column)
    lines: list[str] = []
    for item in items:
        status = f"{glyphs[item.status]} {item.status}"
        shown = f"{_COLOURS[item.status]}{status}{_PLAIN}" if colour else status
        body = _wrap(item.found, room)
        if item.remedy:
            body += _wrap(f"{arrow} {item.remedy}", room)
        lines.append(f"{shown}{' ' * (_WORD - len(status))} {item.name:<{column}}{body[0]}")
        lines += [" " * (_WORD + 1 + column) + line for line in body[1:]]
    problems, warnings = count(items, "problem"), count(items, "warning")
    lines.append(f"{_plural(problems, 'problem')}, {_plural(warnings, 'warning')}")
    text = "\n".join(lines) + "\n"
    return text.encode("ascii", "replace").decode() if ascii_only else text


def _wrap(text: str, room: int | None) -> list[str]:
    return [text] if room is None else textwrap.wrap(text, room) or [""]


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
