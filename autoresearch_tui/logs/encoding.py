"""Decodes logs, whatever encoding a console, a redirection or another system used."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# Bytes that a text begins with. Any other beside a zero byte shows nothing, as output need not be text.
_PLAIN = frozenset((*b"\t\n\r\x1b", *range(0x20, 0x7F), *range(0xA0, 0x100)))
_FOREIGN = "autoresearch-foreign"
_BEFORE = 1 << 16


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    """Decode bytes that are not UTF-8 as Western text of an older system, which they mostly are."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error(_FOREIGN, _as_windows)


class Decoder:
    """Decodes pieces of bytes; the result does not depend on how they are cut.

    A byte order mark, or a zero byte beside a plain first character, means UTF-16. Anything else is UTF-8, perhaps with
    stray Western bytes.
    """

    def __init__(self) -> None:
        self._head = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def decode(self, data: bytes) -> str:
        """The text of the next bytes; the first one or two may be held back until the encoding is clear."""
        if self._decoder is None:
            data = self._head + data
            found = _encoding(data)
            if found is None:
                self._head = data
                return ""
            name, mark = found
            self._decoder = codecs.getincrementaldecoder(name)(_FOREIGN if name == "utf-8" else "replace")
            data = data[mark:]
        return self._decoder.decode(data)


def tail(path: Path, limit: int) -> str:
    """The last `limit` bytes of a log as text; empty if the log is missing."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            # An even place: a character of UTF-16 is two bytes.
            start = max(0, file.seek(0, os.SEEK_END) - limit) & ~1
            file.seek(start)
            return decode(file.read(limit + 1), head if start else None)
    except OSError:
        return ""


def piece(path: Path, limit: int, at: int | None) -> str:
    """:func:`tail`, or as much around byte `at`, if that is further from the end."""
    try:
        if at is None or path.stat().st_size - at <= limit or encoding_of(path) != "utf-8":
            return tail(path, limit)
        with path.open("rb") as file:
            file.seek(max(0, at - _BEFORE))
            return decode(file.read(limit + 2 * _BEFORE), b"  ")
    except OSError:
        return ""


def encoding_of(path: Path) -> str:
    """A log's encoding: utf-8 (perhaps with stray Western bytes), utf-16-le or utf-16-be."""
    with path.open("rb") as file:
        return (_encoding(file.read(4) + b"  ") or ("utf-8", 0))[0]


def decode(data: bytes, head: bytes | None = None) -> str:
    """A piece of a log as text; `head`: the log's first bytes, if the piece is from further on."""
    name, mark = _encoding((data if head is None else head) + b"  ") or ("utf-8", 0)
    return data[mark if head is None else 0 :].decode(name, _FOREIGN if name == "utf-8" else "replace")


def _encoding(head: bytes) -> tuple[str, int] | None:
    """The encoding and the length of its mark; None for too few bytes."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name, len(mark)
    if len(head) < 2 or any(len(head) < len(mark) and mark.startswith(head) for mark, _ in _BOMS):
        return None
    if head[0] in _PLAIN and not head[1]:
        return "utf-16-le", 0
    if head[1] in _PLAIN and not head[0]:
        return "utf-16-be", 0
    return "utf-8", 0
