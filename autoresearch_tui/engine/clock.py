"""Wall time as the journal has it. Deadlines of runs are not kept here: a run's supervisor has its own clock."""

from __future__ import annotations

from datetime import UTC, datetime


def since(moment: str) -> float:
    """Wall seconds since a journalled moment; a clock that was stepped back counts as no time at all."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


def due(moment: str, seconds: float | None) -> bool:
    """Whether `seconds` have passed since a journalled moment; None: never."""
    return seconds is not None and since(moment) >= seconds
