"""The load of the machine: accelerators, processor, memory; now and over the last minutes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.geometry import Size

from autoresearch_tui.cockpit.widgets.painted import Canvas, Cells, Row, fit, length, wrap
from autoresearch_tui.session.format import bar, size, spark
from autoresearch_tui.util.text import clean_line

if TYPE_CHECKING:
    from autoresearch_tui.lab.machine_load import Device, Sample

_LABEL = 6
_STEP = 10
_SOON = "Load appears here within a second."


class LoadPanel(Canvas, can_focus=True):
    """Shows as much as its height allows: gauges, then details, then the processes that hold memory."""

    def __init__(self, *, recorded: bool = False) -> None:
        """A `recorded` session has no load, and the pane says so."""
        super().__init__(id="load", classes="pane")
        self._nothing = "A replay has no load: none was recorded." if recorded else _SOON
        self._samples: list[Sample] = []

    def show(self, samples: list[Sample]) -> None:
        self._samples = samples
        self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:
        width, height = size
        if not self._samples:
            return [[(f" {line}", "dim")] for line in wrap(self._nothing, width - 2)]
        now = self._samples[-1]
        gauges: list[Row] = []
        details: list[Row] = []
        for place, device in enumerate(now.devices):
            busy = _history(self._samples, partial(_busy, place))
            gauges.append(_gauge(_name(device, now), device.busy, _percent(device.busy), busy, width))
            gauges.append(_memory("vram", device.memory_used, device.memory_total, width))
            details += _details(device, width)
        cpu = _history(self._samples, lambda sample: sample.cpu)
        host: list[Row] = [
            _gauge("cpu", now.cpu, _percent(now.cpu), cpu, width),
            _memory("ram", now.memory_used, now.memory_total, width),
        ]
        rows = [*gauges, *host] if len(gauges) + 2 <= height or not gauges else gauges
        rest = height - len(rows)
        facts = [*details, *_host_details(now, width)]
        return [*rows, *facts[: max(0, rest)]]


def in_short(now: Sample) -> str:
    """`cpu 31% · ram 17%`."""
    words = [f"cpu {now.cpu:.0%}"] if now.cpu is not None else []
    if now.memory_used is not None and now.memory_total:
        words.append(f"ram {now.memory_used / now.memory_total:.0%}")
    return " · ".join(words)


def _busy(place: int, sample: Sample) -> float | None:
    return sample.devices[place].busy if place < len(sample.devices) else None


def _history(samples: list[Sample], value: Callable[[Sample], float | None]) -> list[float]:
    """The means of every ten seconds, so that the line does not change with every sample."""
    groups = groupby(samples, lambda sample: int(sample.time // _STEP))
    return [statistics.fmean([value(sample) or 0.0 for sample in group]) for _, group in groups]


def _name(device: Device, now: Sample) -> str:
    kind = "mig" if device.is_instance else "gpu"
    if len(now.devices) == 1:
        return kind
    return f"{kind}{now.devices.index(device) if device.is_instance else device.index}"


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{share:4.0%}"


def _tone(share: float | None) -> str:
    return "dim" if share is None else "accent" if share < 0.97 else "warn"


def _gauge(name: str, share: float | None, value: str, history: list[float], width: int) -> Row:
    """`gpu  ████▌     45 %  ▁▂▅▇`."""
    bar_width = max(6, min(24, (width - _LABEL - 8) // 2))
    full, empty = bar(share or 0.0, bar_width)
    cells: list[Cells] = [
        (f" {name:<{_LABEL}}", "dim"),
        (full, "accent"),
        (empty.replace(" ", "░"), "faint"),
        (f" {value:>5} ", "strong"),
    ]
    room = width - length(cells) - 1
    return [*cells, (spark(history, room), "second-dim")] if room >= 4 else cells


def _memory(name: str, used: int | None, total: int | None, width: int) -> Row:
    if used is None or not total:
        return [(f" {name:<{_LABEL}}", "dim"), ("n/a", "dim")]
    share = used / total
    bar_width = max(6, min(24, (width - _LABEL - 8) // 2))
    full, empty = bar(share, bar_width)
    return [
        (f" {name:<{_LABEL}}", "dim"),
        (full, "second" if share < 0.95 else "warn"),
        (empty.replace(" ", "░"), "faint"),
        (f" {share:5.0%} ", "strong"),
        (f"{size(used)} of {size(total)}", "dim"),
    ]


def _details(device: Device, width: int) -> list[Row]:
    power = "n/a" if device.power is None else f"{device.power:.0f} W"
    if device.power is not None and device.power_limit:
        power += f" of {device.power_limit:.0f}"
    heat = "n/a" if device.temperature is None else f"{device.temperature} °C"
    clock = "n/a" if device.clock is None else f"{device.clock} MHz"
    if device.clock is not None and device.clock_limit:
        clock += f" of {device.clock_limit}"
    whole = f"{clean_line(device.name)} · {heat} · {power} · {clock}"
    lines = [whole] if cell_len(whole) <= width - 7 else [clean_line(device.name), f"{heat} · {power} · {clock}"]
    rows: list[Row] = [[(" " * (_LABEL + 1), ""), (fit(line, width - 7), "dim")] for line in lines]
    if device.throttled:
        rows.append([(" " * (_LABEL + 1), ""), (f"! throttled by {device.throttled}", "warn")])
    for holder in device.holders[:4]:
        held = "n/a" if holder.memory is None else size(holder.memory)
        rows.append(
            [(" " * (_LABEL + 1), ""), (fit(f"{held:>10}  {holder.pid} {clean_line(holder.name)}", width - 7), "dim")]
        )
    return rows


def _host_details(now: Sample, width: int) -> list[Row]:
    rows: list[Row] = []
    words = []
    if now.load is not None:
        words.append(f"load {now.load:.2f} on {len(now.cores)} cores")
    if now.temperature is not None:
        words.append(f"{now.temperature:.0f} °C")
    if words:
        rows.append([(" " * (_LABEL + 1), ""), (" · ".join(words), "dim")])
    if len(now.cores) > 1:
        bars = "".join(" ▁▂▃▄▅▆▇█"[min(8, int(share * 8.999))] for share in now.cores)
        rows.append([(f" {'cores':<{_LABEL}}", "dim"), (bars[: width - _LABEL - 1], _tone(now.cpu))])
    return rows
