"""Events that no known agent has: of another version, or of another agent. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from autoresearch_tui.researchers.agents.reading import table, text
from autoresearch_tui.util.text import describe

_KIND_KEYS = ("type", "event", "kind", "method")
_TEXT_KEYS = ("result", "response", "text", "message", "content", "output_text", "delta")
_PIECE = re.compile(r"delta|chunk|partial|token", re.IGNORECASE)
_FAILED = re.compile(r"error|fail|refus|abort", re.IGNORECASE)
_DEEP = 6
_LONGEST_KIND = 60


def kind(found: Mapping[str, Any]) -> str:
    """The event's name for itself; empty for an object that is not an event."""
    for place in (found, *(table(value) for value in found.values())):
        for key in _KIND_KEYS:
            if name := text(place.get(key)):
                return describe(name, _LONGEST_KIND)
    return ""


def words(found: Mapping[str, Any]) -> str:
    """The text in it, except the user's, or pieces of text; empty if there is none."""
    if _PIECE.search(kind(found)):
        return ""
    return next(_texts(found, _DEEP), "")


def trouble(found: Mapping[str, Any]) -> str:
    """The failure that the event reports, if any."""
    return (words(found) or kind(found)) if _FAILED.search(kind(found)) else ""


def _texts(value: object, deep: int) -> Iterator[str]:
    if deep == 0:
        return
    if isinstance(value, list):
        for each in value:
            yield from _texts(each, deep - 1)
    if not isinstance(value, dict) or value.get("role") == "user":
        return
    for key in _TEXT_KEYS:
        if found_text := text(value.get(key)):
            yield found_text
    for each in value.values():
        if isinstance(each, dict | list):
            yield from _texts(each, deep - 1)
