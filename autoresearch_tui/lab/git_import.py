"""A commit as `git fast-import` reads it: one process, and two for what would be six.

The format is that of git-fast-import(1). The ref that it wants for a commit is removed in the same breath: none moves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

WHO = "autoresearch-tui <autoresearch-tui@localhost>"
# So few objects are written one by one, whatever the user has set: a pack for each commit would be too many packs.
WORDS = ("-c", "fastimport.unpackLimit=1000", "fast-import", "--quiet")
_REF = "refs/autoresearch-import"
_REPORT = re.compile(r"dumping crash report to (.+)")


def stream(base: str | None, files: Mapping[str, tuple[str, bytes] | None], message: str, when: str) -> bytes:
    """What git is told: a commit on `base` with these modes and contents at these paths (None: nothing there any more).

    `when`: ISO 8601. Git answers with the commit.
    """
    return b"".join(_lines(base, files, message, when))


def _lines(base: str | None, files: Mapping[str, tuple[str, bytes] | None], message: str, when: str) -> Iterator[bytes]:
    said = message if message.endswith("\n") else f"{message}\n"
    at = datetime.fromisoformat(when)
    date = f"{int(at.timestamp())} {at.astimezone(at.tzinfo):%z}"
    yield f"commit {_REF}\nmark :1\nauthor {WHO} {date}\ncommitter {WHO} {date}\n".encode()
    yield _data(said.encode("utf-8", "surrogateescape"))
    if base is not None:
        yield f"from {base}\n".encode()
    # Removals first: a folder may take the place of a file.
    for path in (path for path, file in files.items() if file is None):
        yield b"D %s\n" % _quoted(path)
    for path, file in files.items():
        if file is not None:
            yield b"M %s inline %s\n" % (file[0].encode(), _quoted(path))
            yield _data(file[1])
    yield f"\nget-mark :1\nreset {_REF}\nfrom {'0' * (40 if base is None else len(base))}\n\n".encode()


def _data(data: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(data), data)


def _quoted(path: str) -> bytes:
    name = path.encode("utf-8", "surrogateescape")
    return b'"%s"' % name.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")


def clear_report(complaint: str, folder: Path) -> None:
    """Remove what a fast-import that failed in `folder` left in the repository for its developers."""
    if (found := _REPORT.search(complaint)) is not None:
        (folder / found[1]).unlink(missing_ok=True)
