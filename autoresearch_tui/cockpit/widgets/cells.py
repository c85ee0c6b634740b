"""Pure: how many columns text takes, and text cut to columns. It must be clean already."""

from __future__ import annotations

from unicodedata import east_asian_width

Span = tuple[int, int]


def cells(text: str) -> int:
    """How many columns `text` takes."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def wrap(text: str, width: int) -> tuple[Span, ...]:
    """`text` cut into pieces of at most `width` columns; always at least one piece."""
    width = max(width, 2)
    if text.isascii():
        return tuple((i, min(i + width, len(text))) for i in range(0, len(text), width)) or ((0, 0),)
    pieces: list[Span] = []
    start = used = 0
    for i, char in enumerate(text):
        size = _cell(char)
        if used + size > width:
            pieces.append((start, i))
            start, used = i, 0
        used += size
    pieces.append((start, len(text)))
    return tuple(pieces)


def wrap_words(text: str, width: int) -> tuple[Span, ...]:
    """As :func:`wrap`, but broken at spaces where there are some."""
    spans: list[Span] = []
    start = 0
    while True:
        end = start + wrap(text[start:], width)[0][1]
        if end >= len(text):
            return (*spans, (start, len(text)))
        space = text.rfind(" ", start + 1, end + 1)
        stop = space if space > start else end
        spans.append((start, stop))
        start = stop + (space > start)


def cut(text: str, room: int) -> str:
    """`text` in at most `room` columns; what is cut ends in `…`."""
    if cells(text) <= room:
        return text
    if room < 4:
        return "…"[:room]
    return text[: wrap(text, room - 1)[0][1]] + "…"


def _cell(char: str) -> int:
    return 2 if east_asian_width(char) in "WF" else 1
