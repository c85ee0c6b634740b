"""Text from an agent, a log or a file is data: cleaned once, here, before it is stored in a table or shown."""

from __future__ import annotations

import re
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


_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?%?")
_FORMULA = re.compile(r'[\t\r]|\s*[=+\-@＝＋－＠"]')


def as_text(cell: str) -> str:
    """A cell that every reader of tables takes for text: with an apostrophe before what a spreadsheet would take for a
    formula, or a reader of CSV for the beginning of a quoted cell.

    :func:`cell_text` takes it off again. A lone ``-`` and a number are none.
    """
    bare = cell.lstrip("'")  # one that has an apostrophe there already gets another: what comes back is what was given
    if not _FORMULA.match(bare) or bare == "-" or _PLAIN_NUMBER.fullmatch(bare):
        return cell
    return f"'{cell}"


def cell_text(cell: str) -> str:
    """What was given to :func:`as_text`."""
    return cell[1:] if cell.startswith("'") and as_text(cell[1:]) == cell else cell


def describe(text: str, limit: int = DESCRIPTION_LIMIT) -> str:
    """A description that fits one cell of results.tsv: one line, single spaces, ``-`` when nothing is left."""
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
    """The words of a text, as a constant of many words is written."""
    return frozenset(text.split())
