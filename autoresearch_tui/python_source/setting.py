"""Code as what its constants say: the same setting may be written as 0.9, 1.8 / 2 or 9e-1. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from autoresearch_tui.python_source import constants
from autoresearch_tui.python_source.constants import Value

_EXACT = 1 << 53
"""Up to here an integer is a float."""


@dataclass(frozen=True)
class Setting:
    """Files as values, by a name of each constant, and a hash of everything else."""

    skeleton: str
    values: Mapping[str, Value]

    @cached_property
    def digest(self) -> str:
        """A sha256 that two settings share if they are the same."""
        found = hashlib.sha256(self.skeleton.encode())
        for key, value in sorted(self.values.items()):
            # 8 and 8.0 are one setting; True and 1 are not.
            plain = not isinstance(value, bool | str) and abs(value) <= _EXACT
            found.update(f"{key}={float(value) if plain else value!r}\n".encode("utf-8", "surrogatepass"))
        return found.hexdigest()


def read(files: Mapping[str, str]) -> Setting:
    """The setting of these files; one that is no Python is its text."""
    rest = hashlib.sha256()
    values: dict[str, Value] = {}
    for path, text in sorted(files.items()):
        reading = constants.read(path, text) if path.endswith(".py") else None
        rest.update(f"{path}\0{reading.skeleton if reading else text.rstrip()}\0".encode("utf-8", "surrogatepass"))
        values.update(reading.values if reading else {})
    return Setting(rest.hexdigest(), values)
