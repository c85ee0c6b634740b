"""The headless engine that takes a session over when its cockpit leaves or dies."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping

from msgspec import field

from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.util.frozen import Frozen

# Reads one line and ends. Without a line, the engine at the other end of the pipe has died.
_WATCH = 'read -r word || exec "$@" </dev/null'


class Watchdog:
    """A shell of 2 MB in its own session, which becomes the background engine when this process dies."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def dismiss(self) -> None:
        """Ends the watchdog because no successor is needed. Harmless if repeated, or if it is dead already."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(b"\n")
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)


class BackgroundEngine(Frozen):
    """A headless engine for one session, not started yet. `overrides` are the command line's settings."""

    lab: Lab
    tag: str
    overrides: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> int:
        """Takes over now. Returns the process id. Raises OSError."""
        return self._spawn([], subprocess.DEVNULL).pid

    def watch(self) -> Watchdog | None:
        """Takes over when this process dies unexpectedly; None if that cannot be arranged."""
        with contextlib.suppress(OSError):
            return Watchdog(self._spawn(["/bin/sh", "-c", _WATCH, "autoresearch-watchdog"], subprocess.PIPE))
        return None

    def watch_later(self, seconds: float = 30.0) -> DelayedWatchdog:
        """As `watch`, for a background engine itself, after so long that one which keeps dying ends the chain."""
        return DelayedWatchdog(self, seconds)

    def _spawn(self, before: list[str], stdin: int) -> subprocess.Popen[bytes]:
        with self._errors() as errors:
            return subprocess.Popen(
                [*before, *self.command()],
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                bufsize=0,
                start_new_session=True,
            )

    def command(self) -> list[str]:
        options = [word for name, value in self.overrides.items() for word in (f"--{name}", value)]
        # Modules of the current folder must not be imported, unless this process was started so.
        path = [] if sys.path[0] == os.getcwd() else ["-P"]  # noqa: PTH109
        words = ["-m", "autoresearch_tui", str(self.lab.root), "--tag", self.tag, *options]
        return [sys.executable, *path, *words, "--headless", "--successor"]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[int]:
        """A descriptor of `engine.err`, or DEVNULL if it cannot be written."""
        path = self.lab.state_folder / "engine.err"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError:
            yield subprocess.DEVNULL
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class DelayedWatchdog:
    """Starts a watchdog after so many seconds, unless dismissed before."""

    def __init__(self, successor: BackgroundEngine, seconds: float) -> None:
        self._successor = successor
        self._watchdog: Watchdog | None = None
        self._timer = threading.Timer(seconds, self._start_watchdog)
        self._timer.daemon = True
        self._timer.start()

    def dismiss(self) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._watchdog is not None:
            self._watchdog.dismiss()

    def _start_watchdog(self) -> None:
        self._watchdog = self._successor.watch()
