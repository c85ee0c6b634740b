"""What one event of an agent's stream tells, and what the forms of the agents have in common. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoresearch_tui.researchers.base import Usage
from autoresearch_tui.session.stream_marks import CALL, RESULT, TEXT, THINKING, part
from autoresearch_tui.util.text import describe

_LINES = 4
_CHARS = 400
_MOST_TOKENS = 10**12
_MOST_USD = 1e9
# Of a tool's input, what says most.
_TELLING = ("command", "file_path", "filePath", "path", "pattern", "query", "url", "description")
# What an edit takes away, and what it puts there.
_REPLACED = (("old_string", "oldString"), ("new_string", "newString"))
_GLIMPSE = 80


@dataclass(frozen=True, slots=True)
class Reading:
    """What is worth keeping of one event.

    `parts` are to be shown. `words` is what the agent said in it; with `piece` it continues where the last piece
    ended. `trouble` is what went wrong, as the agent tells it. `session` is named where the event names it. `cost` is
    what `of` took (a message, a step) or, where that is empty, all of the session up to here.
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
    """A JSON object, as agents print them a line each; empty for anything else."""
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
    """A string, without the space around it; empty for anything else."""
    return value.strip() if isinstance(value, str) else ""


def count(*values: object) -> int:
    """The sum of those that can be counts of tokens."""
    return sum(each for each in values if isinstance(each, int) and 0 <= each <= _MOST_TOKENS)


def dollars(value: object) -> float | None:
    """An amount, or None if it cannot be one."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= _MOST_USD else None


def thought(value: object) -> tuple[str, ...]:
    """The part for what it thinks."""
    return (part(THINKING, said),) if (said := text(value)) else ()


def told(value: object) -> tuple[str, ...]:
    """The part for what it says."""
    return (part(TEXT, said),) if (said := text(value)) else ()


def called(name: object, given: object) -> tuple[str, ...]:
    """The part for a call of a tool with its input."""
    return (part(CALL, f"{text(name)} {_input(given)}".strip()),)


def gave(value: object, *, failed: bool = False, empty: str = "nothing") -> tuple[str, ...]:
    """The part for what a tool gave back: a text, or a list of texts; none for anything else."""
    if isinstance(value, list):
        value = "\n".join(str(each.get("text", "")) for each in listed(value))
    if not isinstance(value, str):
        return ()
    return (part(RESULT, ("failed: " if failed else "") + (short(value) or empty)),)


def aside(value: str) -> str:
    """A line that is neither the agent's words nor a tool's: it ends the part before it."""
    return f"── {describe(value)}"


def short(value: str) -> str:
    """A few lines of a long text."""
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
    """A line as it is, of several how many."""
    lines = value.splitlines()
    return describe(lines[0], _GLIMPSE) if len(lines) == 1 else f"{len(lines)} lines"
