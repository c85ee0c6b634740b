"""Pure: what runs are pinned to: an accelerator, by any name that CUDA accepts, or a range of processors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from autoresearch_tui.util.frozen import Frozen

_PROCESSORS = re.compile(r"cpu([0-9]{1,4})(?:-([0-9]{1,4}))?")
# NVIDIA's tools print whole UUIDs; CUDA also accepts their beginnings. `MIG-GPU-<uuid>/1/0` is how drivers before 470
# name an instance.
_UUID = re.compile(r"(?:GPU|MIG|MIG-GPU)-[0-9A-Fa-f][0-9A-Fa-f-]{0,35}(?:/[0-9]{1,3}/[0-9]{1,3})?")
_NUMBER = re.compile(r"[0-9]{1,4}")
_LEADING_NUMBER = re.compile(r"\+?[0-9]+")
EXAMPLE = "0,1 or GPU-<uuid> or MIG-<uuid> (accelerators, see `nvidia-smi -L`) or cpu0-3,cpu4-7 (processors)"


def problem(names: tuple[str, ...]) -> str:
    """Why these cannot be a lab's devices; empty if they can."""
    for name in names:
        found = _PROCESSORS.fullmatch(name)
        if (found is None and accelerator(name) is None) or (found and found[2] and int(found[2]) < int(found[1])):
            return f"{name!r} is not a device; write them like {EXAMPLE}"
    twice = next((name for name in names if names.count(name) > 1), None)
    return f"{twice} is named twice" if twice else ""


def cpus(device: str) -> tuple[int, ...]:
    """The processors that a run is pinned to; empty for all."""
    found = _PROCESSORS.fullmatch(device)
    return tuple(range(int(found[1]), int(found[2] or found[1]) + 1)) if found else ()


def accelerator(device: str) -> str | None:
    """The accelerator's name for CUDA; None if the device is none. Numbers are those of `nvidia-smi`."""
    return device if _NUMBER.fullmatch(device) or _UUID.fullmatch(device) else None


def short(device: str) -> str:
    """A short name: of a UUID, the first part."""
    return "-".join(device.split("-")[: 3 if device.startswith("MIG-GPU-") else 2]) if "-" in device[:4] else device


def environment(device: str) -> Mapping[str, str]:
    """The variables that give a run its device."""
    if not device:
        return {}
    name = accelerator(device)
    if name is None:
        return {"AUTORESEARCH_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(len(cpus(device)))}
    # By bus, like nvidia-smi; the driver's default order puts the fastest first.
    seen = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": name}
    return seen if name.startswith("MIG-") else {**seen, "HIP_VISIBLE_DEVICES": name}


class Visible(Frozen):
    """The accelerators that a run sees. `names` is None for all of them.

    `by_bus`: numbers are those of the driver's tools. Otherwise CUDA puts the fastest first, which is only predictable
    if all are of one model.
    """

    names: tuple[str, ...] | None = None
    by_bus: bool = True


def selection(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that :func:`visible` reads."""
    return {name: environ[name] for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER") if name in environ}


def visible(environ: Mapping[str, str]) -> Visible:
    """The accelerators that CUDA shows to a process with this environment."""
    text = environ.get("CUDA_VISIBLE_DEVICES")
    by_bus = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    return Visible(None if text is None else _named(text), by_bus)


def all_visible(environ: Mapping[str, str], pinned: tuple[str, ...]) -> tuple[Visible, ...]:
    """The accelerators that each of a lab's runs sees; `pinned`: the lab's devices, `environ`: the runs'
    environment."""
    return tuple(visible({**environ, **environment(device)}) for device in pinned or ("",))


def _named(text: str) -> tuple[str, ...]:
    """CUDA_VISIBLE_DEVICES as CUDA reads it: up to the first word that is no name; empty after a repetition."""
    words = [word.strip() for word in text.split(",")]
    kind = next((kind for kind in ("GPU-", "MIG-") if words[0].startswith(kind)), "")
    names: list[str] = []
    for word in words:
        if kind:
            name = word if word.startswith(kind) else ""
        else:
            number = _LEADING_NUMBER.match(word)
            name = str(int(number[0])) if number else ""
        if not name:
            break
        if name in names:
            return ()
        names.append(name)
    return tuple(names)
