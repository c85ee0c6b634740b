"""The logs of a session's runs on a stream: one in full, or each in turn, as `tail -f` does."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from autoresearch_tui.lab import session_files
from autoresearch_tui.logs.lines import READ_BYTES, LogTail
from autoresearch_tui.logs.tail import FileTail
from autoresearch_tui.session.outline import Outline, read_outline
from autoresearch_tui.session.state import Experiment
from autoresearch_tui.session.status import title
from autoresearch_tui.util.columns import cut
from autoresearch_tui.util.text import clean_line

_LOOK_MILLISECONDS = 200
_WIDTH = 80


def header(experiment: Experiment) -> str:
    """`#7 MATRIX_LR 0.04→0.02 (attempt 2, on 0)`."""
    beside = [f"attempt {experiment.attempt}"] if experiment.attempt > 1 else []
    beside += [f"on {experiment.device}"] if experiment.device else []
    end = f" ({clean_line(', '.join(beside))})" if beside else ""
    return cut(title(experiment), _WIDTH - 8 - len(end)) + end


class Printer:
    """Writes a growing log to `out`: cleaned for a terminal, byte for byte otherwise."""

    def __init__(self, path: Path, out: BinaryIO, *, terminal: bool) -> None:
        self._out, self._terminal = out, terminal
        self._tail, self._file, self._frame = LogTail(path), FileTail(path), ""
        self._open = False

    def more(self) -> None:
        """Writes new data. Raises OSError if `out` fails."""
        if self._terminal:
            self._lines()
        else:
            self._bytes()
        self._out.flush()

    def end(self) -> None:
        """Ends an unfinished line, because nothing more comes for now."""
        if self._open:
            self._out.write(b"\n")
            self._out.flush()
            self._frame, self._open = "", False

    def _lines(self) -> None:
        while True:
            chunk = self._tail.read()
            text = "".join(f"{line}\n" for line in chunk.lines)
            if chunk.frame != self._frame or text:
                clear = "\r\x1b[K" if self._frame else ""
                self._out.write((clear + text + cut(chunk.frame, _columns(self._out) - 1)).encode("utf-8", "replace"))
                self._frame = chunk.frame
                self._open = bool(chunk.frame)
            if not chunk.behind:
                return

    def _bytes(self) -> None:
        while data := self._file.look(READ_BYTES).data:
            self._file.take(data[: self._out.write(data)])
            self._open = not data.endswith(b"\n")


def follow(root: Path, tag: str, out: BinaryIO, *, terminal: bool) -> None:
    """Writes the log of the run in progress, or the last, and of each later run, with a header for each.

    Ends with BrokenPipeError when the reader of `out` goes away. Raises UserError for a damaged journal.
    """
    files = session_files.of(root, tag)
    printers: dict[tuple[int, str], Printer] = {}
    present, newest = None, -1
    for found in _outlines(root, tag, out):
        for number, started, whose in _shown(found, newest):
            log = files.run(number).log
            newest = max(newest, number)
            printer = printers.setdefault((number, started), Printer(log, out, terminal=terminal))
            if printer is not present and (log.exists() or number == newest):
                if present is not None:
                    present.more()
                    present.end()
                out.write(f"==> {whose} <==\n".encode("utf-8", "replace"))
                present = printer
        if present is not None:
            present.more()


def _shown(found: Outline, newest: int) -> Iterator[tuple[int, str, str]]:
    """Numbers, starts and names: runs that came and went since the last look, and the run shown now."""
    if found.shown is not None:
        if newest >= 0:
            yield from ((missed, "", f"#{missed}") for missed in range(newest + 1, found.shown.number))
        yield found.shown.number, found.shown.started_at, header(found.shown)


def _outlines(root: Path, tag: str, out: BinaryIO) -> Iterator[Outline]:
    """The session's outline, several times a second, until the reader of `out` is gone."""
    journal = session_files.of(root, tag).journal
    gone = select.poll()
    if not out.isatty():
        gone.register(out.fileno(), 0)  # for errors only, such as a pipe without a reader
    size = journal.stat().st_size
    found = read_outline(root, tag)
    while True:
        yield found
        if gone.poll(_LOOK_MILLISECONDS):
            raise BrokenPipeError
        if (grown := journal.stat().st_size) != size:
            size, found = grown, read_outline(root, tag)


def _columns(out: BinaryIO) -> int:
    try:
        return max(20, os.get_terminal_size(out.fileno()).columns)
    except OSError:
        return _WIDTH
