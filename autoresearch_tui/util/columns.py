"""Pure: measures, cuts and wraps clean text by terminal columns, without a library.

The cockpit uses its library's widths (`cockpit/widgets/cells.py`). Importing one takes too long for a command that
prints a few lines.
"""

from __future__ import annotations

import unicodedata


def cells(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_size, text))


def cut(text: str, room: int) -> str:
    """`text` in at most `room` columns; a cut text ends in `…`."""
    if cells(text) <= room:
        return text
    used = 0
    for index, character in enumerate(text):
        used += _size(character)
        if used > room - 1:
            return text[:index] + "…"[:room]
    return text


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """`text` in lines of `width` columns, broken at spaces if possible; all but the first are indented."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line.strip() else line + word
        if line.strip() and cells(longer) > width:
            lines.append(line)
            longer = indent + word
        while cells(longer) > width:
            head = cut(longer, width + 1)[:-1]
            lines.append(head)
            longer = indent + longer[len(head) :]
        line = longer
    return [*lines, line]


def _size(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200d\ufe0e\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
