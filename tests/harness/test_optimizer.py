"""The optimisers against plain float64 versions, and the schedules."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch


def plain_adamw(p, grads, lr, betas, decay):
    mean, square = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        p = p * (1 - lr * decay)
        mean = betas[0] * mean + (1 - betas[0]) * g
        square = betas[1] * square + (1 - betas[1]) * g * g
        p = p - lr * (mean / (1 - betas[0] ** t)) / (np.sqrt(square / (1 - betas[1] ** t)) + 1e-10)
    return p


def test_adamw_is_the_plain_one(harness: dict[str, ModuleType]) -> None:
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=(5, 7)), rng.normal(size=(6, 5, 7))
    p = torch.nn.Parameter(torch.tensor(start, dtype=torch.float32))
    adam = harness["train"].AdamW([p], 0.02, weight_decay=0.3, betas=(0.8, 0.95))
    for g in grads:
        p.grad = torch.tensor(g, dtype=torch.float32)
        adam.step(0.5)
    np.testing.assert_allclose(p.detach().numpy(), plain_adamw(start, grads, 0.01, (0.8, 0.95), 0.3), atol=1e-6)


def plain_muon(train, p, grads, lr, beta, decay):
    """One matrix; `p` is (rows, columns) float64."""
    rows, columns = p.shape
    momentum, axis = np.zeros_like(p), 1 if rows >= columns else 0
    variance = np.zeros((rows, 1) if axis else (1, columns))
    lr = lr * max(1, rows / columns) ** 0.5
    for g in grads:
        momentum = beta * momentum + (1 - beta) * g
        x = (1 - beta) * g + beta * momentum
        x = x / (np.linalg.norm(x) * 1.02 + 1e-6)
        for a, b, c in train.POLAR_EXPRESS:
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        square = (x * x).mean(axis=axis, keepdims=True)
        variance = 0.95 * variance + 0.05 * square
        scaled = x / np.sqrt(np.maximum(variance, 1e-10))
        x = scaled * np.linalg.norm(x) / np.linalg.norm(scaled)
        p = p - lr * x - lr * decay * p * (x * p >= 0)
    return p


@pytest.mark.parametrize("shape", [(6, 6), (12, 4), (4, 12)])
def test_muon_is_the_plain_one(harness: dict[str, ModuleType], shape: tuple[int, int]) -> None:
    train = harness["train"]
    rng = np.random.default_rng(1)
    start, grads = rng.normal(size=(2, *shape)), rng.normal(size=(4, 2, *shape))
    params = [torch.nn.Parameter(torch.tensor(p, dtype=torch.float32)) for p in start]
    muon = train.Muon(params, 0.05, compiled=False, dtype=torch.float32)
    for both in grads:
        for p, g in zip(params, both, strict=True):
            p.grad = torch.tensor(g, dtype=torch.float32)
        muon.step(0.5, 0.9, 0.2)
    for i, p in enumerate(params):
        expected = plain_muon(train, start[i], grads[:, i], 0.025, 0.9, 0.2)
        np.testing.assert_allclose(p.detach().numpy(), expected, atol=2e-4)


def test_what_has_no_gradient_stays_as_it_is(harness: dict[str, ModuleType]) -> None:
    """A parameter that the forward pass does not use any more, alone or beside others of its kind."""
    train = harness["train"]
    generator = torch.Generator().manual_seed(3)
    used, unused, alone = (torch.nn.Parameter(torch.randn(6, 4, generator=generator)) for _ in range(3))
    before = [p.detach().clone() for p in (used, unused, alone)]
    grad = torch.randn(6, 4, generator=generator)
    for optimizer in (
        train.AdamW([used, unused], 0.02, weight_decay=0.3),
        train.AdamW([alone], 0.02, weight_decay=0.3),
        train.Muon([used, unused], 0.05, compiled=False, dtype=torch.float32),
        train.Muon([alone], 0.05, compiled=False, dtype=torch.float32),
    ):
        used.grad = grad.clone()
        optimizer.step(1.0) if isinstance(optimizer, train.AdamW) else optimizer.step(1.0, 0.9, 0.2)
        assert not torch.equal(used, before[0])
        assert torch.equal(unused, before[1])
        assert torch.equal(alone, before[2])
    used.grad = grad.clone()
    apart = torch.nn.Parameter(before[0].clone())
    apart.grad = grad.clone()
    muons = (train.Muon([p, other], 0.05, compiled=False, dtype=torch.float32) for p, other in ((apart, unused),))
    for muon in muons:
        muon.step(1.0, 0.9, 0.2)
    lone = torch.nn.Parameter(before[0].clone())
    lone.grad = grad.clone()
    train.Muon([lone], 0.05, compiled=False, dtype=torch.float32).step(1.0, 0.9, 0.2)
    torch.testing.assert_close(apart, lone)


@pytest.mark.parametrize("shape", [(16, 16), (64, 16), (16, 64)])
def test_orthogonalize_brings_singular_values_near_one(harness: dict[str, ModuleType], shape: tuple[int, int]) -> None:
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
    values = torch.linalg.svdvals(harness["train"].orthogonalize(x, torch.float32))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_schedule_rises_stays_and_falls(harness: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    train = harness["train"]
    for name, value in {"WARMUP_RATIO": 0.1, "WARMDOWN_RATIO": 0.5, "FINAL_LR_FRAC": 0.2}.items():
        monkeypatch.setattr(train, name, value)
    points = [train.lr_multiplier(x) for x in (0, 0.05, 0.1, 0.5, 0.75, 1)]
    assert points == pytest.approx([0, 0.5, 1, 1, 0.6, 0.2])
    monkeypatch.setattr(train, "WARMUP_RATIO", 0.0)
    monkeypatch.setattr(train, "WARMDOWN_RATIO", 0.0)
    assert [train.lr_multiplier(x) for x in (0, 0.5, 1)] == [1, 1, 1]


def test_reset_forgets_every_step(harness: dict[str, ModuleType]) -> None:
    train = harness["train"]
    model = train.GPT(train.GPTConfig(8, 32, 2, 1, 128, (8, 8)))
    model.init_weights()
    optimizers = train.Optimizers(model, False, torch.float32)
    x = torch.zeros(1, 8, dtype=torch.int64)
    model(x, x).backward()
    optimizers.step(0.0, 0)
    optimizers.reset()
    state = [t for optimizer in [*optimizers.adam, *optimizers.muon] for t in optimizer.state()]
    assert not any(t.any() for t in state)
    assert all(p.grad is None for p in model.parameters())


def test_muon_step_and_model_trace_without_breaks(harness: dict[str, ModuleType]) -> None:
    """What is compiled on a GPU can be captured whole; the kernels are left out, as they need one."""
    train = harness["train"]
    params = [torch.nn.Parameter(torch.randn(8, 4)) for _ in range(2)]
    muon = train.Muon(params, 0.05, compiled=True, dtype=torch.float32)
    muon.step_stack = torch.compile(train.muon_step, backend="eager", dynamic=False, fullgraph=True)
    for p in params:
        p.grad = torch.randn_like(p)
    muon.step(1.0, 0.9, 0.1)
    muon.step(0.5, 0.95, 0.0)
    model = train.GPT(train.GPTConfig(16, 32, 2, 1, 32, (4, 16)))
    model.init_weights()
    model.chunked = False
    compiled = torch.compile(model, backend="eager", dynamic=False, fullgraph=True)
    x = torch.zeros(2, 16, dtype=torch.int64)
    compiled(x, x).backward()
    assert compiled(x, x, reduction="none").shape == (32,)
