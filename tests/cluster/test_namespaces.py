"""A real cluster in namespaces: its machines share no disk, it wants a token, no run reaches it, nothing stays."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from autoresearch_tui.cluster import security
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.sandbox import policy
from autoresearch_tui.session.state import Stage
from autoresearch_tui.util.errors import UserError
from tests.cluster import namespaces
from tests.conftest import SETTINGS, TRAIN, make_lab
from tests.engine.test_loop import Script
from tests.faults.engines import Engines
from tests.history import contradictions, state_of
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(bool(namespaces.why_not()), reason=namespaces.why_not())

CLUSTER = f"""
[cluster]
resources = {{ {namespaces.STAND_IN} = 1 }}
lost_after_seconds = 2
"""
# A driver, and an actor of its own on the head.
ON_HEAD = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
@ray.remote(num_cpus=0)
class Actor:
    def up(self):
        return "up"
affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
here = ray.get_runtime_context().get_node_id()
actor = Actor.options(scheduling_strategy=affinity(here, soft=False)).remote()
print(ray.get(actor.up.remote()), flush=True)
sys.stdin.read()
"""
ASK = "import sys; from ray._raylet import GcsClient; print(GcsClient(address=sys.argv[1]).get_all_node_info())"
# Prints what it can reach of all this.
INTRUDER = """
import json, os, socket, stat
reached = []
def attempt(name, work):
    try:
        work()
        reached.append(name)
    except OSError:
        pass
def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as end:
        end.settimeout(5)
        end.connect(address)
for port in {ports}:
    for host in {hosts}:
        attempt(f"tcp {{host}}:{{port}}", lambda: connect(socket.AF_INET, (host, port)))
        attempt(f"tcp6 {{host}}:{{port}}", lambda: connect(socket.AF_INET6, ("::ffff:" + host, port)))
for path in {sockets}:
    attempt("unix " + path, lambda: connect(socket.AF_UNIX, path))
for path in {files}:
    attempt("file " + path, lambda: open(path, "rb").read(1))
for number in os.listdir("/proc/self/fd"):
    attempt("inherited " + number, lambda: stat.S_ISSOCK(os.stat(int(number)).st_mode) or os.stat("/no such file"))
reached += ["env " + name for name in os.environ if "RAY" in name]
print(json.dumps([name for name in reached if "AUTORESEARCH" not in name]))
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
    wait_for(lambda: not [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(words(p))], 20)


def words(process: psutil.Process) -> list[str]:
    return process.info["cmdline"] or []


def test_what_a_node_writes_no_other_machine_sees(cluster: namespaces.Machines) -> None:
    path = f"{namespaces.HOME}/written"
    code = f"touch {sys.prefix}/written 2>&1 || echo on $0 >{path}"
    for name in ("one", "two"):
        assert "Read-only file system" in cluster.on(name, ["sh", "-c", code, name])
    for name in ("one", "two"):
        assert cluster.on(name, ["cat", path]) == f"on {name}\n"
    assert not Path(path).exists()
    cluster.on("one", ["test", "!", "-e", str(cluster.folder / "token")])


@pytest.mark.parametrize("held", {each.kind: each for each in (policy.landlock_only(), policy.choose())}.values())
def test_no_run_reaches_the_cluster_or_sees_of_it(
    cluster: namespaces.Machines, new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, held: policy.Mechanism
) -> None:
    monkeypatch.setattr(policy, "choose", lambda: held)
    for name, value in {**cluster.environ, "RAY_AUTH_TOKEN": cluster.token}.items():
        monkeypatch.setenv(name, value)
    with in_use(cluster) as (ports, sockets, files):
        code = INTRUDER.format(ports=ports, sockets=sockets, files=files, hosts=["127.0.0.1", cluster.host])
        plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        open_ = set(json.loads(plain.stdout))
        # Outside of the sandbox all of it works.
        assert open_ >= {f"tcp {cluster.host}:{port}" for port in ports} | {f"unix {path}" for path in sockets}
        assert open_ >= {f"file {path}" for path in files} | {"env RAY_AUTH_TOKEN"}
        shown = f'env = {{ SCRATCH = "{cluster.folder}", TOKEN = "{cluster.folder}/token" }}\n'
        lab = new_lab(settings=SETTINGS.replace("budget", shown + "budget"), train=code + TRAIN)
        assert Engine(Session(labs.find(lab), "t"), Script(), headless=True, rows=1).run() == "finished"
        log = (lab / ".autoresearch/t/runs/0000/run.log").read_text()
    assert log.splitlines()[0] == "[]"
    assert "val_bpb:" in log


@contextlib.contextmanager
def in_use(cluster: namespaces.Machines) -> Iterator[tuple[list[int], list[str], list[str]]]:
    """The ports, sockets and files of a head with a driver and an actor on it."""
    env = {**os.environ, **cluster.environ}
    command = [sys.executable, "-c", ON_HEAD, cluster.address]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None and cluster.head is not None
        assert driver.stdout.readline() == "up\n"
        tree = [psutil.Process(driver.pid), *psutil.Process(cluster.head.pid).children(recursive=True)]
        heard = {
            each.laddr.port: p.name() for p in tree for each in p.net_connections("tcp") if each.status == "LISTEN"
        }
        assert {"gcs_server", "raylet"} <= set(heard.values()) and any("Actor" in name for name in heard.values())
        session = cluster.folder / "ray" / "session_latest"
        sockets = [str(path) for path in (session / "sockets").iterdir()]
        assert len(sockets) == 2
        yield [*heard], sockets, [str(cluster.folder / "token"), str(session / "logs" / "raylet.out")]
        driver.stdin.close()


def test_a_session_needs_no_disk_in_common_and_survives_a_node(cluster: namespaces.Machines, tmp_path: Path) -> None:
    sockets = [f"{cluster.folder}/ray/session_latest/sockets/{name}" for name in ("raylet", "plasma_store")]
    token = f"{namespaces.HOME}/.ray/auth_token"
    for path in (*sockets, token):
        cluster.on("one", ["test", "-e", path])
    intruder = INTRUDER.format(ports=[cluster.port], sockets=sockets, files=[token], hosts=[cluster.host])
    train = intruder + TRAIN.replace("PAUSE = 0.0", "PAUSE = 2.0")
    lab = make_lab(tmp_path / "apart", SETTINGS + CLUSTER, train)
    words = [str(lab), "--headless", "--tag", "t", "--experiments", "99", "--cluster", cluster.address]
    journal, errors = lab / ".autoresearch/t/journal.jsonl", tmp_path / "errors"
    with Engines(cluster.environ) as engines:
        (engine,) = engines.start(words, errors)
        wait_for(lambda: "two:0" in trained_on(lab), what="a baseline on node two")
        wait_for(lambda: any(e.device == "two:0" for e in state_of(lab, "t").experiments if e.stage is Stage.RUNNING))
        cluster.end("two")
        wait_for(lambda: '"type":"run_requeued"' in journal.read_text(), what="a run that is wanted again")
        cluster.restart("two")
        joined = '"type":"device_joined","device":"two:0"'
        wait_for(lambda: joined in journal.read_text().partition('"run_requeued"')[2], what="a node that is back")
        os.kill(engine, signal.SIGTERM)
        assert engines.ends() == [0], Path(f"{errors}-0").read_text()
    assert contradictions(lab, "t") == []
    state = state_of(lab, "t")
    assert trained_on(lab) == {"one:0", "two:0"}
    for experiment in state.table:
        log = (lab / f".autoresearch/t/runs/{experiment.name}/run.log").read_text()
        assert f"val_bpb:          {experiment.value:.6f}" in log
        assert log.startswith("[]\n")  # nothing of Ray's was within its reach there either
    assert {each.found["sandbox"] for each in state.fleet.devices.values()} <= {"landlock", "bubblewrap"}
    for name in ("one", "two"):
        cluster.on(name, ["sh", "-c", f"test ! -e {lab} && ls -d ~/.local/state/autoresearch-tui/nodes/{name}/apart-*"])
    assert not list(Path(os.environ["XDG_STATE_HOME"]).rglob("nodes"))


def trained_on(lab: Path) -> set[str]:
    """The devices that something was scored on."""
    return {e.device for e in state_of(lab, "t").table}


def test_a_cluster_that_wants_a_token_is_told_from_one_that_does_not(cluster: namespaces.Machines) -> None:
    assert security.is_open(cluster.address, cluster.environ) is False
    with cluster.open_head() as address:
        with pytest.raises(UserError, match="can be reached by others and wants no token; `ray get-auth-token"):
            security.refuse_open(address, cluster.environ)
        # Ray itself says nothing about the token that nobody asked for.
        env = {**os.environ, **cluster.environ}
        command = [sys.executable, "-c", ASK, address]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "{}\n", done.stderr


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
