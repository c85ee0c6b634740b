"""How much memory this process may use: the machine's, or less in a container or service with a limit.

In a container /proc/meminfo is the host's. The container's limits are in its control groups; each limits the sum of the
groups below it, and the kernel kills a process (perhaps this one) if that is exceeded. Read up to 20 times a second.
"""

# ruff: noqa: PTH123
# (importing pathlib takes longer than all the rest of a supervisor's start)
from __future__ import annotations

import os

# The root of the groups; the files with a group's limit and usage; the part of the usage that the kernel reclaims
# before it kills a process. As in MemAvailable, that includes all cached pages of files: a run that reads its data over
# and over is not short of memory.
_V2 = ("/sys/fs/cgroup", "memory.max", "memory.current", (b"inactive_file", b"active_file", b"slab_reclaimable"))
_V1 = (
    "/sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    (b"total_inactive_file", b"total_active_file"),
)


def room(root: str = "") -> tuple[int, int]:
    """Total and available bytes; zeros if unknown. `root` is a prefix for /proc and /sys."""
    total, available = of_machine(root)
    for limit, left in _groups(root, total):
        total, available = min(total, limit), min(available, left)
    return total, min(total, available)


def of_machine(root: str = "") -> tuple[int, int]:
    """Total and available bytes of the whole machine."""
    kib = _table(f"{root}/proc/meminfo")
    return kib.get(b"MemTotal:", 0) * 1024, kib.get(b"MemAvailable:", 0) * 1024


def _groups(root: str, total: int) -> list[tuple[int, int]]:
    """The limit of each group around this process that is below `total`, and how much is left of it."""
    limits = []
    for line in _read(f"{root}/proc/self/cgroup").splitlines():
        _, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        if controllers and b"memory" not in controllers.split(b","):
            continue
        top, limit_name, used_name, given_back = _V1 if controllers else _V2
        for folder in _upwards(f"{root}{top}", os.fsdecode(path)):
            limit = _number(f"{folder}/{limit_name}")
            if 0 < limit < total:
                cached = _table(f"{folder}/memory.stat")
                used = _number(f"{folder}/{used_name}") - sum(cached.get(name, 0) for name in given_back)
                limits.append((limit, max(0, limit - max(0, used))))
    return limits


def _upwards(top: str, path: str) -> list[str]:
    """The group's folder and those above it. In a container its own group may appear as the top, whatever its name:
    missing folders are skipped, and the top always counts."""
    names = [name for name in path.split("/") if name]
    if ".." in names:  # outside this process's view
        names = []
    return ["/".join([top, *names[:depth]]) for depth in range(len(names), -1, -1)]


def _number(path: str) -> int:
    """0 if the file is missing or says "max"."""
    try:
        return int(_read(path))
    except ValueError:
        return 0


def _table(path: str) -> dict[bytes, int]:
    """The lines that are a name and a number."""
    values = {}
    for line in _read(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            values[words[0]] = int(words[1])
    return values


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError):
        return b""
