"""A run's clock, its progress line and its summary. Other programs read both, so their form is fixed."""

from __future__ import annotations

import math
import time

import torch

from fixed import device as hardware
from fixed.settings import TIME_BUDGET, TOKEN_BUDGET
from fixed.store import data_id


class Meter:
    """Time and tokens of the training so far."""

    def __init__(self, step_tokens: int, flops_per_token: float, peak_flops: float) -> None:
        self.step_tokens, self.flops_per_token, self.peak_flops = step_tokens, flops_per_token, peak_flops
        self.seconds = self.last = self.smooth = self.shown_at = 0.0
        self.steps = 0
        self.begin()

    def begin(self) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    @property
    def tokens(self) -> int:
        return self.steps * self.step_tokens

    @property
    def smoothed(self) -> float:
        """The loss in nats, averaged over about ten steps."""
        return self.smooth / (1 - 0.9**self.steps)

    def diverged(self, vocab_size: int) -> bool:
        """Is the loss no number or beyond hope, or after a twentieth of the budget well above that of mere guessing?"""
        late = self.steps >= 10 and self.spent(self.steps) > 0.05
        return not self.last <= 100 or (late and self.smoothed > math.log(vocab_size) + 1)

    def spent(self, steps: int) -> float:
        """Share of the budget: what `steps` steps take of a budget of tokens, else what has gone of the seconds."""
        share = steps * self.step_tokens / TOKEN_BUDGET if TOKEN_BUDGET else self.seconds / max(TIME_BUDGET, 1e-9)
        return min(share, 1.0)

    def mfu(self, tokens: float, seconds: float) -> float:
        """Per cent of the device's peak FLOP/s."""
        return 100 * self.flops_per_token * tokens / max(seconds, 1e-9) / self.peak_flops

    def update(self, loss: float, multiplier: float, epoch: int) -> None:
        """Count a finished step; rewrite the line a few times a second and for the first and the last step."""
        before, step, now = self.spent(self.steps), self.steps, time.perf_counter()
        seconds = now - self.began - self.seconds
        self.seconds += seconds
        self.steps += 1
        self.last, self.smooth = loss, 0.9 * self.smooth + 0.1 * loss
        if now - self.shown_at < 0.25 and step and self.spent(self.steps) < 1:
            return
        self.shown_at = now
        left = max(0.0, TIME_BUDGET - self.seconds)
        if TOKEN_BUDGET:
            left = self.seconds * (1 / self.spent(self.steps) - 1)
        print(
            f"\rstep {step:05d} ({100 * before:.1f}%) | loss: {self.smoothed:.6f} "
            f"| lrm: {multiplier:.2f} | dt: {1000 * seconds:.0f}ms | tok/sec: {int(self.step_tokens / seconds):,} "
            f"| mfu: {self.mfu(self.step_tokens, seconds):.1f}% | epoch: {epoch} | remaining: {left:.0f}s    ",
            end="",
            flush=True,
        )


def print_summary(
    val_bpb: float, meter: Meter, machine: hardware.Machine, params: int, depth: int, device_batch: int
) -> None:
    """The lines behind `---`: what the reference prints, and what a score depends on beside the code."""
    lines = {
        "val_bpb": f"{val_bpb:.6f}",
        "training_seconds": f"{meter.seconds:.1f}",
        "total_seconds": f"{hardware.process_seconds():.1f}",
        "peak_vram_mb": f"{hardware.peak_memory_mb(machine.device):.1f}",
        "mfu_percent": f"{meter.mfu(meter.tokens, meter.seconds):.2f}",
        "total_tokens_M": f"{meter.tokens / 1e6:.1f}",
        "num_steps": meter.steps,
        "num_params_M": f"{params / 1e6:.1f}",
        "depth": depth,
        "device_batch": device_batch,
        "device": hardware.device_name(machine.device),
        "dtype": hardware.dtype_name(machine.dtype),
        "attention": machine.attention.name,
        "torch": torch.__version__,
        "data": data_id(),
    }
    print("---")
    print("\n".join(f"{f'{key}:':<18}{value}" for key, value in lines.items()), flush=True)
