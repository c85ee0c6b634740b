"""An agent's stdout, a line at a time: what to show of it, its last words, what went wrong, what it cost."""

from __future__ import annotations

import re

from autoresearch_tui.parts import TEXT, part
from autoresearch_tui.researchers.agent_streams import claude_code, codex, gemini, opencode
from autoresearch_tui.researchers.agent_streams.reading import Reading, aside, event
from autoresearch_tui.researchers.base import Usage

FORMS = (claude_code.read, codex.read, gemini.read, opencode.read)

_LONGEST = 2_000
# A key that is refused, or an account that is empty: what they print for it, as recorded.
_HOPELESS = re.compile(
    r"\b401\b|authentication_failed|billing_error|API key not valid|incorrect API key|invalid x-api-key"
    r"|credit balance is too low|quota exceeded\. check your plan",
    re.IGNORECASE,
)


class Stream:
    """What an agent's stdout has told so far.

    `words` are its last ones, or the last line that is no event. `trouble` is the last that it told of; whether it
    got over that is for its exit code to say.
    """

    def __init__(self, folder: str = "") -> None:
        """`folder` is where it works: paths in it are shown without it."""
        self._folder = f"{folder.rstrip('/')}/" if folder else ""
        self._costs: dict[str, dict[str, Usage]] = {}
        self._session = ""
        self._piece = ""
        self._shown = False
        self.words = ""
        self.trouble = ""

    @property
    def usage(self) -> Usage:
        """Tokens, and dollars where it tells them."""
        return sum((usage for session in self._costs.values() for usage in session.values()), Usage())

    @property
    def hopeless(self) -> bool:
        """Whether asking again cannot help."""
        return bool(_HOPELESS.search(self.trouble))

    def read(self, line: str) -> list[str]:
        """The texts to show for the next line, which may have lines of their own."""
        found = event(line)
        reading = next((one for form in FORMS if (one := form(found)) is not None), None) if found else None
        if reading is None:
            self.words = _words(found) or self.words if found else line.strip() or self.words
            return [*self.rest(), line[:_LONGEST]]
        shown = self._said(reading) if reading.piece else [*self.rest(), *reading.parts, *self._troubled(reading)]
        self._count(reading)
        return [text.replace(self._folder, "") for text in shown] if self._folder else shown

    def rest(self) -> list[str]:
        """What is left to show of a text that came in pieces."""
        piece, begun = self._piece, self._shown
        self._piece, self._shown = "", False
        return [piece if begun else part(TEXT, piece)] if piece.strip() else []

    def _said(self, reading: Reading) -> list[str]:
        """Whole lines of a text that comes in pieces."""
        begins = not self._piece and not self._shown
        self.words = reading.words if begins else self.words + reading.words
        *lines, self._piece = (self._piece + reading.words).split("\n")
        lines = [line for line in lines if line.strip()]
        shown = [line if self._shown or at else part(TEXT, line) for at, line in enumerate(lines)]
        self._shown = self._shown or bool(lines)
        return shown

    def _troubled(self, reading: Reading) -> list[str]:
        self.words = reading.words or self.words
        if not reading.trouble or self.trouble.startswith(reading.trouble):
            return []
        self.trouble = reading.trouble
        return [aside(f"error: {reading.trouble}")]

    def _count(self, reading: Reading) -> None:
        self._session = reading.session or self._session
        if reading.cost is None:
            return
        costs = self._costs.setdefault(self._session, {})
        if not reading.of:
            costs.clear()
        costs[reading.of] = reading.cost


def _words(found: dict[str, object]) -> str:
    """The words of an object that is no known event, where it has any."""
    values = (found.get(key) for key in ("result", "response", "text", "message"))
    return next((value.strip() for value in values if isinstance(value, str) and value.strip()), "")
