"""Processes as the kernel shows them: descendants, owners, hardening, and out-of-memory kills."""

# ruff: noqa: PTH123, PTH208
# (importing pathlib takes longer than all the rest of a supervisor's start)
from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

from autoresearch_tui.runs.run_folder import LOG

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38

SIGNATURE_BYTES = 64 * 1024
OUT_OF_MEMORY = (
    b"torch.OutOfMemoryError",
    b"CUDA out of memory",
    b"HIP out of memory",
    b"MPS backend out of memory",
    b"RESOURCE_EXHAUSTED",
    b"MemoryError",
    b"Cannot allocate memory",
    b"can't allocate memory",
    b"std::bad_alloc",
)


def prctl(option: int, value: int) -> None:
    """Linux only; does nothing elsewhere or if the kernel refuses."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants(root: int) -> dict[int, int]:
    """pid → process group of every living process below `root`; empty without /proc."""
    parents: dict[int, tuple[int, int]] = {}
    dead: set[int] = set()
    try:
        names = os.listdir("/proc")
    except OSError:
        return {}
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        parents[int(name)] = int(fields[1]), int(fields[2])
        if fields[0] in b"ZX":
            dead.add(int(name))
    found: dict[int, int] = {}
    below = {root}
    while below:
        below = {pid for pid, (parent, _) in parents.items() if parent in below and pid not in found}
        found.update((pid, parents[pid][1]) for pid in below)
    return {pid: group for pid, group in found.items() if pid not in dead}


def children() -> list[int]:
    """This process's own children, in microseconds; empty if the kernel keeps no such list."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def owner(pid: int) -> int | None:
    """The user of a process; None if it is invisible from here (another container's) or has ended."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(b"Uid:")), None)
    except OSError:
        return None


def is_run(pid: int) -> bool:
    """Whether a process belongs to a run of any session of this user."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return any(entry.startswith(b"AUTORESEARCH_RUN=") for entry in file.read().split(b"\0"))
    except OSError:
        return False


def command_name(pid: int) -> str:
    """The kernel's name of a process, in printable characters; `?` if unknown."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            name = file.read().decode("utf-8", "replace").strip()
    except OSError:
        return "?"
    return "".join(character if character.isprintable() else "?" for character in name) or "?"


def oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory, on this machine or in this cgroup."""
    total = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        try:
            with open(path, "rb") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(b"oom_kill "))
        except OSError:
            continue
    return total


def harden(niceness: int) -> None:
    """In the trainer: default signals, no new privileges, no core dumps, first victim when memory runs out."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl(PR_SET_DUMPABLE, 1)  # or /proc/self would belong to root, until exec
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"1000")
        os.close(descriptor)
    except OSError:
        pass
    if niceness:
        os.nice(niceness)


def ran_out_of_memory(before: int, code: int | None, number: int | None) -> bool:
    """Whether the log ends in a known message, or a SIGKILL came with an out-of-memory kill since `before` of them."""
    if (number == signal.SIGKILL or code == 128 + signal.SIGKILL) and oom_kills() > before:
        return True
    with open(LOG, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - SIGNATURE_BYTES))
        tail = file.read(SIGNATURE_BYTES)
    return any(signature in tail for signature in OUT_OF_MEMORY)


def send(target: int, number: int) -> None:
    """Signals a process, or (negative) a group, if it exists."""
    try:
        os.kill(target, number)
    except OSError:
        pass


def tell(text: str) -> None:
    """Write one line to the process that started the run, which may be gone, then redirect stdout to /dev/null."""
    try:
        os.write(1, f"{text}\n".encode())
    except OSError:
        pass
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
