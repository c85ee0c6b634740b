"""Scripts that need numpy, torch or anthropic, in processes of their own without the second that those take to import:
forks of a warm interpreter.

For tests of what a script does. What a start is like is tested with a start.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_LONGEST = 1 << 18
_WARM = {
    "numpy": ("numpy.ma", "numpy.random"),
    "torch": ("torch",),
    "anthropic": ("autoresearch_tui.researchers.claude.client", "anthropic.resources.models"),
}


class Started:
    """A script at work."""

    def __init__(self, words: Sequence[str], reply: socket.socket, files: list[Any]) -> None:
        self._words, self._reply, self._files = list(words), reply, files

    def end(self, seconds: float = 240) -> subprocess.CompletedProcess[str]:
        """Waits for it; newlines are kept as they are."""
        self._reply.settimeout(seconds)
        with self._reply:
            answer = self._reply.recv(64)
        texts = []
        for file in self._files:
            with file:
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        assert answer, f"no end was told: {texts}"
        return subprocess.CompletedProcess(self._words, int(answer), *texts)


def begin(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], warm: str = "torch", sockets: Mapping[str, int] = {}
) -> Started:
    """`python` with these words, where the package `warm` is imported already. `sockets`: descriptors that it gets, and
    the variables which say their numbers."""
    files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
    reply, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = {"words": [str(word) for word in words], "cwd": str(cwd), "env": dict(env), "sockets": list(sockets)}
    with theirs:
        descriptors = [*(file.fileno() for file in files), theirs.fileno(), *sockets.values()]
        socket.send_fds(_server(warm), [json.dumps(request).encode()], descriptors)
    return Started(words, reply, files)


def run(words: Sequence[str], *, cwd: Path, env: Mapping[str, str], warm: str = "torch") -> Any:
    """From its start to its end, as `subprocess.run` has it."""
    return begin(words, cwd=cwd, env=env, warm=warm).end()


@functools.cache
def _server(warm: str) -> socket.socket:
    """One of each kind for each worker; it ends when this end of the line does."""
    line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.forked", str(theirs.fileno()), warm],
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
    atexit.register(lambda: (line.close(), server.wait()))
    return line


def _serve(line: socket.socket, warm: str) -> dict[str, Any]:
    """Returns in each script's process, with what was asked for."""
    for name in _WARM[warm]:
        importlib.import_module(name)
    del sys.path[0]
    gc.collect()
    gc.freeze()
    while True:
        data, descriptors, _, _ = socket.recv_fds(line, _LONGEST, 8)
        with contextlib.suppress(ChildProcessError):  # those who waited for a script
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not data:
            sys.exit()
        out, err, reply, *sockets = descriptors
        if not os.fork():
            line.close()
            if script := os.fork():
                for descriptor in (out, err, *sockets):
                    os.close(descriptor)
                code = os.waitstatus_to_exitcode(os.waitpid(script, 0)[1])
                os.write(reply, str(code).encode())
                os._exit(0)
            os.close(reply)
            for number, descriptor in ((1, out), (2, err)):
                os.dup2(descriptor, number)
                os.close(descriptor)
            request: dict[str, Any] = json.loads(data)
            names = zip(request["sockets"], map(str, sockets), strict=True)
            return {**request, "env": {**request["env"], **dict(names)}}
        for descriptor in descriptors:
            os.close(descriptor)


def _execute(words: list[str]) -> None:
    if words[0] == "-c":
        sys.argv, code = ["-c", *words[2:]], words[1]
        sys.path.insert(0, "")
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    elif words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, "")
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
        runpy.run_path(words[0], run_name="__main__")


def _main(request: dict[str, Any]) -> int:
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    try:
        _execute(request["words"])
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        return 1
    return 0


if __name__ == "__main__":
    code = _main(_serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2]))
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # what the interpreter takes apart would be a copy of all that is shared
