"""Makes a commit with `git fast-import`: one process, where plumbing commands would need six.

The format is that of git-fast-import(1). The ref that it requires is removed in the same stream, so none moves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

WHO = "autoresearch-tui <autoresearch-tui@localhost>"
# Few objects are written loose, whatever the user's settings: a pack per commit would be too many packs.
WORDS = ("-c", "fastimport.unpackLimit=1000", "fast-import", "--quiet")
_REF = "refs/autoresearch-import"
_REPORT = re.compile(r"dumping crash report to (.+)")


def stream(base: str | None, files: Mapping[str, tuple[str, bytes] | None], message: str, when: str) -> bytes:
    """The input for git: a commit on `base` with these modes and contents at these paths (None removes a path).

    `when`: ISO 8601. Git answers with the commit.
    """
    return b"".join(_lines(base, files, message, when))


def _lines(base: str | None, files: Mapping[str, tuple[str, bytes] | None], message: str, when: str) -> Iterator[bytes]:
    text = message if message.endswith("\n") else f"{message}\n"
    at = datetime.fromisoformat(when)
    date = f"{int(at.timestamp())} {at.astimezone(at.tzinfo):%z}"
    yield f"commit {_REF}\nmark :1\nauthor {WHO} {date}\ncommitter {WHO} {date}\n".encode()
    yield _data(text.encode("utf-8", "surrogateescape"))
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
    """Remove the crash report that a failed fast-import in `folder` left in the repository."""
    if (found := _REPORT.search(complaint)) is not None:
        (folder / found[1]).unlink(missing_ok=True)
