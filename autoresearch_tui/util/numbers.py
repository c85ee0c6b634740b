"""Numbers in texts that others wrote."""

from __future__ import annotations

import math


def number(text: str) -> float | None:
    """A number as people write it, such as `1,024.5` or NaN; None for anything else."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def finite(text: str) -> float | None:
    """The same, but None for NaN and infinity."""
    value = number(text)
    return value if value is not None and math.isfinite(value) else None
