"""What the hardware can do: device, number format, peak speed and the fastest attention that proves right here.

Fixed, like prepare.py. `train.py` uses it; `python device.py` reports it, for people or with --json for programs.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, int], Tensor]

# Dense bf16 FLOP/s from the makers' data sheets; the first name found in the device's name counts.
PEAK_FLOPS = (
    ("GB200", 2.5e15),
    ("B200", 2.25e15),
    ("B100", 1.8e15),
    ("GB10", 125e12),
    ("H200", 989.5e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989.5e12),
    ("GH200", 989.5e12),
    ("H800", 989.5e12),
    ("A100", 312e12),
    ("A800", 312e12),
    ("A40", 149.7e12),
    ("A30", 165e12),
    ("A10", 125e12),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("L4", 121e12),
    ("RTX 5090", 209.5e12),
    ("RTX 4090", 165.2e12),
    ("RTX 3090", 71e12),
    ("MI300X", 1307e12),
    ("MI250X", 191.5e12),
)


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
    """Does torch.compile work and pay here? On two CPU cores it costs half a minute and gives a tenth."""
    if device.type != "cuda" or find_spec("triton") is None:
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


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s that MFU is counted against: the data sheet's for a known GPU, else what a matrix product reaches."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for part, flops in PEAK_FLOPS:
            if part in name:
                return flops
        return gemm_flops(device, dtype, 4096)
    return gemm_flops(device, dtype)


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
# Attention. Every back-end takes q, k, v of (B, T, H, D) and a window W, and lets a query see itself and
# the W keys before it (W + 1 in all, flash-attn's window_size=(W, 0)).
# ---------------------------------------------------------------------------


def dense_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """The definition, in plain tensor code; what the others are checked against."""
    steps = torch.arange(q.size(1), device=q.device)
    behind = steps[:, None] - steps[None, :]
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * q.size(-1) ** -0.5
    scores = scores.masked_fill((behind < 0) | (behind > window), float("-inf"))
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v)


_masks: dict[tuple[object, ...], Tensor] = {}


def band_mask(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    """(queries, keys) bool, True where query i, at position i + keys - queries, may see key j."""
    key = (queries, keys, window, device)
    mask = None if torch.compiler.is_compiling() else _masks.get(key)
    if mask is None:
        behind = torch.arange(queries, device=device)[:, None] + (keys - queries) - torch.arange(keys, device=device)
        mask = (behind >= 0) & (behind <= window)
        if not torch.compiler.is_compiling():
            _masks[key] = mask
    return mask


def sdpa_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """torch's own attention. Short windows go block by block, which costs less than a mask over everything."""
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    length = q.size(2)
    if window >= length - 1:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    elif window * 4 <= length and length % window == 0:
        y = block_attention(q, k, v, window)
    else:
        mask = band_mask(length, length, window, q.device)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return y.transpose(1, 2)


def block_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Exact sliding window over (B, H, T, D): each block of W queries sees its own and the previous block of keys."""
    B, H, T, D = q.shape
    blocks = T // window

    def with_previous(x: Tensor) -> Tensor:
        own = x.view(B, H, blocks, window, D)
        return torch.cat((F.pad(own, (0, 0, 0, 0, 1, 0))[:, :, :-1], own), dim=3)

    mask = band_mask(window, 2 * window, window, q.device).repeat(blocks, 1, 1)
    mask[0, :, :window] = False  # nothing comes before the first block
    y = F.scaled_dot_product_attention(
        q.view(B, H, blocks, window, D), with_previous(k), with_previous(v), attn_mask=mask
    )
    return y.reshape(B, H, T, D)


def load_flash3() -> Attend:
    """flash-attn 3, for Hopper (Shah et al. 2024, arXiv 2407.08608)."""
    from flash_attn_interface import flash_attn_func

    return lambda q, k, v, window: first(flash_attn_func(q, k, v, causal=True, window_size=(window, 0)))


def load_flash2() -> Attend:
    """flash-attn 2 (Dao 2023, arXiv 2307.08691)."""
    from flash_attn import flash_attn_func

    return lambda q, k, v, window: first(flash_attn_func(q, k, v, causal=True, window_size=(window, 0)))


def load_flash4() -> Attend:
    """flash-attn 4, compiled at run time."""
    from flash_attn.cute import flash_attn_func

    return lambda q, k, v, window: first(flash_attn_func(q, k, v, causal=True, window_size=(window, 0)))


def first(result: Any) -> Tensor:
    """The output alone; some versions return the log-sum-exp beside it."""
    return result[0] if isinstance(result, tuple) else result


def load_varlen() -> Attend:
    """The flash kernel that comes with torch, which takes windows in its variable-length form."""
    from torch.nn.attention.varlen import varlen_attn

    def attend(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        B, T = q.shape[:2]
        ends = torch.arange(0, B * T + 1, T, device=q.device, dtype=torch.int32)
        flat = (x.reshape(B * T, *x.shape[2:]) for x in (q, k, v))
        return varlen_attn(*flat, ends, ends, T, T, window_size=(window, 0)).view(q.shape)

    return attend


def load_flex() -> Attend:
    """FlexAttention: a compiled kernel with a block-sparse mask (Dong et al. 2024, arXiv 2412.05496)."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    compiled = torch.compile(flex_attention, dynamic=False)
    masks: dict[tuple[int, int], Any] = {}

    def attend(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        T = q.size(1)
        if (T, window) not in masks:

            def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
                return (query >= key) & (query - key <= window)

            masks[T, window] = create_block_mask(visible, None, None, T, T, device=q.device)
        y = compiled(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), block_mask=masks[T, window])
        return y.transpose(1, 2)

    return torch.compiler.disable(attend, recursive=False)  # the kernel is compiled, the mask's making is not


class Backend(NamedTuple):
    """One way to compute attention: where it can run, and how to get it."""

    name: str
    load: Callable[[], Attend]
    capability: tuple[int, int] | None  # least CUDA capability; None runs anywhere


BACKENDS = (
    Backend("flash3", load_flash3, (9, 0)),
    Backend("flash2", load_flash2, (8, 0)),
    Backend("flash4", load_flash4, (9, 0)),
    Backend("varlen", load_varlen, (8, 0)),
    Backend("flex", load_flex, (7, 5)),
    Backend("sdpa", lambda: sdpa_attention, None),
)


class Choice(NamedTuple):
    """The attention in use, and why each one before it is not."""

    name: str
    attend: Attend
    rejected: dict[str, str]


def check_attention(attend: Attend, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
    """Compare outputs and gradients with dense_attention; an empty string, or what is wrong."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 256, 2, head_dim, generator=generator).to(device, dtype) for _ in range(4)]
    for window in (256, 64, 40):
        results = []
        for function, kind in ((attend, dtype), (dense_attention, torch.float32)):
            q, k, v = (x.detach().to(kind).requires_grad_() for x in inputs[:3])
            y = function(q, k, v, window)
            y.backward(inputs[3].to(kind))
            results.append([y.detach().float()] + [x.grad.float() for x in (q, k, v)])
        tolerance = 1e-4 if dtype == torch.float32 else 5e-2
        for name, got, want in zip(("output", "dq", "dk", "dv"), *results, strict=True):
            error = (got - want).abs().max().item()
            if not error <= tolerance * max(1.0, want.abs().max().item()):
                return f"{name} off by {error:.2g} at window {window}"
    return ""


def choose_attention(device: torch.device, dtype: torch.dtype, head_dim: int) -> Choice:
    """The first back-end that is installed, suits the device and agrees with dense_attention on it.

    AUTORESEARCH_ATTENTION names the only one to try, with sdpa as the last resort. sdpa is taken as it is: the tests
    check it, and a check at every start would cost more than it tells.
    """
    wanted = os.environ.get("AUTORESEARCH_ATTENTION", "")
    rejected: dict[str, str] = {}
    for backend in BACKENDS[:-1]:
        rejected[backend.name] = why_not(backend, device, dtype, wanted)
        if not rejected[backend.name]:
            try:
                attend = backend.load()
                rejected[backend.name] = check_attention(attend, device, dtype, head_dim)
            except Exception as error:  # a missing package, a wrong ABI, an absent kernel: all mean "not this one"
                rejected[backend.name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            if not rejected[backend.name]:
                del rejected[backend.name]
                return Choice(backend.name, attend, rejected)
    return Choice("sdpa", sdpa_attention, rejected)


def why_not(backend: Backend, device: torch.device, dtype: torch.dtype, wanted: str) -> str:
    """Why a back-end cannot be used, known without loading it; empty where it may be tried."""
    if wanted and backend.name != wanted:
        return f"AUTORESEARCH_ATTENTION={wanted}"
    if device.type != "cuda":
        return "needs CUDA"
    if torch.cuda.get_device_capability(device) < backend.capability:
        return "needs CUDA capability {}.{}".format(*backend.capability)
    if backend.name != "flex" and dtype == torch.float32:
        return "needs bf16"
    return ""


# ---------------------------------------------------------------------------
# Report
# ---------------------------------------------------------------------------


def report(head_dim: int = 128) -> dict[str, Any]:
    """What training would use here, why not something faster, and what to install for it."""
    device = pick_device()
    dtype = pick_dtype(device)
    choice = choose_attention(device, dtype, head_dim)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    missing = [b for b, why in choice.rejected.items() if why.startswith(("ModuleNotFoundError", "ImportError"))]
    return {
        "device": device.type,
        "name": name,
        "dtype": str(dtype).removeprefix("torch."),
        "peak_tflops": round(peak_flops(device, dtype) / 1e12, 3),
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
