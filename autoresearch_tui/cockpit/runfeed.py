"""One run's log as the screen needs it: its last lines, its progress, its curve. Bounded, whatever its length."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoresearch_tui.cockpit.curve import Curve
from autoresearch_tui.engine.reading.runlog import Chunk, Progress, Splitter

KEPT_LINES = 5000
SLICE = 16 * 1024
# Reading ends after this many seconds, so that a flood of lines does not delay a key.
SLICE_SECONDS = 0.003
# Further behind than this the feed goes on at the end of the log, and says so.
SKIP_OVER = 4 * 1024 * 1024
SAMPLES = 64
SAMPLE_BYTES = 1024

_SKIPPED = "…… "
_ERROR = re.compile(
    r"Traceback \(most|(?:Error|Exception)\b|(?i:\berror\b|\bfail(?:ed|ure)?\b|\bfatal\b|out of memory|\bnan\b)"
)
_WARNING = re.compile(r"Warning\b|(?i:\bwarn(?:ing)?\b|\bdeprecat)")


def kind_of(text: str) -> str:
    """What a line looks like: error, warn, skip or nothing. A guess for colours and for «first error», never a fact."""
    if text.startswith(_SKIPPED):
        return "skip"
    if _ERROR.search(text):
        return "error"
    return "warn" if _WARNING.search(text) else ""


class RunFeed:
    """Follows `path` by byte offset, a slice at a time."""

    def __init__(self, path: Path, number: int = -1, budget: float | None = None) -> None:
        self.path = path
        self.number = number
        self._budget = budget
        self._reset()

    def _reset(self) -> None:
        self._splitter = Splitter()
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.total = 0
        self.frame = ""
        self.progress: Progress | None = None
        self.seen = 0.0
        self.curve = Curve()
        self.behind = False
        self._left_out: Iterator[Progress | None] = iter(())

    @property
    def first(self) -> int:
        """The number of the first line that is kept."""
        return self.total - len(self.lines)

    def poll(self, now: float) -> bool:
        """Take in what is new, for a few milliseconds at most; whether anything was."""
        end = time.perf_counter() + SLICE_SECONDS
        found = False
        while self._grown() and (data := self._read()):
            found = True
            self._take(self._splitter.feed(data), now)
            if time.perf_counter() > end:
                self.behind = True
                return found
        for progress in self._left_out:
            found = True
            if progress is not None:
                self._plot(progress)
            if time.perf_counter() > end:
                self.behind = True
                return found
        self.behind = False
        return found

    def fraction(self, progress: Progress) -> float | None:
        """The share of the budget that is used."""
        if progress.percent is not None:
            return min(1.0, progress.percent / 100)
        if progress.remaining_seconds is not None and self._budget:
            return min(1.0, max(0.0, 1 - progress.remaining_seconds / self._budget))
        return None

    @property
    def fraction_done(self) -> float | None:
        """The share of the budget that the newest progress line says is used."""
        return None if self.progress is None else self.fraction(self.progress)

    def _grown(self) -> bool:
        """Whether there may be more to read: one look at the folder's entry, several times a second."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) != self._identity or status.st_size != self._offset

    def _read(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if self._identity not in (None, identity) or status.st_size < self._offset:
                    self._reset()
                self._identity = identity
                if status.st_size - self._offset > SKIP_OVER:
                    self._skip(status.st_size)
                file.seek(self._offset)
                data = file.read(SLICE)
        except OSError:
            return b""
        self._offset += len(data)
        return data

    def _skip(self, size: int) -> None:
        target = size - SLICE
        self._left_out = sampled(self.path, self._offset, target)
        left_out = target - self._offset
        self._splitter, self._offset = Splitter(), target
        self._append((f"{_SKIPPED}{left_out / (1 << 20):.1f} MiB of the log are left out here",))

    def _take(self, chunk: Chunk, now: float) -> None:
        found = [*chunk.progress, *([chunk.current] if chunk.current else [])]
        for progress in chunk.progress:
            self._plot(progress)
        if chunk.current and chunk.current.remaining_seconds is not None:
            self._plot(chunk.current)  # not yet ended, but nothing of it is missing that is shown
        if found:
            self.progress, self.seen = found[-1], now
        self.frame = chunk.frame
        skipped = max(0, len(chunk.lines) - KEPT_LINES)
        self.total += skipped
        self._append(chunk.lines[skipped:])

    def _append(self, lines: Sequence[str]) -> None:
        self.lines.extend(lines)
        self.total += len(lines)

    def _plot(self, progress: Progress) -> None:
        fraction = self.fraction(progress)
        if fraction is not None:
            self.curve.add(fraction, progress.loss)


def sampled(path: Path, start: int, end: int) -> Iterator[Progress | None]:
    """Progress lines from evenly spaced places of a log that is too long to be read; None where there is none."""
    step = max(SAMPLE_BYTES, (end - start) // SAMPLES)
    for place in range(start, end, step):
        try:
            with path.open("rb") as file:
                file.seek(place)
                data = file.read(SAMPLE_BYTES)
        except OSError:
            return
        yield next(iter(Splitter().feed(data).progress[-1:]), None)


def curve_of(path: Path, budget: float | None) -> Curve:
    """The whole curve of a run that has ended."""
    feed = RunFeed(path, budget=budget)
    while feed.poll(0.0) and feed.behind:
        pass
    return feed.curve
