"""The frontier's compiler cache: every later run starts with its own copy.

A store that runs share would let one leave something for the next, so what is kept was made before the run saw any
training data: the supervisor copies it in the moment in which the run says that it is ready and has only rehearsed, on
made-up data (`channel.py`), and the engine keeps the copy of a run that it keeps. Labs that hand no data over have no
such moment: with a referee nothing is kept there; without one the score is the run's own word anyway, and what is left
at its end is kept.

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
    """Where a run's compiler keeps what it makes: inside the run's own scratch folder."""
    return {variable: str(scratch / name) for variable, name in _FOLDERS.items()}


def save(scratch: Path, store: Path) -> None:
    """Copy what a compiler has left in `scratch` to `store`, in place of what was there; nothing if it left nothing.

    The run may be alive and change its files meanwhile: no link is followed, and no name is looked up twice.
    """
    half = store.with_name(f".{store.name}.partial")
    shutil.rmtree(half, ignore_errors=True)
    try:
        if _copy(scratch / _KEPT, half / _KEPT):
            keep(half, store)
    except OSError:
        shutil.rmtree(half, ignore_errors=True)


def keep(saved: Path, store: Path) -> None:
    """Replaces the store with what was saved, if anything was. Raises OSError."""
    if not saved.is_dir():
        return
    old = store.with_name(f".{store.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        store.rename(old)
    saved.rename(store)
    shutil.rmtree(old, ignore_errors=True)


def restore(store: Path, scratch: Path) -> None:
    """Copies `store` to where a new run's compiler looks."""
    with suppress(OSError):
        _copy(store / _KEPT, scratch / _KEPT)


def _copy(source: Path, target: Path) -> int:
    """Plain files below a folder, as far as they are not too many, too large together or too deep; how many."""
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
    """The bytes copied of a plain file that has no other name; 0 for anything else."""
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
            # No more than was there: it may grow while it is read.
            left = found.st_size
            while left and (data := file.read(min(left, 1 << 20))):
                copy.write(data)
                left -= len(data)
        (place / name).chmod(stat.S_IMODE(found.st_mode) & 0o777)
        os.utime(place / name, ns=(found.st_atime_ns, found.st_mtime_ns))
        return found.st_size
