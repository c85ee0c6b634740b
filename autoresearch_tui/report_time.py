"""Pure: where the time of a session went."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from autoresearch_tui.engine import events as ev


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds: the whole session, its runs, and the time without an engine."""

    total: float = 0.0
    busy: float = 0.0
    stopped: float = 0.0
    runs: int = 0

    @property
    def share(self) -> float:
        """How much of the time something was in training, the time without an engine left out."""
        awake = self.total - self.stopped
        return min(self.busy / awake, 1.0) if awake > 0 else 0.0


def spent(records: Iterable[ev.Record]) -> Spent:
    """From the times of a journal's records: a run counts from its start to its verdict."""
    first = last = ""
    started: dict[int, str] = {}
    gone = ""
    busy = stopped = 0.0
    runs = 0
    for record in records:
        first, last = first or record.time, record.time
        match record.event:
            case ev.RunStarted(number=number):
                started[number] = record.time
            case ev.VerdictGiven(number=number) | ev.ProposalPutBack(number=number):
                if number in started:
                    busy += seconds_between(started.pop(number), record.time)
                    runs += isinstance(record.event, ev.VerdictGiven)
            case ev.EngineStopped():
                gone = record.time
            case ev.EngineStarted() if gone:
                stopped += seconds_between(gone, record.time)
                gone = ""
    return Spent(seconds_between(first, last), busy, stopped, runs)


def seconds_between(start: str, end: str) -> float:
    """Between two times of records; never negative, for clocks are set back."""
    if not start or not end:
        return 0.0
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def clock(time: str) -> str:
    """`2026-11-21 03:12`, UTC: a report reads the same everywhere."""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M") if time else "?"


def span(seconds: float) -> str:
    """`7 h 42 min`, `5 min 26 s`, `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole} s"
