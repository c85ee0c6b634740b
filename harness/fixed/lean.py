"""Operations that send less through memory than their plain forms, with the same results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Losses = Callable[[Tensor, Tensor], Tensor]


class _SquaredRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = F.relu(x).square()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return grad * (2 * y.sqrt())


def squared_relu(x: Tensor) -> Tensor:
    """relu(x) ** 2 that keeps only its output for the gradient, which the next layer keeps anyway."""
    return _SquaredRelu.apply(x)


class _ChunkedMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, losses: Losses, x: Tensor, targets: Tensor, *weights: Tensor) -> Tensor:
        x_grad, sums = torch.empty_like(x), [None] * len(weights)
        total = x.new_zeros((), dtype=torch.float32)
        for at in range(0, len(x), size := chunk(x)):
            with torch.enable_grad():
                rows = x[at : at + size].detach().requires_grad_()
                loss = losses(rows, targets[at : at + size]).sum()
                grads = torch.autograd.grad(loss, (rows, *weights), allow_unused=True)
            total += loss.detach()
            x_grad[at : at + size] = grads[0]
            for i, grad in enumerate(grads[1:]):
                if grad is not None:  # most weights come before the loss
                    sums[i] = grad if sums[i] is None else sums[i].add_(grad)
        number = (targets >= 0).sum().clamp_min(1)
        ctx.save_for_backward(number, x_grad, *sums)
        return total / number

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        number, x_grad, *sums = ctx.saved_tensors
        share = grad / number
        return (None, x_grad * share, None, *(None if kept is None else kept * share for kept in sums))


def chunk(x: Tensor) -> int:
    """Rows at a time: few enough that their logits stay in a processor's cache."""
    return 256 if x.device.type == "cpu" else 4096


def chunked_losses(losses: Losses, x: Tensor, targets: Tensor, weights: Sequence[Tensor], reduction: str) -> Tensor:
    """`losses(x, targets)` a few rows at a time: the logits of a whole batch are never there at once.

    x: (N, width), targets: (N,) int64, -1 where none counts. `losses` gives one loss for each row, 0 where the target
    is -1; beside its arguments it may depend on `weights` alone, for they and x get the gradients. Those are computed
    on the way, so that nothing is computed twice. reduction: "mean" over the targets that count, or "none", without
    gradients.
    """
    if reduction == "none":
        return torch.cat([losses(*part) for part in zip(x.split(chunk(x)), targets.split(chunk(x)), strict=True)])
    if torch.is_grad_enabled():
        return _ChunkedMean.apply(losses, x, targets, *weights)
    return chunked_losses(losses, x, targets, weights, "none").sum() / (targets >= 0).sum().clamp_min(1)
