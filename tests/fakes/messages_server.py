"""Faults of the Messages API, as steps of a script for the stand-in; one step for each request, then proposals."""

from __future__ import annotations

from collections.abc import Mapping

from autoresearch_tui.researchers.claude.stand_in import (
    ALL,
    MODELS,
    Event,
    Exchange,
    MessagesServer,
    Step,
    block,
    delta,
    editable_of,
    finish,
    prompt_of,
    proposal_events,
    propose,
    start,
    text_block,
    thinking_block,
    tool_block,
    whole,
)

__all__ = [
    "ALL",
    "MODELS",
    "Event",
    "Exchange",
    "MessagesServer",
    "Step",
    "block",
    "editable_of",
    "prompt_of",
    "propose",
    "thinking_block",
]


def says(text: str, stop_reason: str | None = "end_turn") -> Step:
    """Text and no tool call."""
    return whole(lambda _: [start(), *text_block(0, text), *finish(stop_reason)])


def stops(stop_reason: str | None) -> Step:
    """A proposal that is whole but for its stop reason."""
    return whole(lambda exchange: [*list(proposal_events(exchange, None, {}))[:-2], *finish(stop_reason)])


def half_a_call() -> Step:
    """The length limit hits within the tool's input."""
    piece = '{"description": "remove it", "hypothesis": "x", "edits": [{"path": "train.py", "old": "LR = 0.04"'
    return whole(lambda _: [start(), *tool_block(0, [piece]), *finish("max_tokens")])


def cut(after: int, how: str) -> Step:
    """A stream that ends early: `reset`, `close` within the body, or a body that `ends` without the last event."""

    def step(exchange: Exchange) -> None:
        exchange.begin()
        for event in list(proposal_events(exchange, None, {}))[:after]:
            exchange.event(event)
        if how == "reset":
            exchange.reset()
        if how == "ends":
            exchange.end()

    return step


def pings(interval: float = 0.02, after: int = 0) -> Step:
    """Nothing but pings, after some events."""

    def step(exchange: Exchange) -> None:
        exchange.begin()
        for event in list(proposal_events(exchange, None, {}))[:after]:
            exchange.event(event)
        exchange.wait_until_gone(lambda: exchange.raw('event: ping\ndata: {"type": "ping"}\n\n'), interval)

    return step


def drip(interval: float = 0.02) -> Step:
    """Text without end."""

    def step(exchange: Exchange) -> None:
        exchange.begin()
        for event in [start(), *text_block(0, "")][:2]:
            exchange.event(event)
        exchange.wait_until_gone(lambda: exchange.event(delta(0, {"type": "text_delta", "text": "and "})), interval)

    return step


def silent(head: bool = False) -> Step:
    """Takes the request and says nothing, or nothing after the head."""

    def step(exchange: Exchange) -> None:
        if head:
            exchange.begin()
        exchange.wait_until_gone()

    return step


def status(
    code: int, kind: str, message: str = "no", headers: Mapping[str, str] | None = None, cause: str = ""
) -> Step:
    """An error with a status. `cause` is the stable code of its details."""
    error: Event = {"type": kind, "message": message}
    if cause:
        error["details"] = {"error_code": cause}
    return lambda exchange: exchange.answer(code, {"type": "error", "error": error}, headers)


def body(code: int, text: str) -> Step:
    """An answer with any body, as a proxy may send."""
    return lambda exchange: exchange.answer(code, text)


def error_event(kind: str, after: int = 4) -> Step:
    """An error in mid-stream."""

    def step(exchange: Exchange) -> None:
        exchange.begin()
        for event in list(proposal_events(exchange, None, {}))[:after]:
            exchange.event(event)
        exchange.event({"type": "error", "error": {"type": kind, "message": "later"}})
        exchange.end()

    return step


def garbage(text: str, after: int = 4) -> Step:
    """Some events, then a piece that is not one."""

    def step(exchange: Exchange) -> None:
        exchange.begin()
        for event in list(proposal_events(exchange, None, {}))[:after]:
            exchange.event(event)
        exchange.raw(text)
        exchange.end()

    return step
