"""The format of OpenCode 1.18.33, `run --format json`, with `--thinking` for its thinking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoresearch_tui.researchers.agents.reading import (
    Reading,
    call_part,
    count,
    dollars,
    result_part,
    table,
    text,
    text_part,
    thinking_part,
)
from autoresearch_tui.researchers.base import Usage


def read(event: Mapping[str, Any]) -> Reading | None:
    """The content of an event; None if it is not one of OpenCode's."""
    kind, session, part = event.get("type"), text(event.get("sessionID")), table(event.get("part"))
    match kind:
        case "step_start" if part:
            return Reading(session=session)
        case "text" if part:
            return Reading(text_part(part.get("text")), text(part.get("text")), session=session)
        case "reasoning" if part:
            return Reading(thinking_part(part.get("text")), session=session)
        case "tool_use" if part:
            return Reading(_tool(part), session=session)
        case "step_finish" if part:
            return Reading(session=session, cost=_cost(part), of=text(part.get("id")))
        case "error" if isinstance(event.get("error"), dict):
            return Reading(trouble=_trouble(event["error"]), session=session)
    return None


def _tool(part: Mapping[str, Any]) -> tuple[str, ...]:
    # one event for the call and its result
    state = table(part.get("state"))
    failed = state.get("status") == "error"
    # the content of a read file, without the tags around it
    shown = table(state.get("metadata")).get("preview")
    result = state.get("error") if failed else shown if isinstance(shown, str) else state.get("output")
    return (*call_part(part.get("tool"), state.get("input")), *result_part(result, failed=failed))


def _cost(part: Mapping[str, Any]) -> Usage:
    tokens = table(part.get("tokens"))
    cache = table(tokens.get("cache"))
    sent = count(tokens.get("input"), cache.get("read"), cache.get("write"))
    received = count(tokens.get("output"), tokens.get("reasoning"))
    # 0 means that it does not know the model's price
    return Usage(sent, received, dollars(part.get("cost")) or None)


def _trouble(error: Mapping[str, Any]) -> str:
    data = table(error.get("data"))
    status = data.get("statusCode")
    words = text(data.get("message")) or text(error.get("name")) or "it failed"
    return f"{words} ({status})" if isinstance(status, int) else words
