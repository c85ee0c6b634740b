"""The content of one event of an agent's stream, and helpers that the agents' formats share. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autoresearch_tui.researchers.base import Usage
from autoresearch_tui.session.stream_marks import CALL, RESULT, TEXT, THINKING, part
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe

_LINES = 4
_CHARS = 400
_MOST_TOKENS = 10**12
_MOST_USD = 1e9
# The most telling keys of a tool's input.
_TELLING = ("command", "file_path", "filePath", "path", "pattern", "query", "url", "description")
# The old and the new text of an edit.
_REPLACED = (("old_string", "oldString"), ("new_string", "newString"))
_GLIMPSE = 80


class Reading(Frozen):
    """The content of one event.

    `parts` are to be shown. `words` is the agent's text; with `piece` it continues the last piece. `trouble` is a
    failure in the agent's words. `session` is set if the event names it. `cost` is that of `of` (a message, a step) or,
    if that is empty, of the whole session so far.
    """

    parts: tuple[str, ...] = ()
    words: str = ""
    piece: bool = False
    trouble: str = ""
    session: str = ""
    cost: Usage | None = None
    of: str = ""


NOTHING = Reading()


def event(line: str) -> dict[str, Any]:
    """The JSON object in a line; empty for anything else."""
    if not line.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def table(value: object) -> Mapping[str, Any]:
    """A JSON object; empty for anything else."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Mapping[str, Any]]:
    """The objects in a JSON array."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """A string, stripped; empty for anything else."""
    return value.strip() if isinstance(value, str) else ""


def count(*values: object) -> int:
    """The sum of the values that can be counts of tokens."""
    return sum(each for each in values if isinstance(each, int) and 0 <= each <= _MOST_TOKENS)


def dollars(value: object) -> float | None:
    """An amount, or None if it cannot be one."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= _MOST_USD else None


def thinking_part(value: object) -> tuple[str, ...]:
    return (part(THINKING, content),) if (content := text(value)) else ()


def text_part(value: object) -> tuple[str, ...]:
    return (part(TEXT, content),) if (content := text(value)) else ()


def call_part(name: object, given: object) -> tuple[str, ...]:
    return (part(CALL, f"{text(name)} {_input(given)}".strip()),)


def result_part(value: object, *, failed: bool = False, empty: str = "nothing") -> tuple[str, ...]:
    """The result of a tool: a text, or a list of texts; none for anything else."""
    if isinstance(value, list):
        value = "\n".join(str(each.get("text", "")) for each in listed(value))
    if not isinstance(value, str):
        return ()
    return (part(RESULT, ("failed: " if failed else "") + (short(value) or empty)),)


def aside(value: str) -> str:
    """A line that is neither the agent's text nor a tool's; it ends the part before it."""
    return f"── {describe(value)}"


def short(value: str) -> str:
    """The first lines of a long text."""
    lines = value.strip().splitlines()
    whole = "\n".join(lines[:_LINES]).rstrip()
    cut = whole[:_CHARS].rstrip()
    return f"{cut} …" if len(lines) > _LINES or len(cut) < len(whole) else cut


def _input(given: object) -> str:
    if not isinstance(given, dict):
        return ""
    telling = next((given[key] for key in _TELLING if isinstance(given.get(key), str)), None)
    if telling is None:
        return short(json.dumps(given, ensure_ascii=False))
    old, new = (next((text(given[key]) for key in keys if key in given), "") for keys in _REPLACED)
    return short(f"{telling}: {_glimpse(old)} → {_glimpse(new)}" if old and new else telling)


def _glimpse(value: str) -> str:
    """A single line itself, or the number of lines."""
    lines = value.splitlines()
    return describe(lines[0], _GLIMPSE) if len(lines) == 1 else f"{len(lines)} lines"
