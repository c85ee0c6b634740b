"""Which NVIDIA accelerators a run sees, from any binding of the driver library. Imports none of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from autoresearch_tui.lab.devices import Visible
from autoresearch_tui.util.frozen import Frozen


class Driver(Protocol):
    """The driver's functions. Handles and errors are the binding's own; errors pass through."""

    def count(self) -> int:
        """The number of whole accelerators."""

    def whole(self, index: int) -> Any:
        """The handle of an accelerator, by the driver's numbering."""

    def instances(self, handle: Any) -> Sequence[Any]:
        """The handles of its MIG instances; empty if it is not divided."""

    def uuid(self, handle: Any) -> str:
        """`GPU-…`, or `MIG-…` for an instance."""

    def model(self, handle: Any) -> str:
        """The accelerator's model."""


class Seen(Frozen):
    """One accelerator, or MIG instance, that a run sees. `name`: as requested, or its number."""

    name: str
    index: int
    handle: Any
    is_instance: bool = False


def find(driver: Driver, wanted: Visible) -> list[Seen]:
    """The accelerators of `wanted` that exist, in order; like CUDA, nothing after a missing one.

    Of a divided accelerator, CUDA uses the first visible instance.
    """
    if wanted.names == ():
        return []
    count = driver.count()
    if wanted.names is None:
        return [_number(driver, index) for index in range(count)]
    if wanted.names[0].isdigit():
        if not wanted.by_bus and not _alike(driver, count):
            return []
        known = [int(name) for name in wanted.names]
        there = next((place for place, index in enumerate(known) if index >= count), len(known))
        return [_number(driver, index) for index in known[:there]]
    return _by_uuid(driver, count, wanted.names)


def _by_uuid(driver: Driver, count: int, names: Sequence[str]) -> list[Seen]:
    seen: dict[str, Seen] = {}
    for index in range(count):
        whole = driver.whole(index)
        seen[driver.uuid(whole).lower()] = _number(driver, index)
        for instance in driver.instances(whole):
            seen[driver.uuid(instance).lower()] = Seen("", index, instance, is_instance=True)
    found: list[Seen] = []
    for name in names:
        matches = [each for uuid, each in seen.items() if uuid.startswith(name.lower())]
        if len(matches) != 1:
            break
        found.append(Seen(name, matches[0].index, matches[0].handle, matches[0].is_instance))
    return found


def _number(driver: Driver, index: int) -> Seen:
    whole = driver.whole(index)
    instances = driver.instances(whole)
    return Seen(str(index), index, instances[0] if instances else whole, bool(instances))


def _alike(driver: Driver, count: int) -> bool:
    return len({driver.model(driver.whole(index)) for index in range(count)}) <= 1


class Pynvml:
    """The driver through the module `pynvml`, which the caller must have initialised."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def count(self) -> int:
        return int(self._nvml.nvmlDeviceGetCount())

    def whole(self, index: int) -> Any:
        return self._nvml.nvmlDeviceGetHandleByIndex(index)

    def instances(self, handle: Any) -> Sequence[Any]:
        nvml = self._nvml
        try:
            current, _pending = nvml.nvmlDeviceGetMigMode(handle)
            most = nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if current else 0
        except Exception:  # most models cannot be divided, which each binding reports by its own error
            return ()
        found = []
        for place in range(most):
            try:
                found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place))
            except Exception:  # no instance in this place
                continue
        return found

    def uuid(self, handle: Any) -> str:
        return driver_text(self._nvml.nvmlDeviceGetUUID(handle))

    def model(self, handle: Any) -> str:
        return driver_text(self._nvml.nvmlDeviceGetName(handle))


def driver_text(value: object) -> str:
    """A text from the driver, which older bindings give as bytes; empty for None."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
