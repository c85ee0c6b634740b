"""The choice of a model, and of the protocol's features to use with it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoresearch_tui.researchers.base import ResearcherError
from autoresearch_tui.researchers.claude.stream import Reply
from autoresearch_tui.researchers.prompt import Prompt
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe

LINES = ("haiku", "sonnet", "opus", "fable")
"""The lines to choose from, the most capable last, without those by invitation only."""

MAX_TOKENS = 32_000
PLAIN_MAX_TOKENS = 16_000
THINKING_TOKENS = 10_000
EFFORTS = ("max", "xhigh", "high", "medium", "low")

Info = Mapping[str, Any]
"""A model as the API describes it."""


class Style(Frozen):
    """How the human wants the model to work; empty: its default effort, with the best thinking it offers."""

    effort: str = ""
    thinking: str = ""


class Dialect(Frozen):
    """The features of requests to `model`. The defaults are the plain dialect, which every server supports.

    `thinking` is one of the API's types; empty to leave it out.
    """

    model: str
    max_tokens: int = PLAIN_MAX_TOKENS
    cache: bool = False
    thinking: str = ""
    effort: str = ""


def choose(models: Sequence[Info]) -> Info:
    """Of the active models, the newest of the most capable line; else the only one there is."""
    active = [m for m in models if isinstance(m.get("id"), str) and m.get("lifecycle") in {None, "active"}]
    ranked = [m for m in active if m.get("line") in LINES]
    if ranked:
        return max(ranked, key=lambda m: (LINES.index(m["line"]), str(m.get("created_at") or ""), m["id"]))
    if len(active) == 1:
        return active[0]
    names = ", ".join(describe(m["id"], 60) for m in active[:8])
    some = f"to one of: {names}" if names else "to the name of a model"
    raise ResearcherError(f"no model can be chosen from the server's list; set researcher.model {some}", fatal=True)


def dialect(model: str, info: Info | None, style: Style) -> Dialect:
    """The features to use with a model: those that the human wants and the model reports."""
    capabilities = info.get("capabilities") if info else None
    if not info or not isinstance(capabilities, Mapping):
        return Dialect(model)
    limit = info.get("max_tokens")
    return Dialect(
        model,
        max_tokens=min(MAX_TOKENS, limit) if isinstance(limit, int) and limit > 0 else MAX_TOKENS,
        cache=True,
        thinking=_thinking(capabilities, style.thinking),
        effort=_effort(capabilities, style.effort),
    )


def _thinking(capabilities: Info, wanted: str) -> str:
    """The wanted type of thinking, or the other one that the model has; off only if it can be turned off."""
    if wanted == "off":
        kinds: tuple[str, ...] = ("disabled",)
    elif _has(capabilities, "thinking"):
        kinds = (*(kind for kind in (wanted,) if kind), "adaptive", "enabled")
    else:
        kinds = ()
    return next((kind for kind in kinds if _has(capabilities, "thinking", "types", kind)), "")


def _effort(capabilities: Info, wanted: str) -> str:
    """The wanted effort, or the next lower one that the model has."""
    if not _has(capabilities, "effort") or wanted not in EFFORTS:
        return ""
    return next((e for e in EFFORTS[EFFORTS.index(wanted) :] if _has(capabilities, "effort", e)), "")


def _has(capabilities: Info, *keys: str) -> bool:
    value: Any = capabilities
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return isinstance(value, Mapping) and value.get("supported") is True


def request(
    chosen: Dialect, prompt: Prompt, tool: Mapping[str, Any], rounds: Sequence[tuple[Reply, str]]
) -> dict[str, Any]:
    """The request's body: the prompt, and the unusable answers, each with the reason."""
    body: dict[str, Any] = {
        "model": chosen.model,
        "max_tokens": chosen.max_tokens,
        "system": prompt.system,
        "messages": [{"role": "user", "content": _first(chosen, prompt)}],
        "tools": [tool],
        "stream": True,
    }
    for answer, reason in rounds:
        keeps = chosen.thinking in ("adaptive", "enabled")
        body["messages"] += _repair(answer, reason, tool["name"], keep_thinking=keeps)
    if chosen.thinking == "disabled":
        body["thinking"] = {"type": "disabled"}
    elif chosen.thinking == "adaptive":
        body["thinking"] = {"type": "adaptive", "display": "summarized"}
    elif chosen.thinking == "enabled" and chosen.max_tokens > THINKING_TOKENS:
        body["thinking"] = {"type": "enabled", "budget_tokens": THINKING_TOKENS}
    if chosen.effort:
        body["output_config"] = {"effort": chosen.effort}
    return body


def _first(chosen: Dialect, prompt: Prompt) -> str | list[dict[str, Any]]:
    if not chosen.cache:
        return prompt.body
    blocks: list[dict[str, Any]] = []
    for block in prompt.blocks:
        blocks.append({"type": "text", "text": block.text})
        if block.stable:
            # an hour, because a training run takes longer than five minutes
            blocks[-1]["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    return blocks


def _repair(answer: Reply, reason: str, tool: str, *, keep_thinking: bool) -> list[dict[str, Any]]:
    thoughts = {"thinking", "redacted_thinking"}
    content = [block for block in answer.content if keep_thinking or block["type"] not in thoughts]
    calls = [block for block in content if block["type"] == "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": call["id"], "is_error": True, "content": f"Not usable: {reason}"}
        for call in calls
    ]
    asked = {"type": "text", "text": f"{reason} Call the tool `{tool}` with your answer; nobody answers you."}
    turn = {"role": "assistant", "content": content or [{"type": "text", "text": "(nothing)"}]}
    return [turn, {"role": "user", "content": results or [asked]}]
