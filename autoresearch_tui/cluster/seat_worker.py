"""The bridge's side of one seat: makes it, gives it a run, and brings back the run's results."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from autoresearch_tui.cluster.node_lab import LabParcel
from autoresearch_tui.cluster.protocol import KEEP, PACK, PROPOSAL, BridgeSpec, Sent, end_record, lost
from autoresearch_tui.cluster.ray_driver import Cluster, Node, SeatHandle, SeatLost, SeatRefused, SeatSilent
from autoresearch_tui.cluster.seat import NEWS_SECONDS, Progress, RunKey, RunParcel
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.runs import run_folder
from autoresearch_tui.runs.runner import RunState
from autoresearch_tui.session.cluster_file import DeviceLoad
from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.util import trees
from autoresearch_tui.util.atomic import partial, write
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.text import clean_line

IDLE_SECONDS = 2.0
LOAD_SECONDS = 2.0
TIDY_SECONDS = 10.0
# A refused node is checked again, because its data may have been prepared meanwhile.
REFUSED_SECONDS = 20.0
# Pause while an earlier run is still being ended.
_ENDING_SECONDS = 0.2
_OPEN_SECONDS = 300.0
_WAITS_SECONDS = 1e9
_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
_START_TRIES = 3

Admit = Callable[[str, Node, Mapping[str, str], str], tuple[str, str] | None]
"""Takes device, node, its properties and the accelerator's model. Returns why it is refused and the remedy, or None."""


class SeatWorker:
    """A thread for one device. It writes everything about a run into the run's folder, `exit.json` last.

    The thread makes all calls to the node, one after the other; only :meth:`call` is for other threads.
    """

    def __init__(
        self,
        cluster: Cluster,
        spec: BridgeSpec,
        parcel: Callable[[], LabParcel],
        admit: Admit,
        complain: Callable[[str], None],
        node: Node,
        place: int,
    ) -> None:
        """`complain` takes a message for the human about files of `run.keep` that were not kept."""
        self.device = f"{node.name}:{place}"
        self.node = node
        self.admitted = False
        self.fault = ""
        self.doing = "waits for its accelerator"
        self.broken = ""
        """Why it gets no more runs; empty while it works."""
        self._broken_at = 0.0
        self._cluster, self._spec, self._parcel, self._admit, self._complain = cluster, spec, parcel, admit, complain
        self._handle: SeatHandle | None = None
        self._load: Mapping[str, Any] = {}
        self._heard = self._loaded = self._tidied = 0.0
        self._run: Sent | None = None
        self._failed_starts = 0
        # Guards the current run, and writing to its folder.
        self._guard = threading.RLock()
        self._closing, self._releasing = threading.Event(), threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name=self.device, daemon=True)

    @property
    def is_ready(self) -> bool:
        """Whether its seat was admitted and answers."""
        return self.admitted and self._handle is not None and not self._releasing.is_set()

    def broken_for(self, now: float) -> float:
        """Seconds since starting runs failed there; 0 if it works."""
        return now - self._broken_at if self.broken else 0.0

    def begin(self) -> None:
        self._thread.start()

    def give(self, run: Sent) -> bool:
        """Executes this run, or continues it; False while the device still has another."""
        with self._guard:
            if self._run is not None and (self._run.number, self._run.attempt) != (run.number, run.attempt):
                return False
            self._run = self._run or run
        self._wake.set()
        return True

    def call(self, method: str, *arguments: Any, seconds: float) -> Any:
        """Calls a method of the seat. Raises SeatLost, SeatRefused."""
        handle = self._handle
        if handle is None:
            raise SeatLost(f"{self.device} does not answer: {self.fault or self.doing}")
        return handle.call(method, *arguments, seconds=seconds)

    def stop(self, sent: Sent, word: int) -> None:
        """Passes on a signal; the engine repeats it to a seat that does not answer.

        A run that no node has yet, and that waits for its device, ends here.
        """
        with self._guard:
            run = self._run
            waits = run is not None and not run.accepted and run.number == sent.number and self._handle is None
            if run is not None and waits:
                reason = RunEnd.LOST if word == signal.SIGTERM else RunEnd.KILLED
                self._finish(run, end_record(reason, "it had not been started"))
                return
        with contextlib.suppress(SeatLost, SeatRefused):
            self.call("stop", RunKey(sent.number, sent.attempt), word, seconds=10)

    def release(self) -> threading.Thread:
        """Brings back the files to keep, and ends the seat unless it executes a run. Returns the thread to wait for."""
        self._releasing.set()
        self._wake.set()
        return self._thread

    def close(self, why: str) -> None:
        """The device is gone for good, and so is its run. Does not wait. Raises OSError."""
        with self._guard:
            if self._run is not None:
                self._finish(self._run, lost(why))
        self._closing.set()
        self._wake.set()

    @property
    def load(self) -> DeviceLoad:
        with self._guard:
            run = self._run.number if self._run is not None else -1
        fault = clean_line(self.broken or self.fault)
        known = {*DeviceLoad.__struct_fields__} - {"device", "node", "run", "heard", "fault"}
        load = {name: value for name, value in self._load.items() if name in known}
        return DeviceLoad(self.device, self.node.name, run=run, heard=self._heard, fault=fault, **load)

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        failures = 0
        while not self._closing.is_set():
            pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
            failures += 1
            try:
                if self._releasing.is_set():
                    self._leave()
                    return
                pause = self._open() if self._handle is None else self._look()
                failures = 0
            except (SeatLost, SeatRefused, UserError, OSError) as error:
                if isinstance(error, SeatLost):
                    if isinstance(error, SeatSilent) and self._handle is not None:
                        self._handle.kill()  # a hanging seat would be found again
                    self._handle = None
                self.fault = str(error)
            except Exception as error:  # our fault or Ray's; other devices and the next try are unaffected
                traceback.print_exc()
                self.fault = f"{type(error).__name__}: {error}"
            self._wake.wait(pause)
            self._wake.clear()

    def _open(self) -> float:
        self.doing = "waits for its accelerator"
        node = self.node
        handle = self._cluster.seat(self.device, node, self._spec.lab, self._spec.tag, self._spec.resources)
        try:
            self._load = handle.call("load", seconds=_WAITS_SECONDS, given_up=lambda: self._given_up(node))
        except SeatLost:
            if self._given_up(node):
                handle.kill()  # so that it does not keep waiting for the accelerator
            raise
        self.doing = "is made ready"
        found = handle.call("open", self._parcel(), seconds=_OPEN_SECONDS, given_up=self._closing.is_set)
        self.doing = "ends what was left behind"
        if self._tidy(handle, ending=True):
            return _ENDING_SECONDS
        self.doing = "is checked"
        why = self._admit(self.device, node, found, str(self._load.get("model", "")))
        self.admitted, self.fault, self.doing = why is None, "", ""
        with self._guard:
            if why is None or self._run is not None:  # a run is followed even on a node that is no longer admitted
                self._handle, self._heard = handle, time.time()
                return 0.0
        handle.kill()  # frees the accelerator; the next try makes a new seat
        return REFUSED_SECONDS

    def _given_up(self, node: Node) -> bool:
        """Whether the seat on this node is no longer wanted; the device's node may have come back as another."""
        return self._closing.is_set() or self._releasing.is_set() or self.node.id != node.id

    def _leave(self) -> None:
        if self._handle is not None and self._run is None:
            with contextlib.suppress(SeatLost, SeatRefused, OSError):
                self._tidy(self._handle)
            try:
                self._handle.call("leave")  # waits for the answer, because a bridge that ends may lose a call
            except (SeatLost, SeatRefused):
                self._handle.kill()

    def _look(self) -> float:
        """Updates run, load and files. Returns a pause in seconds."""
        assert self._handle is not None
        now, pause = time.monotonic(), IDLE_SECONDS
        with self._guard:
            run = self._run
        if run is not None:
            pause = self._bring_forward(self._handle, run, RunFiles(self._folder(run.number)))
        elif not self.admitted:
            self._handle.kill()
            self._handle = None
            return REFUSED_SECONDS
        if now - self._loaded >= LOAD_SECONDS:
            self._loaded = now
            self._load = self._handle.call("load")
        if now - self._tidied >= TIDY_SECONDS:
            self._tidied = now
            self._tidy(self._handle)
        self._heard, self.fault = time.time(), ""
        return pause

    def _folder(self, number: int) -> Path:
        return Path(self._spec.session) / "runs" / f"{number:04d}"

    # ── its run ─────────────────────────────────────────────────────────────────────────────────────────────

    def _bring_forward(self, handle: SeatHandle, run: Sent, files: RunFiles) -> float:
        """Updates the run's folder here from the node's."""
        key = RunKey(run.number, run.attempt)
        new: Progress = handle.call("progress", key, _size(files.log), _size(files.referee_log), NEWS_SECONDS)
        there = new.state != RunState.NOT_STARTED.value
        if not there and not run.accepted:
            if self.admitted:
                return self._start(handle, run, files)
            self._finish(run, lost(f"{self.device} is not used any more"))
            return 0.0
        run = self._accept(run, files)
        if not there or (new.state == RunState.LOST.value and not new.log and not new.referee_log):
            why = "its supervisor was killed" if there else f"{self.device} does not have it any more"
            self._finish(run, lost(why))
            return 0.0
        with self._guard:
            if self._run is not run:  # it was given up, and its folder belongs to another try
                return 0.0
            _append(files.log, new.log)
            _append(files.referee_log, new.referee_log)
        if new.exit is not None:
            losses = None if files.token_losses.exists() else handle.call("token_losses", key)
            if losses is not None:
                write(files.token_losses, losses)
            self._finish(run, new.exit)
        return 0.0

    def _start(self, handle: SeatHandle, run: Sent, files: RunFiles) -> float:
        losses = files.token_losses.read_bytes() if files.token_losses.exists() else None
        key = RunKey(run.number, run.attempt)
        pack, proposal = (files.work / PACK).read_bytes(), json.loads((files.work / PROPOSAL).read_bytes())
        try:
            handle.call("start", RunParcel(key, pack, proposal, losses), seconds=_OPEN_SECONDS)
        except SeatRefused as refused:
            if refused.kind == "Busy":
                return _ENDING_SECONDS
            if refused.kind == "LaunchRefused":
                self._finish(run, end_record(RunEnd.CRASHED, str(refused)))
                return 0.0
            self._failed_starts += 1
            if self._failed_starts >= _START_TRIES:
                self._failed_starts, self._broken_at = 0, time.monotonic()
                self.broken = f"runs cannot be started there: {refused}"
                self._finish(run, lost(self.broken))
            raise
        self._failed_starts = 0
        self._accept(run, files)
        return 0.0

    def _accept(self, run: Sent, files: RunFiles) -> Sent:
        """Records that the node has the run, unless it was given up meanwhile. Returns the run's current record."""
        with self._guard:
            if self._run is run and not run.accepted:
                run = replace(run, accepted=True)
                run.write(files.folder)
                self._run = run
        return run

    def _finish(self, run: Sent, end: bytes) -> None:
        """Writes how the run ended, which informs the engine; once. Raises OSError."""
        with self._guard:
            if self._run is run:
                write(self._folder(run.number) / run_folder.EXIT, end)
                self._run = None

    # ── what runs leave ─────────────────────────────────────────────────────────────────────────────────────

    def _tidy(self, handle: SeatHandle, *, ending: bool = False) -> bool:
        """Fetches the files to keep, and has the node drop unwanted runs.

        Returns whether such a run is still being ended. `ending`: fetches nothing.
        """
        dropped = []
        for key in handle.call("held"):
            files = RunFiles(self._folder(key.number))
            sent = Sent.read(files.folder)
            mine = sent is not None and (sent.attempt, sent.device) == (key.attempt, self.device)
            # In this order, because files to keep are marked before the copy is removed.
            work, marker = files.work.exists(), files.folder / KEEP
            if mine and marker.exists():
                if ending:
                    continue
                self._fetch_kept(handle, key, files)
                marker.unlink()
            if not (mine and work):
                dropped.append(key)
        return bool(dropped) and handle.call("drop", dropped, seconds=60) > 0

    def _fetch_kept(self, handle: SeatHandle, key: RunKey, files: RunFiles) -> None:
        """Brings back the files of `run.keep`; they become visible together. Raises SeatLost, SeatRefused, OSError."""
        problem, found = handle.call("keep_files", key, seconds=_OPEN_SECONDS)
        half = files.kept.with_name(partial(files.kept.name))
        trees.remove(half)
        for name, size in found:
            target = half / name
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise SeatRefused("KeptOutside", f"{self.device} names a kept file outside of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                while file.tell() < size and (data := handle.call("read_kept", key, name, file.tell(), seconds=60)):
                    file.write(data)
        if half.exists():
            trees.remove(files.kept)
            half.rename(files.kept)
        if problem:
            self._complain(f"#{key.number}: {problem}")


def _append(path: Path, data: bytes) -> None:
    if data:
        with path.open("ab") as file:
            file.write(data)


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
