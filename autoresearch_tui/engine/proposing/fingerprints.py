"""What the code of each attempt is, by its commit: worked out once, and kept on disk for later engines and sessions.

Of thousands of attempts of a long train.py it takes minutes; what is kept saves only time, and may be deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from autoresearch_tui.engine.proposing.preflight import change_print, fingerprint
from autoresearch_tui.python_source import setting
from autoresearch_tui.util.atomic import write

_LINE = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{64}) ([0-9a-f]{64}) ([0-9a-f]{64})", re.ASCII)
# A change of how either is worked out needs another number; Python's own parser has a say as well.
_METHOD = f"2 {sys.version_info.major}.{sys.version_info.minor}"


class Code(NamedTuple):
    """The :func:`~preflight.fingerprint` of an attempt's files, the digest of their :class:`~setting.Setting`, and the
    :func:`~preflight.change_print` of what they change."""

    code: str
    setting: str
    change: str


class Fingerprints:
    """Used from the engine's thread and the proposers'."""

    def __init__(self, path: Path, editable: Sequence[str]) -> None:
        self._path = path
        names = hashlib.sha256("\0".join(editable).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        self._head = f"# {_METHOD} {names}"
        self._known: dict[str, Code] | None = None
        self._reading = threading.Lock()

    def known(self) -> dict[str, Code]:
        """Those of all commits so far."""
        with self._reading:
            if self._known is None:
                self._known = self._read()
            return self._known

    def add(self, commits: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]]) -> None:
        """Work out and keep those of the editable files at these commits, given with those at their bases."""
        known = self.known()
        if not commits:
            return
        added = {commit: of(files, base) for commit, (files, base) in commits.items() if commit not in known}
        known |= added
        # Begins with a line's end: a line that a full disk has cut takes no other with it.
        lines = "".join(f"\n{' '.join((commit, *prints))}" for commit, prints in added.items())
        with contextlib.suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.write(file, lines.encode("ascii"))
            finally:
                os.close(file)

    def _read(self) -> dict[str, Code]:
        with contextlib.suppress(OSError):
            text = self._path.read_text("ascii", "replace")
            if text.partition("\n")[0] == self._head:
                found = (_LINE.fullmatch(line) for line in text.splitlines())
                return {line[1]: Code(line[2], line[3], line[4]) for line in found if line}
        with contextlib.suppress(OSError):
            write(self._path, self._head)
        return {}


def of(files: Mapping[str, str], base: Mapping[str, str]) -> Code:
    """What these files are, as a change of those at their base."""
    return Code(fingerprint(files), setting.read(files).digest, change_print(base, files))
