"""`cluster.json`: the present state of a session's cluster, for the screen; derived, and replaced whole.

The journal has the devices, and why others are not used. This file has what changes every second.
"""

from __future__ import annotations

import json
import math
from dataclasses import field, fields
from pathlib import Path
from typing import Any, TypeVar

from autoresearch_tui.util import atomic
from autoresearch_tui.util.frozen import Frozen

T = TypeVar("T", bound=Frozen)
_NUMBERS = {"int", "float", "int | None", "float | None"}


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
    nodes: tuple[NodeProgress, ...] = field(default=())


def write(path: Path, now: ClusterNow) -> None:
    """Raises OSError."""
    values = {**vars(now), "devices": [vars(d) for d in now.devices], "nodes": [vars(n) for n in now.nodes]}
    atomic.publish(path, json.dumps(values).encode())


def read(path: Path) -> ClusterNow | None:
    """None if the file is missing or malformed."""
    try:
        values: dict[str, Any] = json.loads(path.read_bytes())
        devices = tuple(_checked(DeviceLoad(**each)) for each in values.pop("devices"))
        nodes = tuple(_checked(NodeProgress(**each)) for each in values.pop("nodes"))
        return _checked(ClusterNow(**values, devices=devices, nodes=nodes))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _checked(made: T) -> T:
    """`made` itself. Raises TypeError unless its texts are texts and its numbers are finite."""
    for each in fields(made):
        value = getattr(made, each.name)
        if each.type == "str" and not isinstance(value, str):
            raise TypeError(each.name)
        plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if each.type in _NUMBERS and not plain and not (value is None and "None" in str(each.type)):
            raise TypeError(each.name)
    return made
