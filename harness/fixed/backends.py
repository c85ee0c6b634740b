"""The attention back-ends, and the fastest one that proves right on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fixed.attention import Attend, dense_attention, sdpa_attention

Kernel = Callable[[Tensor, Tensor, Tensor, int, float | None], Tensor]  # q, k, v, window, scale


def within_rows(kernel: Kernel) -> Attend:
    """Attention by a kernel that knows no documents; where they are wanted, torch's own takes its place."""

    def attend(
        q: Tensor, k: Tensor, v: Tensor, window: int, scale: float | None = None, starts: Tensor | None = None
    ) -> Tensor:
        if starts is not None:
            return sdpa_attention(q, k, v, window, scale, starts)
        return kernel(q, k, v, window, scale)

    return attend


def span(window: int, length: int) -> tuple[int, int]:
    """A window as flash kernels take it; (-1, 0) is their plain causal form, which is faster than a bound never met."""
    return (window, 0) if window < length - 1 else (-1, 0)


def flash(flash_attn_func: Callable[..., Any]) -> Attend:
    """Attention by one of the flash-attn packages, which agree on how they are called."""

    def kernel(q: Tensor, k: Tensor, v: Tensor, window: int, scale: float | None) -> Tensor:
        result = flash_attn_func(q, k, v, softmax_scale=scale, causal=True, window_size=span(window, q.size(1)))
        return result[0] if isinstance(result, tuple) else result  # some return the log-sum-exp beside the output

    return within_rows(kernel)


def load_flash3() -> Attend:
    """flash-attn 3, for Hopper (Shah et al. 2024, arXiv 2407.08608)."""
    from flash_attn_interface import flash_attn_func

    return flash(flash_attn_func)


def load_flash2() -> Attend:
    """flash-attn 2 (Dao 2023, arXiv 2307.08691)."""
    from flash_attn import flash_attn_func

    return flash(flash_attn_func)


def load_flash4() -> Attend:
    """flash-attn 4, compiled at run time."""
    from flash_attn.cute import flash_attn_func

    return flash(flash_attn_func)


def load_varlen() -> Attend:
    """The flash kernel that comes with torch, which takes windows in its variable-length form."""
    return within_rows(varlen())


def varlen() -> Kernel:
    """Its kernel: rows are handed over as sequences of equal length."""
    from torch.nn.attention.varlen import varlen_attn

    def kernel(q: Tensor, k: Tensor, v: Tensor, window: int, scale: float | None) -> Tensor:
        B, T = q.shape[:2]
        ends = torch.arange(0, B * T + 1, T, device=q.device, dtype=torch.int32)
        options: dict[str, Any] = {} if scale is None else {"scale": scale}  # older versions of torch have not all
        options |= {"enable_gqa": True} if k.size(2) != q.size(2) else {}
        flat = (x.reshape(B * T, *x.shape[2:]) for x in (q, k, v))
        return varlen_attn(*flat, ends, ends, T, T, window_size=span(window, T), **options).view(q.shape)

    return kernel


def load_cudnn() -> Attend:
    """cuDNN's kernel where the window is the whole row, torch's flash kernel where it is short."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    short = varlen()

    def kernel(q: Tensor, k: Tensor, v: Tensor, window: int, scale: float | None) -> Tensor:
        if window < q.size(1) - 1:
            return short(q, k, v, window, scale)
        shared = k.size(2) != q.size(2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=shared)
        return y.transpose(1, 2)

    return within_rows(kernel)


def load_flex() -> Attend:
    """FlexAttention: a compiled kernel with a block-sparse mask (Dong et al. 2024, arXiv 2412.05496)."""
    from torch.nn.attention.flex_attention import flex_attention

    alone = torch.compile(flex_attention, dynamic=False)

    def kernel(q: Tensor, k: Tensor, v: Tensor, window: int, scale: float | None) -> Tensor:
        function = flex_attention if torch.compiler.is_compiling() else alone
        mask, shared = block_mask(q.size(1), window, q.device), k.size(2) != q.size(2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        return function(q, k, v, block_mask=mask, scale=scale, enable_gqa=shared).transpose(1, 2)

    return within_rows(kernel)


_block_masks: dict[tuple[object, ...], Any] = {}


def block_mask(length: int, window: int, device: torch.device) -> Any:
    """FlexAttention's mask. It is made once; `make_masks` does that before anything is compiled."""
    key = (length, window)
    if key not in _block_masks:
        from torch.nn.attention.flex_attention import create_block_mask

        def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (query >= key) & (query - key <= window)

        _block_masks[key] = create_block_mask(visible, None, None, length, length, device=device)
    return _block_masks[key]


def make_masks(name: str, length: int, windows: Iterable[int], device: torch.device) -> None:
    """What a back-end wants to have before it is compiled with rows of `length` tokens and these windows."""
    if name == "flex":
        for window in set(windows):
            block_mask(length, window, device)


class Backend(NamedTuple):
    """One way to compute attention: where it can run, and how to get it."""

    name: str
    load: Callable[[], Attend]
    capability: tuple[int, int] | None  # least CUDA capability; None runs anywhere


BACKENDS = (
    Backend("flash3", load_flash3, (9, 0)),
    Backend("flash4", load_flash4, (9, 0)),
    Backend("cudnn", load_cudnn, (9, 0)),
    Backend("flash2", load_flash2, (8, 0)),
    Backend("varlen", load_varlen, (8, 0)),
    Backend("flex", load_flex, (7, 5)),
    Backend("sdpa", lambda: sdpa_attention, None),
)


class Choice(NamedTuple):
    """The attention in use, and why each one before it is not."""

    name: str
    attend: Attend
    rejected: dict[str, str]

    def make_masks(self, length: int, windows: Iterable[int], device: torch.device) -> None:
        """To be called before anything is compiled, with the rows' length and all windows."""
        make_masks(self.name, length, windows, device)


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


def check_whole(name: str, attend: Attend, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
    """Can the compiler take it in as one graph, forward and backward? An empty string, or why not.

    A kernel that is right by itself may still have no shapes or gradients to offer to the compiler, and would end every
    run, or slow it down by cutting the model's graph.
    """
    torch.compiler.reset()
    length = 256
    make_masks(name, length, (64, length), device)

    def within(*inputs: Tensor, window: int) -> Tensor:  # a function that refuses to be compiled is told only within
        return attend(*inputs, window)

    whole = torch.compile(within, backend="aot_eager", fullgraph=True, dynamic=False)
    try:
        for window in (64, length):
            q, k, v = (torch.zeros(1, length, 1, head_dim, device=device, dtype=dtype) for _ in range(3))
            y = whole(*(x.requires_grad_() for x in (q, k, v)), window=window)
            y.sum().backward()
    except Exception as error:  # as many kinds as there are packages
        return f"does not compile whole: {one_line(error)}"
    finally:
        torch.compiler.reset()
    return ""


def one_line(error: Exception) -> str:
    """An error's kind, and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


def choose_attention(device: torch.device, dtype: torch.dtype, head_dim: int, compiled: bool = False) -> Choice:
    """The first back-end that is installed, suits the device and agrees with dense_attention on it.

    Where training is `compiled`, it has to compile whole as well. AUTORESEARCH_ATTENTION names the only one to try,
    with sdpa as the last resort. sdpa is taken as it is: the tests check it, and a check at every start would cost more
    than it tells.
    """
    wanted = os.environ.get("AUTORESEARCH_ATTENTION", "")
    rejected: dict[str, str] = {}
    for backend in BACKENDS[:-1]:
        why = why_not(backend, device, dtype, wanted)
        if not why:
            try:
                attend = backend.load()
                why = check_attention(attend, device, dtype, head_dim)
            except Exception as error:  # a missing package, a wrong ABI, an absent kernel: all mean "not this one"
                why = one_line(error)
            if not why and compiled:
                why = check_whole(backend.name, attend, device, dtype, head_dim)
            if not why:
                return Choice(backend.name, attend, rejected)
        rejected[backend.name] = why
    return Choice("sdpa", sdpa_attention, rejected)


def why_not(backend: Backend, device: torch.device, dtype: torch.dtype, wanted: str) -> str:
    """Why a back-end cannot be used, known without loading it; empty if it may be tried."""
    if wanted and backend.name != wanted:
        return f"AUTORESEARCH_ATTENTION={wanted}"
    if device.type != "cuda":
        return "needs CUDA"
    if torch.cuda.get_device_capability(device) < backend.capability:
        return "needs CUDA capability {}.{}".format(*backend.capability)
    if backend.name != "flex" and dtype == torch.float32:
        return "needs bf16"
    return ""
