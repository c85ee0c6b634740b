"""What a run needs of its machine, checked before each launch: disk space and a free accelerator."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch_tui.engine.backoff import TroubleError
from autoresearch_tui.lab import devices
from autoresearch_tui.lab.accelerators import Pynvml, Seen, find
from autoresearch_tui.runs.processes import command_name, is_run, owner

MIN_FREE_BYTES = 512 << 20
HELD_SHARE = 0.10
# NVML_ERROR_GPU_IS_LOST: off the bus, or in need of a reset.
_GPU_IS_LOST = 15


class AcceleratorLost(TroubleError):
    """It was present, and no longer answers."""

    def __init__(self, why: str) -> None:
        cure = "look at `nvidia-smi` and `dmesg`; a reboot may be needed; the loop continues by itself"
        super().__init__(f"the accelerator is lost: {why}", cure)


class Preconditions:
    """Remembers which accelerators the runs had, to notice a loss."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None, *, shared: bool = False) -> None:
        """`environ`: the runs' environment, by default this process's. `shared`: other processes may hold memory of
        their accelerators."""
        self._folder = folder
        self._environ = os.environ if environ is None else environ
        self._shared = shared
        self._had: dict[str, int] = {}

    def check(self, device: str = "") -> None:
        """Raises TroubleError if something prevents a run on `device` (empty: on any)."""
        check_disk(self._folder)
        if not devices.cpus(device):
            self._check_accelerators(device)

    def lost(self, device: str = "") -> bool:
        """Whether the accelerator of `device` was present and is gone."""
        try:
            self.check(device)
        except AcceleratorLost:
            return True
        except TroubleError:
            return False
        return False

    def _check_accelerators(self, device: str) -> None:
        had = self._had.get(device, 0)
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception as error:  # no driver, library or device: each binding has its own error
            if had:
                raise AcceleratorLost(str(error)) from None
            return
        try:
            seen = find(Pynvml(pynvml), devices.visible({**self._environ, **devices.environment(device)}))
            if len(seen) < had:
                raise AcceleratorLost(f"{len(seen)} of {had} are there")
            if device and not seen:
                raise TroubleError(
                    f"accelerator {device} is not there",
                    "see `nvidia-smi -L`, and name another with --devices or `run.devices`",
                )
            self._had[device] = max(had, len(seen))
            if not self._shared:
                for each in seen:
                    _check_free(pynvml, each)
        except pynvml.NVMLError as error:
            if getattr(error, "value", None) == _GPU_IS_LOST:
                raise AcceleratorLost(str(error)) from None
            # A device without these readings can still be trained on.
            return
        finally:
            pynvml.nvmlShutdown()


def check_disk(folder: Path) -> None:
    """Raises TroubleError if too little is free on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise TroubleError(
            f"only {free >> 20} MiB are free on the disk of {folder}",
            f"free some ({MIN_FREE_BYTES >> 20} MiB are needed); the loop continues by itself",
        )


def _check_free(nvml: Any, accelerator: Seen) -> None:
    total = nvml.nvmlDeviceGetMemoryInfo(accelerator.handle).total
    for process in nvml.nvmlDeviceGetComputeRunningProcesses(accelerator.handle):
        held = process.usedGpuMemory or 0
        if process.pid != os.getpid() and held > total * HELD_SHARE:
            raise TroubleError(
                f"{_described(process.pid)} holds {held / 2**30:.1f} GiB of accelerator {accelerator.name}'s memory",
                remedy_for_holders([process.pid]),
            )


def remedy_for_holders(pids: Sequence[int]) -> str:
    """How to free an accelerator that these processes hold (empty: invisible ones). Only suggests ending processes of
    this user."""
    if any(is_run(pid) for pid in pids):
        return "it is a run of another session: wait for that, or name another accelerator (--devices)"
    elsewhere = "name another accelerator (--devices), or set `run.share_accelerator = true` to share it on purpose"
    if pids and all(owner(pid) == os.getuid() for pid in pids):
        kill = " ".join(str(pid) for pid in pids)
        return (
            f"end it if it is a leftover of yours (`kill {kill}`), or {elsewhere}; the loop continues when it is free"
        )
    return f"wait for its owner to finish, or {elsewhere}; the loop continues when it is free"


def _described(pid: int) -> str:
    """`process 4242 (python3 of alice)`, as far as visible from here."""
    name, uid = command_name(pid), owner(pid)
    if uid is None:
        return f"process {pid} (not to be seen from here)"
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"user {uid}"
    return f"process {pid} ({name} of {user})" if uid != os.getuid() else f"process {pid} ({name})"
