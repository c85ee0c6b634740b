"""Failures in a row that have one cause: a night must not be spent on the same crash. Pure."""

from __future__ import annotations

import re

from autoresearch_tui.util.frozen import Frozen

_WIDTH = 300
# What differs between two equal failures: addresses, hashes, temporary names, numbers.
_VARYING = re.compile(
    r"0x[0-9a-f]+|/tmp/\S+|\b[0-9a-f]{8,}\b|\d+(?:[.,]\d+)*(?:e[-+]?\d+)?(?: ?[kMGT]i?B\b)?", re.IGNORECASE
)


class Streak(Frozen):
    """`count` failures in a row, the newest of which said `text`."""

    text: str = ""
    count: int = 0

    def after(self, text: str) -> Streak:
        """With one more failure: it continues if that is like the ones before it, else it starts again at one."""
        return Streak(text, self.count + 1 if self.count and alike(self.text, text) else 1)


def alike(one: str, two: str) -> bool:
    """Whether two failures say the same, but for numbers and names that are new each time."""
    return _plain(one) == _plain(two)


def _plain(text: str) -> str:
    return " ".join(_VARYING.sub("#", text).split())[:_WIDTH]
