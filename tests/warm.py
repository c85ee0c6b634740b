"""The command line in a process of its own, without the second that its imports take: a fork of a warm interpreter.

For tests of what a command does. What a start is like, and what it imports, is tested with `python -m`.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import importlib
import io
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

_LONGEST = 1 << 18


def run(
    words: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = 240,
    code: str = "",
) -> subprocess.CompletedProcess[str]:
    """`autoresearch-tui` with these words, as `subprocess.run` with nothing to read would start it.

    `code`: what is run instead, as by `python -c`.
    """
    request = {
        "words": list(words), "cwd": str(cwd or Path.cwd()), "env": dict(os.environ if env is None else env),
        "code": code,
    }  # fmt: skip
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        reply = _ask(_server(""), request, out.fileno(), err.fileno())
        reply.settimeout(seconds)
        try:
            answer = reply.recv(64)
        except TimeoutError:
            raise subprocess.TimeoutExpired(list(words), seconds) from None
        finally:
            reply.close()
        texts = [(file.seek(0), io.TextIOWrapper(file, errors="replace").read())[1] for file in (out, err)]
    assert answer, f"no end was told: {texts}"
    return subprocess.CompletedProcess(list(words), int(answer), *texts)


class Started:
    """A command at work, as `subprocess.Popen` would have it."""

    def __init__(self, reply: socket.socket) -> None:
        self._reply = reply
        self.pid = int(reply.recv(64))
        self.returncode: int | None = None

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._reply], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float = 240) -> int:
        if self.returncode is None:
            self._reply.settimeout(timeout)
            self.returncode = int(self._reply.recv(64))
            self._reply.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(words: Sequence[str | Path], *, env: Mapping[str, str] | None = None, out: int = -1, err: int = 2) -> Started:
    """The same, not waited for. Its output goes to these descriptors, or nowhere."""
    request = {"words": [*map(str, words)], "cwd": str(Path.cwd()), "env": dict(os.environ if env is None else env)}
    with Path(os.devnull).open("wb") as nowhere:
        return Started(_ask(_server(""), {**request, "pid": True}, nowhere.fileno() if out < 0 else out, err))


def in_terminal(words: Sequence[str], terminal: int, env: Mapping[str, str]) -> tuple[int, socket.socket]:
    """The same in a terminal (its slave's descriptor) which becomes its own: its pid, and where its exit code will
    come from; minus a signal's number."""
    request = {"words": list(words), "cwd": str(Path.cwd()), "env": dict(env), "terminal": True, "pid": True}
    reply = _ask(_server("cockpit"), request, terminal, terminal)
    return int(reply.recv(64)), reply


def _ask(server: socket.socket, request: dict[str, object], out: int, err: int) -> socket.socket:
    """Where the answers to a request come from: the pid if it is asked for, and the exit code."""
    reply, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        socket.send_fds(server, [json.dumps(request).encode()], [out, err, theirs.fileno()])
    return reply


@functools.cache
def _server(kind: str) -> socket.socket:
    """One of each kind for each worker; it ends when this end of the line does."""
    line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno()), *filter(None, [kind])],
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            cwd=Path(__file__).parents[1], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
    atexit.register(lambda: (line.close(), server.wait()))
    return line


def _serve(line: socket.socket, *, cockpit: bool) -> None:
    from autoresearch_tui import cli  # noqa: F401
    from autoresearch_tui.launch import headless, launcher, tags  # noqa: F401
    from autoresearch_tui.researchers.search import researcher  # noqa: F401

    if cockpit:
        for name in ("autoresearch_tui.cockpit.app", "numpy", "pyflakes.checker", "pynvml"):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collector that looked at all this would make copies of it, in each command
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who wait for a command, see below
    while True:
        data, descriptors, _, _ = socket.recv_fds(line, _LONGEST, 3)
        if not data:
            return
        if os.fork() == 0:
            line.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _wait_for(json.loads(data), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _wait_for(request: dict[str, object], out: int, err: int, reply: int) -> None:
    """Starts the command and tells its end. Returns in the command alone, which has the interpreter to itself."""
    child = os.fork()
    if child:
        os.close(out)
        os.close(err)
        if request.get("pid"):
            os.write(reply, str(child).encode())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(reply, str(code).encode())
        os._exit(0)
    os.close(reply)
    if request.get("terminal"):
        os.setsid()
        fcntl.ioctl(out, termios.TIOCSCTTY, 0)
        os.dup2(out, 0)
    for number, descriptor in ((1, out), (2, err)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request.get("terminal"):
        sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)  # type: ignore[misc]
    if request.get("pid"):  # what was made for a file is not as what is made for a terminal or a pipe
        sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, closefd=False, errors="backslashreplace")  # type: ignore[misc]
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    os.chdir(str(request["cwd"]))
    random.seed()
    raise _Command(request["words"], request.get("code"))


def _exit(main: Callable[[], int]) -> NoReturn:
    """As `sys.exit(main())`, but for what the interpreter takes apart: that would be a copy of all that is shared."""
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Command(Exception):
    """Leads out of the server, down to where a program begins."""


if __name__ == "__main__":
    try:
        _serve(socket.socket(fileno=int(sys.argv[1])), cockpit=sys.argv[2:] == ["cockpit"])
    except _Command as command:
        words, code = command.args
    else:
        sys.exit()
    from autoresearch_tui.cli import main

    sys.argv = ["autoresearch-tui", *words]
    _exit((lambda: exec(code) or 0) if code else main)
