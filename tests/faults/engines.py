"""Engines by the dozen: a warm interpreter that forks each in milliseconds, with orders to die or to fail somewhere.

Every engine is a process of its own that runs the real command line. Its orders:

    before:run_started:2    SIGKILL just before the second `run_started` is journalled
    after:run_started:2     SIGKILL when it is on disk and nothing has followed
    half:diff.patch:2       SIGKILL when the second file of this name is written, just before it takes its name
    effect:37               SIGKILL just before the 37th thing it does to the world (a file opened for writing, written,
                            synced, renamed or removed, a folder made, a process started or signalled)
    disk                    nothing; supervisors too see the disk of `full_disk.c`, and pauses are short
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from autoresearch_tui.engine import backoff
from autoresearch_tui.runs import runner
from autoresearch_tui.runs.processes import PR_SET_PDEATHSIG, prctl
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import Journal, type_name

_EFFECTS = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.kill", "os.link", "subprocess.Popen"}
)
_CALLS = ("write", "pwrite", "fsync", "fdatasync", "ftruncate", "posix_spawn")


class Engines:
    """The client's side. Engines are started by :meth:`start` and looked after until :meth:`ends`."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._env = {**os.environ, **(env or {})}

    def __enter__(self) -> Engines:
        self._at_work = False
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.engines"],
            cwd=Path(__file__).parents[2],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.kill() if kind or self._at_work else self._server.wait(60)
        self._server.wait(60)

    def start(
        self,
        words: Sequence[str],
        errors: Path,
        *,
        orders: str = "",
        env: Mapping[str, str] | None = None,
        count: int = 1,
    ) -> list[int]:
        """So many engines at once, each with these words of the command line; their pids. stderr goes to `errors`-N."""
        if self._at_work:  # a test that failed has left its own behind
            self.__exit__(None, None, None)
            self.__enter__()
        self._at_work = True
        request = {"words": [*words], "errors": str(errors), "orders": orders, "env": dict(env or {}), "count": count}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        return list(self._answer())

    def ends(self) -> list[int]:
        """How they ended, when all have: exit codes, or minus a signal's number."""
        ends = list(self._answer())
        self._at_work = False
        return ends

    def run(self, words: Sequence[str], errors: Path, **orders: Any) -> int:
        """One engine from its start to its end."""
        self.start(words, errors, **orders)
        return self.ends()[0]

    def _answer(self) -> list[int]:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, "the server of engines has died"
        answer: list[int] = json.loads(line)
        return answer


def is_running(run: Path) -> bool:
    """Whether the run of this folder trains."""
    status = runner.look(run)
    return status.state is runner.RunState.RUNNING and status.started is not None


def arm(orders: str) -> None:
    """Let this process die as ordered."""
    when, _, rest = orders.partition(":")
    if when in ("before", "after"):
        name, nth = rest.split(":")
        _die_at_record(when, name, int(nth))
    elif when == "half":
        name, nth = rest.split(":")
        _die_half_way(name, int(nth))
    elif when == "effect":
        _die_at_effect(int(rest))
    elif orders == "disk":
        _share_the_disk()


def _share_the_disk() -> None:
    """What preloads a full disk is kept from a supervisor, as all of the environment is: here it is to have it."""
    given = [f"{name}={os.environ[name]}" for name in ("LD_PRELOAD", "FULL_FOLDER", "FULL_COUNTER")]
    plain = runner.supervisor_command
    runner.supervisor_command = lambda folder: ["env", *given, *plain(folder)]
    backoff.FIRST_SECONDS, backoff.LAST_SECONDS = 0.02, 0.1


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at_record(when: str, name: str, nth: int) -> None:
    seen: Counter[str] = Counter()
    append: Callable[..., tuple[ev.Record, bytes]] = Journal.append

    def deadly(journal: Journal, event: ev.Event, **options: object) -> tuple[ev.Record, bytes]:
        kind = type_name(event)
        seen[kind] += 1
        due = kind == name and seen[kind] == nth
        if due and when == "before":
            _die()
        result = append(journal, event, **options)
        if due:
            _die()
        return result

    Journal.append = deadly  # type: ignore[method-assign, assignment]


def _die_half_way(name: str, nth: int) -> None:
    left = nth

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event == "os.rename" and Path(os.fspath(arguments[1])).name == name:
            left -= 1
            if left == 0:
                _die()

    sys.addaudithook(hook)


def _die_at_effect(nth: int) -> None:
    left = nth

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            _die()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EFFECTS or (event == "open" and _writes(*arguments[1:3])):
            count()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **more: Any) -> Any:
            count()
            return call(*arguments, **more)

        return counting

    for name in _CALLS:
        setattr(os, name, counted(getattr(os, name)))
    sys.addaudithook(hook)


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _become(request: dict[str, Any], number: int) -> None:
    """In the child: an engine. Never returns."""
    code = 70
    try:
        null = os.open(os.devnull, os.O_RDWR)
        errors = os.open(f"{request['errors']}-{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor, source in ((0, null), (1, null), (2, errors)):
            os.dup2(source, descriptor)
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.environ.update(request["env"])
        arm(request["orders"])
        from autoresearch_tui import cli

        code = cli.main(request["words"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _serve() -> None:
    # Everything that an engine imports, and what it would find out about the machine.
    from autoresearch_tui.launch import (  # noqa: F401
        headless,
        launcher,
        tags,
    )
    from autoresearch_tui.researchers.search import researcher  # noqa: F401
    from autoresearch_tui.sandbox import for_runs

    for name in ("numpy", "pyflakes.checker", "pynvml"):
        importlib.import_module(name)
    for_runs.mechanism()
    gc.collect()
    gc.freeze()  # a collector that looked at all this would make copies of it, in each engine
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # where the tests are killed, nobody is left to end an engine
    for line in sys.stdin:
        request = json.loads(line)
        pids = []
        for number in range(request["count"]):
            pid = os.fork()
            if pid == 0:
                _become(request, number)
            pids.append(pid)
        print(json.dumps(pids), flush=True)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    _serve()
