"""The parts of score.json beside the score: single cases, for comparing two runs case by case."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch_tui.session.statistics import Row

# The details of a referee's result that are kept: [nats, bytes] of each row, or the score of each case; and of what
# data.
DETAILS = ("rows", "scores", "data", "probes", "sealed_rows")


def read(path: Path) -> Mapping[str, Any]:
    """The contents of a score.json; empty if unreadable."""
    try:
        written = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return written if isinstance(written, dict) else {}


def scored_rows(path: Path) -> tuple[str, tuple[Row, ...]]:
    """:func:`rows_of` a score.json."""
    return rows_of(read(path))


def rows_of(details: Mapping[str, Any], name: str = "rows") -> tuple[str, tuple[Row, ...]]:
    """The data that a referee's rows are of, and each row's nats and bytes; empty if it reports none.

    The `scores` of single cases, whose mean is the score, count as rows of one byte each.
    """
    try:
        cases = details.get("scores") or () if name == "rows" else ()
        rows = [(float(nats), float(size)) for nats, size in details.get(name) or ()]
        rows += [(float(each) * math.log(2), 1.0) for each in cases]
        return str(details.get("data", "")), tuple(rows) if all(math.isfinite(n) for row in rows for n in row) else ()
    except (ValueError, TypeError, AttributeError, OverflowError):
        return "", ()
