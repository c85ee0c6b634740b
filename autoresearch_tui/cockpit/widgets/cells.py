"""Pure: the width of text in terminal columns, and text cut to columns. The text must be clean already."""

from __future__ import annotations

import functools

from rich.cells import cell_len, get_character_cell_size

Span = tuple[int, int]
_KEPT = 256  # the lines of a screen, which are wrapped again at every paint


def cells(text: str) -> int:
    """The number of columns that `text` takes."""
    return len(text) if _plain(text) else cell_len(text)


def wrap(text: str, width: int) -> tuple[Span, ...]:
    """The spans of `text` in pieces of at most `width` columns; at least one piece."""
    width = max(width, 2)
    if _plain(text):
        return tuple((i, min(i + width, len(text))) for i in range(0, len(text), width)) or ((0, 0),)
    pieces: list[Span] = []
    start = used = 0
    for i, char in enumerate(text):
        size = get_character_cell_size(char)
        if used + size > width:
            pieces.append((start, i))
            start, used = i, 0
        used += size
    pieces.append((start, len(text)))
    return tuple(pieces)


@functools.lru_cache(_KEPT)
def wrap_words(text: str, width: int) -> tuple[Span, ...]:
    """As :func:`wrap`, but broken at spaces where there are any."""
    spans: list[Span] = []
    start = 0
    while True:
        end = start + _first_piece(text, start, width)
        if end >= len(text):
            return (*spans, (start, len(text)))
        space = text.rfind(" ", start + 1, end + 1)
        stop = space if space > start else end
        spans.append((start, stop))
        start = stop + (space > start)


@functools.lru_cache(_KEPT)
def wrap_code(text: str, width: int) -> tuple[Span, ...]:
    """As :func:`wrap`, but a word that begins in the last third of a piece is not broken."""
    spans: list[Span] = []
    start = 0
    while True:
        end = start + _first_piece(text, start, width)
        if end >= len(text):
            return (*spans, (start, len(text)))
        begins = next((at for at in range(end, end - width // 3, -1) if not _in_word(text, at)), end)
        spans.append((start, begins))
        start = begins


def _first_piece(text: str, start: int, width: int) -> int:
    # Four characters a column leave room for characters without a width.
    return wrap(text[start : start + 4 * max(width, 2)], width)[0][1]


def _in_word(text: str, at: int) -> bool:
    return all(char.isalnum() or char == "_" for char in text[at - 1 : at + 1])


def cut(text: str, room: int) -> str:
    """`text` in at most `room` columns; cut text ends in `…`."""
    if cells(text) <= room:
        return text
    if room < 4:
        return "…"[:room]
    return text[: wrap(text, room - 1)[0][1]] + "…"


def _plain(text: str) -> bool:
    """Whether each character takes one column; faster than counting."""
    return text.isascii() and text.isprintable()
