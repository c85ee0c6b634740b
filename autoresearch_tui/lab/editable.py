"""Pure: which files a proposal may change, add and remove: those that `lab.editable` names.

A plain name is one file, which always exists. A pattern (`skills/*.md`) or a folder (`strategies/`) matches any number
of files, which a proposal may add and remove; it matches no hidden files, secrets, tools' caches or locked files.
"""

from __future__ import annotations

import fnmatch
import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping

from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.secrets import is_secret_file
from autoresearch_tui.util.text import describe

Change = Mapping[str, str | None]
"""New texts by path; None removes the file."""

LARGEST_BYTES = 1 << 20
"""The limit for the program and each editable file, as every request carries them whole."""
MOST_BYTES = 4 << 20
"""The limit for all editable files together."""
MOST_FILES = 200

_ANY_DEPTH = "**"
_NOT_OURS = frozenset((".git", ".autoresearch", "__pycache__"))
_LONGEST_PATH = 160
_DEEPEST = 8
# Each part of a new file's path: characters that are safe in every shell, file system and screen.
_PART = re.compile(r"(?!-)[A-Za-z0-9_.+ -]*[A-Za-z0-9_+-]", re.ASCII)
_IMPORTED = (".py", ".pyc", ".so")


class Editable(Frozen):
    """The names in `lab.editable`; `locked`: files, folders and patterns that they do not reach into."""

    names: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()

    @property
    def plain(self) -> tuple[str, ...]:
        """The single files."""
        return tuple(name for name in self.names if not is_pattern(name))

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns and folders, where files may be added and removed."""
        return tuple(name for name in self.names if is_pattern(name))

    def covers(self, path: str) -> bool:
        """Whether a file is editable by a pattern or a folder, so that it may be added and removed."""
        parts = tuple(path.split("/"))
        if path in self.plain or path in self.locked or any(p in _NOT_OURS or is_secret_file(p) for p in parts):
            return False
        if any(_matches(pattern, parts) for pattern in _split(tuple(filter(is_pattern, self.locked)))):
            return False
        inside = [len(folder.split("/")) for folder in self.locked if path.startswith(f"{folder}/")]
        # Between a locked folder and a pattern, the more specific one wins.
        return any(
            _matches(pattern, parts) and all(_lead(pattern) > depth for depth in inside)
            for pattern in _split(self.patterns)
        )

    def reaches(self, folder: str) -> bool:
        """Whether :meth:`covers` can be true of something below a folder ("" is the lab's root)."""
        parts = tuple(folder.split("/")) if folder else ()
        return any(_may_match_below(pattern, parts) for pattern in _split(self.patterns))

    def refusal(self, added: Iterable[str], there: Iterable[str]) -> str:
        """Why files of these names cannot be added to a lab with the files `there`; empty if they can."""
        taken = {_folded(prefix): (prefix, prefix == path) for path in there for prefix in _prefixes(path)}
        for path in added:
            why = self._misnamed(path) or _in_the_way(path, taken) or _shadows(path, self.locked)
            if why:
                return f"{describe(path)} cannot be added: {why}"
            taken |= {_folded(prefix): (prefix, prefix == path) for prefix in _prefixes(path)}
        return ""

    def _misnamed(self, path: str) -> str:
        parts = path.split("/")
        if not all(_PART.fullmatch(part) for part in parts) or len(path) > _LONGEST_PATH or len(parts) > _DEEPEST:
            return (
                f"the name of a new file is at most {_LONGEST_PATH} letters (a to z), digits, spaces and _ . + -, "
                f"in at most {_DEEPEST} parts, and none of them begins with a dash or ends with a dot"
            )
        if self.covers(path):
            return ""
        return f"new files belong in {', '.join(self.patterns)}" if self.patterns else "this lab takes no new files"


def is_pattern(name: str) -> bool:
    """Whether a name matches any number of files."""
    return name.endswith("/") or any(character in name for character in "*?[")


def too_much(sizes: Mapping[str, int]) -> str:
    """Why these editable files, with their sizes in bytes, are too many or too large; empty if they are not."""
    if len(sizes) > MOST_FILES:
        return f"{len(sizes)} editable files; {MOST_FILES} at most, for a researcher reads all of them"
    if sum(sizes.values()) > MOST_BYTES:
        return f"the editable files together are larger than {MOST_BYTES >> 20} MiB, and a researcher reads all of them"
    return ""


def applied(files: Mapping[str, str], change: Change) -> dict[str, str]:
    """The files after a change."""
    after = {path: text for path, text in files.items() if change.get(path, text) is not None}
    return {**after, **{path: text for path, text in change.items() if text is not None}}


def change_between(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """The change from one set of files to another."""
    changed: dict[str, str | None] = {path: text for path, text in after.items() if text != before.get(path)}
    return changed | dict.fromkeys(before.keys() - after.keys())


@functools.cache
def _split(patterns: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The parts of each pattern; a folder matches everything below it."""
    whole = (f"{name}{_ANY_DEPTH}" if name.endswith("/") else name for name in patterns)
    return tuple(tuple(name.split("/")) for name in whole)


def _lead(pattern: tuple[str, ...]) -> int:
    """How many leading folders of a pattern are literal."""
    return next((at for at, part in enumerate(pattern) if is_pattern(part)), len(pattern))


def _matches(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == _ANY_DEPTH:
        deeper = not parts[0].startswith(".") and _matches(pattern, parts[1:])
        here = len(pattern) == 1 and len(parts) == 1 and not parts[0].startswith(".")
        return here or deeper or (len(pattern) > 1 and _matches(pattern[1:], parts))
    return _part_matches(pattern[0], parts[0]) and _matches(pattern[1:], parts[1:])


def _may_match_below(pattern: tuple[str, ...], folders: tuple[str, ...]) -> bool:
    if not folders:
        return bool(pattern)
    if not pattern:
        return False
    if pattern[0] == _ANY_DEPTH:
        return not any(part.startswith(".") for part in folders)
    return _part_matches(pattern[0], folders[0]) and _may_match_below(pattern[1:], folders[1:])


def _part_matches(pattern: str, part: str) -> bool:
    """As in a shell, only a pattern that begins with a dot matches hidden files."""
    return bool(part) and (part[0] != "." or pattern[0] == ".") and fnmatch.fnmatchcase(part, pattern)


def _in_the_way(path: str, taken: Mapping[str, tuple[str, bool]]) -> str:
    """Why another file has this name, perhaps in another case: on some disks the two are one file. `taken`: the
    spelling of each path, and whether it is a file."""
    for prefix in _prefixes(path):
        other, is_file = taken.get(_folded(prefix), (prefix, False))
        if other != prefix:
            return f"{describe(other)} differs from it only in how it is written"
        if is_file or (prefix == path and _folded(path) in taken):
            return f"there is {prefix} already"
    return ""


def _shadows(path: str, locked: Iterable[str]) -> str:
    """Why a new file would hide a locked module: Python prefers a package or compiled file of the same name."""
    if not path.endswith(_IMPORTED):
        return ""
    folder, _, name = path.rpartition("/")
    modules = {*_prefixes(folder), f"{folder}/{name.partition('.')[0]}".lstrip("/")}
    taken = next((each for each in locked if each.endswith(".py") and each.removesuffix(".py") in modules), "")
    return f"an import would find it in place of {taken}, which is locked" if taken else ""


def _prefixes(path: str) -> list[str]:
    """A path and its parent folders."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
