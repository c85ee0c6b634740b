"""Pure: line ends of files that others edit. Texts are compared without them, and keep the ones they had."""

from __future__ import annotations

import difflib
import re
from collections import Counter

_LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r|$)")


def plain(text: str) -> str:
    """`text` with ``\\n`` for every line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def like(text: str, base: str) -> str:
    """`text`, an edit of `base`, with the line ends of `base`.

    An unchanged or replaced line takes the end of its counterpart, an added line that of the line before it. Whether
    the last line has an end is up to `text`.
    """
    if "\r" not in text and "\r" not in base:
        return text
    old, new = _lines(base), _lines(text)
    usual = next(iter(Counter(end for _, end in old if end).most_common(1)), ("", 0))[0]
    if not usual:
        return text
    ends: list[str] = []
    matcher = difflib.SequenceMatcher(None, [line for line, _ in old], [line for line, _ in new], autojunk=False)
    for _, start, end, new_start, new_end in matcher.get_opcodes():
        for place in range(new_start, new_end):
            counterpart = start + place - new_start
            own = old[counterpart][1] if counterpart < end else ""
            ends.append(own or (ends[-1] if ends else usual))
    return "".join(line + (wanted if end else "") for (line, end), wanted in zip(new, ends, strict=True))


def _lines(text: str) -> list[tuple[str, str]]:
    """Each line with its end, which may be empty for the last."""
    lines = _LINE.findall(text)
    return lines[:-1] if lines[-1] == ("", "") else lines
