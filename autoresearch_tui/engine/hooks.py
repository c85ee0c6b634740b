"""The human's own commands, run when something happens: mail or chat takes one line of configuration.

A thread runs one at a time, so that the loop never waits. Only new records cause notifications: a restart repeats none.
The command for the session's end is the last, and the engine waits for it, because it may stop the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from autoresearch_tui.lab.settings import HookSettings
from autoresearch_tui.session.notifications import News, news
from autoresearch_tui.session.state import State
from autoresearch_tui.util.secrets import is_api_key
from autoresearch_tui.util.text import clean_line

LIMIT_SECONDS = 30.0
# A hook that hangs must not pile up events; when the queue is full, new ones are dropped.
_WAITING = 64
_ERROR_BYTES = 2000


class Hooks:
    """Takes events by :meth:`on_event`, and reports problems by :meth:`failures`."""

    def __init__(
        self, settings: HookSettings, root: Path, tag: str, environ: Mapping[str, str], limit: float = LIMIT_SECONDS
    ) -> None:
        """Commands run in `root` with `environ`, without API keys, for at most `limit` seconds each."""
        named = {"best": settings.best, "crash": settings.crash, "waits": settings.waits, "stopped": settings.stopped}
        named["ended"] = settings.ended
        self._commands = {kind: command for kind, command in named.items() if command}
        self._root, self._tag, self._limit = root, tag, limit
        self._environ = {name: value for name, value in environ.items() if not is_api_key(name)}
        self._due: queue.Queue[tuple[News, bytes] | None] = queue.Queue(_WAITING)
        self._failed: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._reported: set[str] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def on_event(self, before: State, after: State, line: bytes) -> None:
        """The journal's new `line` led from `before` to `after`. Returns at once."""
        if not self._commands:
            return
        for item in news(before, after):
            if item.kind not in self._commands:
                continue
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hooks", daemon=True)
                self._thread.start()
            try:
                self._due.put_nowait((item, self._message(item, line)))
            except queue.Full:
                self._failed.put((item.kind, "too many events at once; some were not told"))

    def failures(self) -> list[tuple[str, str]]:
        """The new failures, each a kind and its cause; each kind is reported once until it works again."""
        found = []
        while not self._failed.empty():
            kind, why = self._failed.get()
            if not why:
                self._reported.discard(kind)
            elif kind not in self._reported:
                self._reported.add(kind)
                found.append((kind, why))
        return found

    def close(self, seconds: float) -> None:
        """No more events: wait up to `seconds` for the queue; what has not begun by then is dropped."""
        if self._thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._due.put_nowait(None)
        self._thread.join(seconds)
        self._closed = True

    def end(self, item: News, line: bytes) -> None:
        """The session has ended, journalled or not: run `ended`, after everything else.

        `line`: its record, or `null`. Returns when the command has ended, or after `limit` seconds.
        """
        if "ended" in self._commands:
            self._attempt(item, self._message(item, line))

    def _work(self) -> None:
        while not self._closed and (due := self._due.get()) is not None:
            self._attempt(*due)

    def _attempt(self, item: News, message: bytes) -> None:
        try:
            why = self._run(item, message)
        except Exception as error:  # the thread must survive, for later events
            why = str(error) or type(error).__name__
        self._failed.put((item.kind, why))

    def _run(self, item: News, message: bytes) -> str:
        """Run the command; returns why it failed, or an empty string."""
        facts = self._facts(item)
        command = [_filled(word, facts) for word in self._commands[item.kind]]
        environ = {**self._environ, **{f"AUTORESEARCH_{name.upper()}": value for name, value in facts.items()}}
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=self._root if self._root.is_dir() else "/",
                env=environ,
                start_new_session=True,
            )
            try:
                process.communicate(message, timeout=self._limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return f"{command[0]}: no end within {self._limit:g} s; killed"
            if process.returncode == 0:
                return ""
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - _ERROR_BYTES))
            lines = errors.read().decode("utf-8", "replace").split("\n")
            last = next((clean_line(line) for line in reversed(lines) if line.strip()), "no message")
            return f"{command[0]}: exit code {process.returncode}: {last}"

    def _facts(self, item: News) -> dict[str, str]:
        return {
            "event": item.kind,
            "text": item.text,
            "lab": clean_line(str(self._root)),
            "tag": self._tag,
            "reason": item.reason,
            "number": "" if item.number is None else str(item.number),
            "commit": item.commit,
            "value": "" if item.value is None else f"{item.value:.6f}",
        }

    def _message(self, item: News, line: bytes) -> bytes:
        """The facts and the journal's record, as one JSON object."""
        values = {**self._facts(item), "number": item.number, "value": item.value, "record": json.loads(line)}
        return json.dumps(values).encode() + b"\n"


def _filled(word: str, facts: Mapping[str, str]) -> str:
    """A word of the command with `{text}` and the like filled in; values are not expanded again."""
    parts = word.split("{")
    filled = parts[0]
    for part in parts[1:]:
        name, brace, rest = part.partition("}")
        filled += facts[name] + rest if brace and name in facts else "{" + part
    return filled
