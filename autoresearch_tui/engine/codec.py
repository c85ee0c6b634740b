"""Events as JSON objects: `seq`, `time`, `type` (the class name in snake case) and the event's own fields."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from typing import Any

from autoresearch_tui.engine import events as ev


def type_name(event: ev.Event) -> str:
    """`ProposalMade` → `proposal_made`."""
    return _snake(type(event).__name__)


def to_fields(event: ev.Event) -> dict[str, Any]:
    """The event's own fields as JSON values."""
    return {f.name: _plain(getattr(event, f.name)) for f in dataclasses.fields(event)}


def from_fields(name: str, values: Mapping[str, Any]) -> ev.Event:
    """The event that `type_name` and `to_fields` describe. Unknown fields (of a later version) are ignored.

    Raises ValueError for an unknown type or a missing field.
    """
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(f"unknown event type {name!r}")
    known: dict[str, Any] = {}
    for field_name in _FIELDS[kind]:
        if field_name in values:
            value = values[field_name]
            known[field_name] = tuple(value) if isinstance(value, list) else value
    try:
        return typing.cast(ev.Event, kind(**known))
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_KINDS: dict[str, type] = {_snake(kind.__name__): kind for kind in typing.get_args(ev.Event)}
_FIELDS = {kind: tuple(f.name for f in dataclasses.fields(kind)) for kind in _KINDS.values()}
