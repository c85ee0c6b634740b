"""The curves: every progress line of every run's log, read lazily, one session and experiment after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from autoresearch_tui.logs.lines import progress_fields
from autoresearch_tui.logs.trace import progress_frames
from autoresearch_tui.report.sessions import Session
from autoresearch_tui.util.frozen import Frozen

_MOST_KEYS = 256
_LONGEST_STEP = 86_400.0

Point = dict[str, float]


class Curve(Frozen):
    """The log of one experiment's run; `points` reads it."""

    session: str
    number: int
    log: Path

    def points(self) -> Iterator[Point]:
        """Each has `step` and `loss`, and the line's other numbers; all except the step may be NaN or infinite."""
        for frame in progress_frames(self.log):
            if point := progress_fields(frame):
                yield point


def seconds(point: Point) -> float:
    """The duration of a step, if its log has a plausible one."""
    taken = point.get("dt_ms", 0.0) / 1000
    return taken if 0 <= taken < _LONGEST_STEP else 0.0


def of_sessions(sessions: Iterable[Session]) -> tuple[Curve, ...]:
    """A curve for each experiment whose run has left a log."""
    return tuple(
        Curve(session.tag, experiment.number, log)
        for session in sessions
        for experiment in session.state.experiments
        if (log := session.files.run(experiment.number).log).is_file()
    )


def keys(curves: Iterable[Curve]) -> tuple[str, ...]:
    """The names of all numbers, `step` and `loss` first. Reads every log."""
    found = {"step": None, "loss": None}
    for curve in curves:
        for point in curve.points():
            if not found.keys() >= point.keys():
                found.update(dict.fromkeys(point))
    return tuple(found)[:_MOST_KEYS]
