"""Two tables, experiments and curves, as JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch_tui.report.export.curves import Curve, keys
from autoresearch_tui.report.export.rows import Kind, Row, Table, Value
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.text import as_text

EXPERIMENTS, CURVES = "experiments", "curves"
_BATCH = 1 << 16
_OF_CURVE = {"session": Kind.TEXT, "experiment": Kind.INTEGER, "step": Kind.INTEGER}


def jsonl(table: Table, curves: Sequence[Curve], folder: Path) -> None:
    """One object a line. Non-finite numbers are the strings "NaN", "Infinity" and "-Infinity"."""
    _lines(folder / f"{EXPERIMENTS}.jsonl", table.rows)
    _lines(folder / f"{CURVES}.jsonl", _points(curves))


def to_csv(table: Table, curves: Sequence[Curve], folder: Path) -> None:
    """As in RFC 4180. Text that a spreadsheet would take for a formula begins with an apostrophe."""
    columns = _curve_columns(curves)
    for name, kinds, rows in (
        (EXPERIMENTS, table.columns, iter(table.rows)),
        (CURVES, columns, _points(curves)),
    ):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(as_text(column) for column in kinds)
            writer.writerows([_cell(row.get(column)) for column in kinds] for row in rows)


def parquet(table: Table, curves: Sequence[Curve], folder: Path) -> None:
    """Typed columns, compressed; unknown values are null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types: Mapping[Kind, Any] = {
        Kind.TEXT: pa.string(),
        Kind.TIME: pa.timestamp("ms", tz="UTC"),
        Kind.INTEGER: pa.int64(),
        Kind.NUMBER: pa.float64(),
        Kind.FLAG: pa.bool_(),
        Kind.TEXTS: pa.list_(pa.string()),
        Kind.NUMBERS: pa.list_(pa.float64()),
    }

    def write(name: str, kinds: Mapping[str, Kind], rows: Iterable[Row]) -> None:
        schema = pa.schema([(column, types[kind]) for column, kind in kinds.items()])
        # A Python file, so that a full disk raises OSError.
        path = folder / f"{name}.parquet"
        with path.open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for batch in _batches(rows):
                columns = {column: _column(kind, [row.get(column) for row in batch]) for column, kind in kinds.items()}
                writer.write_table(pa.table(columns, schema=schema))

    write(EXPERIMENTS, table.columns, table.rows)
    write(CURVES, _curve_columns(curves), _points(curves))


def _points(curves: Iterable[Curve]) -> Iterator[Row]:
    for curve in curves:
        ours: Row = {"session": curve.session, "experiment": curve.number}
        for point in curve.points():
            # Ours come first and win, because a log may have "experiment: 5" too.
            yield ours | point | ours


def _curve_columns(curves: Sequence[Curve]) -> dict[str, Kind]:
    return _OF_CURVE | dict.fromkeys(keys(curves), Kind.NUMBER) | _OF_CURVE


def _lines(path: Path, rows: Iterable[Mapping[str, Value]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json_line(row))


def json_line(row: Mapping[str, Value]) -> str:
    values = {key: _json(value) for key, value in row.items()}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"


def _json(value: Value) -> Value:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return as_text(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, tuple) else repr(value)


def _column(kind: Kind, values: list[Any]) -> list[Any]:
    if kind is Kind.TIME:
        return [timestamps.parse(value) if value else None for value in values]
    return values


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch
