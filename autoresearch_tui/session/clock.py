"""Wall time since journalled moments, and clocks that jump. Supervisors keep the deadlines of runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from autoresearch_tui.util import timestamps
from autoresearch_tui.util.frozen import Frozen

JUMP_SECONDS = 5.0


def since(moment: str) -> float:
    """Wall seconds since a journalled moment; 0 if the clock was stepped back."""
    return max(0.0, time.time() - timestamps.seconds(moment))


def due(moment: str, seconds: float | None) -> bool:
    """Whether `seconds` have passed since a journalled moment; never for None."""
    return seconds is not None and left(moment, seconds) <= 0


def left(moment: str, seconds: float) -> float:
    """How many of the `seconds` after a journalled moment remain; 0 if the clock was set back since."""
    passed = time.time() - timestamps.seconds(moment)
    return 0.0 if passed < -JUMP_SECONDS else max(0.0, seconds - passed)


class Reading(Frozen):
    """Three clocks in seconds: wall time, one that stops during suspend, one that does not."""

    wall: float
    awake: float
    boot: float


def read() -> Reading:
    """The machine's clocks. Suspend is only noticed on Linux, a stepped wall clock everywhere."""
    boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Reading(time.time(), time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(boot))


class ClockWatch:
    """Notices that the machine slept or its clock was set, so that a run in progress was not timed like the others."""

    def __init__(self, read: Callable[[], Reading] = read) -> None:
        self._read = read
        self._last = read()

    def look(self) -> str:
        """What jumped since the last look, for humans; empty if nothing did."""
        last, now = self._last, self._read()
        self._last = now
        slept = (now.boot - last.boot) - (now.awake - last.awake)
        stepped = (now.wall - last.wall) - (now.boot - last.boot)
        if slept > JUMP_SECONDS:
            return f"the machine was suspended for {slept:.0f} s"
        if abs(stepped) > JUMP_SECONDS:
            return f"the clock was set {'forward' if stepped > 0 else 'back'} by {abs(stepped):.0f} s"
        return ""
