"""The bridge between an engine and a Ray cluster: a child process of the engine's that holds the connection.

Ray ends a process that loses its cluster, and takes seconds and much memory to import; so it is kept out of the engine.
The bridge may die at any moment: what it knows is in the runs' folders and on the nodes, where the next one reads it.
It ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoresearch_tui.cluster import admission, node_lab, requirements, security
from autoresearch_tui.cluster.node_lab import LabParcel
from autoresearch_tui.cluster.protocol import KEEP, BridgeSpec, Sent, line, roster_to_json
from autoresearch_tui.cluster.ray_driver import Cluster, ClusterUnreachable, Node, SeatLost, SeatRefused
from autoresearch_tui.cluster.seat import RunKey
from autoresearch_tui.cluster.seat_worker import SeatWorker, lost
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.runs import run_folder
from autoresearch_tui.session import cluster_file
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.cluster_file import ClusterNow, NodeProgress
from autoresearch_tui.session.fleet import Roster
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.errors import UserError

LOOK_SECONDS = 1.0
TIDY_SECONDS = 20.0
# A device on which nothing could be started is tried again.
BROKEN_SECONDS = 300.0
UNREACHABLE = 3
_ASSESS_SECONDS = 24 * 3600.0


class Bridge:
    """Devices, the runs that they were given, and what the engine is told of both."""

    def __init__(self, spec: BridgeSpec, cluster: Cluster) -> None:
        self._spec, self._cluster = spec, cluster
        self._guard = threading.RLock()
        self._workers: dict[str, SeatWorker] = {}
        self._joined: dict[str, ev.DeviceJoined] = {}
        self._refused: dict[str, ev.NodeRefused] = {}
        self._found = dict(spec.found)
        self._missing: dict[str, float] = {}  # nodes, and since when (monotonic)
        self._waiting: dict[int, Sent] = {}  # runs whose device is not there (yet)
        self._parcel: LabParcel | None = None
        self._told: dict[str, Any] = {}
        self._tidied = 0.0
        self._out = threading.Lock()

    def work(self) -> None:
        """Until the engine goes. Raises ClusterUnreachable."""
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        while True:
            self._reconcile(self._cluster.nodes())
            self._tell()
            self._keep_and_tidy()
            time.sleep(LOOK_SECONDS)

    # ── what the engine says ────────────────────────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        for text in sys.stdin.buffer:
            with contextlib.suppress(OSError):
                self._obey(json.loads(text))
        os._exit(0)  # the engine is gone: what there is to know is on disk

    def _obey(self, command: Mapping[str, Any]) -> None:
        match command["do"]:
            case "run":
                self._take_up(command["number"])
            case "stop":
                sent = self._sent(command["number"])
                if sent is not None and (worker := self._workers.get(sent.device)) is not None:
                    self._in_thread(worker.stop, sent, command["word"])
            case "assess":
                self._in_thread(self._assess, command)
            case "keep compiled":
                self._in_thread(self._keep_compiled, command["number"])
            case "release":
                with self._guard:
                    for worker in self._workers.values():
                        worker.release()
                os._exit(0)

    @staticmethod
    def _in_thread(work: Any, *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _take_up(self, number: int) -> None:
        sent = self._sent(number)
        if sent is None or (self._run(number) / run_folder.EXIT).exists():
            return
        with self._guard:
            worker = self._workers.get(sent.device)
            if worker is None:
                self._waiting[number] = sent
            elif worker.run is None:
                worker.give(sent)

    def _assess(self, command: Mapping[str, Any]) -> None:
        sent = self._sent(command["number"])
        answer: dict[str, Any] = {"reply": command["id"]}
        try:
            if sent is None or sent.device not in self._workers:
                raise SeatLost("its node is gone")
            key = RunKey(sent.number, sent.attempt)
            worker = self._workers[sent.device]
            answer["result"] = worker.call("assess", key, command["locked"], command["env"], seconds=_ASSESS_SECONDS)
        except (SeatLost, SeatRefused) as error:
            answer |= {"error": str(error), "gone": sent is None or sent.device not in self._workers}
        self._say(answer)

    def _keep_compiled(self, number: int) -> None:
        sent = self._sent(number)
        with contextlib.suppress(SeatLost, SeatRefused, KeyError):
            if sent is not None:
                key = RunKey(sent.number, sent.attempt)
                self._workers[sent.device].call("keep_compiled", key, seconds=60)

    # ── devices ─────────────────────────────────────────────────────────────────────────────────────────────

    def _reconcile(self, nodes: list[Node]) -> None:
        """Make a seat for each device that there is, and give up what is gone for good."""
        now, there = time.monotonic(), {node.name: node for node in nodes}
        with self._guard:
            for node in nodes:
                self._missing.pop(node.name, None)
                for place in range(node.places(self._spec.resources)):
                    self._seat(node, place)
            for device, worker in list(self._workers.items()):
                if worker.node.name not in there and self._is_gone(worker.node.name, now):
                    worker.finish(f"its node {worker.node.name} is gone")
                    worker.close()
                    del self._workers[device]
                    self._joined.pop(device, None)
                elif worker.broken_for(now) > BROKEN_SECONDS:
                    worker.broken = ""
            for number, sent in list(self._waiting.items()):
                if (worker_of := self._workers.get(sent.device)) is not None:
                    worker_of.give(sent)
                    del self._waiting[number]
                elif self._is_gone(sent.device.rpartition(":")[0], now):
                    write(self._run(number) / run_folder.EXIT, lost(f"its node of device {sent.device} is gone"))
                    del self._waiting[number]
            self._refused = {name: why for name, why in self._refused.items() if name in there}

    def _seat(self, node: Node, place: int) -> None:
        device = f"{node.name}:{place}"
        worker = self._workers.get(device)
        if worker is None:
            worker = SeatWorker(self._cluster, self._spec, self._lab_parcel, self._admit, node, place)
            self._workers[device] = worker
            worker.begin()
        worker.node = node

    def _is_gone(self, node: str, now: float) -> bool:
        return now - self._missing.setdefault(node, now) > self._spec.lost_after_seconds

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

    # ── what the engine and the screen are told ─────────────────────────────────────────────────────────────

    def _tell(self) -> None:
        with self._guard:
            workers = dict(self._workers)
            leaving = {name: worker.broken or worker.node.leaving for name, worker in workers.items()}
            roster = Roster(
                tuple(self._joined.values()),
                tuple(self._refused.values()),
                {name: why for name, why in leaving.items() if why},
            )
            missing = set(self._missing)
        ready = [
            name
            for name, worker in workers.items()
            if name in self._joined and worker.is_ready and worker.node.name not in missing and not leaving[name]
        ]
        told = {"roster": roster_to_json(roster), "ready": ready}
        if told != self._told:
            self._say(told)
            self._told = told
        preparing = [NodeProgress(w.node.name, w.doing) for w in workers.values() if w.doing and not w.admitted]
        now = ClusterNow(
            self._spec.address,
            time.time(),
            devices=tuple(worker.load for worker in workers.values() if worker.admitted),
            nodes=tuple(preparing),
        )
        with contextlib.suppress(OSError):
            cluster_file.write(Path(self._spec.session) / "cluster.json", now)

    def _say(self, message: Mapping[str, Any]) -> None:
        with self._out, contextlib.suppress(OSError):
            sys.stdout.buffer.write(line(message))
            sys.stdout.buffer.flush()

    # ── what runs leave ─────────────────────────────────────────────────────────────────────────────────────

    def _keep_and_tidy(self) -> None:
        """Fetch the files that are to be kept, then let nodes remove the working copies that the engine has removed."""
        if time.monotonic() - self._tidied < TIDY_SECONDS:
            return
        self._tidied = time.monotonic()
        runs = Path(self._spec.session) / "runs"
        for marker in runs.glob(f"*/{KEEP}"):
            sent = Sent.read(marker.parent)
            with contextlib.suppress(SeatLost, SeatRefused, OSError):
                if sent is not None and sent.device in self._workers:
                    self._workers[sent.device].keep_files(sent)
                marker.unlink()
        wanted = [int(path.parent.name) for path in (*runs.glob("*/work"), *runs.glob(f"*/{KEEP}"))]
        first_of = {worker.node.name: worker for worker in reversed(list(self._workers.values())) if worker.is_ready}
        for worker in first_of.values():
            with contextlib.suppress(SeatLost, SeatRefused):
                worker.call("tidy", wanted, seconds=60)

    def _run(self, number: int) -> Path:
        return Path(self._spec.session) / "runs" / f"{number:04d}"

    def _sent(self, number: int) -> Sent | None:
        return Sent.read(self._run(number))


def main(words: list[str]) -> int:
    """`words`: a BridgeSpec's fields, as JSON. Ends the process; the last message says why, if it must."""
    spec = BridgeSpec(**json.loads(words[0]))
    out = os.dup(1)
    os.dup2(2, 1)  # whatever Ray prints is no message of ours
    sys.stdout = os.fdopen(out, "w")
    with (Path(spec.session) / "bridge.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the bridge of an engine that has gone is about to end
        try:
            security.refuse_open(requirements.head(spec.address, os.environ), os.environ)
            Bridge(spec, Cluster(spec.address)).work()
        except (ClusterUnreachable, UserError) as error:
            what, remedy = (error.what, error.remedy) if isinstance(error, UserError) else (str(error), "")
            sys.stdout.buffer.write(line({"problem": what, "remedy": remedy}))
            sys.stdout.buffer.flush()
    os._exit(UNREACHABLE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
