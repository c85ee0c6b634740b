"""`cluster.json`: the present state of a session's cluster, for the screen; derived, and replaced whole.

The journal has the devices, and why others are not used. This file has what changes every second.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from autoresearch_tui.util import atomic
from autoresearch_tui.util.frozen import Frozen


class DeviceLoad(Frozen):
    """One device. Shares are 0 to 1, memory is in bytes, temperature in °C, power in W; None if unreadable.

    `run`: the experiment that it executes, or -1. `heard`: when its node answered last, in seconds since 1970. `fault`:
    its last problem, in one line.
    """

    device: str
    node: str
    model: str = ""
    run: int = -1
    busy: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    temperature: int | None = None
    power: float | None = None
    heard: float = 0.0
    fault: str = ""


class NodeProgress(Frozen):
    """A node that is being prepared, checked or waited for: `doing` in a few words, `share` done from 0 to 1.

    `problem`: why that failed, or empty; `ready`: it has finished.
    """

    node: str
    doing: str
    share: float | None = None
    problem: str = ""
    ready: bool = False


class ClusterNow(Frozen):
    """`problem`: why the cluster cannot be reached, since `since` (seconds since 1970); empty if it can."""

    address: str
    time: float
    problem: str = ""
    since: float = 0.0
    devices: tuple[DeviceLoad, ...] = ()
    nodes: tuple[NodeProgress, ...] = ()


def write(path: Path, now: ClusterNow) -> None:
    """Raises OSError."""
    atomic.publish(path, msgspec.json.encode(now))


def read(path: Path) -> ClusterNow | None:
    """None if the file is missing or malformed."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ClusterNow)
    except (OSError, ValueError):
        return None
