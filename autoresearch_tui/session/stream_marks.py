"""The marks at the start of each part of a researcher's stream, readable without colours."""

from __future__ import annotations

THINKING = "∴"
TEXT = "»"
CALL = "◇"
RESULT = "←"
HUMAN = "❯"
CRITIC = "◆"
WORDS = {
    THINKING: "the researcher thinks",
    TEXT: "the researcher says",
    CALL: "the researcher calls a tool",
    RESULT: "what the tool gave back",
    HUMAN: "what you told the researcher",
    CRITIC: "what the critic thinks of a proposal",
}


def part(mark: str, text: str) -> str:
    return f"{mark} {text}"


def mark_of(line: str) -> str:
    """The mark of a part's first line; empty for any other line."""
    return line[0] if line[:1] in WORDS and line[1:2] in ("", " ") else ""
