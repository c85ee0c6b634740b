"""Pure: the devices of a cluster as a session knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import field
from msgspec.structs import replace

from autoresearch_tui.session import events as ev
from autoresearch_tui.util.frozen import Frozen

Change = ev.DeviceJoined | ev.DeviceLeft | ev.DeviceSetAside | ev.NodeRefused


CLUSTER = "cluster"
"""The name of a refused node that stands for the whole cluster while it is unreachable, until a device joins."""


class Device(Frozen):
    """One device of a cluster. Times are UTC, ISO 8601."""

    name: str
    node: str
    model: str
    found: Mapping[str, str]
    joined_at: str
    left: str = ""
    """Why it gets no more runs; empty while it is present."""
    set_aside: str = ""
    """Why it is not used although it is present; empty if it is used."""
    left_at: str = ""
    """When it left; empty while it is present."""

    @property
    def usable(self) -> bool:
        """Whether it may get a run."""
        return not self.left and not self.set_aside


class Fleet(Frozen):
    """Devices and refused nodes by name; both empty if runs are executed on this machine."""

    devices: Mapping[str, Device] = field(default_factory=lambda: MappingProxyType({}))
    refused: Mapping[str, ev.NodeRefused] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def usable(self) -> tuple[Device, ...]:
        """The devices that may get runs."""
        return tuple(device for device in self.devices.values() if device.usable)

    @property
    def why_none_usable(self) -> str:
        """Why no device may get a run, for a few of them; empty if one may, or while none has joined."""
        if any(device.usable for device in self.devices.values()):
            return ""
        # Those that are present first: they wait for a human.
        out = sorted(self.devices.values(), key=lambda device: bool(device.left))
        whys = [f"{device.name}: {device.left or f'set aside, {device.set_aside}'}" for device in out]
        return "; ".join(whys[:3]) + (f"; and {len(whys) - 3} more" if len(whys) > 3 else "")

    @property
    def present(self) -> int:
        """How many are present, including those set aside: what is paid for."""
        return sum(not device.left for device in self.devices.values())


def after(fleet: Fleet, event: Change, time: str) -> Fleet:
    """The fleet after one more event. Raises KeyError for a device that never joined."""
    match event:
        case ev.NodeRefused():
            return replace(fleet, refused=MappingProxyType({**fleet.refused, event.node: event}))
        case ev.DeviceJoined():
            device = Device(event.device, event.node, event.model, event.found, time)
            refused = {name: why for name, why in fleet.refused.items() if name not in (event.node, CLUSTER)}
            return Fleet(MappingProxyType({**fleet.devices, event.device: device}), MappingProxyType(refused))
        case ev.DeviceLeft():
            device = replace(fleet.devices[event.device], left=event.reason, left_at=time)
        case ev.DeviceSetAside():
            device = replace(fleet.devices[event.device], set_aside=event.reason)
    return replace(fleet, devices=MappingProxyType({**fleet.devices, event.device: device}))


class Roster(Frozen):
    """The present devices of a cluster, the nodes that are not used, and by name why devices are about to leave."""

    devices: tuple[ev.DeviceJoined, ...] = ()
    refused: tuple[ev.NodeRefused, ...] = ()
    leaving: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def changes(fleet: Fleet, roster: Roster) -> Sequence[Change]:
    """The events that bring a fleet in line with the roster. A device that comes back joins again."""
    there = {device.device: device for device in roster.devices}
    found: list[Change] = []
    for name, device in fleet.devices.items():
        if not device.left and (name not in there or name in roster.leaving):
            found.append(ev.DeviceLeft(name, roster.leaving.get(name, "its node is gone")))
    for name, joined in there.items():
        known = fleet.devices.get(name)
        if name not in roster.leaving and (known is None or known.left):
            found.append(joined)
    found += [refused for refused in roster.refused if fleet.refused.get(refused.node) != refused]
    return found
