"""Any command-line agent as a researcher: a throw-away folder and a prompt on stdin in, edited files out."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch_tui import scratch
from autoresearch_tui.researchers import agents, prompt
from autoresearch_tui.researchers.agent_streams.reading import event
from autoresearch_tui.researchers.agent_streams.stream import Stream
from autoresearch_tui.researchers.base import Brief, Proposal, ResearcherError, Usage
from autoresearch_tui.researchers.command_files import Manifest, read_text, take, unwanted
from autoresearch_tui.researchers.command_run import DEFAULT_LIMITS, OWNER, Finished, Limits, end_orphans, owner, run
from autoresearch_tui.text import clean_text, describe

_RESULT_LIMIT = 64 * 1024
_TEXT_LIMIT = 4 * 1024 * 1024
_MARKED = re.compile(r"(?:#+ +)?(\*\*|[*`]|)([^*`]+)\1")

Wrap = Callable[[Sequence[str], Path], Sequence[str]]
"""Puts a command into a sandbox: the command and the folder that it works in, to the command to start."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """The agent's folder and what was in it at the start."""

    path: Path
    before: Manifest

    @property
    def result(self) -> Path:
        return self.path / prompt.RESULT_NAME


class Command:
    """A researcher that starts a program for each proposal.

    `command` is run without a shell; a leading `~/` is expanded in each word; `wrap` may add a sandbox.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        limits: Limits = DEFAULT_LIMITS,
        wrap: Wrap | None = None,
        keys: Sequence[str] = (),
    ) -> None:
        """`keys` are the names of variables that it is to see beside those that are known to be its own."""
        self._command = [str(Path(word).expanduser()) if word.startswith("~/") else word for word in command]
        self._environ = agents.environment(self._command, environ, keys)
        self._redact = agents.redactor(self._environ)
        self._limits = limits
        self._wrap = wrap
        self._last: tuple[int, Mapping[str, str]] = (-1, {})
        # what calls cost that were cancelled, to be told with the next
        self._unbilled = Usage()

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """What the agent left in the editable files, or None where it was cancelled, or changed nothing for nothing.

        Raises ResearcherError, with what it cost.
        """
        if cancelled.is_set():
            return None
        end_orphans()
        try:
            with scratch.folder("agent") as root:
                return self._propose(root, brief, lambda text: say(self._redact(text)), cancelled)
        except OSError as error:
            raise ResearcherError(f"the agent's folder cannot be used: {error}", usage=self._bill()) from None
        except ResearcherError as error:
            raise ResearcherError(self._redact(str(error)), fatal=error.fatal, usage=self._bill()) from None

    def _propose(
        self, root: Path, brief: Brief, say: Callable[[str], None], cancelled: threading.Event
    ) -> Proposal | None:
        folder = _lay_out(root / "work", brief)
        stream = Stream(str(folder.path.resolve()))
        try:
            ended = self._run(folder, stream, root / "prompt", brief, say, cancelled)
        finally:
            self._unbilled += stream.usage
        if not ended or cancelled.is_set():
            return None
        files = _collect(folder, brief)
        if files:
            self._last = (brief.number, files)
            description, hypothesis = _words(folder, stream)
            return Proposal(self._redact(description), self._redact(hypothesis), files, self._bill())
        if self._unbilled == Usage():
            return None
        why = stream.trouble or f"its last words: {_last_line(stream.words)}"
        raise ResearcherError(f"the agent changed nothing; {describe(why)}")

    def _bill(self) -> Usage:
        """What has not been told yet."""
        usage, self._unbilled = self._unbilled, Usage()
        return usage

    def _run(
        self,
        folder: _Folder,
        stream: Stream,
        prompt_path: Path,
        brief: Brief,
        say: Callable[[str], None],
        cancelled: threading.Event,
    ) -> bool:
        """False where it was cancelled. Raises ResearcherError where it failed."""
        number, files = self._last
        request = prompt.build(brief, "folder", refused=files if number == brief.number else None)
        prompt_path.write_text(request.text, "utf-8", newline="")
        environ = {
            **self._environ,
            "AUTORESEARCH_RESULT": str(folder.result),
            OWNER: owner(),
            # an agent needs no accelerator and should not find one
            "CUDA_VISIBLE_DEVICES": "",
            "NO_COLOR": "1",
            "TERM": "dumb",
        }
        command = self._wrap(self._command, folder.path) if self._wrap else self._command
        name = self._command[0]
        finished = run(
            command, folder.path, environ, prompt_path, self._limits, say, cancelled, name=name, stream=stream
        )
        if finished is not None and finished.code != 0:
            raise _failure(describe(name), finished, stream)
        return finished is not None


def _lay_out(path: Path, brief: Brief) -> _Folder:
    path.mkdir()
    fixed = {"program.md": brief.program, **brief.locked}
    for name, text in {**fixed, **brief.files}.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8", newline="")
        target.chmod(0o644 if name in brief.files else 0o444)
    return _Folder(path, take(path))


def _collect(folder: _Folder, brief: Brief) -> dict[str, str]:
    """The editable files that changed. Anything else that changed is refused and named."""
    ignored = frozenset({prompt.RESULT_NAME})
    trouble = unwanted(folder.before, take(folder.path), frozenset(brief.files), ignored)
    if trouble:
        more = f", and {len(trouble) - 5} more" if len(trouble) > 5 else ""
        raise ResearcherError(
            f"refused: only {', '.join(sorted(brief.files))} may change, but {', '.join(trouble[:5])}{more}"
        )
    files: dict[str, str] = {}
    for name, old in brief.files.items():
        text = read_text(folder.path / name, _TEXT_LIMIT)
        if text is None:
            raise ResearcherError(f"refused: {name} is no longer a readable file of UTF-8 text")
        if text != old:
            files[name] = text
    return files


def _failure(name: str, finished: Finished, stream: Stream) -> ResearcherError:
    how = f"exit code {finished.code}" if finished.code > 0 else f"signal {-finished.code}"
    if stream.trouble:
        return ResearcherError(f"{name} failed with {how}: {describe(stream.trouble)}", fatal=stream.hopeless)
    last = "\n".join(finished.last) or "it printed nothing"
    return ResearcherError(f"{name} failed with {how}; its last lines:\n{last}")


def _words(folder: _Folder, stream: Stream) -> tuple[str, str]:
    """Description and hypothesis: the agent's own, else its last line of stdout, in an event or as it is."""
    answer = event(read_text(folder.result, _RESULT_LIMIT) or "")
    given = {key: value for key, value in answer.items() if isinstance(value, str)}
    description = given.get("description", "").strip() or _last_line(stream.words) or "no description given"
    return describe(description), clean_text(given.get("hypothesis", "")).strip()[:2_000]


def _last_line(words: str) -> str:
    """The last line, without the Markdown that marks all of it."""
    line = words.strip().rpartition("\n")[2].strip()
    found = _MARKED.fullmatch(line)
    return found[2] if found else line


def find(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Where the program of `command` is, or None."""
    return shutil.which(str(Path(command[0]).expanduser()), path=environ.get("PATH"))
