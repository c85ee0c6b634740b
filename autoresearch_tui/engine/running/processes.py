"""Processes as the kernel shows them: who is below whom, who is hardened how, whom memory ended."""

# ruff: noqa: PTH123, PTH208
# (pathlib would cost a supervisor more than all the rest of its start)
from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

from autoresearch_tui.engine.running.run_folder import LOG

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
    """Linux only; elsewhere, and where the kernel refuses, nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants(root: int) -> dict[int, int]:
    """pid → process group of every living process below `root`; empty where there is no /proc."""
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
    """This process's own children, in microseconds; empty where the kernel keeps no such list."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def oom_kills() -> int:
    """How often the kernel has ended a process for want of memory: here, or in this cgroup."""
    total = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        try:
            with open(path, "rb") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(b"oom_kill "))
        except OSError:
            continue
    return total


def harden(niceness: int) -> None:
    """In the trainer: plain signals, no new privileges, no cores, first to go when memory runs out."""
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
    """A known message near the end of the log, or the kernel's killer was at work (`before`: so far) and it was a
    SIGKILL."""
    if (number == signal.SIGKILL or code == 128 + signal.SIGKILL) and oom_kills() > before:
        return True
    with open(LOG, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - SIGNATURE_BYTES))
        tail = file.read(SIGNATURE_BYTES)
    return any(signature in tail for signature in OUT_OF_MEMORY)


def send(target: int, number: int) -> None:
    """A signal to a process, or (negative) to a group, where there is one."""
    try:
        os.kill(target, number)
    except OSError:
        pass


def tell(text: str) -> None:
    """One line to whoever started the run, who may be gone; then nothing more."""
    try:
        os.write(1, f"{text}\n".encode())
    except OSError:
        pass
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
