"""How numbers, times and outcomes are written, once for all panes."""

from __future__ import annotations

from datetime import UTC, datetime

from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.text import describe

MARKS = {
    "keep": ("✓", "good"),
    "discard": ("·", "dim"),
    "crash": ("✗", "bad"),
    "invalid": ("!", "warn"),
    "vetoed": ("⊘", "warn"),
    "withdrawn": ("↶", "dim"),
    "proposed": ("○", "text"),
    "review": ("●", "warn"),
    "approved": ("◉", "accent"),
    "running": ("▶", "accent"),
    "ended": ("▶", "accent"),
    "scored": ("▶", "accent"),
}
"""A glyph and a tone for every outcome and open stage: never a colour alone."""


def seconds_of(time: str) -> float:
    """A record's time as seconds since 1970; 0 where there is none."""
    if not time:
        return 0.0
    return datetime.fromisoformat(time).astimezone(UTC).timestamp()


def clock(seconds: float) -> str:
    """`0:32`, `12:05`, `1:02:05`."""
    whole = max(0, int(seconds))
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def delta(value: float | None, against: float | None, goal: str, digits: int = 4) -> tuple[str, str]:
    """The distance to `against` as `▼ 0.0123` and its tone: good where the goal is nearer."""
    if value is None or against is None:
        return "", "dim"
    difference = value - against
    if abs(difference) < 0.5 * 10**-digits:
        # Not nothing, only less than can be written here.
        return f"{'=' if difference == 0 else '~'} {0:.{digits}f}", "dim"
    better = (difference < 0) == (goal == "minimize")
    return f"{'▼' if difference < 0 else '▲'} {abs(difference):.{digits}f}", "good" if better else "dim"


def at_best(state: State) -> bool:
    """Whether the frontier is the best of what was kept: a human may have put it elsewhere."""
    kept = [e.value for e in state.experiments if e.outcome == "keep" and e.value is not None]
    if state.best is None or state.best.value is None or not kept:
        return True
    best = max(kept) if state.session and state.session.goal == "maximize" else min(kept)
    return state.best.value == best


def tsv_row(experiment: Experiment) -> str:
    """An experiment as results.tsv has it."""
    value = "0.000000" if experiment.value is None else f"{experiment.value:.6f}"
    outcome = experiment.outcome or experiment.stage.value
    memory = f"{experiment.memory_gb:.1f}"
    return "\t".join((experiment.commit[:7], value, memory, outcome, describe(experiment.description)))


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
