"""What a throw-away folder holds, and what in it changed that should not have."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

IGNORED = (
    "__pycache__", ".aider", ".cache", ".claude", ".codex", ".gemini", ".git", ".gitignore", ".mypy_cache",
    ".opencode", ".pytest_cache", ".ruff_cache", ".DS_Store",
)  # fmt: skip
"""What agents and tools leave behind, anywhere in the folder: neither read nor refused. `.aider` stands for
every name that begins with it."""

_HASHED = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a folder; `digest` stands for its contents: of a link, its target."""

    kind: str
    mode: int
    digest: str


Manifest = Mapping[str, Entry]


def take(folder: Path) -> Manifest:
    """Everything under `folder` but folders themselves and what agents leave behind. Follows no link."""
    entries: dict[str, Entry] = {}
    _walk(folder, "", entries)
    return entries


def _walk(folder: Path, prefix: str, entries: dict[str, Entry]) -> None:
    with os.scandir(folder) as found:
        for item in sorted(found, key=lambda item: item.name):
            if _ignored(item.name):
                continue
            name = prefix + item.name
            info = item.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                _walk(Path(item.path), f"{name}/", entries)
            else:
                entries[name] = _entry(Path(item.path), info)


def _ignored(name: str) -> bool:
    return name in IGNORED or name.startswith(".aider")


def _entry(path: Path, info: os.stat_result) -> Entry:
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISLNK(info.st_mode):
        return Entry("link", mode, str(path.readlink()))
    if not stat.S_ISREG(info.st_mode):
        return Entry("special file", mode, "")
    data = read_bytes(path, _HASHED)
    return Entry("file", mode, f"{info.st_size} bytes" if data is None else hashlib.sha256(data).hexdigest())


def unwanted(before: Manifest, after: Manifest, editable: frozenset[str], ignored: frozenset[str]) -> list[str]:
    """What changed beside the text of the editable files, in words."""
    trouble: list[str] = []
    for name in sorted({*before, *after} - ignored):
        old, new = before.get(name), after.get(name)
        shown = ascii(name)[1:-1]
        if old is None and new is not None:
            trouble.append(f"{shown} was added")
        elif new is None:
            trouble.append(f"{shown} was removed")
        elif new.kind != "file":
            trouble.append(f"{shown} became a {new.kind}")
        elif name in editable or old == new:
            continue
        elif old is not None and old.digest != new.digest:
            trouble.append(f"{shown} was changed")
        else:
            trouble.append(f"the mode of {shown} became {new.mode:03o}")
    return trouble


def read_bytes(path: Path, limit: int) -> bytes | None:
    """A regular file's bytes, or None: never waits on a pipe, follows no link, reads at most `limit`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode) or info.st_size > limit:
            return None
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(handle)


def read_text(path: Path, limit: int) -> str | None:
    """A regular file's text, or None where it is not one, is too long, or is not UTF-8."""
    data = read_bytes(path, limit)
    try:
        return None if data is None else data.decode("utf-8")
    except UnicodeDecodeError:
        return None
