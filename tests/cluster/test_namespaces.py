"""The cluster that other tests run on: its machines share no disk, want a token, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster import namespaces
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(bool(namespaces.why_not()), reason=namespaces.why_not())

# What a node's process can see and do, told by an actor that outlives its driver.
DRIVER = """
import json, os, sys
from pathlib import Path
import ray
ray.init(address=sys.argv[1], namespace="t", log_to_driver=False, logging_level="ERROR")
@ray.remote(num_cpus=0, resources={"accelerator": 1})
class Writer:
    def write(self, text):
        path = Path.home() / "written"
        path.write_text(text)
        try:
            Path(sys.prefix, "written").write_text(text)
        except OSError as error:
            return str(path), error.strerror
nodes = {node["NodeName"]: node["NodeID"] for node in ray.nodes()}
affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
for name in ("one", "two"):
    writer = Writer.options(name=name, lifetime="detached", scheduling_strategy=affinity(nodes[name], soft=False))
    print(json.dumps(ray.get(writer.remote().write.remote(f"on {name}"))), flush=True)
"""
KILLED = """
import sys
from pathlib import Path
from tests.cluster.namespaces import Machines, _ip
made = Machines(Path(sys.argv[1]), ["one"], {})
_ip("link", "add", made.bridge, "type", "bridge")
made.boot("one")
made.on("one", ["sh", "-c", "nohup setsid sleep 98765 >/dev/null 2>&1 & touch ~/done"])
print(made.nodes["one"].holder.pid, made.bridge, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[namespaces.Machines]:
    with namespaces.machines() as made:
        yield made
        folder = made.folder
    assert [process for process in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(words(process))] == []


def words(process: psutil.Process) -> list[str]:
    return process.info["cmdline"] or []


def drive(cluster: namespaces.Machines, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **cluster.environ, **environ}
    command = [sys.executable, "-c", code, cluster.address]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_what_a_node_writes_no_other_machine_sees(cluster: namespaces.Machines) -> None:
    done = drive(cluster, DRIVER)
    path = f"{namespaces.HOME}/written"
    assert done.stdout.splitlines() == [f'["{path}", "Read-only file system"]'] * 2, done.stderr
    for name in ("one", "two"):
        assert cluster.on(name, ["cat", path]) == f"on {name}"
    assert not Path(path).exists()
    assert cluster.on("one", ["ls", "/tmp"]).split() == [cluster.folder.name, "home"]


def test_a_killed_test_leaves_no_process_of_a_node(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(namespaces.REPOSITORY)}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as test:
        assert test.stdout is not None
        holder, bridge = test.stdout.readline().split()
        tree = [psutil.Process(int(holder)), *psutil.Process(int(holder)).children(recursive=True)]
        assert any("98765" in process.cmdline() for process in tree)
        test.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(process.is_running() for process in tree), what="the end of the node")
    namespaces._sweep()
    assert bridge not in psutil.net_if_addrs()
