"""A seat: the process on a node that executes runs for a session, one after the other, on its accelerator.

It is a detached Ray actor that itself does not use Ray. A run belongs to its supervisor, as everywhere: a killed seat
takes no run with it, and the next seat on its node finds the run by its folder. All results are bytes and plain values.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from autoresearch_tui.cluster import admission, node_lab
from autoresearch_tui.cluster.node_lab import LabParcel
from autoresearch_tui.engine.executor import ThisMachine
from autoresearch_tui.engine.judging.assessment import FinishedRun
from autoresearch_tui.engine.launching import Launcher, tidy
from autoresearch_tui.lab import home, session_files
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.machine_load import Probe
from autoresearch_tui.lab.session_files import RunFiles, SessionFiles
from autoresearch_tui.runs import runner
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal
from autoresearch_tui.session.state import Experiment, Stage
from autoresearch_tui.util import trees
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.frozen import Frozen

FOLDER = "AUTORESEARCH_NODES"
"""The variable with the folder of a node's labs; by default `nodes` in the user's state folder."""
PIECE_BYTES = 1 << 20
ABANDONED_SECONDS = 900.0
_LOOK_SECONDS = 15.0
_LEAVE_SECONDS = 0.1
# How long a call about a training run waits for its end, how often it checks, and how soon it returns new log.
NEWS_SECONDS = 2.0
_END_LOOK_SECONDS, _LOG_SECONDS = 0.05, 0.5
_ATTEMPT, _PROPOSAL = "attempt", "proposal.json"
_UNSAFE = re.compile(r"[^\w.-]")


class RunKey(Frozen):
    """One try of one experiment."""

    number: int
    attempt: int


class RunParcel(Frozen):
    """A run to be started: the fields of its `proposal`, with commit and base in the node's repository.

    `pack` has the objects of the commit that the lab's base lacks. `token_losses`: the values that the referee compares
    every run with, if the session has them.
    """

    key: RunKey
    pack: bytes
    proposal: Mapping[str, Any]
    token_losses: bytes | None


class Progress(Frozen):
    """New data of a run. `state` is a RunState's value; `log` and `referee_log` begin at the requested offsets.

    `exit` is exit.json, present only when everything before it has been fetched.
    """

    state: str
    log: bytes = b""
    referee_log: bytes = b""
    exit: bytes | None = None


class RunGone(OSError):
    """The node does not have the run, or not this try of it."""


class Busy(OSError):
    """An unwanted run is still being ended on the device."""


class _Assessing(Struct):
    """One assessment: its arguments and its result."""

    asked: tuple[RunKey, Mapping[str, str], Mapping[str, str]]
    result: futures.Future[str] = field(default_factory=futures.Future)
    cancelled: threading.Event = field(default_factory=threading.Event)


def folder(node: str, lab: str) -> Path:
    """Where a node keeps a lab: not in the data cache, which runs see."""
    named = os.environ.get(FOLDER)
    base = Path(named) if named else home.state_folder(os.environ) / "nodes"
    return base / _UNSAFE.sub("_", node) / _UNSAFE.sub("_", lab)


class Seat:
    """One device's executor on its node. Its methods are called from several threads; none waits for a run's end.

    Seats of several devices share the node's copy of the lab. A run's folder names its device.
    """

    def __init__(self, node: str, device: str, lab: str, tag: str) -> None:
        self._top = folder(node, lab)
        self._device, self._tag = device, tag
        self._lock = threading.RLock()
        self._launcher: Launcher | None = None
        self._probe: Probe | None = None
        self._assessing: _Assessing | None = None
        self._called = time.monotonic()
        threading.Thread(target=self._leave_when_abandoned, name="abandoned", daemon=True).start()

    # ── the node ────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, parcel: LabParcel) -> dict[str, str]:
        """Makes the lab here, or updates it. Returns the node's properties for admission.

        Raises GitError, OSError, UserError.
        """
        self._called = time.monotonic()
        with self._held():
            lab = node_lab.make(self._top, parcel)
            self._launcher = Launcher(lab, GitRepo(lab.root))
            self._files.folder.mkdir(parents=True, exist_ok=True)
        return admission.look(lab)

    def load(self) -> dict[str, Any]:
        """The load of its accelerator; empty if there is none."""
        self._called = time.monotonic()
        self._probe = self._probe or Probe()
        for device in self._probe.read().devices[:1]:
            names = ("busy", "memory_used", "memory_total", "temperature", "power")
            return {"model": device.name, **{name: getattr(device, name) for name in names}}
        return {}

    def leave(self) -> None:
        """Ends the process, which gives the accelerator back, right after the answer."""
        threading.Timer(_LEAVE_SECONDS, os._exit, (0,)).start()

    # ── a run ───────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, parcel: RunParcel) -> None:
        """Starts a run, unless this node has it already.

        Raises Busy, TroubleError, LaunchRefused, GitError, OSError; the node does not have the run then.
        """
        with self._held():
            files = self._run(parcel.key)
            status = runner.look(files.folder)
            if self._has(files, parcel.key) and status.state is not runner.RunState.NOT_STARTED:
                return
            if status.state is runner.RunState.RUNNING:
                runner.stop(files.folder)
                raise Busy(errno.EBUSY, f"an earlier try of run {parcel.key.number} is still being ended")
            machine = self._machine()
            machine.check("")
            node_lab.receive(self._opened.repo, parcel.pack)
            if parcel.token_losses is not None and not files.token_losses.exists():
                write(files.token_losses, parcel.token_losses)
            experiment = Experiment(_proposal(parcel.proposal), stage=Stage.APPROVED)
            machine.prepare(experiment, files)
            write(files.folder / _PROPOSAL, json.dumps(dict(parcel.proposal)))
            # Before the start, because a run found here must name its try and its device.
            write(files.folder / _ATTEMPT, json.dumps([parcel.key.attempt, self._device]))
            machine.start(experiment, files)

    def progress(self, key: RunKey, log: int, referee_log: int, wait: float = 0.0) -> Progress:
        """New data of a run beyond these offsets, at most one piece of each file.

        While the run trains, waits at most so many seconds for its end, and less for new output.
        """
        self._called = time.monotonic()
        files = self._run(key)
        if not self._has(files, key):
            return Progress(runner.RunState.NOT_STARTED.value)
        began = time.monotonic()
        while True:
            status = runner.look(files.folder)  # before the files, so that they are complete if it says ended
            grown = max(_size(files.log) - log, _size(files.referee_log) - referee_log)
            waited = time.monotonic() - began
            if status.state is not runner.RunState.RUNNING or grown >= PIECE_BYTES or waited >= wait:
                break
            if grown > 0 and waited >= _LOG_SECONDS:
                break
            _await(files.exit, min(_LOG_SECONDS, wait - waited))
        new = Progress(status.state.value, _piece(files.log, log), _piece(files.referee_log, referee_log))
        whole = log + len(new.log) >= _size(files.log)
        whole = whole and referee_log + len(new.referee_log) >= _size(files.referee_log)
        if status.state is not runner.RunState.ENDED or not whole:
            return new
        return Progress(new.state, new.log, new.referee_log, files.exit.read_bytes())

    def stop(self, key: RunKey, word: int) -> None:
        """Sends the run this signal."""
        files = self._run(key)
        if self._has(files, key):
            runner.stop(files.folder, signal.Signals(word))

    def assess(self, key: RunKey, locked: Mapping[str, str], env: Mapping[str, str]) -> str | None:
        """An assessment, as JSON; None while it is being made: call again for it.

        Raises RunGone, and OSError as :meth:`Executor.assess` does; the next call starts anew then.
        """
        self._called = time.monotonic()
        files = self._run(key)
        if not self._has(files, key) or not files.work.exists():
            raise RunGone(errno.ENOENT, f"the working copy of run {key.number} is not on its node any more")
        with self._lock:
            asked, job = (key, dict(locked), dict(env)), self._assessing
            if job is None or job.asked != asked:
                if job is not None:
                    job.cancelled.set()
                job = self._assessing = _Assessing(asked)
                threading.Thread(target=self._assess, args=(job, files), name="assessing", daemon=True).start()
        if not futures.wait([job.result], NEWS_SECONDS).done:
            return None
        with self._lock:
            if job.result.exception() is not None and self._assessing is job:
                self._assessing = None
        return job.result.result()

    def _assess(self, job: _Assessing, files: RunFiles) -> None:
        try:
            _, locked, env = job.asked
            proposal = _proposal(json.loads((files.folder / _PROPOSAL).read_bytes()))
            run = FinishedRun(Experiment(proposal), files, locked, env, job.cancelled)
            found = self._machine().assess(run)
            job.result.set_result(msgspec.json.encode(found, enc_hook=dict).decode())
        except BaseException as error:
            job.result.set_exception(error)

    def keep_compiled(self, key: RunKey) -> None:
        """Keeps the compile cache for later runs of this node."""
        self._machine().keep_compiled(self._run(key))

    def keep_files(self, key: RunKey) -> tuple[str, Sequence[tuple[str, int]]]:
        """Moves the files of `run.keep` out of the working copy. Returns what was not kept, and the names with their
        sizes."""
        files = self._run(key)
        problem = self._machine().keep_files(files, lend=False)
        return problem, [(str(path.relative_to(files.kept)), path.stat().st_size) for path in files.kept_files]

    def read_kept(self, key: RunKey, name: str, offset: int) -> bytes:
        """A piece of a kept file; empty at its end. Raises KeyError, OSError."""
        files = self._run(key)
        return _piece({str(path.relative_to(files.kept)): path for path in files.kept_files}[name], offset)

    def token_losses(self, key: RunKey) -> bytes | None:
        """The values that the referee compares later runs with, if they were made here."""
        path = self._run(key).token_losses
        return path.read_bytes() if path.is_file() else None

    def held(self) -> Sequence[RunKey]:
        """The runs of this device whose folders are here, including those of earlier seats."""
        self._called = time.monotonic()
        return self._found()

    def drop(self, keys: Sequence[RunKey]) -> int:
        """Ends these runs and removes their folders. Returns how many are still being ended: call again."""
        ending = 0
        for key in keys:
            files = self._run(key)
            with self._held():
                if not self._has(files, key):
                    continue
                if runner.look(files.folder).state is runner.RunState.RUNNING:
                    runner.stop(files.folder)
                    ending += 1
                    continue
                if self._assessing is not None and self._assessing.asked[0] == key:
                    self._assessing.cancelled.set()
                runner.sweep(files.folder)
                if tidy(files):  # first the working copy, then the rest, and last the file that names the device
                    for path in (each for each in files.folder.iterdir() if each.name != _ATTEMPT):
                        trees.remove(path)
                    trees.remove(files.folder)
        return ending

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _opened(self) -> Launcher:
        if self._launcher is None:
            raise OSError(errno.ENOENT, f"the lab in {self._top} was not opened")
        return self._launcher

    @property
    def _files(self) -> SessionFiles:
        return session_files.of(self._opened.lab.root, self._tag)

    def _run(self, key: RunKey) -> RunFiles:
        return self._files.run(key.number)

    def _found(self) -> Sequence[RunKey]:
        folders = [path.parent for path in (self._files.folder / "runs").glob(f"*/{_ATTEMPT}")]
        found = ((int(folder.name), *_attempt(folder)) for folder in folders)
        return [RunKey(number, attempt) for number, attempt, device in found if device == self._device]

    def _has(self, files: RunFiles, key: RunKey) -> bool:
        """Whether the folder is of this try, on this device."""
        return _attempt(files.folder) == (key.attempt, self._device)

    def _machine(self) -> ThisMachine:
        return ThisMachine(self._opened, self._files)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Locks the node's copy of the lab, which its seats share."""
        self._top.mkdir(parents=True, exist_ok=True)
        with self._lock, (self._top / ".seat.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _leave_when_abandoned(self) -> None:
        """Gives the accelerator back when no engine has called for long and nothing trains. Files on disk stay."""
        while True:
            time.sleep(_LOOK_SECONDS)
            if time.monotonic() - self._called < ABANDONED_SECONDS:
                continue
            with contextlib.suppress(OSError):  # no lab was opened here
                looks = (runner.look(self._run(key).folder) for key in self._found())
                if any(status.state is runner.RunState.RUNNING for status in looks):
                    continue
            os._exit(0)


def _attempt(folder: Path) -> tuple[int, str]:
    """The try and the device of a run's folder; 0 if there is none."""
    try:
        attempt, device = json.loads((folder / _ATTEMPT).read_bytes())
    except (OSError, ValueError, TypeError):
        return 0, ""
    return int(attempt), str(device)


def _proposal(fields: Mapping[str, Any]) -> ev.ProposalMade:
    made = journal.from_fields("proposal_made", fields)
    assert isinstance(made, ev.ProposalMade)
    return made


def _piece(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)
    except FileNotFoundError:
        return b""


def _await(path: Path, seconds: float) -> None:
    """Waits for a file. Checking the whole run folder costs twenty times as much."""
    until = time.monotonic() + seconds
    while not path.exists() and (left := until - time.monotonic()) > 0:
        time.sleep(min(_END_LOOK_SECONDS, left))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
