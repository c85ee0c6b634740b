"""The format of Gemini CLI 0.61.0, `--output-format stream-json`. It has no thinking."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autoresearch_tui.researchers.agents.reading import (
    NOTHING,
    Reading,
    call_part,
    count,
    result_part,
    table,
    text,
    text_part,
)
from autoresearch_tui.researchers.base import Usage


def read(event: Mapping[str, Any]) -> Reading | None:
    """The content of an event; None if it is not one of Gemini CLI's."""
    match event.get("type"):
        case "init":
            return Reading(session=text(event.get("session_id")))
        case "message" if isinstance(event.get("content"), str):
            return _message(event)
        case "tool_use" if "tool_name" in event:
            return Reading(call_part(event["tool_name"], event.get("parameters")))
        case "tool_result":
            failed = event.get("status") == "error"
            return Reading(result_part(event.get("output", ""), failed=failed, empty="done"))
        case "error" if "severity" in event:
            return Reading(trouble=_plain(text(event.get("message"))))
        case "result" if "status" in event:
            return _result(event)
    return None


def _message(event: Mapping[str, Any]) -> Reading:
    # the user's message is our prompt
    if event.get("role") != "assistant":
        return NOTHING
    if event.get("delta"):
        return Reading(words=event["content"], piece=True)
    return Reading(text_part(event["content"]), text(event["content"]))


def _result(event: Mapping[str, Any]) -> Reading:
    stats = table(event.get("stats"))
    sent, received, whole = (count(stats.get(f"{kind}_tokens")) for kind in ("input", "output", "total"))
    trouble = ""
    if event.get("status") == "error":
        trouble = _plain(text(table(event.get("error")).get("message"))) or "it ended with an error"
    # thinking tokens are in the total only; there are no dollars
    return Reading(trouble=trouble, cost=Usage(sent, max(received, whole - sent)))


def _plain(message: str) -> str:
    """The message in a quoted answer of the API."""
    message = message.removeprefix("[API Error: ")
    start = message.find("{")
    if start < 0:
        return message.replace("]\n", "\n", 1).removesuffix("]")
    try:
        found, _ = json.JSONDecoder().raw_decode(message[start:])
    except (ValueError, RecursionError):
        return message
    return text(table(table(found).get("error")).get("message")) or message
