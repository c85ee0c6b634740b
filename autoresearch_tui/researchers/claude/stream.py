"""Assembles one streamed answer from its events. Pure: events in, an answer and text to show out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from autoresearch_tui.researchers.claude.prices import Tokens
from autoresearch_tui.session.stream_marks import CALL, TEXT, THINKING, part
from autoresearch_tui.util.frozen import Frozen

_SHOWN_ESCAPES = {"n": "\n", "t": "\t", "r": "", '"': '"', "\\": "\\", "/": "/"}
_REPLAYED = {"text", "thinking", "redacted_thinking", "tool_use"}
_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class Reply(Frozen):
    """A whole answer. `content` may be sent back; a tool's input is parsed only in a whole tool call."""

    stop_reason: str | None
    content: tuple[dict[str, Any], ...]

    def call(self, name: str) -> object | None:
        """The input of the first call of a tool, or None. Only an answer that ended as a tool call has one."""
        if self.stop_reason != "tool_use":
            return None
        for block in self.content:
            if block["type"] == "tool_use" and block.get("name") == name:
                return block["input"]  # type: ignore[no-any-return]
        return None


class Collector(Struct):
    """Takes the events of one answer in order. Raises ValueError if they are inconsistent."""

    tokens: Tokens = field(default_factory=Tokens)
    stop_reason: str | None = None
    complete: bool = False
    _blocks: dict[int, dict[str, Any]] = field(default_factory=dict)
    _inputs: dict[int, str] = field(default_factory=dict)
    _escape: bool = False

    def feed(self, event: Mapping[str, Any]) -> str:
        """Takes the next event; returns its text to show."""
        match event.get("type"):
            case "message_start":
                self._count(event["message"].get("usage"))
            case "content_block_start":
                return self._begin(event["index"], dict(event["content_block"]))
            case "content_block_delta":
                return self._add(event["index"], event["delta"])
            case "message_delta":
                self.stop_reason = event["delta"].get("stop_reason") or self.stop_reason
                self._count(event.get("usage"))
            case "message_stop":
                self.complete = True
        return ""

    def answer(self) -> Reply:
        """The answer so far. Raises ValueError if a finished tool call has no valid input."""
        blocks: list[dict[str, Any]] = []
        for index in sorted(self._blocks):
            block = dict(self._blocks[index])
            if block["type"] not in _REPLAYED or (block["type"] == "text" and not block.get("text")):
                continue
            if block["type"] == "tool_use":
                block = {key: block[key] for key in ("type", "id", "name", "input")}
                if self._inputs[index] and self.stop_reason == "tool_use":
                    block["input"] = json.loads(self._inputs[index])
            blocks.append(block)
        return Reply(self.stop_reason, tuple(blocks))

    def _begin(self, index: int, block: dict[str, Any]) -> str:
        kind = block.get("type")
        block.setdefault("type", "")
        self._blocks[index] = block
        if kind == "tool_use":
            block.setdefault("input", {})
            self._inputs[index] = ""
            return ("\n" if index else "") + part(CALL, f"{block.get('name', '')} ")
        if kind not in {"text", "thinking"}:
            return ""
        shown = block.get(kind)
        mark = THINKING if kind == "thinking" else TEXT
        return ("\n" if index else "") + part(mark, shown if isinstance(shown, str) else "")

    def _add(self, index: int, delta: Mapping[str, Any]) -> str:
        block = self._blocks.get(index)
        if block is None:
            raise ValueError("a piece of a part that has not begun")
        kind = delta.get("type")
        if kind == "input_json_delta":
            piece = str(delta.get("partial_json") or "")
            self._inputs[index] += piece
            return self._readable(piece)
        key = _PIECES.get(str(kind))
        if key is None:
            return ""
        piece = str(delta.get(key) or "")
        block[key] = str(block.get(key) or "") + piece
        return "" if key == "signature" else piece

    def _readable(self, piece: str) -> str:
        """Streamed JSON, with escaped line ends in its texts as line ends."""
        shown: list[str] = []
        for character in piece:
            if self._escape:
                shown.append(_SHOWN_ESCAPES.get(character, "\\" + character))
                self._escape = False
            elif character == "\\":
                self._escape = True
            else:
                shown.append(character)
        return "".join(shown)

    def _count(self, usage: object) -> None:
        """Later counts replace earlier ones; a missing count leaves the earlier one."""
        if not isinstance(usage, Mapping):
            return
        names = {
            "input": "input_tokens",
            "output": "output_tokens",
            "cache_write": "cache_creation_input_tokens",
            "cache_read": "cache_read_input_tokens",
        }
        given = {name: usage.get(key) for name, key in names.items()}
        self.tokens = Tokens(
            **{
                name: value if isinstance(value, int) and value >= 0 else getattr(self.tokens, name)
                for name, value in given.items()
            }
        )
