"""Text from an agent, a log or a file is data: cleaned once, here, before it is stored in a table or shown."""

from __future__ import annotations

import unicodedata

# Controls, formatting (bidi overrides, zero width), surrogates, private use, line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
DESCRIPTION_LIMIT = 300


def clean_line(text: str) -> str:
    """One printable line: control and formatting characters become spaces' equals, ESC never survives.

    Tabs stay as spaces so that columns of a log keep apart; the length is not limited.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.expandtabs(8)
    return "".join(c if c == " " or unicodedata.category(c) not in _UNPRINTABLE else "·" for c in text)


def clean_text(text: str) -> str:
    """Several printable lines, each cleaned as by :func:`clean_line`; line ends become ``\\n``."""
    return "\n".join(clean_line(line) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def describe(text: str, limit: int = DESCRIPTION_LIMIT) -> str:
    """A description that fits one cell of results.tsv: one line, single spaces, ``-`` when nothing is left."""
    kept = "".join(
        " " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c
        for c in text
        if unicodedata.category(c) not in {"Cf", "Cs", "Co"}
    )
    line = " ".join(kept.split())
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + "…"
    return line or "-"
