"""Knob values for each class of hardware, and which class this machine is. Standard library only."""

from __future__ import annotations

import platform
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

CARDS = ((60, "reference"), (20, "consumer24"), (0, "consumer8"))  # least GB of GPU memory


class Profile(NamedTuple):
    """A class of hardware: how it is shown, and the knobs of train.py that differ there."""

    name: str
    title: str
    knobs: Mapping[str, object]


def describe(name: str) -> str:
    """A profile for people: its name, its class of hardware, and the knobs that it sets."""
    profile = load()[name]
    knobs = ", ".join(f"{knob} = {value}" for knob, value in profile.knobs.items())
    return f"{name}, for {profile.title}: {knobs or 'the knobs as they are'}"


def load() -> Mapping[str, Profile]:
    """All profiles, by name, as profiles.toml beside this file has them."""
    table = tomllib.loads(Path(__file__).with_name("profiles.toml").read_text(encoding="utf-8"))
    return {name: Profile(name, entry["title"], entry.get("knobs", {})) for name, entry in table.items()}


def apply(source: str, knobs: Mapping[str, object]) -> str:
    """train.py with new values in its `NAME = value` lines; comments and everything else stay.

    Lists become tuples. Raises ValueError that names a knob which has no such line.
    """
    for name, value in knobs.items():
        text = repr(tuple(value) if isinstance(value, list) else value)
        text = f'"{value}"' if isinstance(value, str) else text
        line = re.compile(rf"^{re.escape(name)} = [^#\n]*?(?=  #|$)", re.MULTILINE)
        source, found = line.subn(lambda _, new=f"{name} = {text}": new, source, count=1)
        if not found:
            raise ValueError(f"{name}: train.py has no line `{name} = ...`")
    return source


def detect() -> str:
    """The profile that suits this machine: by GPU memory, Apple silicon, or cpu."""
    if memory := gpu_memory_gb():
        return next(name for least, name in CARDS if memory >= least)
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "apple"
    return "cpu"


def gpu_memory_gb() -> float:
    """Memory of the first NVIDIA GPU in GiB; 0 where there is none."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        return float(output.split()[0]) / 1024
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0.0
