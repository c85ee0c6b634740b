"""The bridge between an engine and a Ray cluster: a child process of the engine that holds the connection.

Ray ends a process that loses its cluster, and takes seconds and much memory to import, so it is kept out of the engine.
The bridge may die at any moment: everything it knows is in the runs' folders and on the nodes, where the next one reads
it. It ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from autoresearch_tui.cluster import admission, node_lab, requirements, security
from autoresearch_tui.cluster.node_lab import LabParcel
from autoresearch_tui.cluster.protocol import BridgeSpec, Sent, end_record, line, lost
from autoresearch_tui.cluster.ray_driver import Cluster, ClusterUnreachable, Node, SeatLost, SeatRefused
from autoresearch_tui.cluster.seat import RunGone, RunKey
from autoresearch_tui.cluster.seat_worker import SeatWorker
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.runs import run_folder
from autoresearch_tui.session import cluster_file
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.cluster_file import ClusterNow, NodeProgress
from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.session.fleet import Roster
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.errors import UserError

LOOK_SECONDS = 1.0
RELEASE_SECONDS = 50.0
# A device on which nothing could be started is tried again.
BROKEN_SECONDS = 300.0
UNREACHABLE = 3
_AGAIN_SECONDS = 0.5
# For the last calls, such as the end of a waiting seat, to be sent.
_LAST_SECONDS = 1.0


class Bridge:
    """The devices, their runs, and the engine's messages about both."""

    def __init__(self, spec: BridgeSpec, cluster: Cluster, commands: Iterable[bytes]) -> None:
        self._spec, self._cluster, self._commands = spec, cluster, commands
        self._guard = threading.RLock()
        self._workers: dict[str, SeatWorker] = {}
        self._joined = {each["device"]: ev.DeviceJoined(**each) for each in spec.known}
        self._refused: dict[str, ev.NodeRefused] = {}
        self._found = dict(spec.found)
        self._missing: dict[str, float] = {}  # devices, and when they went missing (monotonic)
        self._waiting: dict[int, Sent] = {}  # runs whose device is missing or busy
        self._asked: set[str] = set()  # devices whose runs are to be assessed
        self._parcel: LabParcel | None = None
        self._reported: dict[str, Any] = {}
        self._out = threading.Lock()

    def work(self) -> None:
        """Runs until the engine ends. Raises ClusterUnreachable."""
        self._in_thread(self._listen)
        while True:
            nodes = self._cluster.nodes()
            with contextlib.suppress(OSError):  # a full disk, here: the next round writes it
                self._reconcile(nodes)
            self._report()
            time.sleep(LOOK_SECONDS)

    # ── commands of the engine ──────────────────────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        for text in self._commands:
            try:
                self._handle(json.loads(text))
            except Exception:  # later commands are unaffected
                traceback.print_exc()
        os._exit(0)  # the engine is gone, and everything is on disk

    def _handle(self, command: Mapping[str, Any]) -> None:
        match command["do"]:
            case "run":
                self._take_up(command["number"])
            case "stop":
                self._in_thread(self._stop, command["number"], command["word"])
            case "assess":
                self._in_thread(self._assess, command)
            case "keep compiled":
                self._in_thread(self._keep_compiled, command["number"])
            case "want":
                self._in_thread(self._cluster.ask_for, self._spec.resources, command["count"])
            case "release":
                self._release()

    def _release(self) -> None:
        """Brings back the files to keep, then ends the seats and the process."""
        with self._guard:
            threads = [worker.release() for worker in self._workers.values()]
        self._in_thread(self._cluster.ask_for, self._spec.resources, 0)
        until = time.monotonic() + RELEASE_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        time.sleep(_LAST_SECONDS)
        os._exit(0)

    @staticmethod
    def _in_thread(work: Any, *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _take_up(self, number: int) -> None:
        sent = self._sent(number)
        if sent is None or (self._run(number) / run_folder.EXIT).exists():
            return
        with self._guard:
            self._waiting[number] = sent
            self._hand_out()

    def _hand_out(self) -> None:
        """Gives waiting runs to their devices, once an earlier run of the device has ended."""
        for number, sent in list(self._waiting.items()):
            if (worker := self._workers.get(sent.device)) is not None and worker.give(sent):
                del self._waiting[number]

    def _stop(self, number: int, word: int) -> None:
        sent = self._sent(number)
        if sent is None:
            return
        with self._guard:
            worker = self._workers.get(sent.device)
            if worker is None and self._waiting.get(number) == sent and not sent.accepted:
                reason = RunEnd.LOST if word == signal.SIGTERM else RunEnd.KILLED
                write(self._run(number) / run_folder.EXIT, end_record(reason, "it had not been started"))
                del self._waiting[number]
        if worker is not None:
            worker.stop(sent, word)

    def _assess(self, command: Mapping[str, Any]) -> None:
        """Answers when there is a result or an error; a seat, or a connection, may come and go meanwhile."""
        answer: dict[str, Any] = {"reply": command["id"]}
        sent = self._sent(command["number"])
        while "result" not in answer and "error" not in answer:
            worker = None if sent is None else self._workers.get(sent.device)
            with self._guard:
                self._asked |= {sent.device} if sent is not None else set()
            if sent is None or (worker is None and self._is_gone(sent.device)):
                answer |= {"error": "its node is gone", "gone": True}
                break
            try:
                if worker is not None:
                    key = RunKey(sent.number, sent.attempt)
                    result = worker.call("assess", key, command["locked"], command["env"], seconds=30)
                    answer |= {} if result is None else {"result": result}
                    continue
            except SeatRefused as refused:
                answer |= {"error": str(refused), "gone": refused.kind == RunGone.__name__}
            except SeatLost:
                pass
            time.sleep(_AGAIN_SECONDS)
        self._send(answer)

    def _keep_compiled(self, number: int) -> None:
        sent = self._sent(number)
        with contextlib.suppress(SeatLost, SeatRefused, KeyError):
            if sent is not None:
                key = RunKey(sent.number, sent.attempt)
                self._workers[sent.device].call("keep_compiled", key, seconds=60)

    # ── devices ─────────────────────────────────────────────────────────────────────────────────────────────

    def _reconcile(self, nodes: list[Node]) -> None:
        """Makes a seat for each device, and gives up devices that are gone for good. Raises OSError."""
        now = time.monotonic()
        with self._guard:
            there = {
                f"{node.name}:{place}": (node, place)
                for node in nodes
                for place in range(node.places(self._spec.resources))
            }
            for device, (node, place) in there.items():
                self._seat(device, node, place)
            wanted = {*self._workers, *self._joined, *self._asked, *(each.device for each in self._waiting.values())}
            self._missing = {name: self._missing.get(name, now) for name in wanted if name not in there}
            self._hand_out()
            for device in filter(self._is_gone, list(self._missing)):
                self._give_up(device)
            for worker in self._workers.values():
                if worker.broken_for(now) > BROKEN_SECONDS:
                    worker.broken = ""
            names = {node.name for node in nodes}
            self._refused = {name: why for name, why in self._refused.items() if name in names}

    def _give_up(self, device: str) -> None:
        """Ends a device's runs as lost, because it is gone for good. Raises OSError."""
        why = f"its device {device} is gone"
        if (worker := self._workers.get(device)) is not None:
            worker.close(why)
            del self._workers[device]
        for number, sent in list(self._waiting.items()):
            if sent.device == device:
                write(self._run(number) / run_folder.EXIT, lost(why))
                del self._waiting[number]
        self._joined.pop(device, None)

    def _seat(self, device: str, node: Node, place: int) -> None:
        worker = self._workers.get(device)
        if worker is None:
            worker = SeatWorker(self._cluster, self._spec, self._lab_parcel, self._admit, self._not_kept, node, place)
            self._workers[device] = worker
            worker.begin()
        worker.node = node

    def _not_kept(self, problem: str) -> None:
        self._send({"not kept": problem})

    def _is_gone(self, device: str) -> bool:
        """Whether a device is missing for longer than `lost_after_seconds`."""
        since = self._missing.get(device)
        return since is not None and time.monotonic() - since > self._spec.lost_after_seconds

    def _lab_parcel(self) -> LabParcel:
        with self._guard:
            if self._parcel is None:
                lab = labs.open_lab(Path(self._spec.root))
                made = node_lab.parcel(lab, GitRepo(lab.root), self._spec.base)
                self._parcel = replace(made, budget_seconds=self._spec.budget_seconds)
            return self._parcel

    def _admit(self, device: str, node: Node, found: Mapping[str, str], model: str) -> tuple[str, str] | None:
        with self._guard:
            why = admission.refusal(self._found, found, self._spec.accelerator)
            if why is not None:
                self._refused[node.name] = ev.NodeRefused(node.name, *why)
                self._joined.pop(device, None)
                return why
            self._refused.pop(node.name, None)
            self._found = self._found or dict(found)
            self._joined[device] = ev.DeviceJoined(device, node.name, model, dict(found))
            return None

    # ── reports to the engine and the screen ────────────────────────────────────────────────────────────────

    def _report(self) -> None:
        with self._guard:
            workers = dict(self._workers)
            leaving = {name: worker.broken or worker.node.leaving for name, worker in workers.items()}
            roster = Roster(
                tuple(self._joined.values()),
                tuple(self._refused.values()),
                {name: why for name, why in leaving.items() if why},
            )
            ready = [
                name
                for name, worker in workers.items()
                if name in self._joined and worker.is_ready and name not in self._missing and not leaving[name]
            ]
        report = {"roster": msgspec.to_builtins(roster, enc_hook=dict), "ready": ready}
        if report != self._reported:
            self._send(report)
            self._reported = report
        self._send({"alive": True})
        preparing = [NodeProgress(w.node.name, w.doing) for w in workers.values() if w.doing]
        now = ClusterNow(
            self._spec.address,
            time.time(),
            devices=tuple(worker.load for worker in workers.values() if worker.admitted),
            nodes=tuple(preparing),
        )
        with contextlib.suppress(OSError):
            cluster_file.write(Path(self._spec.session) / "cluster.json", now)

    def _send(self, message: Mapping[str, Any]) -> None:
        with self._out, contextlib.suppress(OSError):
            sys.stdout.buffer.write(line(message))
            sys.stdout.buffer.flush()

    def _run(self, number: int) -> Path:
        return Path(self._spec.session) / "runs" / f"{number:04d}"

    def _sent(self, number: int) -> Sent | None:
        return Sent.read(self._run(number))


class _Commands:
    """The engine's messages. If the engine ends before anything reads them, the process ends.

    Joining a cluster that does not answer takes minutes, and the next engine's bridge waits for our lock.
    """

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._is_read = threading.Event()
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        self._is_read.set()
        while text := self._lines.get():
            yield text

    def _read(self) -> None:
        for text in sys.stdin.buffer:
            self._lines.put(text)
        self._lines.put(b"")
        if not self._is_read.is_set():
            os._exit(0)


def main(words: list[str]) -> int:
    """`words`: a BridgeSpec's fields, as JSON. Ends the process; if it fails, the last message says why."""
    spec = msgspec.json.decode(words[0], type=BridgeSpec)
    out = os.dup(1)
    os.dup2(2, 1)  # Ray's output must not mix with our messages
    sys.stdout = os.fdopen(out, "w")
    commands = _Commands()
    with (Path(spec.session) / "bridge.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the previous engine's bridge is about to end
        try:
            security.refuse_open(requirements.head(spec.address, os.environ), os.environ)
            Bridge(spec, Cluster(spec.address), commands).work()
        except (ClusterUnreachable, UserError) as error:
            what, remedy = (error.what, error.remedy) if isinstance(error, UserError) else (str(error), "")
            sys.stdout.buffer.write(line({"problem": what, "remedy": remedy}))
            sys.stdout.buffer.flush()
    os._exit(UNREACHABLE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
