"""Git's filters, which turn what is committed into what a checkout has: which are set up, and which cannot run here."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence

CONFIGURED = r"^filter\..*\.(clean|smudge|process)$"
_PROGRAM = re.compile(r"[\w./+-]+")


def drivers(config: str) -> dict[str, str]:
    """Each filter and the command that brings its files into a checkout, empty if it needs none; from what
    `git config --null --get-regexp` says of :data:`CONFIGURED`."""
    found: dict[str, str] = {}
    for line in config.split("\0"):
        key, _, command = line.partition("\n")
        name, _, kind = key.removeprefix("filter.").rpartition(".")
        if name and (kind != "clean" or name not in found):
            found[name] = "" if kind == "clean" else command
    return found


def is_missing(command: str) -> bool:
    """Whether its program is not installed. What only a shell can tell is tried."""
    first = (command.split() or [""])[0]
    return bool(_PROGRAM.fullmatch(first)) and shutil.which(first) is None


def without(names: Iterable[str]) -> list[str]:
    """Settings under which these filters leave every file as it is."""
    off = {"smudge": "", "clean": "", "process": "", "required": "false"}
    return [word for name in names for key, value in off.items() for word in ("-c", f"filter.{name}.{key}={value}")]


def in_words(missing: Mapping[str, Sequence[str]]) -> str:
    """What a human should know of filters that cannot run here, and of their paths."""
    said = []
    for name, paths in missing.items():
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        program = " (git-lfs)" if name == "lfs" else ""
        said.append(f"git's filter {name}{program} is not installed: {', '.join(paths[:3])}{more} stay as committed")
    return "; ".join(said)
