"""A command-line agent as a critic: the files as they would run and a prompt on stdin in, one JSON object out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autoresearch_tui.lab.editable import applied
from autoresearch_tui.researchers import critic_prompt
from autoresearch_tui.researchers.agents.files import read_text
from autoresearch_tui.researchers.agents.program import Program
from autoresearch_tui.researchers.agents.reading import event
from autoresearch_tui.researchers.agents.stream import Stream
from autoresearch_tui.researchers.base import Brief, Criticism, Proposal, ResearcherError
from autoresearch_tui.researchers.prompt import RESULT_NAME

_RESULT_LIMIT = 64 * 1024


class CommandCritic:
    """Starts a program for each opinion. Changes in its folder are ignored."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def judge(
        self,
        brief: Brief,
        proposal: Proposal,
        risks: Sequence[str],
        say: Callable[[str], None],
        cancelled: threading.Event,
    ) -> Criticism | None:
        """Returns its opinion, or None if cancelled. Raises ResearcherError, with its cost."""
        if cancelled.is_set():
            return None
        request = critic_prompt.build(brief, proposal, risks, "folder")
        redact = self._program.redact
        with self._program.folder() as root:
            work = root / "work"
            lay_out(work, {"program.md": brief.program, **brief.locked, **applied(brief.files, proposal.files)})
            result, stream = work / RESULT_NAME, _Stream(str(work.resolve()))
            if not self._program.run(work, result, request.text, stream, lambda text: say(redact(text)), cancelled):
                return None
            found = critic_prompt.read(as_json(read_text(result, _RESULT_LIMIT) or _last_line(stream.words)))
            if isinstance(found, str):
                raise ResearcherError(f"it gave no opinion: {found}")
            return Criticism(found.opinion, redact(found.reasons), self._program.bill())


class _Stream(Stream):
    """Takes an opinion that is printed alone, as a line of JSON, as the last words."""

    def read(self, line: str) -> list[str]:
        shown = super().read(line)
        if "opinion" in event(line):
            self.words = line
        return shown


def lay_out(work: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="")


def _last_line(words: str) -> str:
    return words.strip().rpartition("\n")[2][:_RESULT_LIMIT]


def as_json(text: str) -> object:
    """The JSON value of a text; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
