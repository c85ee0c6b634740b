"""What the hardware can do: device, number format, peak speed, memory.

Fixed, like prepare.py. `train.py` uses it; `python device.py` reports it, for people or with --json for programs.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from attention import choose_attention
from torch import Tensor

# Dense bf16 TFLOP/s with fp32 sums, from the makers' data sheets. The first name that stands as a whole word in the
# device's name counts; a laptop's chip of the same name is another one.
PEAK_TFLOPS = (
    ("GB300", 2500), ("GB200", 2500), ("B300", 2250), ("B200", 2250), ("B100", 1800), ("GB10", 125),
    ("H100 PCIe", 756), ("H100 NVL", 835), ("H100", 989.5), ("GH200", 989.5), ("H200", 989.5), ("H800", 989.5),
    ("H20", 148), ("A100", 312), ("A800", 312), ("A40", 149.7), ("A30", 165), ("A10G", 70), ("A10", 125),
    ("L40S", 362), ("L40", 181), ("L4", 121), ("RTX PRO 6000", 503.8), ("RTX 6000 Ada", 364.2),
    ("RTX A6000", 154.8), ("RTX A5000", 111.1), ("RTX A4000", 76.7), ("RTX 5090", 209.5), ("RTX 5080", 112.6),
    ("RTX 5070 Ti", 87.9), ("RTX 5070", 61.7), ("RTX 4090", 165.2), ("RTX 4080 SUPER", 104.4), ("RTX 4080", 97.5),
    ("RTX 4070 Ti SUPER", 88.2), ("RTX 4070 Ti", 80.2), ("RTX 4070 SUPER", 71), ("RTX 4070", 58.3),
    ("RTX 4060 Ti", 44.1), ("RTX 4060", 30.2), ("RTX 3090 Ti", 80), ("RTX 3090", 71), ("RTX 3080 Ti", 68.2),
    ("RTX 3080", 59.5), ("RTX 3070", 40.6), ("RTX 3060", 25.5), ("MI300X", 1307), ("MI250X", 191.5),
)  # fmt: skip


def pick_device() -> torch.device:
    """cuda, mps or cpu, in that order; AUTORESEARCH_DEVICE overrides."""
    if name := os.environ.get("AUTORESEARCH_DEVICE"):
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(device: torch.device) -> torch.dtype:
    """bf16 on GPUs that have it; elsewhere fp32, unless the processor has bf16 units and a probe shows that they win.

    Without such units bf16 on a CPU is up to twenty times slower than fp32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float32
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        fast, slow = gemm_flops(device, torch.bfloat16, 512), gemm_flops(device, torch.float32, 512)
        return torch.bfloat16 if fast > 2 * slow else torch.float32
    return torch.float32


def can_compile(device: torch.device) -> bool:
    """Does torch.compile work and pay here? On two CPU cores it costs half a minute and gives a tenth.

    Triton needs a C compiler for its launchers, which slim images do not have.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if device.type != "cuda" or find_spec("triton") is None or not compiler:
        return False
    return torch.cuda.get_device_capability(device) >= (7, 0)


def gemm_flops(device: torch.device, dtype: torch.dtype, size: int = 1024) -> float:
    """Measured FLOP/s of a square matrix product, the best of a few."""
    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(3):  # the first warms up
        synchronize(device)
        start = time.perf_counter()
        a @ a
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def data_sheet_flops(name: str) -> float:
    """FLOP/s of a GPU by its name, 0 for one that is not in the table."""
    if "Laptop" in name or "Max-Q" in name:
        return 0.0
    return next((1e12 * peak for part, peak in PEAK_TFLOPS if re.search(rf"\b{part}\b", name)), 0.0)


class Peak(NamedTuple):
    """What MFU is counted against, and where that number is from."""

    flops: float
    source: str

    def __str__(self) -> str:
        return f"{self.flops / 1e12:.4g} TFLOP/s ({self.source})"


def find_peak(device: torch.device, dtype: torch.dtype) -> Peak:
    """FLOP/s that MFU is counted against: the data sheet's for a known GPU, else what a matrix product reaches here."""
    if device.type != "cuda":
        return Peak(gemm_flops(device, dtype, 512 if device.type == "cpu" else 2048), "measured matrix product")
    name = torch.cuda.get_device_name(device)
    if dtype == torch.bfloat16 and (known := data_sheet_flops(name)):
        return Peak(known, "data sheet")
    return Peak(gemm_flops(device, dtype, 4096), f"unknown for {name} in {dtype_name(dtype)}: measured matrix product")


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


_IMPORTED = time.perf_counter()


def process_seconds() -> float:
    """Seconds since this process began, or since this module was imported where the system does not tell."""
    try:
        ticks = int(Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.perf_counter() - _IMPORTED


def keep_memory() -> None:
    """Let glibc hold on to freed memory: giving big tensors back to the system at every step costs half the speed."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX: never map a block on its own
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def synchronize(device: torch.device) -> None:
    """Wait for the device's queue; nothing to wait for on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def read_later(x: Tensor) -> Callable[[], float]:
    """A scalar that is on its way to the host. The result waits for it, but for nothing that is queued behind it."""
    if x.device.type != "cuda":
        value = x.item()
        return lambda: value
    host, copied = x.to("cpu", non_blocking=True), torch.cuda.Event()  # into pinned memory
    copied.record()

    def wait() -> float:
        copied.synchronize()
        return host.item()

    return wait


def fit_rows(try_step: Callable[[int], None], rows: int) -> int:
    """The most rows, halving from `rows`, with which a step fits into memory. Raises the error of one that does not."""
    while True:
        try:
            try_step(rows)
            return rows
        except RuntimeError as error:  # only CUDA has a type of its own for it
            if rows == 1 or not (isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower()):
                raise
        print(f"Out of memory at DEVICE_BATCH_SIZE = {rows}: going on with {rows // 2}", flush=True)
        rows //= 2
        torch.compiler.reset()  # what was compiled for more rows would count against the limit of recompilations
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def peak_memory_mb(device: torch.device) -> float:
    """Most memory held so far in MiB: the allocator's on a GPU, the process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


# ---------------------------------------------------------------------------
# Report
# ---------------------------------------------------------------------------


def report(head_dim: int = 128) -> dict[str, Any]:
    """What training would use here, why not something faster, and what to install for it."""
    device = pick_device()
    dtype = pick_dtype(device)
    choice, peak = choose_attention(device, dtype, head_dim), find_peak(device, dtype)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    missing = [b for b, why in choice.rejected.items() if why.startswith(("ModuleNotFoundError", "ImportError"))]
    return {
        "device": device.type,
        "name": name,
        "dtype": dtype_name(dtype),
        "peak_tflops": round(peak.flops / 1e12, 3),
        "peak_from": peak.source,
        "attention": choice.name,
        "rejected": choice.rejected,
        "faster_if_installed": missing,
    }


if __name__ == "__main__":
    found = report()
    if "--json" in sys.argv[1:]:
        print(json.dumps(found))
    else:
        print("\n".join(f"{key}: {value}" for key, value in found.items()))
