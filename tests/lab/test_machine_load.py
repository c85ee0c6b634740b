"""Load: read from whatever is there, and never an exception."""

from __future__ import annotations

import threading
from functools import partial
from types import SimpleNamespace

import psutil
import pytest

from autoresearch_tui.lab import machine_load
from autoresearch_tui.lab.machine_load import HISTORY, Monitor, Probe, Sample


def nvml() -> SimpleNamespace:
    """A driver with one good device and one that knows nothing."""
    answers = {
        "nvmlDeviceGetName": b"H100",
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97),
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=10, total=20),
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetPowerUsage": 612_000,
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetClockInfo": 1755,
        "nvmlDeviceGetMaxClockInfo": 1980,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 4 | 64,
        "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=1, usedGpuMemory=5)],
    }

    def ask(name: str, handle: int, *_: object) -> object:
        if handle == 1:
            raise RuntimeError("Not Supported")
        return answers[name]

    constants = {
        "NVML_TEMPERATURE_GPU": 0,
        "NVML_CLOCK_SM": 1,
        "nvmlClocksThrottleReasonSwPowerCap": 4,
        "nvmlClocksThrottleReasonHwThermalSlowdown": 64,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
    }
    return SimpleNamespace(**constants, **{name: partial(ask, name) for name in answers})


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_load, "_nvml", nvml)
    good, poor = Probe().read().devices
    assert (good.name, good.busy, good.memory_used, good.power, good.power_limit) == ("H100", 0.97, 10, 612.0, 700.0)
    assert good.throttled == "heat, power cap"
    assert (good.holders[0].pid, good.holders[0].memory) == (1, 5)
    assert (poor.busy, poor.memory_used, poor.temperature, poor.holders) == (None, None, None, ())


def test_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_load, "_nvml", lambda: None)
    sample = Probe().read()
    assert sample.devices == ()
    assert sample.cpu is not None
    assert 0 <= sample.cpu <= 1
    assert sample.memory_total
    assert sample.memory_used


def test_memory_is_what_this_container_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_load, "_nvml", lambda: None)
    monkeypatch.setattr(machine_load.ram, "room", lambda: (16, 10))
    sample = Probe().read()
    assert (sample.memory_used, sample.memory_total) == (6, 16)


def test_memory_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_load, "_nvml", lambda: None)
    monkeypatch.setattr(machine_load.ram, "room", lambda: (0, 0))
    assert Probe().read().memory_total == psutil.virtual_memory().total


def test_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_load, "_nvml", lambda: None)
    monkeypatch.setattr(machine_load, "_psutil", lambda: None)
    assert Probe().read().cpu is None


def test_a_reading_that_fails_does_not_end_the_history() -> None:
    done, over = threading.Event(), threading.Event()
    calls = []

    def read() -> Sample:
        calls.append(1)
        if len(calls) == 3:
            done.set()
            over.wait(60)
        if len(calls) == 2:
            raise OSError("driver gone")
        return Sample(1.0, cpu=0.5)

    watched = Monitor(read, interval=0.0)
    assert watched.latest is None
    watched.start()
    assert done.wait(60)
    history = watched.history()
    watched.stop()
    over.set()
    assert history[0].cpu == 0.5
    assert history[1].cpu is None


def test_the_history_is_bounded() -> None:
    watched = Monitor(lambda: Sample(0.0))
    watched.samples.extend(Sample(float(n)) for n in range(HISTORY + 5))
    assert len(watched.history()) == HISTORY
    assert watched.latest == Sample(HISTORY + 4.0)
