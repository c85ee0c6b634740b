"""The format of Codex 0.169.0, `exec --json`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from autoresearch_tui.researchers.agents.reading import (
    NOTHING,
    Reading,
    aside,
    call_part,
    count,
    listed,
    result_part,
    table,
    text,
    text_part,
    thinking_part,
)
from autoresearch_tui.researchers.base import Usage

_FAILED = ("failed", "declined")
_HELD = "Codex could not write a file; inside the sandbox its own sandbox has to be off: --sandbox danger-full-access"


def read(event: Mapping[str, Any]) -> Reading | None:
    """The content of an event; None if it is not one of Codex's."""
    kind = event.get("type")
    match kind:
        case "thread.started":
            return Reading(session=text(event.get("thread_id")))
        case "item.started" | "item.completed" if isinstance(event.get("item"), dict):
            return _item(event["item"], done=kind == "item.completed")
        case "turn.completed":
            # of the whole thread, including cached tokens and thinking; without dollars
            usage = table(event.get("usage"))
            return Reading(cost=Usage(count(usage.get("input_tokens")), count(usage.get("output_tokens"))))
        case "turn.failed":
            return Reading(trouble=text(table(event.get("error")).get("message")) or "the turn failed")
        case "error" if isinstance(event.get("message"), str) and "severity" not in event:
            return Reading(trouble=text(event["message"]))
    return NOTHING if kind in ("turn.started", "item.updated") else None


def _item(item: Mapping[str, Any], *, done: bool) -> Reading:
    kind, failed = item.get("type"), item.get("status") in _FAILED
    match kind:
        case "reasoning" if done:
            return Reading(thinking_part(item.get("text")))
        case "agent_message" if done:
            return Reading(text_part(item.get("text")), text(item.get("text")))
        case "command_execution" if not done:
            return Reading(call_part(_command(text(item.get("command"))), None))
        case "command_execution":
            failed = failed or item.get("exit_code") not in (0, None)
            return Reading(result_part(item.get("aggregated_output"), failed=failed))
        case "file_change" if not done:
            paths = ", ".join(text(each.get("path")) for each in listed(item.get("changes")))
            return Reading(call_part(f"edit {paths}", None))
        case "file_change" if done:
            return Reading(
                result_part("", failed=failed, empty="not written" if failed else "done"), trouble=_HELD * failed
            )
        case "mcp_tool_call" if not done:
            return Reading(call_part(item.get("tool"), item.get("arguments")))
        case "web_search" if done:
            return Reading(call_part("search", item))
        case "error" if done:
            # a warning; a failure has its own event
            return Reading((aside(f"warning: {text(item.get('message'))}"),))
    return NOTHING


def _command(line: str) -> str:
    """A command line without the shell that runs it."""
    try:
        words = shlex.split(line)
    except ValueError:
        return line
    return words[2] if len(words) == 3 and words[1] in ("-c", "-lc") else line
