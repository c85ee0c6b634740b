"""The command line in a process of its own, without the second that its imports take: a fork of a warm interpreter.

For tests of what a command does. What a start is like, and what it imports, is tested with `python -m`.
"""

from __future__ import annotations

import atexit
import functools
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_LONGEST = 1 << 18


def run(
    words: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, seconds: float = 240
) -> subprocess.CompletedProcess[str]:
    """`autoresearch-tui` with these words, as `subprocess.run` with nothing to read would start it."""
    request = {"words": list(words), "cwd": str(cwd or Path.cwd()), "env": dict(os.environ if env is None else env)}
    reply, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, reply:
        with theirs:
            descriptors = [out.fileno(), err.fileno(), theirs.fileno()]
            socket.send_fds(_server(), [json.dumps(request).encode()], descriptors)
        reply.settimeout(seconds)
        try:
            answer = reply.recv(64)
        except TimeoutError:
            raise subprocess.TimeoutExpired(list(words), seconds) from None
        texts = [(file.seek(0), io.TextIOWrapper(file, errors="replace").read())[1] for file in (out, err)]
    assert answer, f"no end was told: {texts}"
    return subprocess.CompletedProcess(list(words), int(answer), *texts)


@functools.cache
def _server() -> socket.socket:
    """One for each worker; it ends when this end of the line does."""
    line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
            cwd=Path(__file__).parents[1], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
    atexit.register(lambda: (line.close(), server.wait()))
    return line


def _serve(line: socket.socket) -> None:
    from autoresearch_tui import cli  # noqa: F401
    from autoresearch_tui.launch import headless, launcher, tags  # noqa: F401
    from autoresearch_tui.researchers.search import researcher  # noqa: F401

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
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(reply, str(code).encode())
        os._exit(0)
    os.close(reply)
    for number, descriptor in ((1, out), (2, err)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    os.chdir(str(request["cwd"]))
    random.seed()
    raise _Command(request["words"])


class _Command(Exception):
    """Leads out of the server, down to where a program begins."""


if __name__ == "__main__":
    try:
        _serve(socket.socket(fileno=int(sys.argv[1])))
    except _Command as command:
        words = command.args[0]
    else:
        sys.exit()
    from autoresearch_tui.cli import main

    sys.argv = ["autoresearch-tui", *words]
    sys.exit(main())
