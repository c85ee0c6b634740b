"""The reference's way of training on a CPU, for comparison: runs in a lab of benchmarks/harness.py beside train.py.

Same model code, with the knobs of the public record. What differs from train.py is what differs there: the loss goes
through the logits of the whole batch, AdamW is written with plain tensor operations, the first eleven steps are not
counted, and rows are random windows of the text (the reference's own loader, which crops documents to fill a row, sees
only the heads of the embedded corpus's long files and learns them by heart). In its favour: tokens come from disk,
memory is kept between steps, threads wait asleep, and the orthogonalisation is in fp32.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import prepare
import reference_rows
import torch
import train
from fixed import loader

FREE_STEPS = 11


def make_dataloader(tokenizer: prepare.Tokenizer, count: int, length: int, *_: object, **__: object) -> Iterator[tuple]:
    """Random windows of the training text as one stream, documents set apart by BOS, as in the public record."""
    texts = reference_rows.documents(*loader.load_tokens("train"), tokenizer.get_bos_token_id())
    for rows in reference_rows.random_windows(texts, count, length, train.SEED):
        block = torch.from_numpy(rows)
        yield block[:, :-1].contiguous(), block[:, 1:].contiguous(), 1


@torch.no_grad()
def plain_adamw(self: train.AdamW, multiplier: float) -> None:
    """AdamW with one tensor operation after the other."""
    lr = self.initial_lr * multiplier
    for p, mean, variance, steps in zip(self.params, self.mean, self.variance, self.steps, strict=True):
        steps.add_(1)
        p.mul_(1 - lr * self.weight_decay)
        mean.lerp_(p.grad, 1 - self.betas[0])
        variance.lerp_(p.grad.square(), 1 - self.betas[1])
        width = (variance / (1 - self.betas[1] ** steps.item())).sqrt() + 1e-10
        p.add_(mean / width, alpha=-lr / (1 - self.betas[0] ** steps.item()))


def plain_loss(
    losses: Callable[..., torch.Tensor], x: torch.Tensor, targets: torch.Tensor, weights: object, reduction: str
) -> torch.Tensor:
    """The loss through the logits of the whole batch."""
    del weights
    return losses(x, targets, reduction)


class LenientMeter(train.Meter):
    """Leaves the first steps out of the count, as the reference does."""

    def update(self, loss: float, multiplier: float, epoch: int) -> None:
        super().update(loss, multiplier, epoch)
        if self.steps <= FREE_STEPS:
            self.began += self.seconds
            self.seconds = 0.0


def install() -> None:
    """Make `train` behave as the reference does."""
    train.make_dataloader = make_dataloader
    train.AdamW.step = plain_adamw
    train.Meter = LenientMeter
    train.chunked_losses = plain_loss


if __name__ == "__main__":
    install()
    train.main()
