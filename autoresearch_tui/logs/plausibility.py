"""Pure: checks of a score that the training itself printed.

Such a score cannot be proved right. But a log that contradicts itself, the clock or the baseline's log deserves a
human's look: each doubt names the contradiction. None of them decides.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping

from autoresearch_tui.logs.trace import CLOCK_SLACK, Trace
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.numbers import finite

CONDITIONS = ("device", "dtype", "attention", "torch")  # of a summary
_BUDGET_SHARE, _BUDGET_SLACK = 0.1, 5.0
_PACE = 2.0
_BYTES_A_TOKEN = (1.0, 12.0)
_MOST_MEMORY_MB = 2e6
_NAMED = 3
# Compared with the baseline: the allowed excess in seconds, as a share of the budget and at least; the share of the
# budget that must be used; the factor of seconds for as many tokens; the least share of its ratio of score to last
# loss.
_MORE_SHARE, _MORE_SLACK = 0.05, 5.0
_TOTAL_SHARE = 0.2  # beyond a summary's own total, which may leave imports out
_LEAST_SHARE = 0.8
_TOKENS_PACE = 2.0
_LEAST_RATIO = 0.6
_FEW_LINES = 3


class Usual(Frozen):
    """The baseline's log. `scores`: how many different ones it has; `lower`: whether lower is better."""

    trace: Trace
    value: float | None
    scores: int
    lower: bool = True


def doubts(
    trace: Trace,
    summary: Mapping[str, str],
    *,
    metric: str,
    value: float | None,
    wall_seconds: float,
    budget_seconds: float,
    scores: int = 1,
    usual: Usual | None = None,
) -> tuple[str, ...]:
    """The doubts, each `name: contradiction`. `budget_seconds` 0: the budget is in tokens.

    `scores`: how many different ones the log has. `usual`: None for the baseline itself.
    """
    numbers = {key: number for key, text in summary.items() if (number := finite(text)) is not None}
    return (
        *_clock(numbers, wall_seconds),
        *_budget(numbers, trace, budget_seconds),
        *_order(trace),
        *_end(trace),
        *_steps(numbers, trace),
        *_pace(numbers, trace),
        *_memory(summary, numbers),
        *_metric(metric, value, trace),
        *(_against(usual, trace, metric, value, scores) if usual else ()),
    )


def count_scores(text: str, metric: str) -> int:
    """How many different values of the metric a log has, on lines of their own."""
    return len(set(re.findall(rf"^{re.escape(metric)}[ \t]*[:=][ \t]*(\S+)", text, re.MULTILINE)))


def wall(seconds: float, usual: float, budget: float) -> list[str]:
    """Doubts about a run's wall time compared with the baseline's. `budget` 0: the budget is in tokens."""
    if not budget:
        if seconds <= _TOKENS_PACE * usual + CLOCK_SLACK:
            return []
        return [f"clock: it took {seconds:.1f} s, the baseline {usual:.1f} s for as many tokens"]
    if seconds > usual + max(_MORE_SHARE * budget, _MORE_SLACK):
        return [f"clock: it took {seconds:.1f} s, the baseline {usual:.1f} s of the same budget"]
    if seconds < _LEAST_SHARE * budget <= _LEAST_SHARE * usual:
        return [f"clock: it took {seconds:.1f} s of a budget of {budget:g} s, the baseline {usual:.1f} s"]
    return []


def measured_otherwise(summary: Mapping[str, str], usual: Mapping[str, str]) -> str:
    """Conditions that differ from the baseline's and change scores by themselves; empty if none is known."""
    pairs = [(key, summary[key], usual[key]) for key in CONDITIONS if key in summary and key in usual]
    apart = ", ".join(f"{key} {own[:40]}, not {other[:40]}" for key, own, other in pairs if own != other)
    return f"measured otherwise than the baseline: {apart}" if apart else ""


def _against(usual: Usual, trace: Trace, metric: str, value: float | None, scores: int) -> list[str]:
    """Doubts from the baseline's log."""
    found = []
    if usual.trace.count >= _FEW_LINES > trace.count:
        found.append(f"progress: {trace.count} progress lines, the baseline had {usual.trace.count}")
    if scores > 1 >= usual.scores:
        found.append(f"metric: the log has {scores} different values of {metric}, the last counts")
    ratio, other = _ratio(value, trace), _ratio(usual.value, usual.trace)
    if usual.lower and ratio is not None and other is not None and ratio < _LEAST_RATIO * other:
        found.append(
            f"metric: {metric} is {ratio:.2g} times the last training loss, the baseline's {other:.2g} times its own"
        )
    return found


def _ratio(value: float | None, trace: Trace) -> float | None:
    """The score divided by the last training loss, if both are positive."""
    loss = trace.last.loss if trace.last else math.nan
    return value / loss if value is not None and value > 0 and math.isfinite(loss) and loss > 0 else None


def _clock(numbers: Mapping[str, float], wall: float) -> list[str]:
    found = []
    for key, words in (("training_seconds", "of training"), ("total_seconds", "in all")):
        if key in numbers and numbers[key] > wall * 1.01 + CLOCK_SLACK:
            found.append(f"clock: the summary claims {numbers[key]:.1f} s {words}, the run took {wall:.1f} s")
    total = numbers.get("total_seconds")
    if total is not None and wall > total * (1 + _TOTAL_SHARE) + _MORE_SLACK:
        found.append(f"clock: the summary claims {total:.1f} s in all, the run took {wall:.1f} s")
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
    """Compares the claimed tokens with the speed in the progress lines."""
    tokens, seconds = numbers.get("total_tokens_M"), numbers.get("training_seconds")
    if tokens is None or not seconds or not trace.speeds or tokens <= 0:
        return []
    # The first steps' tokens count but their time does not, so a run of few steps cannot be judged.
    if trace.count < 30:
        return []
    expected = statistics.median(trace.speeds) * seconds / 1e6
    if expected / _PACE <= tokens <= expected * _PACE:
        return []
    return [f"pace: {tokens:g} M tokens claimed, the progress lines' speed gives about {expected:.1f} M"]


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
    loss = trace.last.loss if trace.last else math.nan
    if not (math.isfinite(loss) and loss > 0):
        return []
    # The last training loss in bits per token; a token of text has one to a dozen bytes.
    bits = loss / math.log(2)
    least, most = bits / _BYTES_A_TOKEN[1], bits / _BYTES_A_TOKEN[0]
    if least <= value <= most * 1.5:
        return []
    return [f"metric: {name} {value:g} does not go with a training loss of {loss:g} in the end"]
