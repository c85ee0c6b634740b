"""What runs are pinned to: an accelerator by its number, or a range of processors. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

PATTERN = re.compile(r"(\d{1,4})|cpu(\d{1,4})(?:-(\d{1,4}))?")
EXAMPLE = "0,1 (accelerators by number) or cpu0-3,cpu4-7 (processors)"


def problem(names: tuple[str, ...]) -> str:
    """Why these cannot be a lab's devices; empty where they can."""
    for name in names:
        found = PATTERN.fullmatch(name)
        if found is None or (found[3] and int(found[3]) < int(found[2])):
            return f"{name!r} is not a device; write them like {EXAMPLE}"
    twice = next((name for name in names if names.count(name) > 1), None)
    return f"{twice} is named twice" if twice else ""


def cpus(device: str) -> tuple[int, ...]:
    """The processors that a run is held to; empty for all of them."""
    found = PATTERN.fullmatch(device)
    if found is None or found[2] is None:
        return ()
    return tuple(range(int(found[2]), int(found[3] or found[2]) + 1))


def accelerator(device: str) -> int | None:
    """The number of the accelerator, counted as its driver's tools do; None where it is none."""
    return int(device) if device.isdigit() else None


def environment(device: str) -> Mapping[str, str]:
    """What tells a run which device is its own."""
    if not device:
        return {}
    number = accelerator(device)
    if number is not None:
        # By bus, as nvidia-smi counts; the driver's own order puts the fastest first.
        seen = {name: str(number) for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")}
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **seen}
    return {"AUTORESEARCH_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(len(cpus(device)))}
