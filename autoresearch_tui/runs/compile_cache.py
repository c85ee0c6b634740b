"""The frontier's compile cache: every later run starts with its own copy.

A shared store would let a run leave something for the next. So a cache is only kept if it was made before the run saw
any training data: the supervisor copies it when the run reports that it is ready, having only rehearsed on made-up data
(`channel.py`), and the engine keeps the copy of a run that it keeps. Labs that hand over no data have no such moment:
with a referee no cache is kept; without one the score is the run's own word anyway, and the cache at its end is kept.

Only Inductor's folder is copied. It survives a change of path and holds Triton's binaries as well; Triton's own folder
names its files by absolute paths, and keeps Inductor from putting those binaries in place.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

_FOLDERS = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
_KEPT = "inductor"
_MOST_BYTES, _MOST_FILES, _DEEPEST = 2 << 30, 20_000, 8
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def environment(scratch: Path) -> dict[str, str]:
    """The variables that put a run's compile caches into its scratch folder."""
    return {variable: str(scratch / name) for variable, name in _FOLDERS.items()}


def save(scratch: Path, store: Path) -> None:
    """Replace `store` with a copy of the cache in `scratch`, if there is any.

    The run may still be changing its files: no link is followed, and no name is looked up twice.
    """
    half = store.with_name(f".{store.name}.partial")
    shutil.rmtree(half, ignore_errors=True)
    try:
        if _copy(scratch / _KEPT, half / _KEPT):
            keep(half, store)
    except OSError:
        shutil.rmtree(half, ignore_errors=True)


def keep(saved: Path, store: Path) -> None:
    """Replace `store` with `saved`, if that exists. Raises OSError."""
    if not saved.is_dir():
        return
    old = store.with_name(f".{store.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        store.rename(old)
    saved.rename(store)
    shutil.rmtree(old, ignore_errors=True)


def restore(store: Path, scratch: Path) -> None:
    """Copy `store` to where a new run's compiler looks."""
    with suppress(OSError):
        _copy(store / _KEPT, scratch / _KEPT)


def _copy(source: Path, target: Path) -> int:
    """Copy plain files below a folder, within limits of number, size and depth. Returns how many."""
    room, count = _MOST_BYTES, 0
    for folder, folders, names, descriptor in os.fwalk(source, follow_symlinks=False):
        inside = Path(folder).relative_to(source)
        if len(inside.parts) >= _DEEPEST:
            folders.clear()
        for name in names[: _MOST_FILES - count]:
            size = _copy_file(name, descriptor, target / inside, room)
            room -= size
            count += size > 0
    return count


def _copy_file(name: str, descriptor: int, place: Path, room: int) -> int:
    """Copy a plain file with a single name. Returns its bytes; 0 for anything else."""
    try:
        source = os.open(name, _READ, dir_fd=descriptor)
    except OSError:  # a link, or a socket
        return 0
    with os.fdopen(source, "rb") as file:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or not 0 < found.st_size <= room:
            return 0
        place.mkdir(parents=True, exist_ok=True)
        with (place / name).open("wb") as copy:
            # The file may grow meanwhile: no more than its size at the start.
            left = found.st_size
            while left and (data := file.read(min(left, 1 << 20))):
                copy.write(data)
                left -= len(data)
        (place / name).chmod(stat.S_IMODE(found.st_mode) & 0o777)
        os.utime(place / name, ns=(found.st_atime_ns, found.st_mtime_ns))
        return found.st_size
