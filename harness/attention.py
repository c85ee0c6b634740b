"""Attention: the back-ends there are, and the fastest one that proves right on this machine. Fixed, like prepare.py.

Every back-end takes q, k, v of (B, T, H, D) and a window W, and lets a query see itself and the W keys before it
(W + 1 in all, flash-attn's window_size=(W, 0)).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, int], Tensor]


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
        own = x.reshape(B, H, blocks, window, D)
        return torch.cat((F.pad(own, (0, 0, 0, 0, 1, 0))[:, :, :-1], own), dim=3).flatten(1, 2)

    mask = band_mask(window, 2 * window, window, q.device).repeat(blocks, 1, 1)
    mask[0, :, :window] = False  # nothing comes before the first block
    # the blocks stand in the place of heads: with more than four dimensions torch takes its slow path
    y = F.scaled_dot_product_attention(
        q.reshape(B, H * blocks, window, D), with_previous(k), with_previous(v), attn_mask=mask.repeat(H, 1, 1)
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
