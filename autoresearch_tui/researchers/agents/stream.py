"""An agent's stdout, line by line: the texts to show, its last words, failures and costs."""

from __future__ import annotations

from autoresearch_tui.researchers.agents import claude_code, codex, gemini, opencode, trouble, unknown
from autoresearch_tui.researchers.agents.reading import Reading, aside, event
from autoresearch_tui.researchers.base import Usage
from autoresearch_tui.session.stream_marks import TEXT, part

FORMS = (claude_code.read, codex.read, gemini.read, opencode.read)

_LONGEST = 2_000


class Stream:
    """What an agent's stdout has words so far.

    `words` are its last ones, or the last line that is not an event. `trouble` is the last failure that it reported;
    its exit code tells whether it recovered. `unknown` are the kinds of events of no known agent.
    """

    def __init__(self, folder: str = "") -> None:
        """`folder` is its working folder, which is removed from paths in it."""
        self._folder = f"{folder.rstrip('/')}/" if folder else ""
        self._costs: dict[str, dict[str, Usage]] = {}
        self._session = ""
        self._piece = ""
        self._shown = False
        self.words = ""
        self.trouble = ""
        self.unknown: set[str] = set()

    @property
    def usage(self) -> Usage:
        """Tokens, and dollars if it reports them."""
        return sum((usage for session in self._costs.values() for usage in session.values()), Usage())

    @property
    def hopeless(self) -> bool:
        """Whether asking again cannot help."""
        return trouble.hopeless(self.trouble)

    def read(self, line: str) -> list[str]:
        """The texts to show for the next line, which may have several lines."""
        found = event(line)
        reading = next((one for form in FORMS if (one := form(found)) is not None), None) if found else None
        if reading is None and (kind := unknown.kind(found)):
            return [*self.rest(), *self._unknown(kind, found)]
        if reading is None:
            self.words = unknown.words(found) or self.words if found else line.strip() or self.words
            return [*self.rest(), line[:_LONGEST]]
        shown = self._whole_lines(reading) if reading.piece else [*self.rest(), *reading.parts, *self._failure(reading)]
        self._count(reading)
        return [text.replace(self._folder, "") for text in shown] if self._folder else shown

    def rest(self) -> list[str]:
        """The rest of a text that came in pieces."""
        piece, begun = self._piece, self._shown
        self._piece, self._shown = "", False
        return [piece if begun else part(TEXT, piece)] if piece.strip() else []

    def _unknown(self, kind: str, found: dict[str, object]) -> list[str]:
        """The event's text, or its failure; without either, its kind, the first time."""
        if failed := unknown.trouble(found):
            shown = self._failure(Reading(trouble=failed))
        elif words := unknown.words(found):
            shown = [part(TEXT, words)] if words != self.words else []
            self.words = words
        else:
            shown = [] if kind in self.unknown else [aside(f"unknown event: {kind}")]
        self.unknown.add(kind)
        return shown

    def _whole_lines(self, reading: Reading) -> list[str]:
        """Whole lines of a text that comes in pieces."""
        begins = not self._piece and not self._shown
        self.words = reading.words if begins else self.words + reading.words
        *lines, self._piece = (self._piece + reading.words).split("\n")
        lines = [line for line in lines if line.strip()]
        shown = [line if self._shown or at else part(TEXT, line) for at, line in enumerate(lines)]
        self._shown = self._shown or bool(lines)
        return shown

    def _failure(self, reading: Reading) -> list[str]:
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
