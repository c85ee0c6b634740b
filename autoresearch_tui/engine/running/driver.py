"""The memory in use on NVIDIA's accelerators, asked of the driver's own library, with the standard library alone."""

from __future__ import annotations

import sys

LIBRARY = "libnvidia-ml.so.1"


class DeviceMemory:
    """How much the run's accelerators hold beyond what they held when it began; None where nobody can say.

    It counts whole devices: those of a run are its own (another process on them keeps a run from starting).
    """

    def __init__(self, devices: str | None, library: str = LIBRARY) -> None:
        """`devices` as CUDA_VISIBLE_DEVICES has them; None for all."""
        self.peak: int | None = None
        self._library, self._wanted = library, devices
        self._handles: list[object] | None = None
        self._first = 0

    def look(self) -> None:
        """Take a reading. Never raises; a driver that fails once is not asked again."""
        if self._handles == [] or sys.platform != "linux" or self._wanted == "":
            return
        try:
            if self._handles is None:
                self._open()
                self._first = self._used() if self._handles else 0
            if self._handles:
                self.peak = max(self.peak or 0, self._used() - self._first)
        except (OSError, AttributeError, ValueError):
            self._handles = []

    def _open(self) -> None:
        import ctypes  # here: a machine without a driver does not pay for it

        self._handles = []
        nvml = ctypes.CDLL(self._library)
        count = ctypes.c_uint()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return
        wanted = range(count.value) if self._wanted is None else [int(word) for word in self._wanted.split(",")]
        for index in wanted:
            handle = ctypes.c_void_p()
            if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) == 0:
                self._handles.append(handle)
        self._nvml = nvml

    def _used(self) -> int:
        import ctypes

        total = 0
        for handle in self._handles or ():
            numbers = (ctypes.c_ulonglong * 3)()  # total, free, used
            if self._nvml.nvmlDeviceGetMemoryInfo(handle, numbers):
                raise ValueError("the driver gives no reading")
            total += int(numbers[2])
        return total
