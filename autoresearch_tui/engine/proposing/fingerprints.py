"""Fingerprints of the code at each commit, computed once and kept on disk for later engines and sessions.

Computing thousands for a long train.py takes minutes. The file only saves time, and may be deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from autoresearch_tui.engine.proposing.preflight import change_print, fingerprint
from autoresearch_tui.python_source import setting
from autoresearch_tui.util.atomic import write

_LINE = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{64}) ([0-9a-f]{64}) ([0-9a-f]{64})", re.ASCII)
# Change the number if any fingerprint is computed differently; Python's parser matters too.
_METHOD = f"2 {sys.version_info.major}.{sys.version_info.minor}"


class Code(NamedTuple):
    """The :func:`~preflight.fingerprint` of an attempt's files, the digest of their :class:`~setting.Setting`, and the
    :func:`~preflight.change_print` of what they change."""

    code: str
    setting: str
    change: str


_WIDTH = 32  # bytes of a commit, filled up, and of each print
_ROW = _WIDTH * (1 + len(Code._fields))


class Fingerprints:
    """Used by the engine's thread and the proposers'. Takes two hundred bytes of memory per commit."""

    def __init__(self, path: Path, editable: Sequence[str]) -> None:
        self.path = path
        names = hashlib.sha256("\0".join(editable).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        self._head = f"# {_METHOD} {names}"
        self._known: set[bytes] | None = None  # commits
        self._rows = bytearray()
        self._lock = threading.Lock()

    def unknown(self, commits: Iterable[str]) -> list[str]:
        """The commits without fingerprints."""
        with self._lock:
            known = self._read()
            return [commit for commit in commits if bytes.fromhex(commit) not in known]

    def having(self, field: str, print_: str) -> frozenset[str]:
        """The commits with this print in a field of their :class:`Code`."""
        start = _WIDTH * (1 + Code._fields.index(field))
        digest, found, at = bytes.fromhex(print_), set(), -1
        with self._lock:
            size = len(next(iter(self._read()), b""))  # hashes of one repository are all as long
            while (at := self._rows.find(digest, at + 1)) >= 0:
                if at % _ROW == start:
                    found.add(self._rows[at - start : at - start + size].hex())
        return frozenset(found)

    def add(self, commits: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]]) -> None:
        """Fingerprint and keep the editable files at these commits, given with the files at their bases."""
        new = self.unknown(commits)
        added = {commit: of(*commits[commit]) for commit in new}
        with self._lock:
            for commit, prints in added.items():
                self._hold(commit, *prints)
        # Each begins with a line end, so that a line cut by a full disk spoils no other.
        lines = "".join(f"\n{' '.join((commit, *prints))}" for commit, prints in added.items())
        if not lines:
            return
        with contextlib.suppress(OSError):
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.write(file, lines.encode("ascii"))
            finally:
                os.close(file)

    def _hold(self, commit: str, *prints: str) -> None:
        known, name = self._read(), bytes.fromhex(commit)
        if name not in known:
            known.add(name)
            self._rows += b"".join((name.ljust(_WIDTH, b"\0"), *map(bytes.fromhex, prints)))

    def _read(self) -> set[bytes]:
        if self._known is None:
            self._known = set()
            with contextlib.suppress(OSError), self.path.open("r", encoding="ascii", errors="replace") as file:
                if file.readline().rstrip("\n") == self._head:
                    for line in file:
                        if found := _LINE.fullmatch(line.rstrip("\n")):
                            self._hold(*found.groups())
                    return self._known
            with contextlib.suppress(OSError):
                write(self.path, self._head)
        return self._known


def of(files: Mapping[str, str], base: Mapping[str, str]) -> Code:
    """The fingerprints of `files`, as a change of those at their base."""
    return Code(fingerprint(files), setting.read(files).digest, change_print(base, files))
