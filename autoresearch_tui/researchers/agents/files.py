"""The contents of a throw-away folder, and its changes."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch_tui.lab.editable import Editable
from autoresearch_tui.util.frozen import Frozen

IGNORED = (
    "__pycache__", ".aider", ".cache", ".claude", ".codex", ".gemini", ".git", ".gitignore", ".mypy_cache",
    ".opencode", ".pytest_cache", ".ruff_cache", ".DS_Store",
)  # fmt: skip
"""Files that agents and tools leave anywhere in the folder, which are ignored. `.aider` is a prefix."""

_HASHED = 16 * 1024 * 1024
_DEEPEST = 100
_MOST_ENTRIES = 20_000
_SHOWN = 40


class Entry(Frozen):
    """A file or link; `digest` identifies its contents, or is a link's target."""

    kind: str
    mode: int
    digest: str


Manifest = Mapping[str, Entry]


def take(folder: Path) -> Manifest:
    """Everything under `folder` except folders themselves and IGNORED names. Follows no link.

    Folders nested too deep, and everything beyond too many entries, are one entry each.
    """
    entries: dict[str, Entry] = {}
    folders = [(folder, "", 0)]
    while folders:
        place, prefix, depth = folders.pop()
        with os.scandir(place) as found:
            for item in sorted(found, key=lambda item: item.name):
                if _ignored(item.name):
                    continue
                name = prefix + item.name
                if len(entries) >= _MOST_ENTRIES:
                    return {**entries, name: Entry("the first of too many files", 0, "")}
                info = item.stat(follow_symlinks=False)
                if not stat.S_ISDIR(info.st_mode):
                    entries[name] = _entry(Path(item.path), info)
                elif depth < _DEEPEST:
                    folders.append((Path(item.path), f"{name}/", depth + 1))
                else:
                    entries[f"{name[:_SHOWN]}…"] = Entry("deeply nested folder", 0, "")
    return entries


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


class Changes(Frozen):
    """The changes beside the text of the editable files: `added` by name, `refused` in words.

    `new` and `gone` are files that were added and removed where that is allowed.
    """

    added: tuple[str, ...]
    refused: tuple[str, ...]
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def compare(
    before: Manifest, after: Manifest, editable: frozenset[str], ignored: frozenset[str], free: Editable
) -> Changes:
    """The added files, and the changes of those that existed. `free`: where files may be added and removed."""
    added: list[str] = []
    refused: list[str] = []
    arrived: list[str] = []
    gone: list[str] = []
    for name in sorted({*before, *after} - ignored):
        old, new = before.get(name), after.get(name)
        shown = ascii(name)[1:-1]
        if old is None and new is not None and free.covers(name):
            if new.kind == "file":
                arrived.append(name)
            else:
                refused.append(f"{shown} was added, as a {new.kind}")
        elif old is None:
            added.append(shown)
        elif new is None and name in editable and free.covers(name):
            gone.append(name)
        elif new is None:
            refused.append(f"{shown} was removed")
        elif new.kind != "file":
            refused.append(f"{shown} became a {new.kind}")
        elif name in editable or old == new:
            continue
        elif old.digest != new.digest:
            refused.append(f"{shown} was changed")
        else:
            refused.append(f"the mode of {shown} became {new.mode:03o}")
    return Changes(tuple(added), tuple(refused), tuple(arrived), tuple(gone))


def needed_by(files: Mapping[str, str], before: Mapping[str, str], added: Sequence[str]) -> tuple[str, ...]:
    """The added files that the changed ones import or name, in words: without them the change would not run."""
    needed = []
    for name, text in files.items():
        old = before.get(name, "")
        for each in added:
            for pattern in _mentions(each):
                if pattern.search(text) and not pattern.search(old):
                    needed.append(f"{each}, which {name} needs, was added")
                    break
    return tuple(dict.fromkeys(needed))


def _mentions(added: str) -> tuple[re.Pattern[str], ...]:
    """Patterns for its import as a module or a package, or its path in quotes."""
    quoted = re.compile(rf"""["'](?:\./)?{re.escape(added)}["']""")
    if not added.endswith(".py"):
        return (quoted,)
    parts = added.removesuffix(".py").removesuffix("/__init__").split("/")
    module = re.escape(".".join(parts))
    return quoted, re.compile(rf"^\s*(?:from\s+\.?{module}\b|import\s+(?:[^\n#]*,\s*)?{module}\b)", re.MULTILINE)


def read_bytes(path: Path, limit: int) -> bytes | None:
    """A regular file's bytes, or None. Never blocks on a pipe, follows no link, reads at most `limit`."""
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
    """A regular file's text, or None if it is not one, is too long, or is not UTF-8."""
    data = read_bytes(path, limit)
    try:
        return None if data is None else data.decode("utf-8")
    except UnicodeDecodeError:
        return None
