"""How much memory there is for this process: the machine's, or less in a container or service with a limit.

In a container /proc/meminfo is the host's. What the container may have is in its control groups, each of which holds
all that is below it; whatever goes over is ended by the kernel, this process too. Read up to 20 times a second.
"""

# ruff: noqa: PTH123
# (pathlib would cost a supervisor more than all the rest of its start)
from __future__ import annotations

import os

# Where the groups lie; what limits one, what it holds, and what of that the kernel gives back before it ends a process.
# As in MemAvailable, all cached pages of files count as that: a run that reads its data over and over is not short of
# memory.
_V2 = ("/sys/fs/cgroup", "memory.max", "memory.current", (b"inactive_file", b"active_file", b"slab_reclaimable"))
_V1 = (
    "/sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    (b"total_inactive_file", b"total_active_file"),
)


def room(root: str = "") -> tuple[int, int]:
    """Total and available bytes; zeros if the system does not say. `root` stands before /proc and /sys."""
    total, available = of_machine(root)
    for limit, left in _groups(root, total):
        total, available = min(total, limit), min(available, left)
    return total, min(total, available)


def of_machine(root: str = "") -> tuple[int, int]:
    """The same of the whole machine."""
    found = _table(f"{root}/proc/meminfo")
    return found.get(b"MemTotal:", 0) * 1024, found.get(b"MemAvailable:", 0) * 1024


def _groups(root: str, total: int) -> list[tuple[int, int]]:
    """The limit of each group that this process is in and may not have `total`, and how much is left below it."""
    found = []
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
                found.append((limit, max(0, limit - max(0, used))))
    return found


def _upwards(top: str, path: str) -> list[str]:
    """The group's folder and those above it. A container may see its own group as the top, under whatever name: what
    is not there is passed over, and the top always counts."""
    names = [name for name in path.split("/") if name]
    if ".." in names:  # outside of what this process may see
        names = []
    return ["/".join([top, *names[:depth]]) for depth in range(len(names), -1, -1)]


def _number(path: str) -> int:
    """0 if there is none: no such file, or "max"."""
    try:
        return int(_read(path))
    except ValueError:
        return 0


def _table(path: str) -> dict[bytes, int]:
    """Lines of a name and a number; what is none is left out."""
    found = {}
    for line in _read(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            found[words[0]] = int(words[1])
    return found


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError):
        return b""
