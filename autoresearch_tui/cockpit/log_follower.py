"""One run's log for the screen: its last lines, its progress, its curves. Memory is bounded."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoresearch_tui.logs.lines import Chunk, Progress, Splitter
from autoresearch_tui.logs.tail import FileTail, Piece

KEPT_LINES = 5000
CURVES = {
    "loss": "loss",
    "lrm": "learning rate",
    "tokens_per_second": "tok/s",
    "mfu_percent": "mfu",
    "dt_ms": "ms a step",
}
"""The curves and their names, by the field of a progress line; a fork's own numbers keep the fork's names."""
# So that a log with other names in every line does not fill the memory.
MOST_CURVES = 48


def curve_name(key: str) -> str:
    return CURVES.get(key, key)


SLICE = 16 * 1024
# Reading ends after this many seconds, so that a flood of lines does not delay a key.
SLICE_SECONDS = 0.003
# Further behind than this, the feed skips to the end of the log and says so.
SKIP_OVER = 4 * 1024 * 1024
SAMPLES = 64
SAMPLE_BYTES = 1024

_SKIPPED = "…… "
_ERROR = re.compile(
    r"Traceback \(most|(?:Error|Exception)\b|(?i:\berror\b|\bfail(?:ed|ure)?\b|\bfatal\b|out of memory|\bnan\b)"
)
_WARNING = re.compile(r"Warning\b|(?i:\bwarn(?:ing)?\b|\bdeprecat)")


def kind_of(text: str) -> str:
    """error, warn, skip or nothing. A guess for colours and for the first error, not a fact."""
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
        self._file = FileTail(path)
        self._reset()

    def _reset(self) -> None:
        self._splitter = Splitter()
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.total = 0
        self.frame = ""
        self.progress: Progress | None = None
        self.seen = 0.0
        self._curves: dict[str, Curve] = {}
        self.behind = False
        self._left_out: Iterator[Progress | None] = iter(())

    @property
    def curve(self) -> Curve:
        return self.curve_of("loss")

    def curve_of(self, key: str) -> Curve:
        """The curve of `key` over the run, without points if the log does not have it."""
        return self._curves.get(key) or Curve()

    @property
    def keys(self) -> list[str]:
        """The available curves: those in CURVES in its order, then a fork's own numbers in the order of the log."""
        known = [name for name in CURVES if name in self._curves]
        return [*known, *(name for name in self._curves if name not in CURVES)]

    @property
    def first(self) -> int:
        """The number of the first kept line."""
        return self.total - len(self.lines)

    def poll(self, now: float) -> bool:
        """Reads new data for a few milliseconds at most. Returns whether there was any."""
        end = time.perf_counter() + SLICE_SECONDS
        found = False
        while self._file.grown and (data := self._read()):
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
        """The share of the budget that is used, if the line tells."""
        if progress.percent is not None:
            return min(1.0, progress.percent / 100)
        if progress.remaining_seconds is not None and self._budget:
            return min(1.0, max(0.0, 1 - progress.remaining_seconds / self._budget))
        return None

    @property
    def fraction_done(self) -> float | None:
        """The share of the budget used at the newest progress line."""
        return None if self.progress is None else self.fraction(self.progress)

    def _read(self) -> bytes:
        try:
            piece = self._file.read(SLICE, most_behind=SKIP_OVER)
        except OSError:
            return b""
        if piece.restarted:
            self._reset()
        if piece.skipped:
            self._skipped(piece)
        return piece.data

    def _skipped(self, piece: Piece) -> None:
        end = self._file.offset - len(piece.data)
        self._left_out = sampled(self.path, end - piece.skipped, end)
        self._splitter = Splitter()
        self._append((f"{_SKIPPED}{piece.skipped / (1 << 20):.1f} MiB of the log left out here",))

    def _take(self, chunk: Chunk, now: float) -> None:
        found = [*chunk.progress, *([chunk.current] if chunk.current else [])]
        for progress in chunk.progress:
            self._plot(progress)
        if chunk.current and chunk.current.remaining_seconds is not None:
            self._plot(chunk.current)  # the line has not ended, but has all that is shown
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
            for name in CURVES:
                if (value := getattr(progress, name)) is not None:
                    self._add(name, fraction, value)
            for name, value in progress.others:
                self._add(name, fraction, value)

    def _add(self, name: str, fraction: float, value: float) -> None:
        if name in self._curves or len(self._curves) < MOST_CURVES:
            self._curves.setdefault(name, Curve()).add(fraction, value)


def sampled(path: Path, start: int, end: int) -> Iterator[Progress | None]:
    """Progress lines from evenly spaced places of a log too long to read whole; None for a place without one."""
    step = max(SAMPLE_BYTES, (end - start) // SAMPLES)
    for place in range(start, end, step):
        try:
            with path.open("rb") as file:
                file.seek(place)
                data = file.read(SAMPLE_BYTES)
        except OSError:
            return
        yield next(iter(Splitter().feed(data).progress[-1:]), None)


def whole(path: Path, number: int, budget: float | None) -> RunFeed:
    """The log of a finished run, read to its end."""
    feed = RunFeed(path, number, budget)
    while feed.poll(0.0) and feed.behind:
        pass
    return feed


BINS = 512


class Curve:
    """The last value in each of :data:`BINS` slices of the budget."""

    def __init__(self) -> None:
        self._values: dict[int, float] = {}
        self.version = 0

    def add(self, fraction: float, value: float) -> None:
        """`fraction` is of the budget; a value that is not finite is ignored."""
        if value != value or value in (float("inf"), float("-inf")):
            return
        self._values[min(BINS - 1, max(0, int(fraction * BINS)))] = value
        self.version += 1

    def __len__(self) -> int:
        return len(self._values)

    @property
    def points(self) -> list[tuple[float, float]]:
        """Pairs of budget fraction and value."""
        return [(at / BINS, value) for at, value in sorted(self._values.items())]

    @property
    def last(self) -> tuple[float, float] | None:
        if not self._values:
            return None
        at = max(self._values)
        return at / BINS, self._values[at]

    def value_at(self, fraction: float) -> float | None:
        """The value in the last slice up to `fraction`."""
        known = [at for at in self._values if at <= fraction * BINS]
        return self._values[max(known)] if known else None
