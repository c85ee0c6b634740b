"""Commands of the human's own, run when something happens: mail or chat is one line of configuration.

A thread runs one at a time, so that the loop never waits for any. Only what is appended is told: a restart repeats
nothing. The one for the session's end is the last, and its caller waits for it, for it may stop the machine.
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
# A hook that hangs on every event must not pile them up; the newest that finds no room is left out.
_WAITING = 64
_ERROR_BYTES = 2000


class Hooks:
    """What is to be told goes in by :meth:`on_event`; what went wrong comes out by :meth:`failures`."""

    def __init__(
        self, settings: HookSettings, root: Path, tag: str, environ: Mapping[str, str], limit: float = LIMIT_SECONDS
    ) -> None:
        """Commands run in `root` with `environ`, API keys left out, for at most `limit` seconds each."""
        named = {"best": settings.best, "crash": settings.crash, "waits": settings.waits, "stopped": settings.stopped}
        named["ended"] = settings.ended
        self._commands = {kind: command for kind, command in named.items() if command}
        self._root, self._tag, self._limit = root, tag, limit
        self._environ = {name: value for name, value in environ.items() if not is_api_key(name)}
        self._due: queue.Queue[tuple[News, bytes] | None] = queue.Queue(_WAITING)
        self._failed: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._told: set[str] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def on_event(self, before: State, after: State, line: bytes) -> None:
        """A journal's line was appended, which made `after` of `before`. Returns at once."""
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
        """The kind and the cause of what went wrong since the last call: of each kind once, until it works again."""
        found = []
        while not self._failed.empty():
            kind, why = self._failed.get()
            if not why:
                self._told.discard(kind)
            elif kind not in self._told:
                self._told.add(kind)
                found.append((kind, why))
        return found

    def close(self, seconds: float) -> None:
        """Nothing more comes: wait so long for what is due; what has not begun by then is left out."""
        if self._thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._due.put_nowait(None)
        self._thread.join(seconds)
        self._closed = True

    def end(self, item: News, line: bytes) -> None:
        """The session has ended, whether that could be written down or not: run `ended`, after everything else.

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
        except Exception as error:  # the thread must outlive it, or later events reach no hook
            why = str(error) or type(error).__name__
        self._failed.put((item.kind, why))

    def _run(self, item: News, message: bytes) -> str:
        """Run the command; why it failed, or nothing."""
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
    """A word of the command with `{text}` and the like filled in. No value is filled in twice."""
    parts = word.split("{")
    filled = parts[0]
    for part in parts[1:]:
        name, brace, rest = part.partition("}")
        filled += facts[name] + rest if brace and name in facts else "{" + part
    return filled
