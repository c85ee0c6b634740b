"""Offline runs of Weights & Biases for `wandb sync`, written directly with the records of its library.

Its client would start a server for each export, read the user's settings, netrc and environment, write to their cache,
record this machine, and take minutes for a night. A run's file is a list of the library's records in the framing of
LevelDB's log, which every version of `wandb sync` reads.
"""

from __future__ import annotations

import importlib
import json
import math
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import wandb

from autoresearch_tui.report.export.curves import Curve, Point, seconds
from autoresearch_tui.report.export.rows import Row, Table
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.util import timestamps

# Its messages are made at import, so type checkers do not know them.
proto: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
# Prefixes of an experiment's results; all other columns are its configuration.
_RESULTS = ("outcome", "value", "memory_gb", "gain", "took_", "run_", "score_", "summary_", "column_", "verdict_")
_MAGIC = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_BLOCK, _HEADER = 1 << 15, struct.Struct("<IHB")
_LONGEST_RUN = 2**31 - 1
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def write(table: Table, curves: Sequence[Curve], folder: Path, project: str) -> None:
    """A run for each experiment, in `folder`/wandb."""
    project = re.sub(r"[^A-Za-z0-9_.-]", "-", project)
    known = {(curve.session, curve.number): curve for curve in curves}
    for row in table.rows:
        curve = known.get((str(row["session"]), int(str(row["number"]))))
        _write_run(row, curve.points() if curve else (), folder / "wandb", project)


def _write_run(row: Row, points: Iterable[Point], folder: Path, project: str) -> None:
    # Always the same, so that a second upload is the same run.
    name = re.sub(r"[^A-Za-z0-9_-]", "-", f"{row['session']}-{row['number']:04d}-{str(row['commit'])[:7]}")
    began = timestamps.parse(str(row["started_at"] or row["proposed_at"]))
    run_folder = folder / f"offline-run-{began:%Y%m%d_%H%M%S}-{name}"
    run_folder.mkdir(parents=True)
    with (run_folder / f"run-{name}.wandb").open("wb") as file:
        log = _Log(file)
        for number, record in enumerate(_records(row, points, name, project, began.timestamp()), 1):
            record.num = number
            log.write(record.SerializeToString())


def _records(row: Row, points: Iterable[Point], name: str, project: str, began: float) -> Iterator[Any]:
    producer = proto.VersionInfo(producer=wandb.__version__, min_consumer="0.40.0")
    yield proto.Record(header=proto.HeaderRecord(version_info=producer))
    run = proto.RunRecord(
        run_id=name,
        project=project,
        display_name=f"{row['number']:04d} {row['description']}",
        notes=str(row["hypothesis"]),
        run_group=str(row["session"]),
        tags=[str(row["outcome"] or row["stage"])],
    )
    run.start_time.FromNanoseconds(round(began * 1e9))
    for key, value in row.items():
        if not key.startswith(_RESULTS):
            run.config.update.add(key=key, value_json=json.dumps(value))
    yield proto.Record(run=run)
    runtime, last = 0.0, {}
    for point in points:
        runtime += seconds(point)
        last = {key: value for key, value in point.items() if key != "step"}
        last |= {"_step": int(point["step"]), "_runtime": runtime, "_timestamp": began + runtime}
        items = [proto.HistoryItem(key=key, value_json=_number(value)) for key, value in last.items()]
        yield proto.Record(history=proto.HistoryRecord(item=items, step=proto.HistoryStep(num=int(point["step"]))))
    summary = proto.SummaryRecord()
    for key, value in (last | {key: value for key, value in row.items() if key.startswith(_RESULTS)}).items():
        summary.update.add(key=key, value_json=json.dumps(value))
    yield proto.Record(summary=summary)
    yield proto.Record(
        exit=proto.RunExitRecord(
            exit_code=int(row["outcome"] == Outcome.CRASH), runtime=min(round(runtime), _LONGEST_RUN)
        )
    )


def _number(value: float) -> str:
    # Most of a night's export is this: json.dumps takes several times as long.
    return repr(value) if math.isfinite(value) else json.dumps(value)


class _Log:
    """Records in blocks of 32 KiB; a record that does not fit into the rest of a block is split."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place = file.write(_MAGIC)

    def write(self, record: bytes) -> None:
        kind, rest = _FULL, memoryview(record)
        while True:
            room = _BLOCK - self._place % _BLOCK - _HEADER.size
            if room < 0:
                self._place += self._file.write(bytes(room + _HEADER.size))
                continue
            piece, rest = rest[:room], rest[room:]
            if rest:
                kind = _FIRST if kind == _FULL else _MIDDLE
            elif kind != _FULL:
                kind = _LAST
            checksum = zlib.crc32(piece, zlib.crc32(bytes([kind])))
            self._place += self._file.write(_HEADER.pack(checksum, len(piece), kind)) + self._file.write(piece)
            if not rest:
                return
