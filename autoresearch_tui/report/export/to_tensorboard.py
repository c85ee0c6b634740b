"""Event files for TensorBoard: a run folder for each curve, and one for the scores of each session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from autoresearch_tui.report.export.curves import Curve, Point, seconds
from autoresearch_tui.report.export.rows import Row, Table
from autoresearch_tui.session.ends import SCORED, Outcome
from autoresearch_tui.util import timestamps

# TensorBoard takes every file with this in its name; its own writer would add the name of this machine.
_FILE = "events.out.tfevents.autoresearch"


def write(table: Table, curves: Sequence[Curve], folder: Path) -> None:
    """`SESSION/NNNN` has the curve of an experiment, `SESSION` the metric and the frontier over all of them."""
    started = {(row["session"], row["number"]): str(row["started_at"]) for row in table.rows}
    for curve in curves:
        began = timestamps.seconds(started[curve.session, curve.number])
        _write(folder / curve.session / f"{curve.number:04d}", _steps(curve.points(), began))
    for session in dict.fromkeys(str(row["session"]) for row in table.rows):
        _write(folder / session, _scores([row for row in table.rows if row["session"] == session]))


def _steps(points: Iterable[Point], now: float) -> Iterable[Event]:
    for point in points:
        now += seconds(point)
        yield _event(now, int(point["step"]), {key: value for key, value in point.items() if key != "step"})


def _scores(rows: Iterable[Row]) -> Iterable[Event]:
    best: float | None = None
    for row in rows:
        value, number = row["value"], row["number"]
        if not isinstance(value, float) or not isinstance(number, int) or row["outcome"] not in SCORED:
            continue
        if row["outcome"] == Outcome.KEEP:
            best = value
        found = {str(row["metric"]): value, "frontier": best, "memory_gb": row["memory_gb"], "gain": row["gain"]}
        found |= {key.removeprefix("column_"): each for key, each in row.items() if key.startswith("column_")}
        numbers = {key: each for key, each in found.items() if isinstance(each, float)}
        yield _event(timestamps.seconds(str(row["ended_at"])), number, numbers)


def _event(time: float, step: int, values: dict[str, float]) -> Event:
    summary = Summary(value=[Summary.Value(tag=key, simple_value=value) for key, value in values.items()])
    return Event(wall_time=time, step=step, summary=summary)


def _write(folder: Path, events: Iterable[Event]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _FILE).open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(file_version="brain.Event:2").SerializeToString())
        for event in events:
            writer.write(event.SerializeToString())
