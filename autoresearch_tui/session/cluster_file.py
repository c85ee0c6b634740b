"""`cluster.json`: what a session's cluster looks like at this moment, for the screen; derived, and written whole.

Which devices there are, and why others are not used, is in the journal. This file has what changes by the second.
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
    """One device. Shares are 0 to 1, memory bytes, temperature °C, power W; None for what cannot be read.

    `run` is the experiment that it executes, -1 without one. `heard`: when its node answered last, in seconds since
    1970. `fault`: what went wrong there last, in one line.
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
    """A node that is being made ready, checked or waited for: `doing` in a few words, `share` of it from 0 to 1.

    `problem`: why that failed, and empty while it has not; `ready`: it is over.
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
    """None if there is none, or it is no such file."""
    try:
        values: dict[str, Any] = json.loads(path.read_bytes())
        devices = tuple(_checked(DeviceLoad(**each)) for each in values.pop("devices"))
        nodes = tuple(_checked(NodeProgress(**each)) for each in values.pop("nodes"))
        return _checked(ClusterNow(**values, devices=devices, nodes=nodes))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _checked(made: T) -> T:
    """As it is, if its texts are texts and its numbers are finite. Raises TypeError."""
    for each in fields(made):
        value = getattr(made, each.name)
        if each.type == "str" and not isinstance(value, str):
            raise TypeError(each.name)
        plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if each.type in _NUMBERS and not plain and not (value is None and "None" in str(each.type)):
            raise TypeError(each.name)
    return made
