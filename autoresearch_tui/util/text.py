"""Cleans text from agents, logs and files before it is stored in a table or shown."""

from __future__ import annotations

import re
import unicodedata

# Controls, formatting (bidi overrides, zero width), surrogates, private use, line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
DESCRIPTION_LIMIT = 300


def clean_line(text: str) -> str:
    """One printable line of any length: control and formatting characters become `·`, tabs become spaces."""
    if text.isascii() and text.isprintable():
        return text
    text = text.expandtabs(8)
    return "".join(c if c == " " or unicodedata.category(c) not in _UNPRINTABLE else "·" for c in text)


def clean_text(text: str) -> str:
    """Several printable lines, each cleaned as by :func:`clean_line`; line ends become ``\\n``."""
    return "\n".join(clean_line(line) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?%?")
_FORMULA = re.compile(r'[\t\r]|\s*[=+\-@＝＋－＠"]')


def as_text(cell: str) -> str:
    """A cell that every reader of tables takes for text: an apostrophe stands before what a spreadsheet would take for
    a formula (a lone ``-`` or a number is none), or a CSV reader for the start of a quoted cell.

    :func:`cell_text` removes it again.
    """
    bare = cell.lstrip("'")  # a cell that begins with an apostrophe gets another, so that the round trip is exact
    if not _FORMULA.match(bare) or bare == "-" or _PLAIN_NUMBER.fullmatch(bare):
        return cell
    return f"'{cell}"


def cell_text(cell: str) -> str:
    """The inverse of :func:`as_text`."""
    return cell[1:] if cell.startswith("'") and as_text(cell[1:]) == cell else cell


def describe(text: str, limit: int = DESCRIPTION_LIMIT) -> str:
    """A description for one cell of results.tsv: one line, single spaces, ``-`` if nothing is left."""
    plain = text.isprintable()  # as most are
    kept = (
        text
        if plain
        else "".join(
            " " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c
            for c in text
            if unicodedata.category(c) not in {"Cf", "Cs", "Co"}
        )
    )
    line = " ".join(kept.split())
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + "…"
    return line or "-"


def word_set(text: str) -> frozenset[str]:
    """The words of a text: a readable way to write a constant set of many words."""
    return frozenset(text.split())
