"""Tests a sandbox: the same mechanism, with the same paths, around a probe that tries to get out.

An attempt counts as refused only if the probe reports that it failed, and nothing arrived at its other end. A
protection that could not be tried counts as failed.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch_tui.runs.environment import driver_environment
from autoresearch_tui.sandbox import policy, probe
from autoresearch_tui.sandbox.policy import Kind, Mechanism, Policy
from autoresearch_tui.util import scratch

PROBE_SECONDS = 30.0
NAMES = (
    "tcp",
    "udp and dns",
    "unix sockets",
    "home folder",
    "hidden files",
    "other files",
    "API key",
    "writing outside",
    "evaluator",
    "modes and times",
    "attributes",
    "notes on files",
    "locked files",
    "limits and priorities",
    "signals",
    "debugging",
    "nesting",
)
NETWORK = ("tcp", "udp and dns")
# For an agent, which has the network: TCP to ports that are not allowed, and a cloud's credentials.
AGENT_NETWORK = PORTS, METADATA = ("unnamed ports", "metadata service")
# Needed for training, and possibly broken by a sandbox: the first by all runs, the others by those on a GPU.
WORKERS, ACCELERATOR, CHILDREN, MOVES = (
    "worker processes",
    "accelerator",
    "accelerator in child processes",
    "moving files",
)
_FILES_PER_FOLDER = 5
_HOME_ENTRIES = 20
_IOPRIO_GET = (252, 31)  # the system call's number on x86_64 and aarch64
# An ancestor of every run has the key in its environment; this process plays that role in the test.
_KEEPER = """
import json, subprocess, sys
command, env = json.loads(sys.argv[1])
sys.exit(subprocess.run(command, env=env, stdin=subprocess.DEVNULL, timeout=25).returncode)
"""


@dataclass(frozen=True, slots=True)
class Protection:
    """Something that a run must not be able to do, or must (`WORKERS` etc.). `remedy` is for a failure."""

    name: str
    holds: bool
    detail: str = ""
    remedy: str = ""


def self_test(allowed: Policy, mechanism: Mechanism, *, home: Path | None = None) -> tuple[Protection, ...]:
    """Tests every protection from inside; those of the network only if the policy has no network. Takes about 0.3 s;
    thread-safe.

    `home` is the folder whose contents must be out of reach (default: the user's home). Raises ValueError as
    :func:`policy.wrap` does, OSError if the test itself cannot start.
    """
    with scratch.folder("check") as folder, contextlib.ExitStack() as stack:
        stage = _Stage(folder.resolve(), allowed, home or Path.home(), stack)
        reports, problem = _run_probe(stage, mechanism)
        names = [each for each in NAMES if not (allowed.network and each in NETWORK)]
        names += AGENT_NETWORK if allowed.network else ()
        found = [
            _judge(each, reports.get("tcp" if each == PORTS else each), stage, mechanism, problem) for each in names
        ]
        wanted = [] if allowed.network else [WORKERS]
        if _needs_accelerator(allowed):
            wanted += [ACCELERATOR, CHILDREN, MOVES]
        return (*found, *(_wanted(each, reports.get(each), allowed, mechanism, problem) for each in wanted))


class _Stage:
    """The other ends of the attempts: sockets, files and a process, and their state afterwards."""

    def __init__(self, root: Path, allowed: Policy, home: Path, stack: contextlib.ExitStack) -> None:
        self.root, self.key = root, secrets.token_hex(16)
        self.work, self.fixed, self.outside = root / "work", root / "fixed", root / "outside"
        for folder in (self.work, self.fixed, self.outside):
            folder.mkdir()
        self.evaluator, self.locked = self.fixed / "evaluate.py", self.work / "locked.py"
        self.mode, self.secret = self.fixed / "mode.py", self.outside / "secret"
        for file in (self.evaluator, self.locked, self.mode, self.secret):
            file.write_text("x = 1\n")
        self.before = self._observe()
        self.allowed = replace(
            allowed,
            writable=(self.work,),
            locked=(self.locked,),
            readable=(*allowed.readable, self.fixed),
            hidden=(*allowed.hidden, self.outside),
            cwd=self.work,
        )
        listen = socket.SOCK_STREAM
        self.tcp = _socket(stack, socket.AF_INET, listen, ("127.0.0.1", 0))
        self.udp = _socket(stack, socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.named = _socket(stack, socket.AF_UNIX, listen, str(self.outside / "socket"))
        self.abstract = _socket(stack, socket.AF_UNIX, listen, f"\0autoresearch-{self.key}") if _LINUX else None
        self.datagrams = _socket(stack, socket.AF_UNIX, socket.SOCK_DGRAM, str(self.outside / "datagrams"))
        self.victim = stack.enter_context(_bystander())
        self.state = _state_of(self.victim.pid)
        self.home = _reachable(home, allowed)

    def targets(self) -> dict[str, object]:
        """The probe's arguments."""
        hidden = [
            str(path)
            for top in (*self.allowed.hidden, *self.allowed.masked)
            for path in _some_files(top, self.allowed.writable)
        ]
        return {
            "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "socket": str(self.outside / "socket"),
            "datagrams": str(self.outside / "datagrams"),
            "accelerator": _needs_accelerator(self.allowed),
            "abstract": f"autoresearch-{self.key}",
            "home": [str(path) for path in self.home],
            "hidden": hidden,
            "others": [str(self.secret)],
            "key": self.key,
            "folders": [str(self.outside)],
            "evaluator": str(self.evaluator),
            "mode": str(self.mode),
            "locked": str(self.locked),
            "victim": self.victim.pid,
        }

    def arrived(self, name: str) -> bool:
        """Whether an attempt has left a trace at its other end."""
        after = self._observe()
        checks: Mapping[str, Callable[[], bool]] = {
            "tcp": lambda: _accepted(self.tcp),
            "udp and dns": lambda: _received(self.udp),
            PORTS: lambda: _accepted(self.tcp),
            "unix sockets": lambda: (
                _received(self.datagrams) or any(_accepted(end) for end in (self.named, self.abstract) if end)
            ),
            "writing outside": (self.outside / "written").exists,
            "evaluator": lambda: after["evaluator"] != self.before["evaluator"],
            "modes and times": lambda: after["mode"] != self.before["mode"],
            "locked files": lambda: after["locked"] != self.before["locked"],
            "limits and priorities": lambda: _state_of(self.victim.pid) != self.state,
            "signals": lambda: self.victim.poll() is not None,
        }
        return name in checks and checks[name]()

    def _observe(self) -> dict[str, object]:
        def content(path: Path) -> object:
            return path.read_bytes() if path.exists() else None

        mode = self.mode.stat() if self.mode.exists() else None
        return {
            "evaluator": content(self.evaluator),
            "locked": content(self.locked),
            "mode": mode and (mode.st_mode, mode.st_mtime_ns),
        }


_LINUX = sys.platform == "linux"
# From inside, these cannot be told from success or failure: the other end decides.
_OTHER_END_DECIDES = ("udp and dns", "modes and times", "limits and priorities", "signals")
_CUDA_ERRORS = {
    3: "not initialised",
    100: "no device",
    304: "a call to the system was refused",
    802: "not ready: is nvidia-fabricmanager running?",
    803: "driver and library are of different versions: reboot, or repair the container's driver",
    804: "the driver is too old for the compatibility library",
    999: "unknown",
}


def _judge(
    name: str, report: Mapping[str, object] | None, stage: _Stage, mechanism: Mechanism, problem: str
) -> Protection:
    if report is None:
        return Protection(name, False, f"could not be tried: {problem}", _remedy(name, mechanism))
    arrived = stage.arrived(name)
    holds = not arrived and (name in _OTHER_END_DECIDES or report["got"] is False)
    detail = str(report["detail"]) if holds else "possible"
    return Protection(name, holds, detail, "" if holds else _remedy(name, mechanism))


def _needs_accelerator(allowed: Policy) -> bool:
    return allowed.trains and bool(policy.compute_devices(allowed.devices))


def _wanted(
    name: str, report: Mapping[str, object] | None, allowed: Policy, mechanism: Mechanism, problem: str
) -> Protection:
    """The result of an attempt that has to succeed."""
    if report and report["got"] is True:
        return Protection(name, True, "works inside")
    detail = str(report["detail"]) if report else f"could not be tried: {problem}"
    if (code := detail.removeprefix("cuInit says ")).isdigit() and int(code) in _CUDA_ERRORS:
        detail += f" ({_CUDA_ERRORS[int(code)]})"
    return Protection(name, False, detail, _wanted_remedy(name, allowed, mechanism))


def _wanted_remedy(name: str, allowed: Policy, mechanism: Mechanism) -> str:
    bubblewrap = mechanism.note or "install bubblewrap"
    if name == MOVES:
        return f"compilers move files between folders: needs Linux 5.19 or newer, or bubblewrap: {bubblewrap}"
    if name == WORKERS:
        return (
            f"`multiprocessing` and DataLoader workers need a /dev/shm of the run's own: {bubblewrap}; or use threads"
        )
    if name == CHILDREN:
        return f"let `run.command` be the Python that trains, without a program around it, or: {bubblewrap}"
    names = {path.name for path in allowed.devices}
    if any(each.startswith("nvidia") for each in names) and "nvidia-uvm" not in names:
        return "/dev/nvidia-uvm is missing: run `nvidia-modprobe -u -c=0` before the session starts"
    return "see that the driver is loaded and answers before the session starts (`nvidia-smi`; `--gpus all` for docker)"


def _remedy(name: str, mechanism: Mechanism) -> str:
    stronger = mechanism.note or policy.choose().note or "install bubblewrap"
    if mechanism.kind is Kind.NONE:
        return stronger
    if mechanism.kind is Kind.LANDLOCK and name == "locked files":
        return f"only bubblewrap can keep a file in a writable folder from being changed: {stronger}"
    if mechanism.kind is Kind.LANDLOCK and name in ("signals", "unix sockets", "evaluator"):
        return f"needs Linux 6.12 or newer, or bubblewrap: {stronger}"
    return "do not run unattended here; please report this"


def _run_probe(stage: _Stage, mechanism: Mechanism) -> tuple[dict[str, dict[str, object]], str]:
    """The probe's reports, by name, and the error if it did not run."""
    script = Path(probe.__file__).resolve()
    copy = stage.fixed / "probe.py"
    copy.write_bytes(script.read_bytes())
    python = str(Path(sys.executable).resolve())
    attempt = [python, "-I", "-S", "-B", str(copy), json.dumps(stage.targets())]
    command = policy.wrap(attempt, stage.allowed, mechanism)
    clean = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **driver_environment(os.environ)}
    keeper = [sys.executable, "-I", "-S", "-B", "-c", _KEEPER, json.dumps([command, clean])]
    env = {**clean, "ANTHROPIC_API_KEY": stage.key}
    try:
        done = subprocess.run(
            keeper,
            env=env,
            cwd=stage.work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}, f"the probe took more than {PROBE_SECONDS:g} s"
    reports: dict[str, dict[str, object]] = {}
    for line in done.stdout.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            value = json.loads(line)
            reports[value["name"]] = value
    errors = done.stderr.decode(errors="replace").strip().splitlines()
    return reports, errors[-1] if errors else f"exit code {done.returncode}"


def _socket(stack: contextlib.ExitStack, family: int, kind: int, address: object) -> socket.socket:
    end = stack.enter_context(socket.socket(family, kind))
    end.bind(address)  # type: ignore[arg-type]
    if kind == socket.SOCK_STREAM:
        end.listen(4)
    end.setblocking(False)
    return end


def _accepted(end: socket.socket) -> bool:
    try:
        end.accept()[0].close()
    except OSError:
        return False
    return True


def _received(end: socket.socket) -> bool:
    try:
        return bool(end.recv(512))
    except OSError:
        return False


@contextlib.contextmanager
def _bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def _state_of(pid: int) -> tuple[object, ...]:
    """The state of a process that others could change."""
    if not _LINUX:
        return ()
    limits = Path(f"/proc/{pid}/limits").read_text()
    disk = ctypes.CDLL(None).syscall(_IOPRIO_GET[os.uname().machine == "aarch64"], 1, pid)
    return limits, disk, os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid), os.sched_getaffinity(pid)


def _some_files(top: Path, shown: Iterable[Path]) -> list[Path]:
    """A few files at or below a path, except those that the sandbox shows."""
    if not top.is_dir():
        return [top]
    found = (Path(folder, name) for folder, _, names in os.walk(top) for name in sorted(names))
    hidden = (path for path in found if not any(path.is_relative_to(other) for other in shown))
    return list(itertools.islice(hidden, _FILES_PER_FOLDER))


def _reachable(home: Path, allowed: Policy) -> list[Path]:
    """Readable entries of the home that the sandbox shows no part of."""
    shown = [*allowed.readable, *allowed.writable, *policy.own_paths()]
    try:
        entries = sorted(home.iterdir())
    except OSError:
        return []
    apart = (e for e in entries if not any(e.is_relative_to(s) or s.is_relative_to(e) for s in shown))
    return [entry for entry in itertools.islice(apart, _HOME_ENTRIES) if os.access(entry, os.R_OK)]
