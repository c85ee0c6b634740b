"""A stand-in for Claude on the loopback interface: it serves the Messages API as server-sent events, and changes
constants.

`autoresearch-tui demo --researcher claude` without a key uses it through the real client, and so do the tests, which
give it a script with one step for each request, including faults. As a separate program:

    python -m autoresearch_tui.researchers.claude.stand_in --port 8787
    ANTHROPIC_BASE_URL=http://127.0.0.1:8787 autoresearch-tui demo --researcher claude
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from autoresearch_tui.researchers import critic_prompt, digest_prompt
from autoresearch_tui.researchers.claude.client import STAND_IN
from autoresearch_tui.researchers.prompt import TOOL_NAME as TOOL

AGREES = {"opinion": "agree", "reasons": "It changes one value, which has not been tried."}
PAGE: Event = {"text": "Each change moved one constant; which of them helped is in the table."}
FACTORS = (0.5, 2.0, 0.75, 1.5, 0.9, 1.2)

DELAY = 0.03  # seconds before each event, so that the human can watch

Event = dict[str, Any]


class Gone(Exception):
    """The client has hung up."""


class Exchange:
    """One request and the way to answer it."""

    def __init__(self, handler: Handler, body: Event) -> None:
        self.handler = handler
        self.body = body
        self.number = len(handler.fake.requests)

    def begin(self) -> None:
        """Sends the head of a stream."""
        self.handler.send_response(200)
        self.handler.send_header("content-type", "text/event-stream; charset=utf-8")
        self.handler.send_header("transfer-encoding", "chunked")
        self.handler.end_headers()

    def raw(self, text: str) -> None:
        """Sends a piece of the stream verbatim."""
        data = text.encode()
        self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.handler.wfile.flush()

    def event(self, event: Event) -> None:
        if self.handler.fake.delay:
            time.sleep(self.handler.fake.delay)
        self.raw(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n")

    def end(self) -> None:
        """Ends a stream properly."""
        self.handler.wfile.write(b"0\r\n\r\n")
        self.handler.wfile.flush()

    def answer(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        """Sends an answer that is not a stream."""
        data = json.dumps(body).encode() if not isinstance(body, str) else body.encode()
        self.handler.send_response(status)
        self.handler.send_header("content-type", "application/json")
        self.handler.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(data)

    def reset(self) -> None:
        """Breaks the connection off, so that the client sees a reset."""
        self.handler.wfile.flush()
        connection = self.handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()
        raise Gone

    def wait_until_gone(self, each: Callable[[], None] = lambda: None, interval: float = 0.02) -> None:
        """Calls `each` now and then until the client hangs up or the server stops."""
        connection = self.handler.connection
        connection.settimeout(interval)
        while not self.handler.fake.stopping.is_set():
            each()
            try:
                if not connection.recv(1):
                    raise Gone
            except TimeoutError:
                continue
            except OSError:
                raise Gone from None


Step = Callable[[Exchange], None]


# Steps of a script


def whole(events: Callable[[Exchange], Iterable[Event]]) -> Step:
    """A complete stream."""

    def step(exchange: Exchange) -> None:
        exchange.begin()
        for event in events(exchange):
            exchange.event(event)
        exchange.end()

    return step


def propose(tool_input: object = None, **usage: int) -> Step:
    """A proposal: the given input of the tool, or one made from the files in the prompt."""
    return whole(lambda exchange: proposal_events(exchange, tool_input, usage))


# Events


def start(**usage: int) -> Event:
    """The first event of a stream."""
    counts = {"input_tokens": 1_000, "output_tokens": 1, **usage}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "fake", "content": []}
    return {"type": "message_start", "message": {**message, "stop_reason": None, "usage": counts}}


def finish(stop_reason: str | None, output_tokens: int = 200) -> list[Event]:
    """The last two events of a stream."""
    change = {"stop_reason": stop_reason, "stop_sequence": None}
    usage = {"output_tokens": output_tokens}
    return [{"type": "message_delta", "delta": change, "usage": usage}, {"type": "message_stop"}]


def delta(index: int, piece: Event) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": piece}


def block(index: int, begin: Event, pieces: Iterable[Event]) -> Iterator[Event]:
    yield {"type": "content_block_start", "index": index, "content_block": begin}
    for piece in pieces:
        yield delta(index, piece)
    yield {"type": "content_block_stop", "index": index}


def words(text: str) -> list[str]:
    """A text in small pieces."""
    return re.findall(r"\s*\S+\s*", text) or [text]


def text_block(index: int, text: str) -> Iterator[Event]:
    return block(index, {"type": "text", "text": ""}, ({"type": "text_delta", "text": w} for w in words(text)))


def thinking_block(index: int, text: str) -> Iterator[Event]:
    """Thinking, with its signature."""
    pieces: list[Event] = [{"type": "thinking_delta", "thinking": word} for word in words(text)]
    pieces.append({"type": "signature_delta", "signature": "c2lnbmVk"})
    return block(index, {"type": "thinking", "thinking": "", "signature": ""}, pieces)


def tool_block(index: int, pieces: Iterable[str], identity: str = "toolu_1", name: str = TOOL) -> Iterator[Event]:
    """A tool call whose input comes in pieces of JSON."""
    begin = {"type": "tool_use", "id": identity, "name": name, "input": {}}
    return block(index, begin, ({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


def proposal_events(exchange: Exchange, tool_input: object, usage: Mapping[str, int]) -> Iterator[Event]:
    """A complete proposal, opinion or digest: thinking if it was requested, text, the tool call."""
    name = exchange.body["tools"][0]["name"]
    made = tool_input
    if made is None:
        answers = {critic_prompt.TOOL_NAME: AGREES, digest_prompt.TOOL_NAME: PAGE}
        made = answers.get(name) or invent(prompt_of(exchange.body), exchange.number)
    text = json.dumps(made)
    yield start(**usage)
    yield {"type": "ping"}
    index = 0
    if exchange.body.get("thinking"):
        yield from thinking_block(index, "What was tried tells me that this value is not at its best yet.")
        index += 1
    comment = "I change one value and leave the rest as it is." if name == TOOL else "I read the change line by line."
    yield from text_block(index, comment)
    pieces = [text[at : at + 24] for at in range(0, len(text), 24)]
    yield from tool_block(index + 1, pieces, f"toolu_{exchange.number}", name)
    yield from finish("tool_use", 200 + len(text) // 4)


# A proposal from a prompt


def prompt_of(request: Event) -> str:
    """The text of the first message."""
    content = request["messages"][0]["content"]
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def editable_of(prompt: str) -> dict[str, str]:
    """The editable files in our prompt, by path."""
    part = prompt.rpartition("The editable files as they stand")[2]
    fences = re.finditer(r'<(file(?:-\d+)?) path="([^"]+)">\n(.*?)</\1>', part, re.S)
    return {fence[2]: fence[3] for fence in fences}


def invent(prompt: str, number: int) -> Event:
    """A proposal that changes one constant; each time another one, or by another factor."""
    constants = [
        (path, found)
        for path, text in editable_of(prompt).items()
        for found in re.finditer(r"^([A-Z][A-Z0-9_]*) = (\d+\.?\d*(?:e-?\d+)?)(?=\s|$)", text, re.M)
        if text.count(found[0]) == 1 and float(found[2])
    ]
    if not constants:
        return {"description": "nothing to change", "hypothesis": "", "edits": []}
    path, found = constants[number % len(constants)]
    value = float(found[2]) * FACTORS[(number // len(constants) + number) % len(FACTORS)]
    new = f"{value:.6g}" if re.search(r"[.e]", found[2]) else str(max(1, round(value)))
    return {
        "description": f"{found[1]} from {found[2]} to {new}",
        "hypothesis": f"{found[1]} has not been tried at {new}; the score may follow it for another step.",
        "edits": [{"path": path, "old": found[0], "new": f"{found[1]} = {new}"}],
    }


# The server

ALL = {"supported": True}
MODELS: list[Event] = [
    {
        "type": "model",
        "id": "claude-opus-5",
        "display_name": "Claude Opus 5",
        "created_at": "2026-07-24T00:00:00Z",
        "lifecycle": "active",
        "line": "opus",
        "max_input_tokens": 1_000_000,
        "max_tokens": 128_000,
        "capabilities": {
            "thinking": {"supported": True, "types": {"adaptive": ALL, "enabled": ALL, "disabled": ALL}},
            "effort": {"supported": True, "low": ALL, "medium": ALL, "high": ALL, "max": ALL},
        },
    }
]


OWN_MODELS: list[Event] = [{**MODELS[0], "id": STAND_IN, "display_name": "Stand-in"}]
"""Not a real model's name, so it has no price."""


class Handler(BaseHTTPRequestHandler):
    """Serves the models, and messages by the script."""

    protocol_version = "HTTP/1.1"
    fake: MessagesServer

    def do_GET(self) -> None:
        self.close_connection = True
        exchange = Exchange(self, {})
        self.fake.seen.append(self.path)
        name = self.path.partition("?")[0].removeprefix("/v1/models").strip("/")
        models = self.fake.models
        if callable(models):
            return models(exchange)
        missing = {"type": "error", "error": {"type": "not_found_error", "message": "not found"}}
        if models is None:
            return exchange.answer(404, missing)
        if not name:
            return exchange.answer(200, {"data": models, "has_more": False, "first_id": None, "last_id": None})
        found = next((model for model in models if model["id"] == name), None)
        return exchange.answer(200, found) if found else exchange.answer(404, missing)

    def do_POST(self) -> None:
        self.close_connection = True
        length = int(self.headers.get("content-length", 0))
        request = json.loads(self.rfile.read(length))
        with self.fake.lock:
            exchange = Exchange(self, request)
            self.fake.requests.append(request)
            self.fake.headers.append(dict(self.headers))
            step = self.fake.script.pop(0) if self.fake.script else propose()
        try:
            step(exchange)
        except (Gone, BrokenPipeError, ConnectionError):
            self.fake.hung_up.set()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Quiet."""


class MessagesServer:
    """The server, as a context manager. `requests` are the posted bodies, `seen` the requested paths."""

    def __init__(
        self,
        script: Iterable[Step] = (),
        *,
        models: list[Event] | Step | None = MODELS,
        delay: float = 0.0,
        port: int = 0,
    ) -> None:
        self.script = list(script)
        self.models = models
        self.delay = delay
        self.requests: list[Event] = []
        self.headers: list[dict[str, str]] = []
        self.seen: list[str] = []
        self.lock = threading.Lock()
        self.hung_up = threading.Event()
        self.stopping = threading.Event()
        handler = type("BoundHandler", (Handler,), {"fake": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.http.daemon_threads = True
        # a reset leaves the base class nothing to close
        self.http.shutdown_request = self.http.close_request  # type: ignore[method-assign]
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self) -> MessagesServer:
        threading.Thread(target=lambda: self.http.serve_forever(0.02), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self.http.shutdown()
        self.http.server_close()


@cache
def url() -> str:
    """The address of this process's own server, which starts at the first call."""
    return MessagesServer(models=OWN_MODELS, delay=DELAY).__enter__().url


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for the Messages API that makes plausible proposals.")
    parser.add_argument("--port", type=int, default=8787)
    parser.add_argument("--delay", type=float, default=DELAY, help="seconds before each event")
    options = parser.parse_args()
    with MessagesServer(models=OWN_MODELS, port=options.port, delay=options.delay) as server:
        sys.stdout.write(f"export ANTHROPIC_BASE_URL={server.url}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
