"""Experiments as rows: every field of the experiment, its session's, and its log's summary. Pure.

The columns come from the classes, so a new field of an event is exported without a change here.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum

from autoresearch_tui.session import statistics
from autoresearch_tui.session.events import ProposalMade
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.numbers import number
from autoresearch_tui.util.secrets import is_secret
from autoresearch_tui.util.text import clean_line, clean_text

# A log may have any number of keys.
_MOST_SUMMARY_KEYS = 256

Value = str | int | float | bool | tuple[str, ...] | tuple[float, ...] | None
Row = dict[str, Value]


class Kind(StrEnum):
    """The type of a column. Text is never None; times are UTC, ISO 8601, empty if unknown."""

    TEXT = "text"
    TIME = "time"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    TEXTS = "texts"
    NUMBERS = "numbers"


class Table(Frozen):
    """Rows that all have the same columns, in this order."""

    columns: Mapping[str, Kind]
    rows: tuple[Row, ...]


def table(sessions: Iterable[tuple[str, State]], redact: Callable[[str], str] = str) -> Table:
    """All experiments of these sessions, each with its name. `redact` removes the user's secrets from every text."""
    rows = [{"session": name, **row} for name, state in sessions for row in _rows(state, redact)]
    wild = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in _COLUMNS]
    summaries = {key: _kind(row.get(key) for row in rows) for key in wild[:_MOST_SUMMARY_KEYS]}
    columns = {**_COLUMNS, **summaries}
    return Table(columns, tuple({key: _as(kind, row.get(key)) for key, kind in columns.items()} for row in rows))


def _rows(state: State, redact: Callable[[str], str]) -> Iterator[Row]:
    gains = statistics.gains(state)
    for experiment in state.experiments:
        yield {**_row(state, experiment, redact), "gain": gains.get(experiment.number)}


def _row(state: State, experiment: Experiment, redact: Callable[[str], str]) -> Row:
    row: Row = {name: _value(getattr(state.session, name, None), redact) for name in _OF_SESSION}
    for name, column, _ in _fields(ProposalMade):
        row[column] = _value(getattr(experiment.proposal, name), redact)
    for name in (*_DERIVED, *(name for name, _, _ in _fields(Experiment))):
        row[name] = _value(getattr(experiment, name), redact)
    for part, of in _PARTS.items():
        whole = getattr(experiment, part)
        for name, column, _ in _fields(of, part):
            row[column] = None if whole is None else _value(getattr(whole, name), redact)
    for key, text in (experiment.score.summary if experiment.score is not None else {}).items():
        hidden = is_secret(key) and number(text) is None
        row[f"summary_{clean_line(key)}"] = "[key]" if hidden else redact(clean_line(text))
    for key, value in (experiment.score.columns if experiment.score is not None else {}).items():
        row[f"column_{clean_line(key)}"] = value
    return row


def _value(value: object, redact: Callable[[str], str]) -> Value:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, str):
        return redact(clean_text(value))
    if isinstance(value, tuple):
        numbers = tuple(each for each in value if isinstance(each, float))
        return numbers or tuple(redact(clean_text(str(each))) for each in value)
    return value if isinstance(value, bool | int | float) else None


def _as(kind: Kind, value: Value) -> Value:
    if kind is Kind.NUMBER:
        return number(value) if isinstance(value, str) else float(value) if isinstance(value, int | float) else None
    if value is None:
        return "" if kind in (Kind.TEXT, Kind.TIME) else () if kind in (Kind.TEXTS, Kind.NUMBERS) else None
    return value


def _kind(values: Iterator[Value]) -> Kind:
    """For values from logs: numbers if all of them are."""
    return Kind.NUMBER if all(number(str(value)) is not None for value in values if value) else Kind.TEXT


# ── the columns ─────────────────────────────────────────────────────────────────────────────────────────────────


def _fields(of: type[Frozen], prefix: str = "") -> Iterator[tuple[str, str, Kind]]:
    """Each field's name, its column and its kind, except parts and tables."""
    for name, hint in _hints(of).items():
        kind = _kind_of(name, hint)
        if kind is not None and not (prefix and name == "number"):
            yield name, f"{prefix}_{name}" if prefix else name, kind


def _hints(of: type[Frozen]) -> dict[str, object]:
    """The type of each field, without its None."""
    hints = typing.get_type_hints(of)
    return {name: _without_none(hints[name]) for name in of.__struct_fields__}


def _without_none(hint: object) -> object:
    if isinstance(hint, types.UnionType):
        known = [each for each in typing.get_args(hint) if each is not types.NoneType]
        return known[0] if len(known) == 1 else None
    return hint


def _kind_of(name: str, hint: object) -> Kind | None:
    if typing.get_origin(hint) is tuple:
        return Kind.NUMBERS if float in typing.get_args(hint) else Kind.TEXTS
    if not isinstance(hint, type):
        return None
    if issubclass(hint, str):
        return Kind.TIME if name.endswith("_at") or name == "deadline" else Kind.TEXT
    return {bool: Kind.FLAG, int: Kind.INTEGER, float: Kind.NUMBER}.get(hint)


# Properties that an experiment derives from its events.
_DERIVED = {"outcome": Kind.TEXT, "value": Kind.NUMBER, "memory_gb": Kind.NUMBER, "reason": Kind.TEXT}
# The events embedded in an experiment, whose columns begin with their names.
_PARTS = {
    name: hint
    for name, hint in _hints(Experiment).items()
    if isinstance(hint, type) and issubclass(hint, Frozen) and hint is not ProposalMade
}


_OF_SESSION = {"metric": Kind.TEXT, "goal": Kind.TEXT, "budget_seconds": Kind.NUMBER}


def _columns() -> dict[str, Kind]:
    proposal = {column: kind for _, column, kind in _fields(ProposalMade)}
    own = _DERIVED | {column: kind for _, column, kind in _fields(Experiment)}
    parts = {column: kind for part, of in _PARTS.items() for _, column, kind in _fields(of, part)}
    return {"session": Kind.TEXT, **_OF_SESSION, **proposal, **own, **parts, "gain": Kind.NUMBER}


_COLUMNS = _columns()
