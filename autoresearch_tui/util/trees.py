"""Searches and removes whole folders, however deeply strangers have nested them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: Path) -> bool:
    """Remove `path` and everything below it; follows no link. False if something is left. Raises no OSError.

    Needs neither recursion nor long paths: each folder inside is emptied into the topmost one, then removed.
    """
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            return True
        top = _opened(path, None)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        while _flatten(top):
            pass
    finally:
        os.close(top)
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.exists()


def named(name: str, top: Path) -> Iterator[Path]:
    """Folders and links of this name below `top`, as deep as a path can be written. Follows no link."""
    waiting = [str(top)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                below = [entry for entry in entries if entry.is_symlink() or entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for entry in below:
            if entry.name == name:
                yield Path(entry.path)
            elif not entry.is_symlink():
                waiting.append(entry.path)


def _flatten(top: int) -> bool:
    """Remove one level below the folder that is open as `top`. False if nothing could be done."""
    done = False
    for number, entry in enumerate(_entries(top)):
        if not entry.is_dir(follow_symlinks=False):
            done |= _unlinked(entry.name, top)
            continue
        with contextlib.suppress(OSError):
            folder = _opened(Path(entry.name), top)
            try:
                done |= _lift(folder, top, number)
            finally:
                os.close(folder)
            os.rmdir(entry.name, dir_fd=top)
            done = True
    return done


def _lift(folder: int, top: int, number: int) -> bool:
    """Removes a folder's files, and moves its folders into the topmost one."""
    done = False
    for index, entry in enumerate(_entries(folder)):
        if not entry.is_dir(follow_symlinks=False):
            done |= _unlinked(entry.name, folder)
            continue
        with contextlib.suppress(OSError):
            os.close(_opened(Path(entry.name), folder))  # a folder that moves has to be writable
            name = f".removed-{number}-{index}-{os.urandom(8).hex()}"
            os.rename(entry.name, name, src_dir_fd=folder, dst_dir_fd=top)
            done = True
    return done


def _opened(path: Path, folder: int | None) -> int:
    """Open a folder, and make it readable and writable."""
    try:
        opened = os.open(path, _FLAGS, dir_fd=folder)
    except PermissionError:
        if not stat.S_ISDIR(os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        os.chmod(path, 0o700, dir_fd=folder)
        opened = os.open(path, _FLAGS, dir_fd=folder)
    with contextlib.suppress(OSError):
        os.fchmod(opened, 0o700)
    return opened


def _entries(folder: int) -> list[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        return list(found)
    return []


def _unlinked(name: str, folder: int) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    return True


def sizes(top: Path) -> Iterator[tuple[str, int]]:
    """Each file of a folder by its path from there, with its size in bytes; hidden files are left out."""
    if top.is_file():
        yield ".", top.stat().st_size
    for folder, _, names in os.walk(top):
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield str(path.relative_to(top)), path.stat().st_size
