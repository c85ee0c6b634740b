"""Wall time as the journal has it, and clocks that jump. Deadlines of runs are their supervisor's, not kept here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from autoresearch_tui.util import timestamps

JUMP_SECONDS = 5.0


def since(moment: str) -> float:
    """Wall seconds since a journalled moment; a clock that was stepped back counts as no time at all."""
    return max(0.0, time.time() - timestamps.seconds(moment))


def due(moment: str, seconds: float | None) -> bool:
    """Whether `seconds` have passed since a journalled moment; None: never."""
    return seconds is not None and left(moment, seconds) <= 0


def left(moment: str, seconds: float) -> float:
    """How many of the `seconds` since a journalled moment are still to come.

    0 if that moment lies ahead: it was journalled before the clock was set back.
    """
    passed = time.time() - timestamps.seconds(moment)
    return 0.0 if passed < -JUMP_SECONDS else max(0.0, seconds - passed)


@dataclass(frozen=True, slots=True)
class Reading:
    """Three clocks at one moment, in seconds: the wall's, one that stops in suspend, one that does not."""

    wall: float
    awake: float
    boot: float


def read() -> Reading:
    """The machine's clocks. Where suspend cannot be told (not Linux), only a stepped wall clock can."""
    boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Reading(time.time(), time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(boot))


class ClockWatch:
    """Notices that the machine slept, or that the clock was set: a run under way was not timed as the others."""

    def __init__(self, read: Callable[[], Reading] = read) -> None:
        self._read = read
        self._last = read()

    def look(self) -> str:
        """What jumped since the last look, in words; empty if nothing did."""
        last, now = self._last, self._read()
        self._last = now
        slept = (now.boot - last.boot) - (now.awake - last.awake)
        stepped = (now.wall - last.wall) - (now.boot - last.boot)
        if slept > JUMP_SECONDS:
            return f"the machine was suspended for {slept:.0f} s"
        if abs(stepped) > JUMP_SECONDS:
            return f"the clock was set {'forward' if stepped > 0 else 'back'} by {abs(stepped):.0f} s"
        return ""
