"""The formats of numbers, times and outcomes, for all panes."""

from __future__ import annotations

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.outline import Outline
from autoresearch_tui.session.state import Stage, State

MARKS: dict[str, tuple[str, str]] = {
    Outcome.KEEP: ("✓", "good"),
    Outcome.DISCARD: ("·", "dim"),
    Outcome.CRASH: ("✗", "bad"),
    Outcome.STOPPED: ("■", "warn"),
    Outcome.GIVEN_UP: ("↓", "dim"),
    Outcome.INVALID: ("!", "warn"),
    Outcome.VETOED: ("⊘", "warn"),
    Outcome.WITHDRAWN: ("↶", "dim"),
    Outcome.SCALED: ("⇗", "dim"),
    Stage.PROPOSED: ("○", "text"),
    Stage.REVIEW: ("●", "warn"),
    Stage.APPROVED: ("◉", "accent"),
    Stage.RUNNING: ("▶", "accent"),
    Stage.ENDED: ("▶", "accent"),
    Stage.SCORED: ("▶", "accent"),
    Stage.CONFIRMING: ("≈", "accent"),
}
"""A glyph and a tone for every outcome and open stage, so that colour is never the only sign."""
FRONTIER = "▸"
"""Marks the frontier if it is not the best, which has a star."""


def front(number: int) -> str:
    """`front A`: one of several frontiers."""
    return f"front {chr(ord('A') + number)}"


def clock(seconds: float) -> str:
    """`0:32`, `12:05`, `1:02:05`."""
    whole = max(0, int(seconds))
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def ago(seconds: float) -> str:
    """`3 s`, `12 min`, `5 h`, `9 d`: how long since, roughly."""
    for limit, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * limit:
            return f"{seconds / limit:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def delta(value: float | None, against: float | None, goal: Goal, digits: int = 4) -> tuple[str, str]:
    """The distance to `against` as `▼ 0.0123`, and its tone: good for a gain."""
    if value is None or against is None:
        return "", "dim"
    difference = value - against
    if abs(difference) < 0.5 * 10**-digits:
        # `~`: not zero, but too small for the digits.
        return f"{'=' if difference == 0 else '~'} {0:.{digits}f}", "dim"
    return f"{'▼' if difference < 0 else '▲'} {abs(difference):.{digits}f}", "good" if goal.better(
        value, against
    ) else "dim"


def at_best(state: State | Outline) -> bool:
    """Whether the frontier is the best keep: a human may have continued from elsewhere."""
    return state.frontier == state.best


def count(number: float) -> str:
    """`950`, `13.0k`, `1.04M`, `499.6M`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            scaled = number / limit
            return f"{scaled:.2f}{unit}" if scaled < 10 else f"{scaled:.1f}{unit}"
    return f"{number:.0f}"


def size(number: float) -> str:
    """Bytes as `45.2 GiB`."""
    for limit, unit in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")):
        if number >= limit:
            return f"{number / limit:.1f} {unit}"
    return f"{number / 1024:.0f} KiB"


def bar(fraction: float, width: int) -> tuple[str, str]:
    """The full and the empty part of a bar, in eighths of a cell."""
    exact = max(0.0, min(1.0, fraction)) * width
    whole = int(exact)
    part = " ▏▎▍▌▋▊▉"[int((exact - whole) * 8)] if whole < width else ""
    full = "█" * whole + part.strip()
    return full, " " * (width - len(full))


def spark(values: list[float], width: int, top: float = 1.0) -> str:
    """The last `width` values as a line of bars, `top` being full height."""
    bars = "▁▂▃▄▅▆▇█"
    kept = values[-width:]
    line = "".join(bars[min(7, max(0, int(value / top * 7.999)))] if top else " " for value in kept)
    return line.rjust(width)
