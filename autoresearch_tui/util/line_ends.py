"""Line ends of a file that others edit: compared without them, kept as they were. Pure."""

from __future__ import annotations

import difflib
import re
from collections import Counter

_LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r|$)")


def plain(text: str) -> str:
    """With ``\\n`` for every line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def like(text: str, base: str) -> str:
    """`text` with the line ends of `base`, which it is an edit of: each line keeps its own, or that of the one in its
    place; one more gets that of the line before it. Whether the last line has an end is up to `text`."""
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
            was = start + place - new_start
            known = old[was][1] if was < end else ""
            ends.append(known or (ends[-1] if ends else usual))
    return "".join(line + (kept if end else "") for (line, end), kept in zip(new, ends, strict=True))


def _lines(text: str) -> list[tuple[str, str]]:
    """Each line and its end; the last has none if the text does not end with one."""
    found = _LINE.findall(text)
    return found[:-1] if found[-1] == ("", "") else found
