"""Starts, observes and stops runs. A run belongs to its supervisor, and needs no process of this module.

A run is a folder, and its state is read from that folder alone: `exit.json` readable = ended; else `run.lock` held =
running; else a trace of a start = lost; else not started.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import functools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import asdict

from autoresearch_tui.logs import encoding
from autoresearch_tui.logs import lines as runlog
from autoresearch_tui.runs import run_folder
from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.util.frozen import Frozen

START_SECONDS = 10.0
# Marks every process of a run, to find those that outlive a killed supervisor.
MARK = "AUTORESEARCH_RUN"
LOG_TAIL_BYTES = 64 * 1024
_CAUSE_WIDTH = 300
_PACKAGES = Path(__file__).resolve().parents[2]
_SUPERVISE = (
    "import sys; sys.path.append(sys.argv[1]); from autoresearch_tui.runs.supervisor import main; "
    "sys.exit(main(sys.argv[2]))"
)


class RefereeSpec(Frozen):
    """The referee that the supervisor starts when the run asks to be scored. `cwd` is absolute, `env` complete.

    `hands_over`: it starts with the run, and hands over the training data when the run reports that it is ready.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    hands_over: bool = False


class RunSpec(Frozen):
    """One execution. `env` is the run's whole environment; `cwd` is relative to the run's folder.

    `memory_limit_bytes` 0: all but a reserve. `grace_seconds`: between SIGTERM and SIGKILL. `cpus`: the processors that
    the run is pinned to; empty for all. With a `referee`, AUTORESEARCH_REFEREE_FD has the number of a socket to it.
    `bound`: the run ends when its supervisor's standard input does. `shared_accelerator`: accelerator memory is not
    measured, as others use it too. `inherited`: names of this process's variables that the command also gets, whose
    values are not written to the run's folder.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str = "work"
    timeout_seconds: float = 600
    log_limit_bytes: int = 64 * 2**20
    min_free_bytes: int = 256 * 2**20
    memory_limit_bytes: int = 0
    niceness: int = 0
    grace_seconds: float = 2.0
    cpus: tuple[int, ...] = ()
    referee: RefereeSpec | None = None
    bound: bool = False
    shared_accelerator: bool = False
    inherited: tuple[str, ...] = ()


class Started(Frozen):
    """`started.json`. It exists before the trainer's first instruction; `time` is UTC, ISO 8601."""

    supervisor_pid: int
    trainer_pid: int
    boot_id: str
    time: str


class Exit(Frozen):
    """`exit.json`. `note`: for the human. `reason` is LOST if something other than the engine ended the supervisor.

    `ready_seconds`, `asked_seconds`: from the start until the run had its training data, and until it asked to be
    scored. `referee_exit`: the referee's exit code; None if it was not started or did not end. `memory_bytes`,
    `device_memory_bytes`: the measured peaks, if known. `referee_killed`: by a signal that was not its supervisor's.
    """

    reason: RunEnd
    exit_code: int | None
    signal: int | None
    seconds: float
    log_bytes: int
    strays: int
    note: str
    time: str
    ready_seconds: float | None = None
    asked_seconds: float | None = None
    referee_exit: int | None = None
    memory_bytes: int | None = None
    device_memory_bytes: int | None = None
    referee_killed: bool = False


class RunState(enum.Enum):
    """The state of a run. LOST: it was started, has no owner, and left no readable `exit.json`."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"


class RunStatus(Frozen):
    """A run's status by its folder. `exit` is set exactly if the run has ended."""

    state: RunState
    started: Started | None = None
    exit: Exit | None = None


def start(folder: Path, spec: RunSpec, stdin: int = subprocess.DEVNULL) -> None:
    """Start the run of `folder` under its own supervisor (with this `stdin`), and return when it has begun.

    Does nothing if it runs or has ended; of several simultaneous callers, one starts it. A lost run must be put aside
    first. Raises OSError with the reason if it cannot start (after 10 s at most).
    """
    state = look(folder).state
    if state is RunState.LOST:
        raise OSError(errno.EEXIST, f"a lost run is in the way in {folder}")
    if state is not RunState.NOT_STARTED:
        return
    _make_folders(folder, spec)
    _write_spec(folder, spec)
    answer = _launch(folder, stdin, {name: os.environ[name] for name in spec.inherited if name in os.environ})
    if answer == "started" or (not answer and look(folder).state in (RunState.RUNNING, RunState.ENDED)):
        return
    number, _, reason = answer.partition(" ")
    reason = reason or _last_error(folder) or "its supervisor ended without a word"
    raise OSError(int(number) if number.isdigit() else errno.EIO, f"the run in {folder} did not start: {reason}")


def look(folder: Path) -> RunStatus:
    """The run's status, from its files and its lock alone. Never raises for their contents."""
    for _ in range(2):
        started = _read(folder / run_folder.STARTED, Started)
        ended = _read(folder / run_folder.EXIT, Exit)
        if ended:
            return RunStatus(RunState.ENDED, started, ended)
        traced = any((folder / name).exists() for name in (run_folder.STARTED, run_folder.EXIT))
        if started and started.boot_id != run_folder.boot_id():
            return RunStatus(RunState.LOST, started)
        if _lock_held(folder):
            return RunStatus(RunState.RUNNING, started)
        if not traced:
            return RunStatus(RunState.NOT_STARTED)
        # The lock is free after a start: `exit.json` may have been written after it was looked for.
    return RunStatus(RunState.LOST, started)


def supervisor_command(folder: Path) -> list[str]:
    """The command of a supervisor: an interpreter with this package and the standard library, nothing else."""
    return [sys.executable, "-I", "-S", "-c", _SUPERVISE, str(_PACKAGES), str(folder)]


def stop(folder: Path, word: signal.Signals = run_folder.STOP) -> None:
    """Ask the run's owner to end it, by SIGTERM to the tree and then SIGKILL. Returns at once; may be repeated.

    `word` SIGTERM: as if the machine shut down, so that the run counts as lost.
    """
    if look(folder).state is not RunState.RUNNING:
        return
    try:
        pid = int((folder / run_folder.LOCK).read_text("ascii"))
    except (OSError, ValueError):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError), _process(pid) as send:
        # The owner lives while the lock is held: checked after pinning the process, the pid is the owner's.
        if _lock_held(folder):
            send(word)


def sweep(folder: Path) -> int:
    """Kill processes that a killed supervisor left behind (on Linux only). Returns how many."""
    if look(folder).state is RunState.RUNNING:
        return 0
    mark = f"{MARK}={folder.resolve()}".encode()
    ended = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            with _process(int(entry.name)) as send:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    send(signal.SIGKILL)
                    ended += 1
        except OSError:
            continue
    return ended


def put_aside(folder: Path) -> None:
    """Make a lost run's folder startable again: move its files to `lost-N/`, and end its processes."""
    if look(folder).state is not RunState.LOST:
        return
    sweep(folder)
    number = 1 + sum(1 for _ in folder.glob("lost-*"))
    aside = folder / f"lost-{number}"
    aside.mkdir(exist_ok=True)
    # started.json last: until then the run stays lost, and this can be repeated.
    for name in (run_folder.LOG, run_folder.REFEREE_LOG, run_folder.EXIT, run_folder.BALLAST, run_folder.STARTED):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).replace(aside / name)


def last_lines(folder: Path, n: int = 8) -> tuple[str, ...]:
    """The cause of a crash, for a human: the tail of the last traceback, or the last lines of the log.

    Cleaned, without progress, at most `n` lines; the supervisor's note if the log has none.
    """
    text = encoding.tail(folder / run_folder.LOG, LOG_TAIL_BYTES)
    lines = [line for line in runlog.split_lines(text) if line and not runlog.parse_progress(line)]
    lines = _traceback(lines) or lines
    if not lines and (ended := look(folder).exit) and ended.note:
        lines = [ended.note]
    return tuple(line[:_CAUSE_WIDTH] for line in lines[-n:])


def _make_folders(folder: Path, spec: RunSpec) -> None:
    """The working folder, and HOME and TMPDIR if they are inside the run's folder."""
    (folder / spec.cwd).mkdir(parents=True, exist_ok=True)
    for name in ("HOME", "TMPDIR"):
        path = Path(spec.env.get(name, ""))
        if path.is_relative_to(folder):
            path.mkdir(parents=True, exist_ok=True)


def _write_spec(folder: Path, spec: RunSpec) -> None:
    values = asdict(spec)
    values["env"] = {**spec.env, MARK: str(folder.resolve())}
    if spec.referee:
        own = spec.referee
        values["referee"] = {
            "command": own.command,
            "env": dict(own.env),
            "cwd": own.cwd,
            "hands_over": own.hands_over,
        }
    temporary = folder / f"{run_folder.SPEC}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        temporary.write_text(json.dumps(values), "utf-8")
        temporary.replace(folder / run_folder.SPEC)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _launch(folder: Path, stdin: int, inherited: Mapping[str, str]) -> str:
    """The supervisor's first line: `started`, or an error number and text; empty if it just ended."""
    env = {**inherited, "PATH": run_folder.SYSTEM_PATH, "LANG": "C.UTF-8"}
    with (folder / "supervisor.err").open("ab") as errors:
        process = subprocess.Popen(
            supervisor_command(folder),
            env=env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout as answers:
        ready, _, _ = select.select([answers], [], [], START_SECONDS)
        answer = os.read(answers.fileno(), 4096) if ready else b""
    if not ready:
        process.kill()
        answer = f"{errno.ETIMEDOUT} no answer after {START_SECONDS:g} s".encode()
    process.wait()
    return answer.decode(errors="replace").strip()


def _last_error(folder: Path) -> str:
    try:
        lines = (folder / "supervisor.err").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def _lock_held(folder: Path) -> bool:
    """Tries a shared lock for an instant; a starting supervisor that meets it tries again."""
    try:
        descriptor = os.open(folder / run_folder.LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


T = TypeVar("T", Started, Exit)


def _read(path: Path, kind: type[T]) -> T | None:
    """Returns the record, or None if it is missing, torn or not a record."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, ValueError, RecursionError):
        return None


@contextlib.contextmanager
def _process(pid: int) -> Iterator[Callable[[int], None]]:
    """Sends signals to one process; with pidfds never to a later process with the same number.

    Raises ProcessLookupError if there is none.
    """
    if sys.platform == "linux":
        try:
            descriptor = os.pidfd_open(pid)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
        else:
            try:
                yield functools.partial(signal.pidfd_send_signal, descriptor)
            finally:
                os.close(descriptor)
            return
    yield functools.partial(os.kill, pid)


def _traceback(lines: list[str]) -> list[str]:
    """The last traceback with its exception, without later lines; empty if there is none."""
    starts = [index for index, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if not starts:
        return []
    block = lines[starts[-1] :]
    for index, line in enumerate(block[1:], start=1):
        if not line.startswith(" "):
            return block[: index + 1]
    return block
