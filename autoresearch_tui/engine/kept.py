"""Files of the run's own, such as its weights, that outlive its working copy (`run.keep`).

They are moved, not copied: the working copy is about to be removed, and copies might fill the disk. The run is
untrusted: no link is followed, only plain files with a single name are taken, and each folder on the way is opened by
its own name alone.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from autoresearch_tui.lab.session_files import RunFiles, SessionFiles
from autoresearch_tui.session.state import State
from autoresearch_tui.util import trees
from autoresearch_tui.util.atomic import partial

# An untrusted run may have made any number of files.
_MOST_FILES = 1000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GLOB = frozenset("*?[")


def save(files: RunFiles, cwd: Path, patterns: Iterable[str], limit_bytes: float) -> str:
    """Move what matches in `cwd`, where the run ran, to `files.kept`. Safe to repeat after a kill, at every step.

    Returns for the human why something was not kept; empty if all was. A full disk raises nothing.
    """
    half = files.kept.with_name(partial(files.kept.name))
    try:
        with contextlib.ExitStack() as held:
            top = held.enter_context(_opened(files.work))
            for name in cwd.relative_to(files.work).parts:  # any of these may be a link by now
                top = held.enter_context(_opened(name, top))
            return _save(top, [PurePosixPath(pattern) for pattern in patterns], half, files.kept, limit_bytes)
    except OSError as error:
        return f"{error.strerror or error}; the rest of its files is not kept"


def _save(top: int, patterns: list[PurePosixPath], half: Path, kept: Path, limit_bytes: float) -> str:
    found: dict[PurePosixPath, int] = {}
    lacking = []
    for pattern in patterns:
        matches = dict(_matches(top, pattern.parts))
        found |= matches
        # What an engine had moved before it was killed here counts as found.
        if not matches and not any(_named(folder, pattern) for folder in (half, kept)):
            lacking.append(str(pattern))
        if len(found) > _MOST_FILES:
            return f"`{pattern}` matches more than {_MOST_FILES:,} files; none is kept"
    size = sum(found.values())
    if size > limit_bytes:
        return f"{size / 2**30:.1f} GiB are more than `run.keep_max_gb`, {limit_bytes / 2**30:g}; none is kept"
    for path in found:
        _move(top, path, half)
    if half.exists():
        if kept.exists():
            trees.remove(kept)  # of an earlier attempt at the same run
        half.rename(kept)
    return f"it left no {', '.join(lacking)}" if lacking else ""


def _named(folder: Path, pattern: PurePosixPath) -> bool:
    return any(not path.is_dir() for path in folder.glob(str(pattern))) if folder.is_dir() else False


def _matches(
    folder: int, parts: tuple[str, ...], above: PurePosixPath | None = None
) -> Iterator[tuple[PurePosixPath, int]]:
    """The plain files below a folder that match, with their sizes."""
    first, rest = parts[0], parts[1:]
    names = [first]
    if _GLOB & set(first):
        with os.scandir(folder) as entries:
            # As in a shell, a star does not match hidden files.
            names = sorted(e.name for e in entries if _fits(e.name, first))
    for name in names:
        path = PurePosixPath(name) if above is None else above / name
        if rest:
            with contextlib.suppress(OSError), _opened(name, folder) as below:
                yield from _matches(below, rest, path)
        elif (size := _plain(name, folder)) is not None:
            yield path, size


def _fits(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


@contextlib.contextmanager
def _opened(name: str | Path, folder: int | None = None) -> Iterator[int]:
    below = os.open(name, _FOLDER, dir_fd=folder)
    try:
        yield below
    finally:
        os.close(below)


def _plain(name: str | Path, folder: int | None = None) -> int | None:
    """The size of a plain file with a single name; None for anything else."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    return max(found.st_size, found.st_blocks * 512) if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else None


def _move(top: int, path: PurePosixPath, half: Path) -> None:
    target = half / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        folder = top
        for name in path.parts[:-1]:
            folder = held.enter_context(_opened(name, folder))
        os.rename(path.name, target, src_dir_fd=folder)
    # Checked again where no process of the run can reach it.
    if _plain(target) is None:
        target.unlink()
        return
    with contextlib.suppress(PermissionError):  # the run has made it unreadable
        opened = os.open(target, _FILE)
        try:
            os.fchmod(opened, 0o644)
            os.fsync(opened)
        finally:
            os.close(opened)


def prune(files: SessionFiles, state: State, frontiers: int, limit_bytes: float) -> None:
    """Keep the files of the last `frontiers` frontiers only, as far as they fit `limit_bytes`, newest first."""
    last = list(dict.fromkeys(number for _, number in reversed(state.frontier_history)))[:frontiers]
    wanted, total = set(), 0.0
    for number in last:
        total += size(files.run(number))
        if total > limit_bytes:
            break
        wanted.add(number)
    for run in runs(files):
        number = int(run.folder.name)
        judged = number >= len(state.experiments) or state.experiments[number].outcome
        if judged and number not in wanted:
            trees.remove(run.kept)
            trees.remove(run.kept.with_name(partial(run.kept.name)))


def runs(files: SessionFiles) -> list[RunFiles]:
    """Every run that has a folder."""
    with contextlib.suppress(OSError):
        return [RunFiles(path) for path in sorted((files.folder / "runs").iterdir()) if path.name.isdigit()]
    return []


def size(run: RunFiles) -> int:
    """Bytes of a run's kept files."""
    total = 0
    for path in run.kept_files:
        with contextlib.suppress(OSError):
            total += path.stat(follow_symlinks=False).st_size
    return total
