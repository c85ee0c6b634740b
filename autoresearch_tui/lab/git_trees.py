"""Finds the files of patterns and folders of `lab.editable` at many commits, with few git processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from autoresearch_tui.lab.editable import Editable


class GitObject(NamedTuple):
    """An object: its hash, its kind (`blob`, `tree` or `commit`), and its bytes."""

    name: str
    kind: str
    data: bytes


Read = Callable[[Sequence[str]], Sequence[GitObject | None]]
"""Reads objects by name, in the order of the names; None for missing ones."""


def found(read: Read, commits: Sequence[str], prefix: str, editable: Editable) -> dict[str, dict[str, str]]:
    """The plain files that `editable.covers`, and their blobs, at each commit. `prefix`: the lab's place in the tree.

    A folder that many commits share is read once.
    """
    files: dict[str, dict[str, str]] = {commit: {} for commit in commits}
    # The trees still to read: each object, with the places where it is.
    level: dict[str, list[tuple[str, str]]] = {f"{commit}:{prefix}": [(commit, "")] for commit in files}
    while level:
        deeper: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for each, places in zip(read([*level]), level.values(), strict=True):
            if each is None or each.kind != "tree":
                continue
            for mode, name, digest in entries(each.data, len(each.name) // 2):
                for commit, folder in places:
                    path = f"{folder}{name}"
                    if mode == "40000" and editable.reaches(path):
                        deeper[digest].append((commit, f"{path}/"))
                    elif mode.startswith("100") and editable.covers(path):
                        files[commit][path] = digest
        level = deeper
    return files


def texts(read: Read, blobs: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The texts of the result of :func:`found`, sorted by path; each blob is read once."""
    wanted = list(dict.fromkeys(digest for files in blobs.values() for digest in files.values()))
    data = {digest: each.data for digest, each in zip(wanted, read(wanted), strict=True) if each is not None}
    return {
        commit: {path: data[digest].decode("utf-8", "replace") for path, digest in sorted(files.items())}
        for commit, files in blobs.items()
    }


def entries(tree: bytes, width: int) -> Iterator[tuple[str, str, str]]:
    """Mode, name and hash of each entry of a tree, as git stores it: `mode name`, NUL, the hash's `width` bytes."""
    place = 0
    while place < len(tree):
        end = tree.index(b"\0", place)
        mode, _, name = tree[place:end].partition(b" ")
        place = end + 1 + width
        yield mode.decode("ascii", "replace"), name.decode("utf-8", "replace"), tree[end + 1 : place].hex()
