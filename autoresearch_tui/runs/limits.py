"""A run's use of memory, disk and accelerator memory, as measured by the kernel and the driver.

The supervisor looks about once a second, and more often when memory runs short, and ends a run that exceeds its limits
before the machine stalls. The peaks are our own measurements, whatever the run prints.
"""

# ruff: noqa: PTH123
# (importing pathlib takes longer than all the rest of a supervisor's start)
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping

from autoresearch_tui.runs.driver import DeviceMemory
from autoresearch_tui.runs.processes import descendants
from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.util import memory

LOOK_SECONDS = 1.0
SOONEST_SECONDS = 0.05
# Faster than a process can touch new memory, so that the next look comes before the rest could be used up.
BYTES_A_SECOND = 8 << 30
# An exact count stops the run for an instant; it may take at most this share of the time.
EXACT_SHARE = 0.02
PAGE = os.sysconf("SC_PAGE_SIZE")


def in_words(count: int) -> str:
    """Bytes, for a human."""
    if count >= 10 << 30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count / 1024:.0f} KiB"


class Guard:
    """Limits in bytes. `memory_limit` 0: all but a reserve that keeps the machine alive."""

    def __init__(
        self,
        *,
        memory_limit: int,
        min_free: int,
        folders: Iterable[str],
        environ: Mapping[str, str] | None,
        machine: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        """`environ`: the run's, which selects its accelerators; None to leave these out. `machine` reads the total and
        the available memory of the machine or container."""
        self.memory_limit, self.min_free, self.folders = memory_limit, min_free, set(folders)
        self.memory = 0
        self.due = 0.0
        self.driver = DeviceMemory({"CUDA_VISIBLE_DEVICES": ""} if environ is None else environ)
        self._machine = machine or memory.room
        self._exact_after = 0.0

    def look(self, now: float, referee: int = 0) -> tuple[RunEnd, str] | None:
        """Why to end the run, with a note for the human; None if it may continue. The `referee` process does not
        count."""
        if low := self._low_disk():
            return RunEnd.DISK_FULL, low
        self.driver.look()
        over, room = self._memory(now, referee)
        if over:
            return RunEnd.OUT_OF_MEMORY, over
        self.due = now + min(LOOK_SECONDS, max(SOONEST_SECONDS, room / BYTES_A_SECOND))
        return None

    def ended(self, most: int) -> None:
        """`most`: the kernel's peak for the largest process, the only figure of a run too short to be sampled."""
        self.memory = max(self.memory, most)

    def _memory(self, now: float, referee: int) -> tuple[str, int]:
        """Why the run has too much memory (or empty), and how many bytes it may still take."""
        total, available = self._machine()
        if not total:  # unknown
            return "", BYTES_A_SECOND
        pids = set(descendants(os.getpid()))
        if referee:
            pids -= {referee, *descendants(referee)}
        held = roughly_held(pids)
        if held > self.memory and now >= self._exact_after:
            began = time.monotonic()
            held = exactly_held(pids)
            took = time.monotonic() - began
            self._exact_after = now + took / EXACT_SHARE
            self.memory = max(self.memory, held)
            if self.memory_limit and held > self.memory_limit:
                limit = in_words(self.memory_limit)
                return f"it held {in_words(held)} of memory, and may hold {limit} (`run.memory_gb`)", 0
        reserve = min(max(512 << 20, total // 50), total // 10)
        if (available < reserve and held > total // 4) or available < reserve // 2:
            kept = f"{in_words(available)} left of {in_words(total)}, {in_words(reserve)} are kept for the rest"
            return f"the machine's memory runs out: {kept}; the run held {in_words(held)}", 0
        room = max(0, available - reserve)
        return "", min(room, max(0, self.memory_limit - held)) if self.memory_limit else room

    def _low_disk(self) -> str:
        for folder in self.folders:
            try:
                free = os.statvfs(folder)
            except OSError:
                continue
            if (left := free.f_bavail * free.f_frsize) < self.min_free:
                return f"free disk space low: {in_words(left)} left, {in_words(self.min_free)} needed"
        return ""


def roughly_held(pids: Iterable[int]) -> int:
    """A cheap estimate of the memory of processes, which counts memory that forked workers share in each."""
    own, shared = 0, [0]
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                resident, common = (int(word) * PAGE for word in file.read().split()[1:3])
        except (OSError, ValueError):
            continue
        own += resident - common
        shared.append(common)
    return own + max(shared)


def exactly_held(pids: Iterable[int]) -> int:
    """The memory of processes, each shared page counted once; an unreadable process counts in full."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(b"Pss:")) * 1024
        except (OSError, ValueError, IndexError):
            total += roughly_held([pid])
    return total
