"""Looks after one seat from the bridge: makes it, hands it a run, and brings back what the run leaves."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoresearch_tui.cluster.node_lab import LabParcel
from autoresearch_tui.cluster.protocol import PACK, PROPOSAL, BridgeSpec, Sent
from autoresearch_tui.cluster.ray_driver import Cluster, Node, SeatHandle, SeatLost, SeatRefused
from autoresearch_tui.cluster.seat import Progress, RunKey, RunParcel
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.runs import run_folder
from autoresearch_tui.runs.runner import RunState
from autoresearch_tui.session.cluster_file import DeviceLoad
from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.util import trees
from autoresearch_tui.util.atomic import partial, write

POLL_SECONDS = 1.0
LOAD_SECONDS = 2.0
# A node is asked again whether it fits: its data may have been prepared meanwhile.
REFUSED_SECONDS = 20.0
_OPEN_SECONDS = 300.0
_PAUSES = (1.0, 2.0, 5.0, 10.0)
_START_TRIES = 3

Admit = Callable[[str, Node, Mapping[str, str], str], tuple[str, str] | None]
"""Device, node, what was found there, and the accelerator's model; None, or why it is not used and the remedy."""


class SeatWorker:
    """A thread for one device. Everything that it learns of a run goes into the run's folder, `exit.json` last."""

    def __init__(
        self, cluster: Cluster, spec: BridgeSpec, parcel: Callable[[], LabParcel], admit: Admit, node: Node, place: int
    ) -> None:
        self.device = f"{node.name}:{place}"
        self.node = node
        self.admitted = False
        self.fault = ""
        self.doing = "waits for its accelerator"
        self.broken = ""
        """Why it is not to be given runs any more; empty while it is fine."""
        self._broken_at = 0.0
        self._cluster, self._spec, self._parcel, self._admit = cluster, spec, parcel, admit
        self._handle: SeatHandle | None = None
        self._load: Mapping[str, Any] = {}
        self._heard = 0.0
        self._looked = 0.0
        self._run: Sent | None = None
        self._failed_starts = 0
        self._ending = threading.RLock()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name=self.device, daemon=True)

    @property
    def is_ready(self) -> bool:
        """Whether its seat was admitted, and answers."""
        return self.admitted and self._handle is not None

    def broken_for(self, now: float) -> float:
        """Seconds since it was found that nothing can be started there; 0 if it is fine."""
        return now - self._broken_at if self.broken else 0.0

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def give(self, run: Sent) -> None:
        """The run that the device is to execute, or executes already."""
        self._run = run
        self._wake.set()

    @property
    def run(self) -> Sent | None:
        """The run that it executes, until that has ended."""
        return self._run

    def keep_files(self, sent: Sent) -> None:
        """Bring back the files of `run.keep`; they become visible together. Raises SeatLost, SeatRefused."""
        key, files = RunKey(sent.number, sent.attempt), RunFiles(self._folder(sent))
        problem, found = self.call("keep_files", key, seconds=_OPEN_SECONDS)
        half = files.kept.with_name(partial(files.kept.name))
        trees.remove(half)
        for name, size in found:
            target = half / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                while file.tell() < size and (data := self.call("read_kept", key, name, file.tell(), seconds=60)):
                    file.write(data)
        if half.exists():
            trees.remove(files.kept)
            half.rename(files.kept)
        self.fault = f"#{sent.number}: {problem}" if problem else self.fault

    def call(self, method: str, *arguments: Any, seconds: float) -> Any:
        """A method of the seat, for other threads. Raises SeatLost, SeatRefused."""
        handle = self._handle
        if handle is None:
            raise SeatLost(f"{self.device} does not answer: {self.fault or self.doing}")
        return handle.call(method, *arguments, seconds=seconds)

    def stop(self, sent: Sent, word: int) -> None:
        """Pass on a wish for the run's end; a seat that does not answer is told again by the engine."""
        with contextlib.suppress(SeatLost, SeatRefused):
            self.call("stop", RunKey(sent.number, sent.attempt), word, seconds=10)

    def release(self) -> None:
        """End the seat unless it executes a run: its accelerator is free for others."""
        if self._handle is not None and self._run is None:
            self._handle.kill()

    def close(self) -> None:
        """End soon; does not wait."""
        self._closing.set()
        self._wake.set()

    @property
    def load(self) -> DeviceLoad:
        """For the screen."""
        run = self._run.number if self._run is not None else -1
        fault = self.broken or self.fault
        return DeviceLoad(self.device, self.node.name, run=run, heard=self._heard, fault=fault, **self._load)

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                if self._handle is None:
                    self._open()
                self._look()
                failures, pause = 0, self._pause
            except (SeatLost, SeatRefused, OSError) as error:
                if isinstance(error, SeatLost):
                    self._handle = None
                self.fault = str(error)
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
            self._wake.wait(pause)
            self._wake.clear()

    @property
    def _pause(self) -> float:
        """Until the next look: a seat that executes a run has waited for it."""
        if not self.admitted:
            return REFUSED_SECONDS
        return 0.0 if self._run is not None else POLL_SECONDS

    def _open(self) -> None:
        name = f"{self._spec.lab}/{self._spec.tag}/{self.device}"
        self.doing = "waits for its accelerator"
        handle = self._cluster.seat(name, self.node, self._spec.lab, self._spec.tag, self._spec.resources)
        found = handle.call("open", self._parcel(), seconds=_OPEN_SECONDS)
        self._load = handle.call("load")
        why = self._admit(self.device, self.node, found, self._load.get("model", ""))
        self.admitted, self.fault, self.doing = why is None, "", ""
        if why is not None:
            handle.kill()  # others may use the accelerator; the seat is made again for the next try
            return
        self._handle, self._heard = handle, time.time()

    def _look(self) -> None:
        if self._handle is None:
            return
        if self._run is not None:
            self._bring_forward(self._run, RunFiles(self._folder(self._run)))
        if time.monotonic() - self._looked >= LOAD_SECONDS:
            self._looked = time.monotonic()
            self._load = self._handle.call("load")
        self._heard = time.time()

    def _folder(self, run: Sent) -> Path:
        return Path(self._spec.session) / "runs" / f"{run.number:04d}"

    def _bring_forward(self, run: Sent, files: RunFiles) -> None:
        assert self._handle is not None
        key = RunKey(run.number, run.attempt)
        new: Progress = self._handle.call("progress", key, _size(files.log), _size(files.referee_log), POLL_SECONDS)
        if new.state == RunState.NOT_STARTED.value and not run.accepted:
            self._start(run, files)
            return
        if new.state in (RunState.NOT_STARTED.value, RunState.LOST.value) and not new.log:
            gone = new.state == RunState.NOT_STARTED.value
            self.finish(f"{self.device} does not have it any more" if gone else "its supervisor was killed")
            return
        with self._ending:
            if self._run is None:  # it was given up meanwhile
                return
            if not run.accepted:
                self._accept(run, files)
            _append(files.log, new.log)
            _append(files.referee_log, new.referee_log)
        if new.log or new.referee_log:
            self._wake.set()  # there may be more
        if new.exit is not None:
            losses = None if files.token_losses.exists() else self._handle.call("token_losses", key)
            if losses is not None:
                write(files.token_losses, losses)
            self.finish(new.exit)

    def _start(self, run: Sent, files: RunFiles) -> None:
        assert self._handle is not None
        losses = files.token_losses.read_bytes() if files.token_losses.exists() else None
        parcel = RunParcel(
            RunKey(run.number, run.attempt),
            (files.work / PACK).read_bytes(),
            json.loads((files.work / PROPOSAL).read_bytes()),
            losses,
        )
        try:
            self._handle.call("start", parcel, seconds=_OPEN_SECONDS)
        except SeatRefused as refused:
            self._failed_starts += 1
            if self._failed_starts >= _START_TRIES:
                self._broken_at = time.monotonic()
                self.broken = f"runs cannot be started there: {refused}"
                self.finish(self.broken)
            raise
        self._failed_starts = 0
        self._accept(run, files)

    def _accept(self, run: Sent, files: RunFiles) -> None:
        accepted = Sent(run.number, run.attempt, run.device, accepted=True)
        accepted.write(files.folder)
        self._run = accepted

    def finish(self, end: bytes | str) -> None:
        """Write how the run ended, once, which tells the engine; a text says why it is lost. Raises OSError."""
        with self._ending:
            if self._run is not None:
                write(self._folder(self._run) / run_folder.EXIT, lost(end) if isinstance(end, str) else end)
                self._run = None


def lost(note: str) -> bytes:
    """An `exit.json` for a run of which nothing more is to be known."""
    end = {
        "reason": RunEnd.LOST,
        "exit_code": None,
        "signal": None,
        "seconds": 0.0,
        "log_bytes": 0,
        "strays": 0,
        "note": note,
        "time": run_folder.now_utc(),
    }
    return json.dumps(end).encode()


def _append(path: Path, data: bytes) -> None:
    if data:
        with path.open("ab") as file:
            file.write(data)


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
