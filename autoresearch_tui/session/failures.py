"""Pure: failures in a row with one cause, so that a night is not spent on the same crash."""

from __future__ import annotations

import re

from autoresearch_tui.util.frozen import Frozen

_WIDTH = 300
# What differs between two equal failures: addresses, hashes, temporary names, numbers.
_VARYING = re.compile(
    r"0x[0-9a-f]+|/tmp/\S+|\b[0-9a-f]{8,}\b|\d+(?:[.,]\d+)*(?:e[-+]?\d+)?(?: ?[kMGT]i?B\b)?", re.IGNORECASE
)


class Streak(Frozen):
    """`count` failures in a row; `text` is the newest."""

    text: str = ""
    count: int = 0

    def after(self, text: str) -> Streak:
        """With one more failure: the streak continues if it is like the last one, else it starts again."""
        return Streak(text, self.count + 1 if self.count and alike(self.text, text) else 1)


def alike(one: str, two: str) -> bool:
    """Whether two failures differ only by numbers and names that are new each time."""
    return _plain(one) == _plain(two)


def _plain(text: str) -> str:
    return " ".join(_VARYING.sub("#", text).split())[:_WIDTH]
