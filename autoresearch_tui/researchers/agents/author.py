"""A command-line agent as the author of a digest: a prompt on stdin in, one JSON object out."""

from __future__ import annotations

import threading
from collections.abc import Callable

from autoresearch_tui.researchers import digest_prompt
from autoresearch_tui.researchers.agents.critic import as_json, lay_out
from autoresearch_tui.researchers.agents.files import read_text
from autoresearch_tui.researchers.agents.program import Program
from autoresearch_tui.researchers.agents.stream import Stream
from autoresearch_tui.researchers.base import Brief, Page, ResearcherError
from autoresearch_tui.researchers.prompt import RESULT_NAME

_RESULT_LIMIT = 256 * 1024


class CommandAuthor:
    """Starts a program for each page. Other changes in its folder are ignored."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def write(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Page | None:
        """Returns the page, or None if cancelled. Raises ResearcherError, with its cost."""
        request, redact = digest_prompt.build(brief, "folder"), self._program.redact
        with self._program.folder() as root:
            work = root / "work"
            lay_out(work, {"program.md": brief.program, **brief.locked, **brief.files})
            result, stream = work / RESULT_NAME, Stream(str(work.resolve()))
            ended = self._program.run(work, result, request.text, stream, lambda text: say(redact(text)), cancelled)
            if not ended:
                return None
            text = digest_prompt.read(as_json(read_text(result, _RESULT_LIMIT) or ""))
            if not text:
                raise ResearcherError(f"it wrote no page to {RESULT_NAME}")
            return Page(redact(text), self._program.bill())
