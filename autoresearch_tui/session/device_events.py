"""The events of devices that come and go, where a cluster executes the runs; part of :mod:`events`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from autoresearch_tui.util.frozen import Frozen


class DeviceJoined(Frozen):
    """A device may be given runs from now on: its node was checked and is of the session's class.

    `device` names it (`gpu-3:0`), `node` the machine that it is part of, `model` the accelerator; empty if it is none.
    `found` is what the node was admitted by: versions, driver, the data's manifest, by name.
    """

    device: str
    node: str
    model: str = ""
    found: Mapping[str, str] = field(default_factory=dict)


class DeviceLeft(Frozen):
    """It gets no more runs, for `reason`: its node is gone, is about to be taken away, or failed."""

    device: str
    reason: str


class DeviceSetAside(Frozen):
    """It is there and gets no more runs: its baseline lies outside the spread of the others, or a human said so."""

    device: str
    reason: str
    by: str = "engine"


class NodeRefused(Frozen):
    """A node that is there is not used: how it differs from the session's class, and the remedy."""

    node: str
    reason: str
    remedy: str = ""
