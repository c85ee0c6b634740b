"""Proves a cage: the same mechanism, with the same paths, around a probe that tries to get out.

An attempt counts as refused only when the probe says that it was made and failed, and nothing has arrived at its
other end. A protection that could not be tried does not hold.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch_tui import scratch
from autoresearch_tui.engine.cages import cage_probe, sandbox
from autoresearch_tui.engine.cages.sandbox import Cage, Kind, Sandbox

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
    "locked files",
    "signals",
    "debugging",
    "nesting",
)
NETWORK = ("tcp", "udp and dns")
_FILES_PER_FOLDER = 5
_HOME_ENTRIES = 20
# Some ancestor of every run has the key in its environment; this one is between the check and the cage.
_KEEPER = """
import json, subprocess, sys
command, env = json.loads(sys.argv[1])
sys.exit(subprocess.run(command, env=env, stdin=subprocess.DEVNULL, timeout=25).returncode)
"""


@dataclass(frozen=True, slots=True)
class Protection:
    """One thing that a run must not be able to do (or, for `accelerator`, has to be). `remedy` where it is not so."""

    name: str
    holds: bool
    detail: str = ""
    remedy: str = ""


def self_test(cage: Cage, mechanism: Sandbox, *, home: Path | None = None) -> tuple[Protection, ...]:
    """Every protection by name, as found from inside, those of the network where the cage has none. About 0.3 s; may
    be called from any thread.

    `home` is the folder whose contents have to be out of reach (default: the user's own). Raises ValueError as
    :func:`sandbox.wrap` does, OSError where the check itself cannot be set up.
    """
    with scratch.folder("check") as folder, contextlib.ExitStack() as stack:
        stage = _Stage(folder.resolve(), cage, home or Path.home(), stack)
        said, problem = _run_probe(stage, mechanism)
        names = [each for each in NAMES if not (cage.network and each in NETWORK)]
        found = [_judge(each, said.get(each), stage, mechanism, problem) for each in names]
        if cage.devices:
            found.append(_accelerator(said.get("accelerator")))
        return tuple(found)


class _Stage:
    """The other ends: sockets, files and a process that the probe goes for, and how they are found afterwards."""

    def __init__(self, root: Path, cage: Cage, home: Path, stack: contextlib.ExitStack) -> None:
        self.root, self.key = root, secrets.token_hex(16)
        self.work, self.fixed, self.outside = root / "work", root / "fixed", root / "outside"
        for folder in (self.work, self.fixed, self.outside):
            folder.mkdir()
        self.evaluator, self.locked = self.fixed / "evaluate.py", self.work / "locked.py"
        self.mode, self.secret = self.fixed / "mode.py", self.outside / "secret"
        for file in (self.evaluator, self.locked, self.mode, self.secret):
            file.write_text("x = 1\n")
        self.before = self._observe()
        self.cage = dataclasses.replace(
            cage,
            writable=(self.work,),
            locked=(self.locked,),
            readable=(*cage.readable, self.fixed),
            hidden=(*cage.hidden, self.outside),
            cwd=self.work,
        )
        listen = socket.SOCK_STREAM
        self.tcp = _socket(stack, socket.AF_INET, listen, ("127.0.0.1", 0))
        self.udp = _socket(stack, socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.named = _socket(stack, socket.AF_UNIX, listen, str(self.outside / "socket"))
        self.abstract = _socket(stack, socket.AF_UNIX, listen, f"\0autoresearch-{self.key}") if _LINUX else None
        self.victim = stack.enter_context(_bystander())
        self.home = _reachable(home, cage)

    def targets(self) -> dict[str, object]:
        """What the probe is told."""
        hidden = [
            str(path) for top in (*self.cage.hidden, *self.cage.masked) for path in _some_files(top, self.cage.writable)
        ]
        return {
            "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "socket": str(self.outside / "socket"),
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
            "unix sockets": lambda: any(_accepted(end) for end in (self.named, self.abstract) if end),
            "writing outside": (self.outside / "written").exists,
            "evaluator": lambda: after["evaluator"] != self.before["evaluator"],
            "modes and times": lambda: after["mode"] != self.before["mode"],
            "locked files": lambda: after["locked"] != self.before["locked"],
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
# Seen from inside these look like successes that are none, or failures that are none: the other end decides.
_OTHER_END_DECIDES = ("udp and dns", "modes and times", "signals")


def _judge(name: str, said: Mapping[str, object] | None, stage: _Stage, mechanism: Sandbox, problem: str) -> Protection:
    if said is None:
        return Protection(name, False, f"could not be tried: {problem}", _remedy(name, mechanism))
    arrived = stage.arrived(name)
    holds = not arrived and (name in _OTHER_END_DECIDES or said["got"] is False)
    detail = str(said["detail"]) if holds else "possible"
    return Protection(name, holds, detail, "" if holds else _remedy(name, mechanism))


def _accelerator(said: Mapping[str, object] | None) -> Protection:
    if said and said["got"] is True:
        return Protection("accelerator", True, "the driver answers inside the cage")
    detail = str(said["detail"]) if said else "could not be tried"
    remedy = "see that the driver is loaded and its device nodes exist before the session starts (nvidia-smi)"
    return Protection("accelerator", False, detail, remedy)


def _remedy(name: str, mechanism: Sandbox) -> str:
    stronger = mechanism.note or sandbox.choose().note or "install bubblewrap"
    if mechanism.kind is Kind.NONE:
        return stronger
    if mechanism.kind is Kind.LANDLOCK and name == "locked files":
        return f"only bubblewrap can keep a file in a writable folder from being changed: {stronger}"
    if mechanism.kind is Kind.LANDLOCK and name in ("signals", "unix sockets"):
        return f"needs Linux 6.12 or newer, or bubblewrap: {stronger}"
    return "do not run unattended here; please report this"


def _run_probe(stage: _Stage, mechanism: Sandbox) -> tuple[dict[str, dict[str, object]], str]:
    """What the probe said, by name, and what was said instead where it did not run."""
    script = Path(cage_probe.__file__).resolve()
    copy = stage.fixed / "probe.py"
    copy.write_bytes(script.read_bytes())
    python = str(Path(sys.executable).resolve())
    probe = [python, "-I", "-S", "-B", str(copy), json.dumps(stage.targets())]
    command = sandbox.wrap(probe, stage.cage, mechanism)
    clean = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
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
    said: dict[str, dict[str, object]] = {}
    for line in done.stdout.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            value = json.loads(line)
            said[value["name"]] = value
    errors = done.stderr.decode(errors="replace").strip().splitlines()
    return said, errors[-1] if errors else f"exit code {done.returncode}"


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


def _some_files(top: Path, shown: Iterable[Path]) -> list[Path]:
    """A few files at or below a path, without those that the cage shows."""
    if not top.is_dir():
        return [top]
    found = (Path(folder, name) for folder, _, names in os.walk(top) for name in sorted(names))
    hidden = (path for path in found if not any(path.is_relative_to(other) for other in shown))
    return list(itertools.islice(hidden, _FILES_PER_FOLDER))


def _reachable(home: Path, cage: Cage) -> list[Path]:
    """What the user can read at home and the cage does not show, not even in part."""
    shown = [*cage.readable, *cage.writable, *sandbox.own_paths()]
    try:
        entries = sorted(home.iterdir())
    except OSError:
        return []
    apart = (e for e in entries if not any(e.is_relative_to(s) or s.is_relative_to(e) for s in shown))
    return [entry for entry in itertools.islice(apart, _HOME_ENTRIES) if os.access(entry, os.R_OK)]
