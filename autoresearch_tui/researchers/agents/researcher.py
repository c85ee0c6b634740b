"""A command-line agent as a researcher: a throw-away folder and a prompt on stdin in, edited files out."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from autoresearch_tui.lab.editable import Change
from autoresearch_tui.researchers import prompt
from autoresearch_tui.researchers.agents.files import Changes, Manifest, compare, needed_by, read_text, take
from autoresearch_tui.researchers.agents.program import Program
from autoresearch_tui.researchers.agents.reading import aside, event
from autoresearch_tui.researchers.agents.stream import Stream
from autoresearch_tui.researchers.agents.trouble import meaning
from autoresearch_tui.researchers.base import Brief, Proposal, ResearcherError, Usage
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.line_ends import like, plain
from autoresearch_tui.util.text import clean_text, describe

_RESULT_LIMIT = 64 * 1024
_TEXT_LIMIT = 4 * 1024 * 1024
_MARKED = re.compile(r"(?:#+ +)?(\*\*|[*`]|)([^*`]+)\1")


class _Folder(Frozen):
    """The agent's folder and its contents at the start."""

    path: Path
    before: Manifest

    @property
    def result(self) -> Path:
        return self.path / prompt.RESULT_NAME


class Command:
    """A researcher that starts a program for each proposal."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._last: tuple[int, Change] = (-1, {})
        # what happened to its last answer, for its next request
        self._remark = ""

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """The agent's changes of the editable files, or None if it was cancelled, or changed nothing at no cost.

        Raises ResearcherError, with its cost.
        """
        if cancelled.is_set():
            return None
        with self._program.folder() as root:
            return self._propose(root, brief, lambda text: say(self._program.redact(text)), cancelled)

    def _propose(
        self, root: Path, brief: Brief, say: Callable[[str], None], cancelled: threading.Event
    ) -> Proposal | None:
        folder = _lay_out(root / "work", brief)
        stream = Stream(str(folder.path.resolve()))
        number, last = self._last
        refused = last if number == brief.number else None
        request = prompt.build(brief, "folder", refused=refused, remark=self._remark)
        if not self._program.run(folder.path, folder.result, request.text, stream, say, cancelled):
            return None
        files, dropped = self._collected(folder, brief)
        if dropped:
            self._remark = f"It was taken, without this, which is not kept: {dropped}. {_only(brief)}."
            say(f"{aside(f'not taken: {dropped}')}\n")
        if files:
            self._last = (brief.number, files)
            description, hypothesis = _words(folder, stream)
            redact = self._program.redact
            return Proposal(redact(description), redact(hypothesis), files, self._program.bill())
        if self._program.unbilled == Usage() and not stream.trouble:
            return None
        self._remark = "" if stream.trouble else f"It changed nothing. {_only(brief)}, in place."
        why = stream.trouble or f"its last words: {_last_line(stream.words)}"
        found = meaning(stream.trouble)
        raise ResearcherError(
            f"the agent changed nothing; {describe(why)}",
            fatal=found.fatal,
            retry_after=found.retry_after,
            outage=found.outage,
        )

    def _collected(self, folder: _Folder, brief: Brief) -> tuple[Change, str]:
        """As :func:`_collect`, and keeps a refusal for the next request."""
        self._remark = ""
        try:
            return _collect(folder, brief)
        except ResearcherError as error:
            self._remark = f"It could not be used. {str(error).capitalize()}"
            raise


def _lay_out(path: Path, brief: Brief) -> _Folder:
    path.mkdir()
    fixed = {"program.md": brief.program, **brief.locked}
    for name, text in {**fixed, **brief.files}.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8", newline="")
        target.chmod(0o644 if name in brief.files else 0o444)
    return _Folder(path, take(path))


def _collect(folder: _Folder, brief: Brief) -> tuple[Change, str]:
    """The editable files that changed, came and went, and, in words, other added files, which are dropped.

    Raises ResearcherError if anything else changed, if a change needs an added file, or if nothing else is left.
    """
    ignored = frozenset({prompt.RESULT_NAME})
    found = compare(folder.before, take(folder.path), frozenset(brief.files), ignored, brief.editable)
    if found.new and (why := brief.editable.refusal(found.new, folder.before)):
        raise ResearcherError(f"refused: {why}")
    texts = _changed(folder, brief, found) if not found.refused else {}
    files: Change = {**texts, **dict.fromkeys(found.gone)}
    needed = needed_by(texts, brief.files, found.added)
    if found.refused or needed or (found.added and not files):
        raise ResearcherError(
            f"refused: only {_names(brief)} may change, but {_few(found.refused + (needed or _added(found)))}"
        )
    return files, _few(_added(found)) if found.added else ""


def _changed(folder: _Folder, brief: Brief, found: Changes) -> dict[str, str]:
    files: dict[str, str] = {}
    known = {**dict.fromkeys(found.new, ""), **brief.files}
    for name, old in ((name, old) for name, old in known.items() if name not in found.gone):
        text = read_text(folder.path / name, _TEXT_LIMIT)
        if text is None:
            raise ResearcherError(f"refused: {name} is no longer a readable file of UTF-8 text")
        if name in found.new:
            files[name] = text
        elif plain(text) != plain(old):
            files[name] = like(text, old)
    return files


def _only(brief: Brief) -> str:
    return f"Only {_names(brief)} may change"


def _names(brief: Brief) -> str:
    return ", ".join((*sorted(brief.files), *brief.editable.patterns))


def _added(found: Changes) -> tuple[str, ...]:
    return tuple(f"{name} was added" for name in found.added)


def _few(texts: Sequence[str]) -> str:
    return ", ".join(texts[:5]) + (f", and {len(texts) - 5} more" if len(texts) > 5 else "")


def _words(folder: _Folder, stream: Stream) -> tuple[str, str]:
    """Description and hypothesis from the agent's answer, else its last line of stdout."""
    answer = event(read_text(folder.result, _RESULT_LIMIT) or "")
    given = {key: value for key, value in answer.items() if isinstance(value, str)}
    description = given.get("description", "").strip() or _last_line(stream.words) or "no description given"
    return describe(description), clean_text(given.get("hypothesis", "")).strip()[:2_000]


def _last_line(words: str) -> str:
    """The last line, without Markdown around it."""
    line = words.strip().rpartition("\n")[2].strip()
    found = _MARKED.fullmatch(line)
    return found[2] if found else line
