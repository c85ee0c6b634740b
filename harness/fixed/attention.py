"""Attention over windows: what it is, and torch's own form of it. backends.py has the kernels that are faster.

Every back-end takes q of (B, T, H, D), k and v of (B, T, H or a divisor of it, D), and a window W, and lets a query see
itself and the W keys before it (W + 1 in all, flash-attn's window_size=(W, 0)).
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Attend(Protocol):
    """Attention over keys in a window, of scores times `scale` (1 / sqrt(D) by default).

    Fewer heads in k and v than in q are shared by equal groups of queries' heads. `starts`, (B, T) bool, is True where
    a document begins: no token sees an earlier document. That is exact with every back-end, but takes a mask of all
    pairs through torch's own attention.
    """

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, window: int, scale: float | None = None, starts: Tensor | None = None
    ) -> Tensor: ...


def dense_attention(
    q: Tensor, k: Tensor, v: Tensor, window: int, scale: float | None = None, starts: Tensor | None = None
) -> Tensor:
    """The definition, in plain tensor code; what the others are checked against."""
    steps = torch.arange(q.size(1), device=q.device)
    behind = steps[:, None] - steps[None, :]
    hidden = (behind < 0) | (behind > window)
    if starts is not None:
        document = starts.cumsum(1)
        hidden = (hidden | (document[:, :, None] != document[:, None, :]))[:, None]
    k, v = (x.repeat_interleave(q.size(2) // x.size(2), dim=2) for x in (k, v))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * (q.size(-1) ** -0.5 if scale is None else scale)
    return torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(hidden, float("-inf")).softmax(-1), v)


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


def sdpa_attention(
    q: Tensor, k: Tensor, v: Tensor, window: int, scale: float | None = None, starts: Tensor | None = None
) -> Tensor:
    """torch's own attention. Short windows go block by block, which costs less than a mask over everything."""
    k, v = (x if x.size(2) == q.size(2) else x.repeat_interleave(q.size(2) // x.size(2), dim=2) for x in (k, v))
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    length = q.size(2)
    if starts is not None:
        document = starts.cumsum(1)
        same = (document[:, :, None] == document[:, None, :])[:, None]
        mask = same & band_mask(length, length, window, q.device)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    elif window >= length - 1:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    elif window * 4 <= length and length % window == 0:
        y = block_attention(q, k, v, window, scale)
    else:
        mask = band_mask(length, length, window, q.device)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return y.transpose(1, 2)


def block_attention(q: Tensor, k: Tensor, v: Tensor, window: int, scale: float | None = None) -> Tensor:
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
        q.reshape(B, H * blocks, window, D), with_previous(k), with_previous(v), attn_mask=mask.repeat(H, 1, 1),
        scale=scale,
    )  # fmt: skip
    return y.reshape(B, H, T, D)
