"""The parts of a researcher's stream, each with a mark at its start: on a screen, in less, without colours."""

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
    """A part as the stream has it."""
    return f"{mark} {text}"


def mark_of(line: str) -> str:
    """The mark that a line begins a part with; empty if it begins none."""
    return line[0] if line[:1] in WORDS and line[1:2] in ("", " ") else ""
