"""The bounds of a lab (`metric.at_most`, `metric.at_least`), on our own measure wherever there is one. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from autoresearch_tui.engine import events as ev
from autoresearch_tui.settings import MetricSettings

# What a device holds for a run beyond its tensors: the driver's context, and blocks kept for the next tensor.
_CONTEXT_MB = 2048.0
_SHARE = 0.5


def beyond(metric: MetricSettings, summary: Mapping[str, str], ended: ev.RunEnded) -> tuple[str, ...]:
    """The bounds that a run does not keep to; one that does not say is beyond them too."""
    ours = measured(ended)
    found = []
    for bounds, word, sign in ((metric.at_most, "more", 1), (metric.at_least, "less", -1)):
        for key, bound in bounds.items():
            number = ours[key] if key in ours else finite(summary.get(key, ""))
            name = key
            if key == "peak_vram_mb" and sign > 0 and understated(summary, ended):
                number = ended.device_memory_mb
                name = f"{key}, said to be {summary[key][:40]}, for which the accelerator held"
            if number is None:
                found.append(f"{_missing(key, ours)}, which is bounded")
            elif sign * (number - bound) > 0:
                found.append(f"{name} {number:g} is {word} than {bound:g}")
    return tuple(found)


def measured(ended: ev.RunEnded) -> dict[str, float | None]:
    """What is known of a run without asking it; None where this machine cannot tell."""
    return {
        "total_seconds": round(ended.seconds, 1),
        "host_memory_mb": ended.memory_mb,
        "device_memory_mb": ended.device_memory_mb,
    }


def understated(summary: Mapping[str, str], ended: ev.RunEnded) -> bool:
    """Whether a printed `peak_vram_mb` is far below what the run's accelerators held for it."""
    claimed, held = finite(summary.get("peak_vram_mb", "")), ended.device_memory_mb
    return claimed is not None and held is not None and claimed < _SHARE * held - _CONTEXT_MB


def finite(text: str) -> float | None:
    """A number as a summary has it, `1,024.5` included; None for anything else."""
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _missing(key: str, ours: Mapping[str, float | None]) -> str:
    return f"{key} cannot be measured here" if key in ours else f"the summary has no {key}"
