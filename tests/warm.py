"""Processes of their own without the second that their imports take: forks of a warm interpreter.

For tests of what a command or a script does. What a start is like, and what it imports, is tested with `python -m`.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import gc
import importlib
import io
import json
import os
import random
import runpy
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
from typing import Any, NoReturn

_LONGEST = 1 << 18
# What an interpreter has imported for the command line, and further for the cockpit.
_COMMANDS = (
    "autoresearch_tui.cli",
    "autoresearch_tui.launch.headless",
    "autoresearch_tui.launch.launcher",
    "autoresearch_tui.launch.tags",
    "autoresearch_tui.researchers.search.researcher",
)
_COCKPIT = ("autoresearch_tui.cockpit.app", "numpy", "pyflakes.checker", "pynvml")
_WARM = {"commands": _COMMANDS, "cockpit": _COMMANDS + _COCKPIT}


class Started:
    """A process at work, as `subprocess.Popen` would have it."""

    def __init__(self, reply: socket.socket, words: Sequence[str] = (), files: Sequence[Any] = ()) -> None:
        self._reply, self._words, self._files = reply, list(words), files
        self.pid = int(reply.recv(64))
        self.returncode: int | None = None

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def poll(self) -> int | None:
        with contextlib.suppress(TimeoutError):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float = 240) -> int:
        """Its exit code, or minus a signal's number. Raises TimeoutError."""
        if self.returncode is None:
            if not select.select([self._reply], [], [], timeout)[0]:
                raise TimeoutError
            self.returncode = int(self._reply.recv(64))
            self._reply.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def result(self, seconds: float = 240) -> subprocess.CompletedProcess[str]:
        """Its end and its output, newlines as they are. Raises TimeoutExpired."""
        try:
            self.wait(seconds)
        except TimeoutError:
            raise subprocess.TimeoutExpired(self._words, seconds) from None
        texts = []
        for file in self._files:
            with file:
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        assert self.returncode is not None
        return subprocess.CompletedProcess(self._words, self.returncode, *texts)


# ── the command line ────────────────────────────────────────────────────────────────────────────────────────────


def run(
    words: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, seconds: float = 240
) -> subprocess.CompletedProcess[str]:
    """`autoresearch-tui` with these words, as `subprocess.run` with nothing to read would start it."""
    done = _captured("commands", words, cwd, env).result(seconds)
    done.stdout, done.stderr = (io.StringIO(text, newline=None).read() for text in (done.stdout, done.stderr))
    return done


def start(words: Sequence[str | Path], *, env: Mapping[str, str] | None = None, out: int = -1, err: int = 2) -> Started:
    """The same, not waited for. Its output goes to these descriptors, or nowhere."""
    with Path(os.devnull).open("wb") as nowhere:
        return Started(_ask("commands", words, None, env, nowhere.fileno() if out < 0 else out, err))


def in_terminal(words: Sequence[str], terminal: int, env: Mapping[str, str]) -> Started:
    """The same in a terminal (its slave's descriptor), which becomes its own."""
    return Started(_ask("cockpit", words, None, env, terminal, terminal, terminal=True))


# ── any Python ──────────────────────────────────────────────────────────────────────────────────────────────────


def python(
    words: Sequence[str | Path],
    *,
    warm: str = "torch",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    sockets: Mapping[str, int] | None = None,
) -> Started:
    """`python` with these words, where the module `warm` (or what `commands` need) is imported already.

    `sockets`: descriptors that it gets, and the variables that say their numbers.
    """
    return _captured(warm, words, cwd, env, sockets or {}, python=True)


def _captured(
    kind: str,
    words: Sequence[str | Path],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    sockets: Mapping[str, int] = {},
    **more: bool,
) -> Started:
    files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
    reply = _ask(kind, words, cwd, env, *(file.fileno() for file in files), sockets=sockets, **more)
    return Started(reply, [*map(str, words)], files)


def _ask(
    kind: str,
    words: Sequence[str | Path],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    out: int,
    err: int,
    *,
    sockets: Mapping[str, int] = {},
    **more: bool,
) -> socket.socket:
    """Where the answers to a request come from: the pid, and the exit code."""
    request = {"words": [*map(str, words)], "cwd": str(cwd or Path.cwd()), "sockets": list(sockets), **more}
    request["env"] = dict(os.environ if env is None else env)
    reply, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        descriptors = [out, err, theirs.fileno(), *sockets.values()]
        socket.send_fds(_server(kind), [json.dumps(request).encode()], descriptors)
    return reply


@functools.cache
def _server(kind: str) -> socket.socket:
    """One of each kind for each worker; it ends when this end of the line does."""
    line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    several = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}  # threads do not survive a fork
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno()), kind],
            env={**os.environ, **several, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            cwd=Path(__file__).parents[1], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
    atexit.register(lambda: (line.close(), server.wait()))
    return line


# ── the server's side ───────────────────────────────────────────────────────────────────────────────────────────


def _serve(line: socket.socket, kind: str) -> None:
    for name in _WARM.get(kind, (kind,)):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collector that looked at all this would make copies of it, in each process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who wait for a process, see below
    while True:
        data, descriptors, _, _ = socket.recv_fds(line, _LONGEST, 8)
        if not data:
            return
        if os.fork() == 0:
            line.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _wait_for(json.loads(data), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _wait_for(request: dict[str, Any], out: int, err: int, reply: int, *sockets: int) -> NoReturn:
    """Starts the process and tells its end. Raises _Begin in the process, which has the interpreter to itself."""
    child = os.fork()
    if child:
        for descriptor in (out, err, *sockets):
            os.close(descriptor)
        os.write(reply, str(child).encode())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(reply, str(code).encode())
        os._exit(0)
    os.close(reply)
    if request.get("terminal"):
        os.setsid()
        fcntl.ioctl(out, termios.TIOCSCTTY, 0)
        os.dup2(out, 0)
        sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    for number, descriptor in ((1, out), (2, err)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # What was made for a file is not as what is made for a terminal or a pipe.
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, closefd=False, errors="backslashreplace")  # type: ignore[misc]  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["env"], **dict(zip(request["sockets"], map(str, sockets), strict=True)))
    os.chdir(request["cwd"])
    random.seed()
    raise _Begin(request["words"], request.get("python", False))


class _Begin(Exception):
    """Leads out of the server, down to where a program begins."""


def _command_line(words: list[str]) -> int:
    from autoresearch_tui.cli import main

    sys.argv = ["autoresearch-tui", *words]
    return main()


def _python(words: list[str]) -> int:
    del sys.path[0]  # the server's own
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.path.insert(0, "")
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    elif words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, "")
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
        runpy.run_path(words[0], run_name="__main__")
    return 0


def _exit(main: Callable[[], int]) -> NoReturn:
    """As `sys.exit(main())`, but for what the interpreter takes apart: that would be a copy of all that is shared."""
    try:
        code = main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
    except _Begin as begin:
        words, is_python = begin.args
    else:
        sys.exit()
    _exit(functools.partial(_python if is_python else _command_line, words))
