"""Finds the last match of a pattern in a log. Also a separate program, because a pattern can backtrack forever and
nothing else could interrupt it. Standard library only.

Standard input: a line of JSON `{"pattern": …, "name": …, "path": …}`, and without a path the text in UTF-8. Standard
output: JSON; null without a match, else `{"group": …, "line": …, "by_name": …, "at": …}`, where `at` is the first byte
of the piece of the log with the match.
"""

from __future__ import annotations

import codecs
import json
import mmap
import os
import re
import sys
from collections.abc import Callable, Iterator

# Pieces are searched from the end: a score is among the last lines, and a log may have 64 MiB.
_PIECE, _OVERLAP = 1 << 20, 1 << 14
_ANSI = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_PLAIN = re.compile(r"[A-Za-z0-9_:=<>/# -]+")
_SHOWN = 200

Bytes = bytes | mmap.mmap
Match = re.Match[str]


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("western", _as_windows)


def search(data: Bytes, pattern: str, name: str) -> dict[str, object] | None:
    """The last match of the pattern, or else the last mention of the name."""
    needle = _beginning(pattern).encode()
    regex = re.compile(pattern, re.MULTILINE)
    for at, piece, own in _pieces(data, lambda raw: needle in raw):
        # Plain text first, then the raw text for patterns with colours or carriage returns.
        for text, limit in ((_plain(piece), len(_plain(piece[:own]))), (piece, own)):
            if match := _last(regex.finditer(text), limit):
                return _answer(match, at)
            if text == piece:
                break
    return _mention(data, name)


def _answer(match: Match, at: int, *, by_name: bool = False) -> dict[str, object]:
    return {"group": match.group(1), "line": _line(match), "by_name": by_name, "at": at}


def _pieces(data: Bytes, wanted: Callable[[bytes], bool]) -> Iterator[tuple[int, str, int]]:
    """Pieces of whole lines from the end: their first byte, their text with some of what follows, and its own length.

    Pieces that are not `wanted` are left out, unless they have colours, which may hide a match.
    """
    end = len(data)
    while end > 0:
        start = data.rfind(b"\n", 0, max(0, end - _PIECE)) + 1
        stop = data.find(b"\n", min(len(data), end + _OVERLAP))
        raw = data[start : len(data) if stop < 0 else stop]
        if b"\x1b" in raw or wanted(raw):
            own = raw[: end - start].decode("utf-8", "western")
            yield start, own + raw[end - start :].decode("utf-8", "western"), len(own)
        end = start


def _last(matches: Iterator[Match], limit: int) -> Match | None:
    """The last match that begins before the limit; later ones belong to a piece that was searched before."""
    found = None
    for match in matches:
        if match.start() >= limit:
            break
        found = match
    return found


def _plain(text: str) -> str:
    return (_ANSI.sub("", text) if "\x1b" in text else text).replace("\r\n", "\n").replace("\r", "\n")


def _mention(data: Bytes, name: str) -> dict[str, object] | None:
    """The last place with the name and a number in any form: `val_bpb=0.99`, `{"val_bpb": 0.99}`."""
    words = [word for word in re.split(r"[ _./-]+", name) if word]
    if not words:
        return None
    number = r"[-+]?(?:\d[\d.,]*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf)"
    regex = re.compile(
        rf"(?i)(?<![A-Za-z0-9]){r'[ _./-]?'.join(map(re.escape, words))}"
        rf"[\"'`]?\s{{0,20}}(?:[:=]|is|->|\u2192)?\s{{0,20}}((?:[a-z_][\w.]{{0,30}}[(\[]+[\"']?){{0,2}}{number})(?!\w)"
    )
    needle = max(words, key=len).lower()
    for begins, piece, own in _pieces(data, lambda raw: not needle.isascii() or needle.encode() in raw.lower()):
        text, limit = _plain(piece), len(_plain(piece[:own]))
        for at in _places(text, needle):
            # Only beside the needle: searching the whole text would take seconds.
            match = _last(regex.finditer(text, max(0, at - len(name) - 20), at + _SHOWN), limit)
            if match is not None and match.start() <= at:
                return _answer(match, begins, by_name=True)
    return None


def _places(text: str, needle: str) -> Iterator[int]:
    """The positions of a word, in any case, from the end."""
    lower = text.lower()
    if len(lower) != len(text):  # some letters have a longer small form, so positions differ
        yield from (found.start() for found in reversed(list(re.finditer(re.escape(needle), text, re.IGNORECASE))))
        return
    at = lower.rfind(needle)
    while at >= 0:
        yield at
        at = lower.rfind(needle, 0, at)


def _beginning(pattern: str) -> str:
    """The literal text that every match begins with, if it is obvious; else empty."""
    if "|" in pattern or "(?" in pattern:
        return ""
    body = pattern.removeprefix("^")
    plain = _PLAIN.match(body)
    if plain is None:
        return ""
    return plain[0][:-1] if body[plain.end() :][:1] in {"*", "?", "{"} else plain[0]


def _line(match: Match) -> str:
    text = match.string
    start = max(text.rfind("\n", 0, match.start()) + 1, match.start() - _SHOWN)
    end = text.find("\n", match.start() + 1)
    return text[start : len(text) if end < 0 else end][:_SHOWN]


def _log(path: str, encoding: str) -> Bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        if os.fstat(file.fileno()).st_size == 0:
            return b""
        if encoding == "utf-8":
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return file.read().decode(encoding, "replace").encode("utf-8", "replace")


def main() -> None:
    task = json.loads(sys.stdin.buffer.readline())
    data = _log(task["path"], task["encoding"]) if task["path"] else sys.stdin.buffer.read()
    json.dump(search(data, task["pattern"], task["name"]), sys.stdout)


if __name__ == "__main__":
    main()
