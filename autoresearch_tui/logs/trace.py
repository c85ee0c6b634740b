"""A summary of all progress lines of a log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, field

from autoresearch_tui.logs.encoding import Decoder
from autoresearch_tui.logs.lines import PROGRESS_CHARS, Progress, parse_progress
from autoresearch_tui.logs.loss_curve import LossCurve

CLOCK_SLACK = 2.0  # seconds; a summary is rounded, and a supervisor's clock starts a little later
# A verdict must not wait for a long log: so many lines also show what is out of order.
_MOST_LINES, _READ_BYTES = 10_000, 1 << 20


class Trace(Struct):
    """A summary of progress lines, which are added in order."""

    count: int = 0
    first: Progress | None = None
    last: Progress | None = None
    backward: list[tuple[int, int]] = field(default_factory=list)
    rising: list[tuple[float, float]] = field(default_factory=list)
    widest: float = 0.0  # per cent between two lines
    stride: int = 1
    speeds: list[float] = field(default_factory=list)
    slowest: Progress | None = None
    curve: LossCurve = field(default_factory=LossCurve)

    def add(self, now: Progress) -> None:
        before = self.last
        self.count += 1
        self.first = self.first or now
        self.last = now
        if now.dt_ms is not None and (self.slowest is None or now.dt_ms > (self.slowest.dt_ms or 0.0)):
            self.slowest = now
        if now.percent is not None:
            self.curve.add(now.percent, now.loss)
        if now.tokens_per_second is not None and now.tokens_per_second > 0:
            self.speeds.append(now.tokens_per_second)
        if before is None:
            return
        if now.step < before.step - 1:  # ranks of one run may be a step apart
            self.backward.append((before.step, now.step))
        self.stride = max(self.stride, now.step - before.step)
        if before.percent is not None and now.percent is not None:
            self.widest = max(self.widest, now.percent - before.percent)
        if before.remaining_seconds is not None and now.remaining_seconds is not None:
            slack = CLOCK_SLACK + 0.02 * before.remaining_seconds
            if now.remaining_seconds > before.remaining_seconds + slack and now.step > 10:
                self.rising.append((before.remaining_seconds, now.remaining_seconds))


def read_trace(log: Path) -> Trace:
    """The trace of a whole log; of a long one, of evenly spaced lines and the last."""
    frames = list(progress_frames(log))
    trace, every = Trace(), -(-len(frames) // _MOST_LINES)
    for index, frame in enumerate(frames):
        if (index % (every or 1) == 0 or index == len(frames) - 1) and (progress := parse_progress(frame)):
            trace.add(progress)
    return trace


def progress_frames(log: Path) -> Iterator[str]:
    """The lines and frames of a log that may be progress. Plain string tests, as a log may have a million lines."""
    decoder, rest = Decoder(), ""
    try:
        with log.open("rb") as file:
            while data := file.read(_READ_BYTES):
                text = rest + decoder.decode(data).replace("\r", "\n")
                lines = text.split("\n")
                rest = lines.pop()[:PROGRESS_CHARS]
                yield from [
                    line
                    for line in lines
                    if ("loss" in line or "Loss" in line or "LOSS" in line)
                    and ("step" in line or "iter" in line or "Step" in line or "Iter" in line)
                ]
    except OSError:
        return
    yield rest
