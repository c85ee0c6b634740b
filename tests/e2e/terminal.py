"""A real pseudo-terminal with a screen that can be read: what a person at the keyboard sees and does."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pexpect
import pyte

from tests import warm
from tests.waiting import wait_for

AGAIN_SECONDS = 6.0
COUNTS_SECONDS = 0.7
SLOW_LINE = Path(__file__).with_name("slow_line.py")


class Terminal:
    """One command in a terminal of its own."""

    def __init__(
        self,
        *words: str,
        columns: int = 120,
        lines: int = 32,
        env: dict[str, str] | None = None,
        latency: float = 0.0,
    ) -> None:
        """`latency`: seconds that each byte is under way, in either direction.

        With an environment or a line of its own it is `python -m`, else a fork of a warm interpreter.
        """
        self._lab = words[0]
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.bytes_received = 0
        self._text = ""  # empty: to be made anew
        self._gone = False
        # Where they are set, a program believes them and not its terminal.
        own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        own |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
        self.process: Any
        if latency or env:
            far = [str(SLOW_LINE), str(latency), sys.executable] if latency else []
            command = [*far, "-m", "autoresearch_tui", *words]
            self.process = pexpect.spawn(
                sys.executable, command, dimensions=(lines, columns), env=own, timeout=None
            )  # fmt: skip
        else:
            self.process = Fork(words, (lines, columns), own)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._gone:
            self.process.close(force=True)
        if kind is not None:
            # Engines that a failed test left: watchdogs become engines, so twice.
            for pid in [*_working_in(self._lab), *_working_in(self._lab)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def drain(self) -> bool:
        """Take in what was drawn; False once the program has gone."""
        try:
            data = self.process.read_nonblocking(1 << 16, timeout=0.02)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.bytes_received += len(data)
        self._stream.feed(data)
        self._text = ""
        return True

    @property
    def cursor_shown(self) -> bool:
        """A full screen hides it, and has to give it back."""
        return not self._screen.cursor.hidden

    @property
    def text(self) -> str:
        """The screen as it is."""
        if not self._text:
            columns, lines = range(self._screen.columns), range(self._screen.lines)
            rows = ([self._screen.buffer[y][x].data for x in columns] for y in lines)
            self._text = "\n".join("".join(row).rstrip() for row in rows)
        return self._text

    def wait(self, wanted: str | Callable[[str], object], seconds: float = 60) -> str:
        """Until the screen shows `wanted`; fails with the screen otherwise."""
        deadline = time.monotonic() + seconds
        alive = True
        while time.monotonic() < deadline:
            alive = alive and self.drain()
            shown = self.text
            if wanted in shown if isinstance(wanted, str) else wanted(shown):
                return shown
            if not alive:
                break
        raise AssertionError(
            f"never seen: {wanted}; {'' if alive else 'the program ended; '}the screen is\n{self.text}"
        )

    def press(self, keys: str) -> None:
        """Type."""
        self.process.send(keys)

    def press_until(self, keys: str, wanted: str | Callable[[str], object], seconds: float = 60) -> str:
        """Type; and again where that did nothing, for a screen may not have been ready for it."""
        deadline = time.monotonic() + seconds
        while True:
            self.press(keys)
            try:
                return self.wait(wanted, AGAIN_SECONDS)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise

    def answer(self, keys: str, wanted: str | Callable[[str], object]) -> str:
        """Type what answers a proposal: that does not count in the first half second of a new one."""
        counts = time.monotonic() + COUNTS_SECONDS
        self.wait(lambda _: time.monotonic() > counts)
        return self.press_until(keys, wanted)

    def ended(self, seconds: float = 60) -> int:
        """Wait for the end of the program; its exit code."""
        deadline = time.monotonic() + seconds
        while self.drain():
            if time.monotonic() > deadline:
                raise AssertionError(f"never ended; the screen is\n{self.text}")
        self.process.wait()
        assert self.process.exitstatus is not None, f"ended by signal {self.process.signalstatus}"
        return self.process.exitstatus

    def kill(self) -> None:
        """kill -9."""
        self.process.kill(signal.SIGKILL)
        self.process.wait()

    def resize(self, columns: int, lines: int) -> None:
        """Another size, as when a window is dragged."""
        self._screen.resize(lines, columns)
        self._text = ""
        self.process.setwinsize(lines, columns)

    def hang_up(self) -> None:
        """The line drops: the kernel sends SIGHUP to the programs of this terminal."""
        os.close(self.process.child_fd)
        self._gone = True

        wait_for(lambda: not self.process.isalive(), what="the program's end after its terminal had gone")


class Fork:
    """A fork of a warm interpreter in a pseudo-terminal, with what is used here of `pexpect.spawn`."""

    def __init__(self, words: Sequence[str], dimensions: tuple[int, int], env: Mapping[str, str]) -> None:
        """`dimensions`: lines and columns."""
        self.exitstatus: int | None = None
        self.signalstatus: int | None = None
        self.child_fd, slave = os.openpty()
        self.setwinsize(*dimensions)
        self._started = warm.in_terminal(words, slave, env)
        self.pid = self._started.pid
        os.close(slave)

    def read_nonblocking(self, size: int, timeout: float) -> bytes:
        """Raises pexpect's TIMEOUT and EOF."""
        if not select.select([self.child_fd], [], [], timeout)[0]:
            raise pexpect.TIMEOUT("nothing was drawn")
        try:
            data = os.read(self.child_fd, size)
        except OSError:  # Linux says it so
            data = b""
        if not data:
            raise pexpect.EOF("nobody has the terminal any more")
        return data

    def send(self, text: str) -> None:
        left = text.encode()
        while left:
            left = left[os.write(self.child_fd, left) :]

    def setwinsize(self, lines: int, columns: int) -> None:
        termios.tcsetwinsize(self.child_fd, (lines, columns))

    def isalive(self) -> bool:
        return not self._ends(0)

    def wait(self) -> None:
        assert self._ends(60), "it does not end"

    def kill(self, number: int) -> None:
        if self.isalive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def close(self, force: bool) -> None:
        os.close(self.child_fd)
        if not self._ends(0.3):
            self.kill(signal.SIGKILL)
            self.wait()

    def _ends(self, seconds: float) -> bool:
        if self.exitstatus is None and self.signalstatus is None:
            try:
                code = self._started.wait(seconds)
            except TimeoutError:
                return False
            self.exitstatus, self.signalstatus = (code, None) if code >= 0 else (None, -code)
        return True


def _working_in(lab: str) -> list[int]:
    """Engines and watchdogs of a lab, the youngest first."""
    done = subprocess.run(["pgrep", "-f", f"autoresearch_tui {lab} "], capture_output=True, text=True, check=False)
    return sorted(map(int, done.stdout.split()), reverse=True)


def rows(lab: Path) -> list[list[str]]:
    """The table at the lab's top, without its header."""
    path = lab / "results.tsv"
    return [line.split("\t") for line in path.read_text().splitlines()[1:]] if path.exists() else []
