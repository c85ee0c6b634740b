"""What score.json has beyond the score: the cases that it is made of, for comparing two runs case by case."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch_tui.session.statistics import Row

# What is kept of a referee's result: [nats, bytes] of each row, or the score of each case, to compare two runs pair by
# pair; and of which data.
DETAILS = ("rows", "scores", "data", "probes", "sealed_rows")


def read(path: Path) -> Mapping[str, Any]:
    """What a score.json has; nothing if it cannot be read."""
    try:
        written = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return written if isinstance(written, dict) else {}


def scored_rows(path: Path) -> tuple[str, tuple[Row, ...]]:
    """:func:`rows_of` a score.json."""
    return rows_of(read(path))


def rows_of(details: Mapping[str, Any], name: str = "rows") -> tuple[str, tuple[Row, ...]]:
    """What the rows of a referee's details are of, and each row's nats and bytes; nothing if it gives none.

    The `scores` of single cases, whose mean is the score, are taken for rows of one byte each.
    """
    try:
        cases = details.get("scores") or () if name == "rows" else ()
        rows = [(float(nats), float(size)) for nats, size in details.get(name) or ()]
        rows += [(float(each) * math.log(2), 1.0) for each in cases]
        return str(details.get("data", "")), tuple(rows) if all(math.isfinite(n) for row in rows for n in row) else ()
    except (ValueError, TypeError, AttributeError, OverflowError):
        return "", ()
