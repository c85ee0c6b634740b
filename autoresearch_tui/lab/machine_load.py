"""Samples accelerator and host load in a thread of its own. Unreadable values are None, never an error."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from autoresearch_tui.lab.accelerators import Pynvml, Seen, driver_text, find
from autoresearch_tui.lab.devices import Visible
from autoresearch_tui.util import memory as ram
from autoresearch_tui.util.frozen import Frozen

HISTORY = 600


class Holder(Frozen):
    """A process that holds memory (bytes) of a device."""

    pid: int
    name: str
    memory: int | None


class Device(Frozen):
    """One accelerator, or one MIG instance of it. Shares are 0 to 1, memory bytes, temperature °C, power W, clocks MHz.

    `index`: the accelerator's number in the driver's tools.
    """

    index: int
    name: str
    busy: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    temperature: int | None = None
    power: float | None = None
    power_limit: float | None = None
    clock: int | None = None
    clock_limit: int | None = None
    throttled: str = ""
    holders: tuple[Holder, ...] = ()
    is_instance: bool = False


class Sample(Frozen):
    """One moment. `time`: seconds since 1970; memory: bytes, in a container within its limit."""

    time: float
    devices: tuple[Device, ...] = ()
    cpu: float | None = None
    cores: tuple[float, ...] = ()
    load: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    temperature: float | None = None


Read = Callable[[], Sample]

_WARMTH_EVERY = 10


class Monitor:
    """Samples into a bounded history. Start it after the first paint; it is a daemon and ends with the process."""

    def __init__(
        self, read: Read | None = None, interval: float = 2.0, accelerators: Sequence[Visible] = (Visible(),)
    ) -> None:
        """`accelerators`: which to look at, by default all."""
        self._read = read
        self._accelerators = accelerators
        self._interval = interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.samples: deque[Sample] = deque(maxlen=HISTORY)

    @property
    def latest(self) -> Sample | None:
        """The newest sample."""
        try:
            return self.samples[-1]
        except IndexError:
            return None

    def history(self) -> list[Sample]:
        """A copy for other threads."""
        while True:
            try:
                return list(self.samples)
            except RuntimeError:
                # A sample was added meanwhile.
                continue

    def start(self) -> None:
        """Begin, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="monitor", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End soon; does not wait."""
        self._stop.set()

    def _work(self) -> None:
        read = self._read
        while not self._stop.is_set():
            try:
                read = read or Probe(self._accelerators).read
                self.samples.append(read())
            except Exception:
                # An unexpected error of a driver must not end the history: this sample stays empty.
                self.samples.append(Sample(time.time()))
            self._stop.wait(self._interval)


class _Tolerant(Pynvml):
    """A lost accelerator has the handle None, instead of hiding the others by an error."""

    def whole(self, index: int) -> Any:
        return _or_none(partial(super().whole, index))


class Probe:
    """Reads NVML, if there is a driver, and psutil for the host."""

    def __init__(self, accelerators: Sequence[Visible] = (Visible(),)) -> None:
        """`accelerators`: which to look at, by default all."""
        self._accelerators = accelerators
        self._nvml: Any = _nvml()
        self._psutil: Any = _psutil()
        if self._psutil is not None:
            self._psutil.cpu_percent(percpu=True)
        self._reads = 0
        self._temperature: float | None = None

    def read(self) -> Sample:
        devices = self._devices() if self._nvml is not None else ()
        if self._psutil is None:
            return Sample(time.time(), devices)
        cores = _or_none(lambda: tuple(share / 100 for share in self._psutil.cpu_percent(percpu=True))) or ()
        total, available = _or_none(self._memory) or (0, 0)
        load = _or_none(self._psutil.getloadavg)
        return Sample(
            time=time.time(),
            devices=devices,
            cpu=sum(cores) / len(cores) if cores else None,
            cores=cores,
            load=load[0] if load else None,
            memory_used=total - available if total else None,
            memory_total=total or None,
            temperature=self._warmth(),
        )

    def _memory(self) -> tuple[int, int]:
        """Total and available bytes; psutil covers systems without /proc, but ignores a container's limit."""
        total, available = ram.room()
        if total:
            return total, available
        memory = self._psutil.virtual_memory()
        return memory.total, memory.available

    def _warmth(self) -> float | None:
        """The host's temperature, read seldom: it takes dozens of small files, and changes slowly."""
        if self._reads % _WARMTH_EVERY == 0:
            self._temperature = self._host_temperature()
        self._reads += 1
        return self._temperature

    def _host_temperature(self) -> float | None:
        found = _or_none(self._psutil.sensors_temperatures)
        for name in ("coretemp", "k10temp", "cpu_thermal", "acpitz"):
            if found and found.get(name):
                return float(found[name][0].current)
        return None

    def _devices(self) -> tuple[Device, ...]:
        """The sampled accelerators; looked up every time, as one may be lost or divided."""
        driver = _Tolerant(self._nvml)
        seen: dict[tuple[int, str], Seen] = {}
        for wanted in self._accelerators:
            for each in _or_none(partial(find, driver, wanted)) or ():
                seen.setdefault((each.index, each.name if each.is_instance else ""), each)
        return tuple(self._device(each) for each in seen.values())

    def _device(self, seen: Seen) -> Device:
        nvml, handle = self._nvml, seen.handle
        if handle is None:
            return Device(seen.index, "not reachable")

        def ask(name: str, *arguments: object) -> Any:
            return _or_none(lambda: getattr(nvml, name)(handle, *arguments))

        use, memory = ask("nvmlDeviceGetUtilizationRates"), ask("nvmlDeviceGetMemoryInfo")
        power, limit = ask("nvmlDeviceGetPowerUsage"), ask("nvmlDeviceGetEnforcedPowerLimit")
        return Device(
            index=seen.index,
            is_instance=seen.is_instance,
            name=driver_text(ask("nvmlDeviceGetName")) or "accelerator",
            busy=use.gpu / 100 if use else None,
            memory_used=memory.used if memory else None,
            memory_total=memory.total if memory else None,
            temperature=ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            power=power / 1000 if power is not None else None,
            power_limit=limit / 1000 if limit is not None else None,
            clock=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            clock_limit=ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
            throttled=self._throttled(ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0),
            holders=self._holders(ask("nvmlDeviceGetComputeRunningProcesses") or ()),
        )

    def _throttled(self, reasons: int) -> str:
        names = {
            "nvmlClocksThrottleReasonHwThermalSlowdown": "heat",
            "nvmlClocksThrottleReasonSwThermalSlowdown": "heat",
            "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": "power brake",
            "nvmlClocksThrottleReasonSwPowerCap": "power cap",
        }
        found = {word for name, word in names.items() if reasons & int(getattr(self._nvml, name, 0))}
        return ", ".join(sorted(found))

    def _holders(self, processes: Any) -> tuple[Holder, ...]:
        held = [Holder(p.pid, self._process_name(p.pid), getattr(p, "usedGpuMemory", None)) for p in processes]
        return tuple(sorted(held, key=lambda holder: -(holder.memory or 0))[:8])

    def _process_name(self, pid: int) -> str:
        if self._psutil is None:
            return "?"
        return _or_none(lambda: str(self._psutil.Process(pid).name())) or "?"


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception:
        # Any single reading may be unsupported, with errors that differ between drivers.
        return None


def _nvml() -> Any:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:
        # No package, no driver, or no permission: all mean that there is no accelerator to show.
        return None
    return pynvml


def _psutil() -> Any:
    try:
        import psutil
    except ImportError:
        return None
    return psutil
