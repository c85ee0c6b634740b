"""The format of Claude Code 2.1.197, `--output-format stream-json --verbose`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoresearch_tui.researchers.agents.reading import (
    NOTHING,
    Reading,
    call_part,
    count,
    dollars,
    listed,
    result_part,
    table,
    text,
    text_part,
    thinking_part,
)
from autoresearch_tui.researchers.base import Usage

_QUIET = ("stream_event", "rate_limit_event", "tool_progress", "tool_use_summary", "auth_status")


def read(event: Mapping[str, Any]) -> Reading | None:
    """The content of an event; None if it is not one of Claude Code's."""
    kind, session = event.get("type"), text(event.get("session_id"))
    match kind:
        case "assistant" | "user" if isinstance(event.get("message"), dict):
            return _message(event, session)
        case "system":
            return Reading(trouble=_retry(event), session=session)
        case "result" if "status" not in event:
            return _result(event, session)
    return NOTHING if kind in _QUIET else None


def _message(event: Mapping[str, Any], session: str) -> Reading:
    message = event["message"]
    words = "\n".join(filter(None, (text(block.get("text")) for block in listed(message.get("content")))))
    if event.get("error"):
        # its description of an API error, in place of a message
        return Reading(trouble=f"{words} ({text(event['error'])})", session=session)
    parts = tuple(part for block in listed(message.get("content")) for part in _block(block))
    if event["type"] == "user":
        return Reading(parts, session=session)
    # the output is not counted yet while it runs
    return Reading(parts, words, session=session, cost=_tokens(table(message.get("usage"))), of=text(message.get("id")))


def _block(block: Mapping[str, Any]) -> tuple[str, ...]:
    match block.get("type"):
        case "thinking":
            return thinking_part(block.get("thinking"))
        case "text":
            return text_part(block.get("text"))
        case "tool_use":
            return call_part(block.get("name"), block.get("input"))
        case "tool_result":
            return result_part(block.get("content"), failed=bool(block.get("is_error")))
    return ()


def _retry(event: Mapping[str, Any]) -> str:
    if event.get("subtype") != "api_retry":
        return ""
    why = " ".join(str(event[name]) for name in ("error_status", "error") if isinstance(event.get(name), str | int))
    attempt, attempts = count(event.get("attempt")), count(event.get("max_retries"))
    return f"the API gave no answer ({why}); attempt {attempt} of {attempts}"


def _result(event: Mapping[str, Any], session: str) -> Reading:
    words = text(event.get("result"))
    trouble = (words or f"it ended with {text(event.get('subtype'))}") if event.get("is_error") else ""
    tokens = _tokens(table(event.get("usage")))
    # includes the tokens of other models and subagents, which `usage` leaves out
    if models := [each for each in table(event.get("modelUsage")).values() if isinstance(each, dict)]:
        tokens = Usage(
            count(*(each.get(f"{kind}Tokens") for each in models for kind in ("input", *_CACHES))),
            count(*(each.get("outputTokens") for each in models)),
        )
    usd = dollars(event.get("total_cost_usd"))
    return Reading(
        words="" if trouble else words,
        trouble=trouble,
        session=session,
        cost=Usage(tokens.input_tokens, tokens.output_tokens, usd),
    )


_CACHES = ("cacheCreationInput", "cacheReadInput")


def _tokens(usage: Mapping[str, Any]) -> Usage:
    sent = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return Usage(count(*(usage.get(name) for name in sent)), count(usage.get("output_tokens")))
