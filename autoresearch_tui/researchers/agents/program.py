"""A command-line agent as a program: started anew for each request, in a sandbox, with a prompt on stdin."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from autoresearch_tui.researchers.agents.process import (
    DEFAULT_LIMITS,
    OWNER,
    Finished,
    Limits,
    end_orphans,
    owner,
    run,
)
from autoresearch_tui.researchers.agents.reading import aside
from autoresearch_tui.researchers.agents.stream import Stream
from autoresearch_tui.researchers.agents.trouble import meaning
from autoresearch_tui.researchers.base import ResearcherError, Usage
from autoresearch_tui.sandbox import known_agents, logins
from autoresearch_tui.util import scratch
from autoresearch_tui.util.text import describe

_NOT_STARTED = (126, 127)  # exit codes of a shell and the sandbox for a program that is missing or cannot be started

Wrap = Callable[[Sequence[str], Path], Sequence[str]]
"""Puts a command into a sandbox: from the command and its working folder to the command to start."""


class Program:
    """`command` runs without a shell; a leading `~/` is expanded in each word; `wrap` may add a sandbox."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        limits: Limits = DEFAULT_LIMITS,
        wrap: Wrap | None = None,
        keys: Sequence[str] = (),
    ) -> None:
        """`keys` are names of further variables that it sees, beside its known own ones."""
        self.command = [str(Path(word).expanduser()) if word.startswith("~/") else word for word in command]
        self._environ = known_agents.environment(self.command, environ, keys)
        self.redact = known_agents.redactor(self._environ)
        self._limits = limits
        self._wrap = wrap
        # the cost of cancelled calls, reported with the next
        self.unbilled = Usage()
        self._warned = False

    def bill(self) -> Usage:
        """The cost since the last call."""
        usage, self.unbilled = self.unbilled, Usage()
        return usage

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """A throw-away folder for one request. Raises ResearcherError, redacted and with its cost, for failures
        inside."""
        end_orphans()
        scratch.sweep(logins.settle)
        try:
            with scratch.folder("agent") as root:
                yield root
        except OSError as error:
            raise ResearcherError(f"the agent's folder cannot be used: {error}", usage=self.bill()) from None
        except ResearcherError as error:
            text, usage = self.redact(str(error)), self.bill()
            raise ResearcherError(
                text, fatal=error.fatal, retry_after=error.retry_after, usage=usage, outage=error.outage
            ) from None

    def run(
        self,
        work: Path,
        result: Path,
        prompt: str,
        stream: Stream,
        say: Callable[[str], None],
        cancelled: threading.Event,
    ) -> bool:
        """Lets it work in `work` and answer in `result`. Returns False if cancelled. Raises ResearcherError."""
        try:
            finished = self._run(work, result, prompt, stream, say, cancelled)
        finally:
            self.unbilled += stream.usage
            for trouble in logins.settle(work.parent):
                say(f"{aside(trouble)}\n")
        if finished is not None and finished.code != 0:
            raise _failure(describe(self.command[0]), finished, stream)
        self._warn_of_unknown_cost(stream, say)
        return finished is not None and not cancelled.is_set()

    def _run(
        self,
        work: Path,
        result: Path,
        prompt: str,
        stream: Stream,
        say: Callable[[str], None],
        cancelled: threading.Event,
    ) -> Finished | None:
        prompt_path = work.parent / "prompt"
        prompt_path.write_text(prompt, "utf-8", newline="")
        environ = {
            **self._environ,
            "AUTORESEARCH_RESULT": str(result),
            OWNER: owner(),
            # an agent must not use the accelerator
            "CUDA_VISIBLE_DEVICES": "",
            "NO_COLOR": "1",
            "TERM": "dumb",
        }
        command = self._wrap(self.command, work) if self._wrap else self.command
        return run(
            command,
            work,
            environ,
            prompt_path,
            self._limits,
            say,
            cancelled,
            name=self.command[0],
            stream=stream,
            beat=lambda: logins.settle(work.parent),
        )

    def _warn_of_unknown_cost(self, stream: Stream, say: Callable[[str], None]) -> None:
        if stream.unknown and stream.usage == Usage() and not self._warned:
            self._warned = True
            kinds = ", ".join(sorted(stream.unknown)[:3])
            text = (
                f"the events of {describe(self.command[0])} are not known here ({kinds}): what it costs is not seen, "
                "and `researcher.max_usd` and `researcher.max_tokens` cannot stop it"
            )
            say(f"{aside(text)}\n")


def _failure(name: str, finished: Finished, stream: Stream) -> ResearcherError:
    how = f"exit code {finished.code}" if finished.code > 0 else f"signal {-finished.code}"
    last = "\n".join(finished.last)
    if stream.trouble:
        text = f"{name} failed with {how}: {describe(stream.trouble)}"
    else:
        text = f"{name} failed with {how}; its last lines:\n{last or 'it printed nothing'}"
    found = meaning(stream.trouble or last)
    fatal = found.fatal or finished.code in _NOT_STARTED
    return ResearcherError(text, fatal=fatal, retry_after=found.retry_after, outage=found.outage)


def find(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """The path of the command's program, or None."""
    return shutil.which(str(Path(command[0]).expanduser()), path=environ.get("PATH"))
