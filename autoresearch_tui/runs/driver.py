"""Memory in use on NVIDIA accelerators, from the driver's library, with the standard library alone."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as typing's, which would cost a supervisor a fifth of its start
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

LIBRARY = "libnvidia-ml.so.1"


class DeviceMemory:
    """The peak memory of the run's accelerators beyond what was in use at its start; None if unknown.

    All memory in use counts, because a run has its accelerators (or MIG instances) to itself: another process on them
    keeps it from starting. For shared accelerators there is no such figure.
    """

    def __init__(self, environ: Mapping[str, str], library: str = LIBRARY) -> None:
        """`environ`: the run's, which decides what CUDA shows to it."""
        self.peak: int | None = None
        self._library, self._environ = library, environ
        self._handles: list[object] | None = None
        self._first = 0

    def look(self) -> None:
        """Take a reading. Never raises; a driver that fails once is not asked again."""
        if self._handles == [] or sys.platform != "linux" or self._environ.get("CUDA_VISIBLE_DEVICES") == "":
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
        # Imported here, so that a machine without a driver does not pay.
        import ctypes

        self._handles = []
        self._nvml = ctypes.CDLL(self._library)
        if self._nvml.nvmlInit_v2():
            return
        from autoresearch_tui.lab.accelerators import find
        from autoresearch_tui.lab.devices import visible

        self._handles = [seen.handle for seen in find(_Library(self._nvml), visible(self._environ))]

    def _used(self) -> int:
        import ctypes

        total = 0
        for handle in self._handles or ():
            numbers = (ctypes.c_ulonglong * 3)()  # total, free, used
            if self._nvml.nvmlDeviceGetMemoryInfo(handle, numbers):
                raise ValueError("the driver gives no reading")
            total += int(numbers[2])
        return total


class _Library:
    """NVML's C functions as :class:`~autoresearch_tui.lab.accelerators.Driver`. Raises ValueError for its errors."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def count(self) -> int:
        import ctypes

        count = ctypes.c_uint()
        self._ask("nvmlDeviceGetCount_v2", ctypes.byref(count))
        return count.value

    def whole(self, index: int) -> Any:
        import ctypes

        handle = ctypes.c_void_p()
        self._ask("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
        return handle

    def instances(self, handle: Any) -> Sequence[Any]:
        import ctypes

        current, pending, most = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint()
        try:
            self._ask("nvmlDeviceGetMigMode", handle, ctypes.byref(current), ctypes.byref(pending))
            self._ask("nvmlDeviceGetMaxMigDeviceCount", handle, ctypes.byref(most))
        except (ValueError, AttributeError):  # cannot be divided, or the driver is older than that
            return ()
        found = []
        for place in range(most.value if current.value else 0):
            instance = ctypes.c_void_p()
            if (
                self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, ctypes.c_uint(place), ctypes.byref(instance))
                == 0
            ):
                found.append(instance)
        return found

    def uuid(self, handle: Any) -> str:
        return self._text("nvmlDeviceGetUUID", handle)

    def model(self, handle: Any) -> str:
        return self._text("nvmlDeviceGetName", handle)

    def _text(self, name: str, handle: Any) -> str:
        import ctypes

        text = ctypes.create_string_buffer(96)
        self._ask(name, handle, text, ctypes.c_uint(len(text)))
        return text.value.decode("utf-8", "replace")

    def _ask(self, name: str, *arguments: Any) -> None:
        if error := getattr(self._nvml, name)(*arguments):
            raise ValueError(f"{name}: error {error}")
