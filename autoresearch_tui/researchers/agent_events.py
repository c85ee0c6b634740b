"""An agent's JSON events, a line each, as the parts of its stream: Claude Code's and Codex's. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from autoresearch_tui.parts import CALL, RESULT, TEXT, THINKING, part

_LINES = 4
_CHARS = 400
# Of a tool's input, what says most.
_TELLING = ("command", "file_path", "path", "pattern", "query", "url", "description")


def event(line: str) -> dict[str, object]:
    """A JSON object, as agents print them a line each; empty for anything else."""
    if not line.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def parts(line: str) -> list[str] | None:
    """What is worth showing of an event; None where the line is not an event that is known."""
    found = event(line)
    kind = found.get("type")
    if kind in ("assistant", "user"):
        message = found.get("message")
        return list(_blocks(message)) if isinstance(message, dict) else None
    if kind in ("item.started", "item.completed"):
        item = found.get("item")
        return list(_item(item, done=kind == "item.completed")) if isinstance(item, dict) else None
    known = kind in ("system", "result", "stream_event", "thread.started", "turn.started", "turn.completed")
    return [] if known else None


def _blocks(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    for block in content if isinstance(content, list) else []:
        if not isinstance(block, dict):
            continue
        match block.get("type"):
            case "thinking":
                yield from _said(THINKING, block.get("thinking"))
            case "text":
                yield from _said(TEXT, block.get("text"))
            case "tool_use":
                yield part(CALL, f"{block.get('name', '')} {_input(block.get('input'))}".rstrip())
            case "tool_result":
                yield from _gave(block.get("content"), failed=bool(block.get("is_error")))


def _item(item: Mapping[str, Any], *, done: bool) -> Iterator[str]:
    match item.get("type"):
        case "reasoning" if done:
            yield from _said(THINKING, item.get("text"))
        case "agent_message" if done:
            yield from _said(TEXT, item.get("text"))
        case "command_execution" if not done:
            yield part(CALL, _short(str(item.get("command", ""))))
        case "command_execution":
            yield from _gave(item.get("aggregated_output"), failed=item.get("exit_code") not in (0, None))
        case "file_change" if done:
            changes = item.get("changes")
            paths = (
                [str(c.get("path", "")) for c in changes if isinstance(c, dict)] if isinstance(changes, list) else []
            )
            yield part(CALL, f"edit {', '.join(paths)}")


def _said(mark: str, text: object) -> Iterator[str]:
    if isinstance(text, str) and text.strip():
        yield part(mark, text.strip())


def _gave(content: object, *, failed: bool) -> Iterator[str]:
    if isinstance(content, list):
        content = "\n".join(str(one.get("text", "")) for one in content if isinstance(one, dict))
    if isinstance(content, str):
        yield part(RESULT, ("failed: " if failed else "") + (_short(content) or "nothing"))


def _input(given: object) -> str:
    if not isinstance(given, dict):
        return ""
    told = next((given[key] for key in _TELLING if isinstance(given.get(key), str)), None)
    return _short(told if told is not None else json.dumps(given, ensure_ascii=False))


def _short(text: str) -> str:
    lines = text.strip().splitlines()
    cut = "\n".join(lines[:_LINES])[:_CHARS].rstrip()
    return f"{cut} …" if len(lines) > _LINES or len(cut) < len("\n".join(lines[:_LINES]).rstrip()) else cut
