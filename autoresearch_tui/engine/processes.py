"""Processes as the kernel shows them: who is below whom, who is hardened how, whom memory ended."""

# ruff: noqa: PTH123, PTH208
# (pathlib would cost a supervisor more than all the rest of its start)
from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38


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
