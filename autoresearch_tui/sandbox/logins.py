"""An agent's logins in its throw-away home: copies, whose renewals are brought back.

A copy can be renewed in place, or replaced. A list beside the home, which the agent can read but not write, has each
login's original path and the content last equal in both places. So renewals can be brought back even after the loop was
killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from autoresearch_tui.util.frozen import Frozen

LARGEST = 1 << 20
_LIST = "logins.json"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Content(Frozen):
    """A login's content in one place."""

    data: bytes
    modified: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def lend(base: Path, home: Path, logins: Mapping[str, Path]) -> None:
    """Copies each login to its name below `home`, a folder in `base`. Raises OSError."""
    lent = {}
    for name, path in logins.items():
        content = _read(path.name, path.parent)
        if content is None:
            continue
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        _replace(Path(name).name, (home / name).parent, content.data)
        lent[name] = {"path": str(path), "digest": content.digest}
    if lent:
        _write_list(base, {"home": home.name, "logins": lent})


def settle(base: Path) -> list[str]:
    """Copies renewed logins: from the agent's home to the user's, or back if the user has renewed theirs.

    May be called at any time, even if nothing was lent. Returns failures, in words. Raises no OSError.
    """
    found = _read(_LIST, base)
    if found is None:
        return []
    try:
        lent = json.loads(found.data)
        home, logins = base / lent["home"], dict(lent["logins"])
        before = {name: str(login["digest"]) for name, login in logins.items()}
        trouble = [problem for name, login in logins.items() for problem in _settle(home, name, login)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    if {name: login["digest"] for name, login in logins.items()} != before:
        with contextlib.suppress(OSError):
            _write_list(base, lent)
    return trouble


def _settle(home: Path, name: str, login: dict[str, str]) -> Iterator[str]:
    """Settles one login and updates its `digest`."""
    path = Path(login["path"])
    inside, theirs = _in_home(home, name), _read(path.name, path.parent)
    if inside is None or theirs is None or inside.digest == theirs.digest:
        return
    renewed, renewed_outside = inside.digest != login["digest"], theirs.digest != login["digest"]
    try:
        if renewed and _whole(inside, theirs) and (not renewed_outside or inside.modified > theirs.modified):
            _bring_back(path, inside.data)
            login["digest"] = inside.digest
        elif renewed_outside and not (renewed and inside.modified > theirs.modified):
            with _folder_in(home, name) as folder:
                _replace(Path(name).name, folder, theirs.data)
            login["digest"] = theirs.digest
    except OSError as error:
        yield f"the login that the agent has renewed cannot be written to {path}: {error.strerror}"


def _whole(new: _Content, old: _Content) -> bool:
    """Whether it can be a complete login: not empty, and JSON if it was JSON."""
    return bool(new.data.strip()) and (_is_json(new.data) or not _is_json(old.data))


def _is_json(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def _bring_back(path: Path, data: bytes) -> None:
    """Replaces the file atomically, or writes it in place if it cannot be replaced (a mount, or of another user)."""
    with contextlib.suppress(OSError):
        if path.stat().st_uid == os.getuid():
            _replace(path.name, path.parent, data)
            return
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(handle)


def _in_home(home: Path, name: str) -> _Content | None:
    with contextlib.suppress(OSError), _folder_in(home, name) as folder:
        return _read(Path(name).name, folder)
    return None


@contextlib.contextmanager
def _folder_in(home: Path, name: str) -> Iterator[int]:
    """Opens the folder of a file in the home. Follows no link, because the home belongs to the agent."""
    folder = os.open(home, _FOLDER)
    try:
        for part in Path(name).parts[:-1]:
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def _read(name: str, folder: Path | int) -> _Content | None:
    """A plain file of bounded size; None for anything else."""
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        if isinstance(folder, Path):
            folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
        handle = os.open(name, _FILE, dir_fd=folder)
        stack.callback(os.close, handle)
        found = os.fstat(handle)
        if stat.S_ISREG(found.st_mode) and found.st_size <= LARGEST:
            with os.fdopen(handle, "rb", closefd=False) as file:
                return _Content(file.read(LARGEST), found.st_mtime_ns)
    return None


def _replace(name: str, folder: Path | int, data: bytes) -> None:
    """Writes a file atomically, readable for this user only. Raises OSError."""
    with contextlib.ExitStack() as stack:
        if isinstance(folder, Path):
            folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
        half = f".{name}.{secrets.token_hex(4)}.partial"
        handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(half, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(half, dir_fd=folder)
            raise
        with contextlib.suppress(OSError):
            os.fsync(folder)


def _write_list(base: Path, lent: Mapping[str, object]) -> None:
    _replace(_LIST, base, json.dumps(lent).encode())
