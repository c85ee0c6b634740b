"""Events that no known agent has: another version of an agent, or another agent. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from autoresearch_tui.researchers.agents.reading import table, text
from autoresearch_tui.util.text import describe

_KIND_KEYS = ("type", "event", "kind", "method")
_SAID_KEYS = ("result", "response", "text", "message", "content", "output_text", "delta")
_PIECE = re.compile(r"delta|chunk|partial|token", re.IGNORECASE)
_FAILED = re.compile(r"error|fail|refus|abort", re.IGNORECASE)
_DEEP = 6
_LONGEST_KIND = 60


def kind(found: Mapping[str, Any]) -> str:
    """What the event calls itself; empty for an object that is none."""
    for place in (found, *(table(value) for value in found.values())):
        for key in _KIND_KEYS:
            if name := text(place.get(key)):
                return describe(name, _LONGEST_KIND)
    return ""


def words(found: Mapping[str, Any]) -> str:
    """What is said in it, not by the user and not in pieces; empty if nothing is."""
    if _PIECE.search(kind(found)):
        return ""
    return next(_said(found, _DEEP), "")


def trouble(found: Mapping[str, Any]) -> str:
    """What went wrong, where the event is about that."""
    return (words(found) or kind(found)) if _FAILED.search(kind(found)) else ""


def _said(value: object, deep: int) -> Iterator[str]:
    if deep == 0:
        return
    if isinstance(value, list):
        for each in value:
            yield from _said(each, deep - 1)
    if not isinstance(value, dict) or value.get("role") == "user":
        return
    for key in _SAID_KEYS:
        if said := text(value.get(key)):
            yield said
    for each in value.values():
        if isinstance(each, dict | list):
            yield from _said(each, deep - 1)
