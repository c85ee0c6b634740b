"""Pure: code as the values of its constants: 0.9, 1.8 / 2 and 9e-1 are the same setting."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property

from autoresearch_tui.python_source import constants, plain_text
from autoresearch_tui.python_source.constants import Knob, Reading, Value
from autoresearch_tui.util.frozen import Frozen

_EXACT = 1 << 53
"""Integers up to this are exact as floats."""


class Setting(Frozen, dict=True):
    """Files as the values of their constants by name, and a hash of everything else."""

    skeleton: str
    values: Mapping[str, Value]

    @cached_property
    def digest(self) -> str:
        """A sha256, equal for equal settings."""
        found = hashlib.sha256(self.skeleton.encode())
        for key, value in sorted(self.values.items()):
            # 8 and 8.0 are one setting; True and 1 are not.
            plain = not isinstance(value, bool | str) and abs(value) <= _EXACT
            found.update(f"{key}={float(value) if plain else value!r}\n".encode("utf-8", "surrogatepass"))
        return found.hexdigest()


def reading(path: str, text: str) -> Reading | None:
    """A file read as Python or as plain text; None for Python that does not parse."""
    return plain_text.read(path, text) if plain_text.is_text(path) else constants.read(path, text)


def edited(path: str, text: str, changes: Mapping[Knob, Value]) -> str:
    """The file's text with the given literals changed."""
    return plain_text.edit(text, changes) if plain_text.is_text(path) else constants.edit(text, changes)


def read(files: Mapping[str, str]) -> Setting:
    """The setting of these files; one that does not parse counts as text."""
    rest = hashlib.sha256()
    values: dict[str, Value] = {}
    for path, text in sorted(files.items()):
        found = reading(path, text)
        rest.update(f"{path}\0{found.skeleton if found else text.rstrip()}\0".encode("utf-8", "surrogatepass"))
        values.update(found.values if found else {})
    return Setting(rest.hexdigest(), values)
