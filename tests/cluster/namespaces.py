"""A Ray cluster over machines that share nothing but a network: each a network, process and mount namespace of its own.

The head is this machine, outside of them. A node sees the code and the interpreters, read-only; its home, cache and
/tmp are empty, in memory, and nobody else's. What it needs (root, iproute2, util-linux) CI has; :func:`why_not` says
what is missing elsewhere.

A node ends with the pipe that this process holds, so nothing stays behind, even if this process is killed: a node's
processes end with its namespace, the head's with the one that keeps it. A bridge stays, which the next start removes.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.waiting import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN = "accelerator"
"""The resource that stands for an accelerator; one each node."""
HOME = "/tmp/home"
"""A node's home folder."""
SECONDS = 60.0
_BRIDGE = "arb"
_TOOLS = ("ip", "unshare", "nsenter", "mount")
# Nodes that are gone are noticed in about two seconds rather than a minute.
_QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
# The first process of a node: it ends with its input, and the kernel ends all others then.
_FIRST = "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); print('up', flush=True); sys.stdin.read()"
# Beside the head: what it starts becomes its own child, and ends with its input.
_KEEPER = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
print(done.returncode, ascii(done.stdout.decode(errors="replace"))[-3000:], flush=True)
sys.stdin.read()
import psutil
while left := psutil.Process().children(recursive=True):
    for process in left:
        process.kill()
    psutil.wait_procs(left, 5)
"""


@functools.cache
def why_not() -> str:
    """What such a cluster lacks here; empty if nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(missing)} is not installed"
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed"
    for words in (["unshare", "-mnpf", "true"], ["ip", "link", "add", f"{_BRIDGE}0", "type", "bridge"]):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"`{' '.join(words)}`: {done.stderr.strip()}"
    _ip("link", "del", f"{_BRIDGE}0")
    return ""


@dataclass
class Machine:
    """One node: its first process, as seen from here, and the pipe that it lives by."""

    name: str
    address: str
    link: str
    holder: subprocess.Popen[bytes]
    first: int


@dataclass
class Machines:
    """The head, here, and nodes apart."""

    folder: Path
    names: Sequence[str]
    resources: Mapping[str, Mapping[str, float]]
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    nodes: dict[str, Machine] = field(default_factory=dict)
    head: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.bridge = f"{_BRIDGE}{os.getpid()}"
        self.network = _free_network()
        with socket.socket() as one, socket.socket() as other:
            one.bind(("", 0))
            other.bind(("", 0))
            self.port, self.client_port = one.getsockname()[1], other.getsockname()[1]

    @property
    def host(self) -> str:
        """The head's address in the network of the nodes."""
        return f"{self.network}.1"

    @property
    def address(self) -> str:
        """The head's, as `--cluster` takes it."""
        return f"{self.host}:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """What a driver on this machine has in its environment, beside its own."""
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(self.folder),
        }

    def start(self) -> None:
        """All of it. Takes about eight seconds."""
        (self.folder / "token").write_text(self.token)
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("addr", "add", f"{self.network}.1/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        for name in self.names:
            self.boot(name)
        self.start_head()
        for begun in [self.begin_ray(name) for name in self.names]:
            _finish(begun)

    def start_head(self) -> None:
        """Ray's head on this machine; without an accelerator."""
        words = ["start", "--head", f"--node-ip-address={self.network}.1", f"--port={self.port}", "--node-name=head"]
        words += ["--num-cpus=1", "--include-dashboard=false", f"--temp-dir={self.folder / 'ray'}", *_SMALL]
        words += [f"--ray-client-server-port={self.client_port}", "--no-monitor"]  # of 10001 there is only one
        keeper = [sys.executable, "-c", _KEEPER, *_ray(words)]
        env = {**os.environ, **self.environ, **_QUICK}
        self.head = subprocess.Popen(keeper, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        assert self.head.stdout is not None
        said = self.head.stdout.readline().decode()
        assert said.startswith("0 "), said

    def end_head(self) -> None:
        """Every process of the head's."""
        if self.head is not None:
            _let_go(self.head)
            self.head = None
            (self.folder / "ray" / "ray_current_cluster").unlink(missing_ok=True)  # Ray believes it over everything

    @contextlib.contextmanager
    def open_head(self) -> Iterator[str]:
        """The address of a head that wants no token: its first process, which is the one that is asked.

        The whole head again, in the place of the other, would have the nodes call it without end.
        """
        assert self.head is not None
        tree = psutil.Process(self.head.pid).children(recursive=True)
        words = next(p for p in tree if p.name().startswith("gcs_server")).cmdline()
        session = next(word for word in words if word.startswith("--session-dir=")).partition("=")[2]
        Path(self.folder / "open" / "logs").mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        words = [word.replace(session, str(self.folder / "open")) for word in words]
        words = [f"--gcs_server_port={port}" if word.startswith("--gcs_server_port=") else word for word in words]
        env = {**os.environ, **self.environ, "RAY_AUTH_MODE": "disabled"}
        with subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as head:
            try:
                wait_for(lambda: _listens(port), SECONDS, "an open head")
                yield f"{self.host}:{port}"
            finally:
                head.kill()

    def boot(self, name: str) -> None:
        """A node without Ray."""
        number = self.names.index(name) + 2
        link = f"{_BRIDGE}{os.getpid()}n{number}"
        words = ["unshare", "-mnpf", "--propagation", "private", "sh", "-ec", self._mounts()]
        words += ["sh", sys.executable, "-c", _FIRST]
        with (self.folder / f"{name}.err").open("wb") as errors:
            holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n", (self.folder / f"{name}.err").read_text()
        first = psutil.Process(holder.pid).children()[0].pid
        self.nodes[name] = Machine(name, f"{self.network}.{number}", link, holder, first)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(first))
        _ip("link", "set", link, "master", self.bridge, "up")
        for setting in (f"addr add {self.network}.{number}/24 dev eth0", "link set eth0 up", "link set lo up"):
            self.on(name, ["ip", *setting.split()])
        self.on(name, ["sh", "-c", "mkdir -p ~/.ray; cat >~/.ray/auth_token"], text=self.token)

    def begin_ray(self, name: str) -> subprocess.Popen[bytes]:
        """`ray start` on a node; not waited for."""
        resources = ",".join(f'"{what}": {many}' for what, many in self.resources.get(name, {STAND_IN: 1}).items())
        words = ["start", f"--address={self.address}", f"--node-ip-address={self.nodes[name].address}"]
        words += [f"--node-name={name}", "--num-cpus=1", f"--resources={{{resources}}}", *_SMALL]
        entered = self._enter(name, _ray(words))
        return subprocess.Popen(entered, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def restart(self, name: str) -> None:
        """A node that was ended comes back, with an empty disk."""
        self.boot(name)
        _finish(self.begin_ray(name))

    def on(self, name: str, words: Sequence[str], text: str = "") -> str:
        """What a command prints on a node, where it has to succeed."""
        done = subprocess.run(
            self._enter(name, words), input=text, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, f"{name}: {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def end(self, name: str) -> None:
        """Every process of a node, and its disk, as if its plug had been pulled."""
        node = self.nodes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(node.first, signal.SIGKILL)
        _let_go(node.holder)

    def cut(self, name: str) -> None:
        """Take a node from the network; all of its processes go on."""
        _ip("link", "set", self.nodes[name].link, "down")

    def mend(self, name: str) -> None:
        """Undo :meth:`cut`."""
        _ip("link", "set", self.nodes[name].link, "up")

    def stop(self) -> None:
        """All of it."""
        for name in list(self.nodes):
            self.end(name)
        self.end_head()
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True, check=False)

    def _enter(self, name: str, words: Sequence[str]) -> list[str]:
        own = {"HOME": HOME, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        own |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(REPOSITORY)}
        env = [f"{name}={value}" for name, value in own.items()]
        enter = ["nsenter", "-t", str(self.nodes[name].first), "-m", "-n", "-p"]
        return [*enter, "env", "-i", f"--chdir={HOME}", *env, *words]

    def _mounts(self) -> str:
        """A shell script: the namespace's own /tmp, with what must be seen of it; nothing else can be written."""
        own = self.folder / "own"
        own.mkdir(exist_ok=True)
        lines = [f"mount -t tmpfs tmpfs {own}", f"mkdir -p {own}/home"]
        for path in (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)):
            if path.is_relative_to("/tmp"):
                below = own / path.relative_to("/tmp")
                lines += [f"mkdir -p {below}", f"mount --bind {path} {below}", f"mount -o remount,bind,ro {below}"]
        lines += [f"mount --rbind {own} /tmp", "mount -t tmpfs tmpfs /dev/shm", "mount -t proc proc /proc"]
        hidden = [Path("/var/tmp"), *(Path.home() / name for name in (".cache", ".ray", ".local/share"))]
        lines += [f"mount -t tmpfs tmpfs {path}" for path in hidden if path.is_dir()]
        others = [str(path) for path in dict.fromkeys((_mount_of(REPOSITORY), Path("/"))) if path != Path("/tmp")]
        lines += [f"mount -o remount,bind,ro {path}" for path in others]
        return "\n".join([*lines, 'exec "$@"'])


# Without what carries output to drivers: that is an interpreter more on each.
_SMALL = ("--object-store-memory=80000000", "--disable-usage-stats", "--log-style=record", "--log-color=false")
_SMALL += ("--include-log-monitor=false",)


@contextlib.contextmanager
def machines(
    names: Sequence[str] = ("one", "two"), resources: Mapping[str, Mapping[str, float]] | None = None
) -> Iterator[Machines]:
    """A running cluster; `resources` of nodes that do not have one stand-in accelerator each."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix="ar-", dir="/tmp") as folder:  # paths of sockets have to be short
        made = Machines(Path(folder), names, resources or {})
        try:
            made.start()
            yield made
        finally:
            made.stop()


def _ray(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "ray.scripts.scripts", *words]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _finish(begun: subprocess.Popen[bytes]) -> None:
    said, _ = begun.communicate(timeout=SECONDS)
    assert begun.returncode == 0, said.decode()


def _let_go(holder: subprocess.Popen[bytes]) -> None:
    """Close the pipe that it lives by, and wait."""
    for pipe in (holder.stdin, holder.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    holder.wait(SECONDS)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _mount_of(path: Path) -> Path:
    while not path.is_mount():
        path = path.parent
    return path


def _free_network() -> str:
    used = {address.address.rpartition(".")[0] for each in psutil.net_if_addrs().values() for address in each}
    first = os.getpid() % 250
    return next(name for at in range(250) if (name := f"10.231.{(first + at) % 250 + 1}") not in used)


def _sweep() -> None:
    """Bridges of tests that were killed."""
    for name in psutil.net_if_addrs():
        number = name.removeprefix(_BRIDGE)
        if name.startswith(_BRIDGE) and number.isdigit() and not psutil.pid_exists(int(number)):
            subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)
