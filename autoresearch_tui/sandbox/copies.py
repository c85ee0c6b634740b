"""Copies of the scored text among the files that a run may read, found by content under any name.

A document is known by the set of its longer lines without blanks. A file is a copy if it has a good share of a
document's lines; under the document's own name, as in another version of a library, a few are enough. A full search
takes seconds, so each folder's result is cached with its time of change: a new file is noticed, one that is changed in
place later is not.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.frozen import Frozen

_LONG = 24  # bytes of a line that is distinctive
_FEW = 5  # lines, at least
_SHARE, _NAMESAKES = 0.4, 0.12  # shares of a document's lines: under any name, under its own
_COMPILED = 0.6  # share of the names that a source defines, for byte code under its name
_DEFINES = re.compile(rb"(?:def|class)(\w{4,})")
_SMALLEST, _LARGEST = 2000, 16 << 20  # bytes; less text is of no use to a run
_SNIFFED = 4096
_BLANKS = b" \t\r"
_ARCHIVES = (".zip", ".whl", ".egg", ".pyz")
_BINARY = (".so", ".a", ".o", ".bc", ".png", ".jpg", ".gif", ".svg", ".mo", ".po", ".ttf", ".jar", ".pt", ".bin")
_OTHER = (".h", ".hpp", ".cuh", ".c", ".cpp", ".cmake", ".mod", ".pm", ".pl", ".vim", ".js", ".css", ".xsd")
_NEVER = frozenset((*_BINARY, *_OTHER))
_VERSION = 1
# The results in this process, by the documents' digest.
_found: dict[str, dict[str, list[object]]] = {}


class Marks(Frozen):
    """The name and the lines of each document, and all lines together."""

    documents: tuple[tuple[str, frozenset[bytes]], ...]
    lines: frozenset[bytes]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.documents)

    @property
    def digest(self) -> str:
        """Changes with the documents."""
        return hashlib.sha256(b"\n".join(sorted(self.lines)) + str(_VERSION).encode()).hexdigest()

    def are_in(self, data: bytes, name: str) -> bool:
        """Whether a file of this name and content copies one of the documents."""
        if name.endswith(".pyc"):
            own = (lines for document, lines in self.documents if document == _stem(name))
            return any(_defined(lines, data) >= _COMPILED for lines in own)
        found = self.lines.intersection(_lines(data))
        if len(found) < _FEW:
            return False
        return any(
            len(found & lines) >= max(_FEW, len(lines) * (_NAMESAKES if document == _stem(name) else _SHARE))
            for document, lines in self.documents
        )


def marks(documents: Iterable[Path]) -> Marks:
    """The marks of these files; those that cannot be read, or have too few long lines, are left out."""
    found = []
    for path in documents:
        with suppress(OSError):
            lines = frozenset(line for line in _lines(path.read_bytes()) if len(line) >= _LONG)
            if len(lines) >= _FEW:
                found.append((_stem(path.name), lines))
    return Marks(tuple(found), frozenset().union(*(lines for _, lines in found)))


def find(known: Marks, tops: Iterable[Path], memory: Path) -> tuple[Path, ...]:
    """Returns every copy below these folders; follows no link. Caches results in the folder `memory`, if possible."""
    digest = known.digest
    file = memory / f"copies-{digest[:12]}.json"
    before = _found.get(digest) or _remembered(file)
    after: dict[str, list[object]] = {}
    copies = [path for top in tops for path in _below(str(top), known, before, after)]
    both = {**before, **after}  # keeps the folders of other labs
    if both != before or digest not in _found:
        with suppress(OSError):
            memory.mkdir(parents=True, exist_ok=True)
            write(file, json.dumps(both))
    _found[digest] = both
    return tuple(dict.fromkeys(copies))


def _below(top: str, known: Marks, before: dict[str, list[object]], after: dict[str, list[object]]) -> Iterator[Path]:
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            changed = os.stat(folder).st_mtime_ns  # noqa: PTH116 - of tens of thousands of folders
            if folder not in after:
                kept = before.get(folder)
                after[folder] = kept if kept and kept[0] == changed else [changed, *_look(folder, known)]
        except OSError:
            continue
        _, folders, names = after[folder]
        assert isinstance(folders, list) and isinstance(names, list)
        waiting += [f"{folder}/{name}" for name in folders]
        yield from (Path(folder, name) for name in names)


def _look(folder: str, known: Marks) -> tuple[list[str], list[str]]:
    """The folders in a folder, and the copies. Raises OSError."""
    folders, names = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file(follow_symlinks=False) and _is_copy(entry, known):
                    names.append(entry.name)
    return folders, names


def _is_copy(entry: os.DirEntry[str], known: Marks) -> bool:
    name, size = entry.name, entry.stat().st_size
    suffix = _suffix(name)
    if suffix in _NEVER or ".so." in name or size < _SMALLEST:
        return False
    if suffix in _ARCHIVES:
        return _in_archive(entry.path, known)
    if suffix == ".pyc" and _stem(name) not in known.names:
        return False
    if size > _LARGEST:
        return False
    if suffix == ".gz":
        if _suffix(name[:-3]) not in (".py", ".txt", ".rst", ".html", ".json"):
            return False
        with gzip.open(entry.path) as file:
            return known.are_in(file.read(_LARGEST), name)
    with Path(entry.path).open("rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return False
        begin = file.read(_SNIFFED)
        if b"\0" in begin and suffix != ".pyc":
            return False
        return known.are_in(begin + file.read(), name)


def _in_archive(path: str, known: Marks) -> bool:
    with zipfile.ZipFile(path) as archive:
        inside = [each for each in archive.infolist() if _stem(Path(each.filename).name) in known.names]
        return any(known.are_in(archive.read(each), Path(each.filename).name) for each in inside)


def _lines(data: bytes) -> Sequence[bytes]:
    return data.translate(None, _BLANKS).split(b"\n")


def _defined(lines: Iterable[bytes], data: bytes) -> float:
    """The share of the names defined in a source that the byte code contains."""
    names = {found[1] for line in lines if (found := _DEFINES.match(line))}
    return sum(name in data for name in names) / len(names) if len(names) >= _FEW else 0.0


def _suffix(name: str) -> str:
    return name[max(name.rfind("."), 0) :] if "." in name else ""


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _remembered(file: Path) -> dict[str, list[object]]:
    try:
        kept = json.loads(file.read_bytes())
        return {str(folder): list(found) for folder, found in kept.items() if len(found) == 3}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
