"""Any command-line agent as a researcher: a throw-away folder and a prompt on stdin in, edited files out."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch_tui import scratch
from autoresearch_tui.researchers import agent_events, agents, prompt
from autoresearch_tui.researchers.base import Brief, Proposal, ResearcherError, Usage
from autoresearch_tui.researchers.command_files import Manifest, read_text, take, unwanted
from autoresearch_tui.researchers.command_run import DEFAULT_LIMITS, OWNER, Finished, Limits, end_orphans, owner, run
from autoresearch_tui.text import clean_text, describe

_RESULT_LIMIT = 64 * 1024
_TEXT_LIMIT = 4 * 1024 * 1024

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
        self._limits = limits
        self._wrap = wrap
        self._last: tuple[int, Mapping[str, str]] = (-1, {})

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """What the agent left in the editable files, or None where it changed nothing."""
        if cancelled.is_set():
            return None
        end_orphans()
        try:
            return self._propose(brief, say, cancelled)
        except OSError as error:
            raise ResearcherError(f"the agent's folder cannot be used: {error}") from None

    def _propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        with scratch.folder("agent") as root:
            folder = _lay_out(root / "work", brief)
            finished = self._run(folder, root / "prompt", brief, say, cancelled)
            if finished is None or cancelled.is_set():
                return None
            files = _collect(folder, brief)
            if not files:
                return None
            description, hypothesis = _words(folder, finished)
        self._last = (brief.number, files)
        return Proposal(description, hypothesis, files, cost(finished.headline))

    def _run(
        self,
        folder: _Folder,
        prompt_path: Path,
        brief: Brief,
        say: Callable[[str], None],
        cancelled: threading.Event,
    ) -> Finished | None:
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
        finished = run(command, folder.path, environ, prompt_path, self._limits, say, cancelled, name=name)
        if finished is not None and finished.code != 0:
            how = f"exit code {finished.code}" if finished.code > 0 else f"signal {-finished.code}"
            last = "\n".join(finished.last) or "it printed nothing"
            raise ResearcherError(f"{describe(self._command[0])} failed with {how}; its last lines:\n{last}")
        return finished


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


def _words(folder: _Folder, finished: Finished) -> tuple[str, str]:
    """Description and hypothesis: the agent's own, else its last line of stdout."""
    answer = agent_events.event(read_text(folder.result, _RESULT_LIMIT) or "")
    given = {key: value for key, value in answer.items() if isinstance(value, str)}
    description = given.get("description", "").strip() or headline(finished.headline) or "no description given"
    return describe(description), clean_text(given.get("hypothesis", "")).strip()[:2_000]


def headline(line: str) -> str:
    """The words of a last line: the last line of the text in it, where it is an agent's JSON event."""
    event = agent_events.event(line)
    if not event:
        return line
    for key in ("result", "response", "text", "message"):
        value = event.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip().splitlines()[-1]
    return ""


def cost(line: str) -> Usage:
    """Tokens and dollars, where the last line is an event that has them, as Claude Code's has."""
    event = agent_events.event(line)
    counts = event.get("usage")
    counts = counts if isinstance(counts, dict) else {}
    sent = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    usd = event.get("total_cost_usd")
    return Usage(
        sum(_count(counts.get(name)) for name in sent),
        _count(counts.get("output_tokens")),
        float(usd) if isinstance(usd, int | float) and 0 <= usd < float("inf") else None,
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def find(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Where the program of `command` is, or None."""
    return shutil.which(str(Path(command[0]).expanduser()), path=environ.get("PATH"))
