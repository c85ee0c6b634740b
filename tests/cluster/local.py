"""A real Ray cluster of several nodes on this machine, with stand-in accelerators. One at a time, whatever runs beside.

It is made by a process of its own (`python -m tests.cluster.local`), for Ray reads its environment once, and ends a
process that loses its head. Nodes that are gone are missed within seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoresearch_tui.runs.processes import PR_SET_PDEATHSIG, prctl

ACCELERATOR = "accelerator"
CLUSTER_SETTINGS = f"""
[cluster]
resources = {{ {ACCELERATOR} = 1 }}
lost_after_seconds = 2
"""
_QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "AUTORESEARCH_NO_SANDBOX": "1",
}
_PREEMPTED = 2  # DRAIN_NODE_REASON_PREEMPTION
# Without what carries output to drivers and asks for more machines: each is an interpreter more.
_SMALL = {"num_cpus": 0, "num_gpus": 0, "object_store_memory": 80 << 20, "include_dashboard": False}
_SMALL |= {"include_log_monitor": False, "no_monitor": True}


class LocalCluster:
    """A head without accelerators, and nodes that come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # What engines, nodes and the head have in their environment beside ours.
        self.environ: Mapping[str, str] = {
            **_QUICK,
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_TMPDIR": str(folder),
            "AUTORESEARCH_NODES": str(folder / "nodes"),
        }
        self.address = ""
        self._port = 0
        self._raylets: dict[str, int] = {}

    def start(self) -> None:
        """The head. Takes seconds."""
        (self.folder / "ray").mkdir(exist_ok=True)  # where it writes down its address
        with (self.folder / "cluster.log").open("ab") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.local", str(self.folder / "ray"), str(self._port)],
                cwd=Path(__file__).parents[2],
                env={**os.environ, **self.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.address = str(self._answer())
        self._port = int(self.address.rpartition(":")[2])

    def lose_head(self) -> None:
        """The head is gone, with all that it knew, and soon so are the nodes and seats; what runs there continues."""
        for process in self._own():
            if "gcs_server" in process.name():
                process.kill()

    def start_again(self) -> None:
        """A new head where the old one was, and the nodes join it."""
        self._server.kill()
        self._server.wait()
        for process in self._own():
            with contextlib.suppress(psutil.NoSuchProcess):
                if _is_of_ray(process, self.folder):
                    process.kill()
        names = [*self._raylets]
        self.start()
        for name in names:
            self.add(name)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Those with accelerators."""
        return tuple(self._raylets)

    def add(self, name: str, accelerators: int = 1) -> None:
        """A node joins."""
        self._raylets[name] = self.ask("add", name, accelerators)

    def remove(self, name: str) -> None:
        """A node is gone at once, with its seats. What supervisors do there continues, as where a line was cut."""
        seats = self.seats(name)
        del self._raylets[name]
        self.ask("remove", name)
        for process in seats:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def raylet(self, name: str) -> psutil.Process:
        """What makes a machine a node."""
        return psutil.Process(self._raylets[name])

    def seats(self, node: str = "") -> list[psutil.Process]:
        """The processes of all seats, or of those of a node."""
        raylets = {self._raylets[node]} if node else {*self._raylets.values()}
        return [p for p in self._own() if _is_seat(p, raylets)]

    def run(self, node: str, lab: str, number: int) -> Path:
        """The folder of a run of session `t` on a node."""
        (top,) = (self.folder / "nodes" / node).glob(f"{lab}-*")
        return top / ".autoresearch" / "t" / "runs" / f"{number:04d}"

    def stop(self) -> None:
        """Everything, what supervisors still run included."""
        self._server.terminate()
        self._server.wait(60)
        deadline = 50
        while (left := [p for p in psutil.process_iter() if _belongs(p, self.folder)]) and (deadline := deadline - 1):
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, 1)

    def _own(self) -> list[psutil.Process]:
        return [p for p in psutil.process_iter() if _belongs(p, self.folder)]

    def ask(self, *words: Any) -> Any:
        """What the process that made the cluster answers."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(words).encode() + b"\n")
        self._server.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, (self.folder / "cluster.log").read_text()[-3000:]
        return json.loads(line)


def _belongs(process: psutil.Process, folder: Path) -> bool:
    """Whether a process is of the cluster in this folder, or a run there."""
    try:
        named = any(str(folder) in word for word in process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return process.pid != os.getpid() and (named or _has_environment(process, folder))


def _is_seat(process: psutil.Process, raylets: set[int]) -> bool:
    try:
        return "Seat" in " ".join(process.cmdline()) and process.ppid() in raylets
    except psutil.NoSuchProcess:  # it ends meanwhile
        return False


def _is_of_ray(process: psutil.Process, folder: Path) -> bool:
    """Head, node or seat; neither a run, whose environment is its own, nor an engine."""
    try:
        words = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return any("/ray/" in word or word.startswith("ray::") for word in words) and _has_environment(process, folder)


def _has_environment(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("RAY_TMPDIR") == str(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@contextlib.contextmanager
def local_cluster(*names: str) -> Iterator[LocalCluster]:
    """A cluster with these nodes."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    with (Path(tempfile.gettempdir()) / f"autoresearch-cluster-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = Path(tempfile.mkdtemp(prefix="ar-"))  # a short name: sockets are in it
        cluster = LocalCluster(folder)
        try:
            cluster.start()
            for name in names:
                cluster.add(name)
            yield cluster
        finally:
            cluster.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _serve(temporary: str, port: int) -> None:
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    from ray.cluster_utils import Cluster

    def answer(value: object) -> None:
        print(json.dumps(value), file=out, flush=True)

    place = {"gcs_server_port": port} if port else {}
    named = {"node_name": "head", "temp_dir": temporary}
    cluster = Cluster(initialize_head=True, head_node_args={**_SMALL, **named, **place})
    answer(cluster.address)
    nodes: dict[str, Any] = {}
    for line in sys.stdin:
        match json.loads(line):
            case ["add", name, count]:
                nodes[name] = cluster.add_node(wait=False, **_SMALL, node_name=name, resources={ACCELERATOR: count})
                answer(nodes[name].all_processes["raylet"][0].process.pid)
            case ["drain", name]:
                client = importlib.import_module("ray._raylet").GcsClient(address=cluster.address)
                until = int(time.time() * 1000) + 600_000
                left, why = client.drain_node(nodes[name].node_id, _PREEMPTED, "a cloud wants it back", until)
                answer(left or why)
            case ["remove", name]:
                processes = nodes.pop(name).all_processes.values()
                for started in (each.process for kind in processes for each in kind):
                    started.kill()
                    started.wait()
                answer(name)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
