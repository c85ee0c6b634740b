"""What the compiler made for the baseline: every later run begins with a copy of its own.

A cache that runs share would let one leave something for the next. So only the baseline's is ever read, whose code is
the user's own, and what a run adds to its copy goes with its scratch folder. Where it is missing, a run compiles anew.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

_FOLDERS = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
_MOST_BYTES = 2 << 30


def environment(scratch: Path) -> dict[str, str]:
    """Where a run's compiler keeps what it makes: inside the run's own scratch folder."""
    return {variable: str(scratch / name) for variable, name in _FOLDERS.items()}


def keep(scratch: Path, store: Path) -> None:
    """Copy what the baseline's compiler left into `store`, once."""
    if store.exists() or not any((scratch / name).is_dir() for name in _FOLDERS.values()):
        return
    # Always the same name: what a killed engine left is cleared away by the next, which judges the same run.
    from autoresearch_tui.engine.results import partial

    half = store.with_name(partial(store.name))
    shutil.rmtree(half, ignore_errors=True)
    try:
        half.mkdir()
        _copy(scratch, half)
        half.rename(store)
    except OSError:
        shutil.rmtree(half, ignore_errors=True)


def give(store: Path, scratch: Path) -> None:
    """Put a copy of `store` where a new run's compiler looks."""
    with suppress(OSError):
        _copy(store, scratch)


def _copy(source: Path, target: Path) -> None:
    """Plain files below the folders of the compilers, as long as they are not too large together."""
    files = [path for name in _FOLDERS.values() for path in (source / name).rglob("*") if _plain(path, source)]
    if sum(path.stat().st_size for path in files) > _MOST_BYTES:
        return
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)


def _plain(path: Path, top: Path) -> bool:
    """A file that is reached over no link."""
    return path.is_file() and not any(part.is_symlink() for part in (path, *path.parents) if part.is_relative_to(top))
