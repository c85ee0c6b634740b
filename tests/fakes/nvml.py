"""A machine's accelerators, as the module `pynvml` shows them."""

from __future__ import annotations

import types
from dataclasses import dataclass, field

GIB = 1 << 30


@dataclass(eq=False)
class FakeGpu:
    """One accelerator, or one MIG instance, with the processes that the test gives it: pid -> bytes held."""

    uuid: str = ""
    model: str = "NVIDIA H100 80GB HBM3"
    held: dict[int, int] = field(default_factory=dict)
    instances: list[FakeGpu] = field(default_factory=list)
    total: int = 80 * GIB
    busy: int = 0


class FakeNvml(types.ModuleType):
    """By default one accelerator of 80 GiB. `gone`: the driver does not answer."""

    NVML_TEMPERATURE_GPU = NVML_CLOCK_SM = 0

    class NVMLError(Exception):
        """What the real module raises too."""

    def __init__(self, *gpus: FakeGpu) -> None:
        super().__init__("pynvml")
        self.gone = False
        self.gpus = list(gpus) or [FakeGpu()]
        self.asked: list[FakeGpu] = []  # whose memory or processes were looked at

    def nvmlInit(self) -> None:  # noqa: N802
        if self.gone:
            raise self.NVMLError("GPU is lost")

    def nvmlShutdown(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:  # noqa: N802
        return self.gpus[index]

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:  # noqa: N802
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> bytes:  # noqa: N802
        return gpu.model.encode()

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:  # noqa: N802
        if "H100" not in gpu.model:
            raise self.NVMLError("Not Supported")
        return [int(bool(gpu.instances))] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, _gpu: FakeGpu) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, place: int) -> FakeGpu:  # noqa: N802
        if place >= len(gpu.instances):
            raise self.NVMLError("Not Found")
        return gpu.instances[place]

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> object:  # noqa: N802
        self.asked.append(gpu)
        used = sum(gpu.held.values())
        return types.SimpleNamespace(total=gpu.total, used=used, free=gpu.total - used)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> object:  # noqa: N802
        return types.SimpleNamespace(gpu=gpu.busy)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[object]:  # noqa: N802
        self.asked.append(gpu)
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in gpu.held.items()]
