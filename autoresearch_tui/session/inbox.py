"""Commands from other processes: one file each in a session's inbox folder, which the engine handles in order.

    <id>.request    complete; its sender may still withdraw it
    <id>.taken      the engine is handling it

The sender locks its file while it waits; an unlocked file was left by a process that died, and does not count. The
answer is the journal's record with the id; once that is on disk the file is removed. An engine that dies in between
leaves `.taken`, which the next one handles unless the journal has the id. So each request is handled once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import msgspec

from autoresearch_tui.session import commands as cmd
from autoresearch_tui.util.atomic import partial
from autoresearch_tui.util.frozen import Frozen

# An edit carries whole files; see `lab.editable.LARGEST_BYTES`.
LARGEST_BYTES = 16 << 20
# An engine removes what nobody writes any more. It may meet a file between its creation and its lock: then again.
_TRIES = 20
_NAME = re.compile(r"([0-9]{20}-[0-9a-f]{16})\.(request|taken)")
_HALF = re.compile(r"\.[0-9]{20}-[0-9a-f]{16}\.request\.partial")


class Request(Frozen):
    """A command and the id that its answer carries. Ids sort in the order of sending."""

    id: str
    command: cmd.Command


def make_folder(folder: Path) -> None:
    """Make the inbox, accessible to its owner alone. Anything else at that path is removed."""
    if folder.is_symlink() or not folder.is_dir():
        _remove(folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:
        folder.chmod(0o700)


# ── the engine's side ───────────────────────────────────────────────────────────────────────────────────────────


class Inbox:
    """The engine's side. Nothing in the folder makes it wait or fail."""

    def __init__(self, folder: Path, answered: set[str]) -> None:
        """`answered`: the ids in the journal; the caller keeps it current."""
        self._folder = folder
        self._answered = answered

    def take(self, wanted: Callable[[Request], bool] = lambda _: True) -> Iterator[Request]:
        """The requests, oldest first. Each is `.taken` as it is yielded, until :meth:`done`."""
        for name, request in self._look():
            if not wanted(request):
                continue
            if name.endswith(".request"):
                try:
                    (self._folder / name).rename(self._folder / f"{request.id}.taken")
                except OSError:  # withdrawn
                    continue
            yield request

    def done(self, request: Request) -> None:
        """The answer is on disk, or none is needed."""
        self._answered.add(request.id)
        _remove(self._folder / f"{request.id}.taken")

    def put_back(self, request: Request) -> None:
        """The answer could not be journalled: the request waits again."""
        with contextlib.suppress(OSError):
            (self._folder / f"{request.id}.taken").rename(self._folder / f"{request.id}.request")

    def _look(self) -> Iterator[tuple[str, Request]]:
        """The requests that count, oldest first; others are removed."""
        for name in self._names():
            match = _NAME.fullmatch(name)
            assert match is not None
            id, path = match[1], self._folder / name  # noqa: A001
            try:
                command = None if id in self._answered else _read(path)
            except OSError:  # withdrawn, or it cannot be read now
                continue
            if command is None:
                _remove(path)
            else:
                yield name, Request(id, command)

    def _names(self) -> list[str]:
        """Names of requests, sorted. A folder that changes while it is read may show a later file without an earlier
        one; so it is read twice, and files newer than all of the first reading wait.
        """
        try:
            first = [path.name for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
            if not first:
                return []
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                make_folder(self._folder)
            return []
        except OSError:
            return []
        for name in names:
            if _HALF.fullmatch(name) and not _awaited(self._folder / name):
                _remove(self._folder / name)
        newest = max(first)
        return sorted(name for name in names if _NAME.fullmatch(name) and name <= newest)


def _read(path: Path) -> cmd.Command | None:
    """The command in a file whose sender is waiting; None for any other file. Raises OSError."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            return None
        raise
    try:
        status = os.fstat(file)
        plain = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if not plain or status.st_size > LARGEST_BYTES or not _locked(file):
            return None
        with open(file, "rb", closefd=False) as reader:
            return decode(reader.read(LARGEST_BYTES))
    except (ValueError, RecursionError):
        return None
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    """Whether another process has locked this file."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _awaited(path: Path) -> bool:
    """Whether a sender is writing this file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _locked(file)
    except OSError:
        return False
    finally:
        os.close(file)


def _remove(path: Path) -> None:
    """Best effort: what cannot be removed is skipped, and tried again at the next look."""
    with contextlib.suppress(OSError):
        path.unlink()


# ── the sender's side ───────────────────────────────────────────────────────────────────────────────────────────


class Sent:
    """A sent request. It counts until it is answered or withdrawn, or this process dies."""

    def __init__(self, folder: Path, id: str, file: int) -> None:  # noqa: A002
        self.id = id
        self._request, self._taken = folder / f"{id}.request", folder / f"{id}.taken"
        self._file = file

    @property
    def settled(self) -> bool:
        """Whether the engine is done with it: its answer, if it has one, is in the journal."""
        # In this order, because an engine that cannot journal now renames `.taken` back to `.request`.
        return not (self._request.exists() or self._taken.exists() or self._request.exists())

    def withdraw(self) -> bool:
        """Take it back. False if the engine already has it, or is done with it."""
        try:
            self._request.unlink()
        except FileNotFoundError:
            return False
        return True

    def drop(self) -> None:
        """Take it back even from a dead engine. The caller must keep engines out."""
        _remove(self._request)
        _remove(self._taken)

    def close(self) -> None:
        """Stop waiting for the answer."""
        os.close(self._file)


class Sender:
    """Puts commands into an inbox, in the order in which they are given."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = 0

    def send(self, command: cmd.Command) -> Sent:
        """Raises OSError, and ValueError if the command is too long; then nothing is left behind."""
        data = encode(command)
        if len(data) > LARGEST_BYTES:
            raise ValueError(f"longer than {LARGEST_BYTES >> 20} MiB")
        for _ in range(_TRIES):
            try:
                return self._put(data)
            except (BlockingIOError, FileNotFoundError) as error:
                refused = error
        raise refused

    def _put(self, data: bytes) -> Sent:
        """Raises BlockingIOError or FileNotFoundError if the engine looked at the file before it had its lock."""
        self._last = max(self._last + 1, time.time_ns())
        id = f"{self._last:020d}-{os.urandom(8).hex()}"  # noqa: A001
        name = f"{id}.request"
        half = self._folder / partial(name)
        file = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            half.rename(self._folder / name)
        except BaseException:
            _remove(half)
            os.close(file)
            raise
        return Sent(self._folder, id, file)


# ── what is in a file ───────────────────────────────────────────────────────────────────────────────────────────


def encode(command: cmd.Command) -> bytes:
    """One JSON object: the command's name and its fields. Raises ValueError for a text that is not Unicode."""
    return msgspec.json.encode(command, enc_hook=dict)


def decode(data: bytes) -> cmd.Command:
    """What :func:`encode` wrote. Raises ValueError, RecursionError."""
    command = _decoder().decode(data)
    if isinstance(command, cmd.Detach):
        raise ValueError("only for an engine in the same process")
    return command


@cache
def _decoder() -> msgspec.json.Decoder[cmd.Command]:
    return msgspec.json.Decoder(cmd.Command)
