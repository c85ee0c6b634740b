"""Git's filters, which convert committed files for a checkout: which are configured, and which cannot run here."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence

CONFIGURED = r"^filter\..*\.(clean|smudge|process)$"
_PROGRAM = re.compile(r"[\w./+-]+")


def drivers(config: str) -> dict[str, str]:
    """Each filter and its checkout command, which may be empty; from the output of `git config --null --get-regexp` for
    :data:`CONFIGURED`."""
    found: dict[str, str] = {}
    for line in config.split("\0"):
        key, _, command = line.partition("\n")
        name, _, kind = key.removeprefix("filter.").rpartition(".")
        if name and (kind != "clean" or name not in found):
            found[name] = "" if kind == "clean" else command
    return found


def is_missing(command: str) -> bool:
    """Whether its program is not installed. False for commands that only a shell can resolve."""
    first = (command.split() or [""])[0]
    return bool(_PROGRAM.fullmatch(first)) and shutil.which(first) is None


def without(names: Iterable[str]) -> list[str]:
    """Options that turn these filters off."""
    off = {"smudge": "", "clean": "", "process": "", "required": "false"}
    return [word for name in names for key, value in off.items() for word in ("-c", f"filter.{name}.{key}={value}")]


def in_words(missing: Mapping[str, Sequence[str]]) -> str:
    """A message about filters that cannot run here, and their paths."""
    notes = []
    for name, paths in missing.items():
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        program = " (git-lfs)" if name == "lfs" else ""
        notes.append(f"git's filter {name}{program} is not installed: {', '.join(paths[:3])}{more} stay as committed")
    return "; ".join(notes)
