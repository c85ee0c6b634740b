"""Knob values for each class of hardware, and which class this machine is. Imports the standard library only, as the
GPU check imports it in the Python that trains."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

KFD, GRAPHICS, AMD, SMALLEST_GB = Path("/dev/kfd"), Path("/sys/class/drm"), "0x1002", 3.5
CARDS = ((60, "reference"), (20, "consumer24"), (0, "consumer8"))  # least GB of GPU memory


class Profile(NamedTuple):
    """A class of hardware: its title, and its knobs of train.py."""

    name: str
    title: str
    knobs: Mapping[str, object]


def describe(name: str) -> str:
    """A description of a profile: its name, its class of hardware, and the knobs that it sets."""
    profile = load()[name]
    knobs = ", ".join(f"{knob} = {value}" for knob, value in profile.knobs.items())
    return f"{name}, for {profile.title}: {knobs or 'the knobs as they are'}"


def load() -> Mapping[str, Profile]:
    """All profiles by name, from profiles.toml beside this file."""
    table = tomllib.loads(Path(__file__).with_name("profiles.toml").read_text(encoding="utf-8"))
    return {name: Profile(name, entry["title"], entry.get("knobs", {})) for name, entry in table.items()}


def apply(source: str, knobs: Mapping[str, object]) -> str:
    """train.py with new values in its `NAME = value` lines; comments and everything else stay.

    Lists become tuples. Raises ValueError with the name of a knob without such a line.
    """
    for name, value in knobs.items():
        text = repr(tuple(value) if isinstance(value, list) else value)
        text = f'"{value}"' if isinstance(value, str) else text
        line = re.search(rf"^{re.escape(name)} = [^#\n]*?(?=  #|$)", source, re.MULTILINE)
        if line is None:
            raise ValueError(f"{name}: train.py has no line `{name} = ...`")
        source = f"{source[: line.start()]}{name} = {text}{source[line.end() :]}"
    return source


def detect() -> str:
    """The profile for this machine: by the memory of the GPU that CUDA or ROCm shows, Apple silicon, or cpu."""
    if memory := gpu_memory_gb() or amd_memory_gb():
        return next(name for least, name in CARDS if memory >= least)
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "apple"
    return "cpu"


def gpu_memory_gb() -> float:
    """Memory (GiB) of the first NVIDIA GPU or MIG instance that CUDA shows; 0 if there is none."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    first = "0" if shown is None else shown.split(",")[0].strip()
    try:
        if first.startswith("MIG-"):
            listed = _output("nvidia-smi", "--list-gpus")
            instance = re.search(rf"^.*?\.(\d+)gb.*UUID: {re.escape(first)}", listed, re.MULTILINE | re.IGNORECASE)
            return float(instance[1]) if instance else 0.0
        if not re.match(r"\d|GPU-", first):
            return 0.0
        chosen = [] if shown is None else [f"--id={first}"]
        query = ["--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        return float(_output("nvidia-smi", *chosen, *query).split()[0]) / 1024
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0.0


def amd_memory_gb() -> float:
    """Memory (GiB) of the largest AMD card that ROCm can use; 0 if there is none. Integrated graphics with a few
    hundred MiB do not count."""
    if not KFD.exists() or os.environ.get("HIP_VISIBLE_DEVICES") == "":
        return 0.0
    found = [0.0]
    for card in GRAPHICS.glob("card[0-9]*/device"):
        try:
            if (card / "vendor").read_text().strip() == AMD:
                found.append(int((card / "mem_info_vram_total").read_text()) / 2**30)
        except (OSError, ValueError):
            continue
    return max(found) if max(found) >= SMALLEST_GB else 0.0


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
