"""What a run needs of its machine, looked at before each launch: disk space, and an accelerator that is free."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from autoresearch_tui import devices
from autoresearch_tui.engine.trouble import TroubleError

MIN_FREE_BYTES = 512 << 20
HELD_SHARE = 0.10
# NVML_ERROR_GPU_IS_LOST: off the bus, or in need of a reset.
_GPU_IS_LOST = 15


class AcceleratorLost(TroubleError):
    """It was there, and does not answer any more."""

    def __init__(self, why: str) -> None:
        cure = "look at `nvidia-smi` and `dmesg`; a reboot may be needed; the loop goes on by itself"
        super().__init__(f"the accelerator is lost: {why}", cure)


class Surroundings:
    """Remembers whether the machine had an accelerator, so that its loss is noticed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._devices = 0

    def check(self, device: str = "") -> None:
        """Raises TroubleError that names what stands in the way of a run on `device` (empty: on any)."""
        free = shutil.disk_usage(self._folder).free
        if free < MIN_FREE_BYTES:
            raise TroubleError(
                f"only {free >> 20} MiB are free on the disk of {self._folder}",
                f"free some ({MIN_FREE_BYTES >> 20} MiB are needed); the loop goes on by itself",
            )
        if not devices.cpus(device):
            self._check_accelerators(devices.accelerator(device))

    def lost(self, device: str = "") -> bool:
        """Whether the accelerator of `device` was there and is gone."""
        try:
            self.check(device)
        except AcceleratorLost:
            return True
        except TroubleError:
            return False
        return False

    def _check_accelerators(self, only: int | None) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception as error:  # no driver, no library, no device: each binding has an error of its own
            if self._devices:
                raise AcceleratorLost(str(error)) from None
            return
        try:
            count = pynvml.nvmlDeviceGetCount()
            if count < self._devices and (only is None or only >= count):
                raise AcceleratorLost(f"{count} of {self._devices} are there")
            self._devices = max(self._devices, count)
            for index in range(count):
                if only in (None, index):
                    _check_free(pynvml, index)
        except pynvml.NVMLError as error:
            if getattr(error, "value", None) == _GPU_IS_LOST:
                raise AcceleratorLost(str(error)) from None
            # A device that cannot tell is no reason not to train on it.
            return
        finally:
            pynvml.nvmlShutdown()


def _check_free(pynvml: object, index: int) -> None:
    from typing import Any

    nvml: Any = pynvml
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    total = nvml.nvmlDeviceGetMemoryInfo(device).total
    for process in nvml.nvmlDeviceGetComputeRunningProcesses(device):
        held = process.usedGpuMemory or 0
        if process.pid != os.getpid() and held > total * HELD_SHARE:
            raise TroubleError(
                f"process {process.pid} holds {held / 2**30:.1f} GiB of accelerator {index}'s memory",
                f"end it if it is a leftover (`kill {process.pid}`); the loop goes on when the memory is free",
            )
