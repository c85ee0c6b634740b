"""Pure: reads a number or a status from one cell of a table. Guesses are always flagged."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from autoresearch_tui.util.frozen import Frozen

_WORDS = {
    "keep": "keep kept keeping accept accepted baseline best",
    "discard": "discard discarded revert reverted reject rejected dropped rollback",
    "crash": "crash crashed fail failed failure error oom timeout killed",
    "invalid": "invalid",
    "skip": "skip skipped",
}
STATUSES = {word: status for status, words in _WORDS.items() for word in words.split()}
_YES = frozenset({"true", "yes", "y", "1", "✅", "✔", "✓", "☑"})
_NO = frozenset({"false", "no", "n", "0", "❌", "✗", "✘", "✖", "☒"})
_TICK = re.compile("[✅✔✓☑]")
_CROSS = re.compile("[❌✗✘✖☒]")
_WORD = re.compile(r"[^\W\d_]+")

_COLOUR = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LEADING = re.compile(r"[+-]?[\d.,'\u00a0\u202f]*\d(?:\.(?!\d))?(?:[eE][+-]?\d+)?", re.ASCII)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_DOT_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+,\d+", re.ASCII)
# May follow a number without changing it: a unit, a percent sign, a spread, a remark in brackets.
_BESIDE = re.compile(r"\s*(?:%|[a-zA-Z×]{1,4}(?:/[a-zA-Z]{1,5})?)?\s*(?:±\s*\S+)?\s*(?:[(\[].*)?", re.DOTALL)
_BLANKS = re.compile(r"(?<=\d)['\u00a0\u202f\u2009](?=\d{3})")


def uncoloured(text: str) -> str:
    """Without terminal colours, which some tables contain."""
    return _COLOUR.sub("", text) if "\x1b" in text else text


def status(text: str, *, is_flag: bool = False) -> str:
    """The only status in a cell; empty if it has none, or two. `is_flag`: the column asks "kept?"."""
    bare = uncoloured(text).strip().lower().replace("\ufe0f", "")
    if is_flag and bare in _YES | _NO:
        return "keep" if bare in _YES else "discard"
    words = _WORD.findall(bare)
    found = {STATUSES[word] for word in words if word in STATUSES}
    if "not" in words or "no" in words or "never" in words:
        return ""
    if not words:
        found = {"keep"} if _TICK.search(bare) else set()
        found |= {"discard"} if _CROSS.search(bare) else set()
    elif words[0] not in STATUSES or (_CROSS.search(bare) and "keep" in found):
        return ""
    return found.pop() if len(found) == 1 else ""


class Number(Frozen):
    """`doubt`: what stands beside the number, or why a cell that is not empty has none."""

    value: float | None
    doubt: str = ""


def decimal_comma(cells: Iterable[str]) -> bool | None:
    """Whether a table writes 0,5 for a half, judging by all its numbers; None if that is unclear."""
    decimal = grouping = False
    for cell in cells:
        found = _LEADING.match(_bare(cell))
        text = found[0] if found else ""
        if _DOT_GROUPED.fullmatch(text) or (_COMMA.fullmatch(text) and not _GROUPED.fullmatch(text)):
            decimal = True
        elif "." in text or text.count(",") > 1:
            grouping = True
    return decimal if decimal != grouping else None


def number(text: str, comma: bool | None = None) -> Number:
    """A cell's number, in a table whose :func:`decimal_comma` is `comma`."""
    bare = _bare(text)
    found = _LEADING.match(bare)
    if found is None:
        return Number(None)
    rest = bare[found.end() :]
    plain, doubt = _without_commas(found[0], comma)
    if plain is None or not _NUMBER.fullmatch(plain) or not _BESIDE.fullmatch(rest):
        return Number(None, doubt)
    value = float(plain)
    if not math.isfinite(value):
        return Number(None)
    if rest.strip() or bare != _plain(text):
        doubt = doubt or f"more than a number: {text.strip()[:20]}"
    return Number(value, doubt)


def _plain(text: str) -> str:
    return _BLANKS.sub("", uncoloured(text).strip().strip("*`").strip().replace("\u2212", "-"))


def _bare(text: str) -> str:
    return _plain(text).lstrip("~≈≃= ")


def _without_commas(digits: str, comma: bool | None) -> tuple[str | None, str]:
    """The digits as Python writes them, or None; and a doubt."""
    if "," not in digits:
        return digits, ""
    if _DOT_GROUPED.fullmatch(digits):
        return digits.replace(".", "").replace(",", "."), ""
    if "." in digits:
        whole, _, rest = digits.partition(".")
        return (f"{whole.replace(',', '')}.{rest}" if _GROUPED.fullmatch(whole) else None), ""
    if not _GROUPED.fullmatch(digits):
        known = _COMMA.fullmatch(digits)
        return (digits.replace(",", ".") if known else None), "" if comma else f"a decimal comma: {digits}"
    if digits.count(",") > 1:
        return digits.replace(",", ""), ""
    if comma is None:
        return None, f"{digits} can be read in two ways"
    return digits.replace(",", "." if comma else ""), ""
