"""What can be checked from outside of a score that the training itself printed. Pure, but for reading the log.

Nobody can prove such a score right. But a log that contradicts itself, or the clock, is worth a human's look: each
finding says what does not go with what. None of them decides.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autoresearch_tui.engine.reading.runlog import LogTail, Progress

_CLOCK_SLACK = 2.0  # seconds; a summary is rounded, and a supervisor's clock starts a little later
_BUDGET_SHARE, _BUDGET_SLACK = 0.1, 5.0
_PACE = 2.0
_BYTES_A_TOKEN = (1.0, 12.0)
_MOST_MEMORY_MB = 2e6
_NAMED = 3


@dataclass(slots=True)
class Trace:
    """The progress lines of a log, as far as they tell a story. Feed it every line, in order."""

    count: int = 0
    first: Progress | None = None
    last: Progress | None = None
    backward: list[tuple[int, int]] = field(default_factory=list)
    rising: list[tuple[float, float]] = field(default_factory=list)
    widest: float = 0.0  # per cent between two lines
    stride: int = 1
    speeds: list[float] = field(default_factory=list)

    def add(self, now: Progress) -> None:
        """One more progress line."""
        before = self.last
        self.count += 1
        self.first = self.first or now
        self.last = now
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
            slack = _CLOCK_SLACK + 0.02 * before.remaining_seconds
            if now.remaining_seconds > before.remaining_seconds + slack and now.step > 10:
                self.rising.append((before.remaining_seconds, now.remaining_seconds))


def read_trace(log: Path) -> Trace:
    """The progress lines of a whole log."""
    trace, tail = Trace(), LogTail(log)
    while True:
        chunk = tail.read()
        for line in chunk.progress:
            trace.add(line)
        if not chunk.behind:
            if chunk.current is not None and chunk.current != trace.last:
                trace.add(chunk.current)
            return trace


def doubts(
    trace: Trace,
    summary: Mapping[str, str],
    *,
    metric: str,
    value: float | None,
    wall_seconds: float,
    budget_seconds: float,
) -> tuple[str, ...]:
    """Findings, each `name: what does not go with what`. `budget_seconds` 0: the budget is none of time."""
    numbers = {key: number for key, text in summary.items() if (number := _number(text)) is not None}
    return (
        *_clock(numbers, wall_seconds),
        *_budget(numbers, trace, budget_seconds),
        *_order(trace),
        *_end(trace),
        *_steps(numbers, trace),
        *_pace(numbers, trace),
        *_memory(summary, numbers),
        *_metric(metric, value, trace),
    )


def _clock(numbers: Mapping[str, float], wall: float) -> list[str]:
    found = []
    for key, words in (("training_seconds", "of training"), ("total_seconds", "in all")):
        if key in numbers and numbers[key] > wall * 1.01 + _CLOCK_SLACK:
            found.append(f"clock: the summary claims {numbers[key]:.1f} s {words}, the run took {wall:.1f} s")
    return found


def _budget(numbers: Mapping[str, float], trace: Trace, budget: float) -> list[str]:
    claimed = numbers.get("training_seconds")
    if claimed is None or not budget:
        return []
    step = (trace.last.dt_ms or 0.0) / 1000 if trace.last else 0.0
    if abs(claimed - budget) <= max(_BUDGET_SHARE * budget, _BUDGET_SLACK, 2 * step):
        return []
    return [f"budget: {claimed:.1f} s of training claimed, the budget is {budget:g} s"]


def _order(trace: Trace) -> list[str]:
    found = []
    if trace.backward:
        shown = ", ".join(f"{a} to {b}" for a, b in trace.backward[:_NAMED])
        found.append(f"order: step numbers go back {len(trace.backward)} times ({shown})")
    if trace.rising:
        shown = ", ".join(f"{a:.0f} s to {b:.0f} s" for a, b in trace.rising[:_NAMED])
        found.append(f"order: the remaining time rises {len(trace.rising)} times ({shown})")
    return found


def _end(trace: Trace) -> list[str]:
    last = trace.last
    if last is None or last.percent is None or last.percent + max(3.0, 2 * trace.widest) >= 100:
        return []
    return [f"end: the last progress line is at {last.percent:g} %"]


def _steps(numbers: Mapping[str, float], trace: Trace) -> list[str]:
    claimed = numbers.get("num_steps")
    if claimed is None or trace.last is None:
        return []
    last = trace.last.step
    if last - 1 <= claimed <= last + 2 + 2 * trace.stride + 0.01 * last:
        return []
    return [f"steps: the summary says {claimed:g}, the last progress line is step {last}"]


def _pace(numbers: Mapping[str, float], trace: Trace) -> list[str]:
    """Tokens said to be seen, against the speed that the progress lines told."""
    tokens, seconds = numbers.get("total_tokens_M"), numbers.get("training_seconds")
    if tokens is None or not seconds or not trace.speeds or tokens <= 0:
        return []
    # The first steps are not timed, but they count as tokens: a run of few steps cannot be judged.
    if trace.count < 30:
        return []
    told = statistics.median(trace.speeds) * seconds / 1e6
    if told / _PACE <= tokens <= told * _PACE:
        return []
    return [f"pace: {tokens:g} M tokens claimed, the progress lines' speed gives about {told:.1f} M"]


def _memory(summary: Mapping[str, str], numbers: Mapping[str, float]) -> list[str]:
    if "peak_vram_mb" not in summary:
        return []
    memory = numbers.get("peak_vram_mb", math.nan)
    if 0 <= memory <= _MOST_MEMORY_MB:
        return []
    return [f"memory: peak_vram_mb is {summary['peak_vram_mb'][:40]}"]


def _metric(name: str, value: float | None, trace: Trace) -> list[str]:
    if name != "val_bpb" or value is None:
        return []
    if value <= 0:
        return [f"metric: {name} is {value:g}, and can only be more than nought"]
    loss = trace.last.loss if trace.last else math.nan
    if not (math.isfinite(loss) and loss > 0):
        return []
    # The last training loss in bits a token; a token of text has between one and a dozen bytes.
    bits = loss / math.log(2)
    least, most = bits / _BYTES_A_TOKEN[1], bits / _BYTES_A_TOKEN[0]
    if least <= value <= most * 1.5:
        return []
    return [f"metric: {name} {value:g} does not go with a training loss of {loss:g} in the end"]


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
