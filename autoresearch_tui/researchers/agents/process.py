"""One run of a command-line agent: its output, its limits, and its end with everything it started."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from msgspec import Struct, field

from autoresearch_tui.researchers.agents import keeper
from autoresearch_tui.researchers.agents.stream import Stream
from autoresearch_tui.researchers.base import ResearcherError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line, describe

OWNER = "AUTORESEARCH_OWNER"
"""The variable that identifies an agent after its loop has died."""

_LAST = 12
_LINE = 2_000
_CHUNK = 64 * 1024
# an event may hold a whole file, several times
_LONGEST_EVENT = 8 * 1024 * 1024
_READS = 32
_SWEEPS = 5
_CLOCK_STEP = 600
_BEAT_SECONDS = 2.0


class Limits(Frozen):
    """Limits of one call. Times are in seconds; `grace` is the time to end after SIGTERM."""

    wall: float = 20 * 60
    silence: float = 5 * 60
    grace: float = 1.0
    tick: float = 0.1
    shown: int = 400_000


DEFAULT_LIMITS = Limits()


class Finished(Frozen):
    """Exit code (negative for a signal), and the last lines as they were shown."""

    code: int
    last: tuple[str, ...]


class _Output(Struct):
    """Turns bytes of both streams into cleaned lines, shown up to a limit."""

    say: Callable[[str], None]
    room: int
    stream: Stream
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST))
    _rest: dict[str, str] = field(default_factory=lambda: {"stdout": "", "stderr": ""})
    _decoders: dict[str, codecs.IncrementalDecoder] = field(
        default_factory=lambda: {
            name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")
        }
    )

    def feed(self, stream: str, data: bytes) -> None:
        """Takes the next bytes of a stream; empty bytes end it."""
        text = self._rest[stream] + self._decoders[stream].decode(data, final=not data)
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if not data or len(rest) > (_LONGEST_EVENT if rest.startswith("{") else _CHUNK):
            lines, rest = [*lines, rest], ""
        self._rest[stream] = rest
        for line in lines:
            if line.strip():
                self._show(self.stream.read(line) if stream == "stdout" else [line[:_LINE]])
        if not data and stream == "stdout":
            self._show(self.stream.rest())

    def _show(self, texts: Iterable[str]) -> None:
        for text in texts:
            lines = [clean_line(line) for line in text.splitlines()]
            self.last.extend(lines)
            self._say("\n".join(lines))

    def _say(self, text: str) -> None:
        if self.room <= 0:
            return
        self.room -= len(text) + 1
        self.say(f"{text}\n" if self.room > 0 else "… (the rest of the output is not shown)\n")


def run(
    command: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    prompt: Path,
    limits: Limits,
    say: Callable[[str], None],
    cancelled: threading.Event,
    *,
    name: str,
    stream: Stream,
    beat: Callable[[], object] = lambda: None,
) -> Finished | None:
    """Runs `command` in `folder` with the file `prompt` as stdin. None if it was cancelled.

    `name` is its name in errors, because the command may begin with a sandbox. `stream` reads its stdout, and has all
    of it even after a failure. `beat` is called now and then.

    When this returns, everything that the command started has ended.
    """
    output = _Output(say, limits.shown, stream)
    with _started(command, folder, environ, prompt, limits) as process:
        trouble = _watch(process, output, limits, cancelled, beat)
        code = process.poll()
    if trouble == "cancelled":
        return None
    if trouble:
        last = f"; it had said: {describe(stream.trouble)}" if stream.trouble else ""
        raise ResearcherError(f"{describe(name)} was stopped: {trouble}{last}")
    return Finished(0 if code is None else code, tuple(output.last))


@contextlib.contextmanager
def _started(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], prompt: Path, limits: Limits
) -> Iterator[subprocess.Popen[bytes]]:
    """The keeper of the agent, as a process. A pipe gives it the command, and closes when we end."""
    kept, ours = os.pipe()
    python, script = str(Path(sys.executable).resolve()), str(Path(keeper.__file__).resolve())
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        try:
            with prompt.open("rb") as stdin:
                process = subprocess.Popen(
                    [python, "-I", "-S", "-B", script, str(kept)],
                    cwd=folder,
                    env=dict(environ),
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                    pass_fds=(kept,),
                )
        except OSError as error:
            raise ResearcherError(f"cannot start {describe(command[0])}: {error.strerror}") from None
        finally:
            os.close(kept)
        stack.callback(_end, process, environ["AUTORESEARCH_RESULT"], limits)
        # A keeper that has ended reports that by its exit code.
        with contextlib.suppress(BrokenPipeError):
            _write(ours, json.dumps({"command": list(command), "grace": limits.grace}).encode() + b"\n")
        yield process


def _write(pipe: int, data: bytes) -> None:
    while data:
        data = data[os.write(pipe, data) :]


def _watch(
    process: subprocess.Popen[bytes],
    output: _Output,
    limits: Limits,
    cancelled: threading.Event,
    beat: Callable[[], object],
) -> str:
    """Follows the process to its end; returns what was wrong, or an empty string."""
    began = last_output = beaten = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe.fileno(), selectors.EVENT_READ, name)
        while True:
            # before reading, so that its last output is in the pipe
            ended = process.poll() is not None
            if _drain(selector, output, 0 if ended else limits.tick):
                last_output = time.monotonic()
            if ended:
                break
            if cancelled.is_set():
                return "cancelled"
            now = time.monotonic()
            if now - beaten > _BEAT_SECONDS:
                beat()
                beaten = now
            if now - began > limits.wall:
                return f"it took longer than {limits.wall:g} s"
            if now - last_output > limits.silence:
                return f"it printed nothing for {limits.silence:g} s"
    for name in ("stdout", "stderr"):
        output.feed(name, b"")
    return "cancelled" if cancelled.is_set() else ""


def _drain(selector: selectors.BaseSelector, output: _Output, wait: float) -> bool:
    """Feeds the available data, within one tick; returns whether there was any."""
    if not selector.get_map():
        # both streams closed while the process lives on
        time.sleep(wait)
        return False
    found = False
    for key, _ in selector.select(wait):
        # bounded, because a daemon may write without end
        for _ in range(_READS):
            try:
                data = os.read(key.fd, _CHUNK)
            except BlockingIOError:
                break
            if not data:
                selector.unregister(key.fd)
                break
            output.feed(key.data, data)
            found = True
    return found


def _end(process: subprocess.Popen[bytes], marker: str, limits: Limits) -> None:
    """Ends the agent with everything it started, through the keeper, or here if the keeper was killed."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limits.grace + 2 * keeper.END_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    # repeated, because a process may have started another meanwhile
    for _ in range(_SWEEPS):
        strays = list(_strays(marker))
        for stray in strays:
            with contextlib.suppress(psutil.Error):
                stray.kill()
        if not strays:
            break
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _signal_group(group: int, number: signal.Signals) -> None:
    # gone already, or, on macOS, only zombies left
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def owner() -> str:
    """Identifies this process, unlike its number, which may be reused."""
    process = psutil.Process()
    return f"{process.pid}:{process.create_time():.0f}"


def end_orphans() -> None:
    """Ends agents whose loop was killed, because they cost money."""
    living: dict[str, bool] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            name = process.environ().get(OWNER)
            if name is None:
                continue
            if name not in living:
                living[name] = _lives(name)
            if not living[name]:
                process.kill()


def _lives(name: str) -> bool:
    number, _, began = name.partition(":")
    try:
        return abs(psutil.Process(int(number)).create_time() - float(began)) < _CLOCK_STEP
    except (psutil.Error, ValueError, OverflowError):
        return False


def _strays(marker: str) -> Iterator[psutil.Process]:
    """Processes in sessions of their own, identified by the path in their environment."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("AUTORESEARCH_RESULT") == marker and process.status() != psutil.STATUS_ZOMBIE:
                yield process
