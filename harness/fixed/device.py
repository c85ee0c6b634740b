"""What the hardware can do: device, number format, peak speed, memory.

`python -m fixed.device` reports it, for people or with --json for programs.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
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
from torch import Tensor

from fixed.backends import Choice, choose_attention

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
GPU_PROFILES, NODES = ("reference", "consumer24", "consumer8"), Path("/dev")


class UnusableGpuError(RuntimeError):
    """There is a GPU, or the profile asks for one, and torch cannot use it; the message says why."""


def pick_device(profile: str = "") -> torch.device:
    """cuda, mps or cpu, in that order; AUTORESEARCH_DEVICE overrides.

    Raises UnusableGpuError where the machine has a GPU, or `profile` is for one, that torch cannot use: training on the
    CPU instead would take the run's whole time and compare with nothing.
    """
    if name := os.environ.get("AUTORESEARCH_DEVICE"):
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    if wanted := gpu_wanted(profile):
        remedy = "fix that, or set AUTORESEARCH_DEVICE=cpu to train on the CPU"
        raise UnusableGpuError(f"{wanted}, but torch {torch.__version__} cannot use one ({why_no_cuda()}); {remedy}")
    return torch.device("cpu")


def require_device(profile: str) -> torch.device:
    """The same; a GPU that cannot be used ends the process with one line."""
    try:
        return pick_device(profile)
    except UnusableGpuError as error:
        sys.exit(str(error))


def gpu_wanted(profile: str) -> str:
    """What says that a GPU is there or has to be; empty if nothing does, or if CUDA is told to see none."""
    if profile in GPU_PROFILES:
        return f"the profile {profile} is for a GPU"
    cards = sorted(card.name for card in NODES.glob("nvidia[0-9]*"))
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    return f"there is a GPU (/dev/{cards[0]})" if cards and not hidden else ""


def why_no_cuda() -> str:
    """torch's own reason, on one line."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return "it finds no GPU"


def pick_dtype(device: torch.device) -> torch.dtype:
    """bf16 on GPUs and processors that have units for it, fp32 elsewhere. The same on every start of a machine.

    A clock must not decide this: between two number formats lies more than most ideas gain. Without such units bf16 on
    a CPU is up to twenty times slower than fp32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float32
    has_units = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return torch.bfloat16 if has_units else torch.float32


def can_compile(device: torch.device) -> bool:
    """Does torch.compile work and pay here? On two CPU cores it costs half a minute and gives a tenth.

    Triton needs a C compiler for its launchers, which slim images do not have. AUTORESEARCH_COMPILE=0 turns it off.
    """
    if os.environ.get("AUTORESEARCH_COMPILE", "").strip() == "0":
        return False
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if device.type != "cuda" or find_spec("triton") is None or not compiler:
        return False
    return torch.cuda.get_device_capability(device) >= (7, 0)


def set_up_compiler(cache: Path) -> None:
    """Settings for torch.compile, to be made before its first use; what the environment says already stays."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    if not shared_locks_work():  # the compiler waits for its pool of processes for ever where the pool cannot start
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    torch._dynamo.config.recompile_limit = 64  # of muon_step: one graph for each shape of matrix


def shared_locks_work() -> bool:
    """Can this process make a lock that it shares with its children? Some sandboxes refuse /dev/shm."""
    from multiprocessing import get_context

    try:
        get_context("spawn").Lock()
    except (OSError, ImportError):
        return False
    return True


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


def device_name(device: torch.device) -> str:
    """A GPU by its model; `cpu` and `mps` as they are."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


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
        gc.collect()  # the frames of the failed step hold its tensors, in cycles, and the collector is off
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
# All of it
# ---------------------------------------------------------------------------


class Machine(NamedTuple):
    """What training runs on, and how."""

    device: torch.device
    dtype: torch.dtype
    compiled: bool
    attention: Choice
    peak: Peak

    def __str__(self) -> str:
        how = f"{dtype_name(self.dtype)}, {'compiled' if self.compiled else 'eager'}, attention: {self.attention.name}"
        return f"Device: {self.device}, {how}, peak: {self.peak}"


def find_machine(device: torch.device, head_dim: int = 128) -> Machine:
    """The number format, the attention and the peak for a device."""
    dtype, compiled = pick_dtype(device), can_compile(device)
    return Machine(
        device, dtype, compiled, choose_attention(device, dtype, head_dim, compiled), find_peak(device, dtype)
    )


def set_up(profile: str, cache: Path, head_dim: int) -> Machine:
    """Make this process ready to train; compiled kernels go into the cache."""
    keep_memory()
    device = require_device(profile)
    if can_compile(device):
        set_up_compiler(cache / "compile")
    return find_machine(device, head_dim)


def report() -> dict[str, Any]:
    """What training would use here, why not something faster, and what to install for it."""
    machine = find_machine(pick_device())
    rejected = machine.attention.rejected
    missing = [name for name, why in rejected.items() if why.startswith(("ModuleNotFoundError", "ImportError"))]
    return {
        "device": machine.device.type,
        "name": device_name(machine.device),
        "dtype": dtype_name(machine.dtype),
        "peak_tflops": round(machine.peak.flops / 1e12, 3),
        "peak_from": machine.peak.source,
        "attention": machine.attention.name,
        "rejected": rejected,
        "faster_if_installed": missing,
    }


if __name__ == "__main__":
    try:
        found = report()
    except UnusableGpuError as error:
        sys.exit(str(error))
    if "--json" in sys.argv[1:]:
        print(json.dumps(found))
    else:
        print("\n".join(f"{key}: {value}" for key, value in found.items()))
