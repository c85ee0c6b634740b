"""Files that are replaced whole: a reader sees the old text or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from autoresearch_tui.util import trees


def write(path: Path, content: str | bytes) -> None:
    """Replace `path`, on disk on return. Makes missing folders. One writer of a path at a time. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A fixed name, so that the next writer overwrites what a killed process left.
    half = path.with_name(partial(path.name))
    try:
        with half.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def partial(name: str) -> str:
    """The name of a file or folder until it is complete."""
    return f".{name}.partial"


def publish(path: Path, content: bytes) -> None:
    """Replace `path` for readers only: not on disk on return, and any number of writers at a time. Raises OSError."""
    half = path.with_name(partial(f"{path.name}.{os.getpid()}"))
    try:
        half.write_bytes(content)
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder that replaces `path` when the block ends, synced to disk. After an error `path` is unchanged.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half, old = path.with_name(partial(path.name)), path.with_name(f".{path.name}.old")
    if old.is_dir() and not path.exists():  # killed between the two renames
        old.rename(path)
    for left in (half, old):
        trees.remove(left)
    half.mkdir()
    try:
        yield half
        for each in (*half.rglob("*"), half):
            sync(each)
        if path.is_dir():
            path.rename(old)
        half.rename(path)
    except BaseException:
        if old.is_dir() and not path.exists():
            old.rename(path)
        trees.remove(half)
        raise
    trees.remove(old)


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
