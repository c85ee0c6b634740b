"""The training loop as a GPU would run it, on the CPU: what is compiled when, and a step ahead of the device."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from .conftest import fresh

ROWS = 2


@pytest.fixture
def train(harness: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = harness["train"]
    tokens = ROWS * module.MAX_SEQ_LEN
    knobs = {"DEPTH": 2, "ASPECT_RATIO": 16, "HEAD_DIM": 32, "WINDOW_PATTERN": "SL"}
    knobs |= {"TOTAL_BATCH_SIZE": 2 * tokens, "TOKEN_BUDGET": 6 * tokens}
    for name, value in knobs.items():
        monkeypatch.setattr(module, name, value)
    return module


def make_run(train: ModuleType, compiled: bool = False) -> Any:
    torch.manual_seed(0)
    model = train.GPT(train.build_config(train.prepare.VOCAB_SIZE))
    model.chunked = not compiled
    model.init_weights()
    optimizers = train.Optimizers(model, compiled, torch.float32)
    forward = train.torch.compile(model, dynamic=False) if compiled else model
    return train.Run(model, forward, optimizers, torch.device("cpu"))


def batches(train: ModuleType) -> Any:
    tokenizer = train.Tokenizer.from_directory()
    return train.make_dataloader(tokenizer, ROWS, train.MAX_SEQ_LEN, "train", seed=1, device="cpu")


def test_nothing_is_compiled_after_the_warm_up(train: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    real, graphs = torch.compile, []

    def keep(graph: torch.fx.GraphModule, _inputs: object) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend=keep, **options))
    run = make_run(train, compiled=True)
    run.warm_up(ROWS)
    made = len(graphs)
    assert made >= 3  # training, evaluation and each shape of matrix
    meter = train.Meter(1.0, 1.0)
    train.train(run, batches(train), meter, 2)
    assert meter.steps == 3
    rows = train.prepare.load_rows()[: 2 * ROWS]
    monkeypatch.setattr(train.prepare, "load_rows", lambda: rows)
    assert 1 < train.evaluate_bpb(run.forward, train.Tokenizer.from_directory(), ROWS) < 20
    assert len(graphs) == made


def test_a_step_ahead_trains_the_same(train: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    weights, lines = [], []
    for device in ("cpu", "cuda"):  # tensors stay on the CPU; the loop takes the device's word
        run = make_run(train)
        run.device = torch.device(device)
        meter = train.Meter(1.0, 1.0)
        train.train(run, batches(train), meter, 2)
        assert (meter.steps, meter.tokens) == (3, train.TOKEN_BUDGET)
        weights.append([p.detach().clone() for p in run.model.parameters()])
        lines.append([line.split(" | lrm")[0] for line in capsys.readouterr().out.split("\r")[1:]])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert lines[0][0] == lines[1][0]
    assert lines[0][-1] == lines[1][-1]
    assert lines[0][-1].startswith("step 00002 (66.7%)")


def test_a_budget_of_seconds_ends_within_the_steps_that_were_queued(train: ModuleType, monkeypatch) -> None:
    monkeypatch.setattr(train, "TOKEN_BUDGET", 0)
    monkeypatch.setattr(train, "TIME_BUDGET", 10)
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(train.time, "perf_counter", lambda: float(next(clock)))
    for device, steps in (("cpu", 3), ("cuda", 4)):
        run = make_run(train)
        run.device = torch.device(device)
        meter = train.Meter(1.0, 1.0)
        train.train(run, itertools.repeat(next(batches(train))), meter, 2)
        assert meter.steps == steps
        assert meter.seconds == 4 * steps  # every step is counted


def test_bf16_activations_train_fp32_weights(train: ModuleType) -> None:
    torch.manual_seed(0)
    config = train.build_config(train.prepare.VOCAB_SIZE)
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        model = train.GPT(config, dtype=dtype)
        model.init_weights()
        x = torch.randint(4, config.vocab_size, (2, 32), generator=torch.Generator().manual_seed(0))
        for p in model.parameters():
            p.data.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) * 0.02)
        for model.chunked in (True, False):
            model.zero_grad()
            loss = model(x, x)
            loss.backward()
            losses.append(loss.item())
            assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters())
        assert model(x).dtype == torch.float32
    assert losses == pytest.approx([losses[0]] * 4, rel=2e-2)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 101.0])
def test_divergence_fails_fast(train: ModuleType, capsys: pytest.CaptureFixture[str], loss: float) -> None:
    run = make_run(train)
    run.step = lambda *_: torch.tensor(loss)
    run.optimizers.step = lambda *_: 1.0
    with pytest.raises(SystemExit) as stopped:
        train.train(run, batches(train), train.Meter(1.0, 1.0), 2)
    assert stopped.value.code == 1
    assert capsys.readouterr().out.endswith("\nFAIL\n")


def test_a_batch_that_does_not_divide_is_said(train: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "TOTAL_BATCH_SIZE", 1000)
    with pytest.raises(SystemExit, match="TOTAL_BATCH_SIZE = 1000 is not a multiple of 7 rows of 128 tokens"):
        train.set_up(train.Tokenizer.from_directory())


@pytest.mark.parametrize("backend", ["varlen", "sdpa"])
def test_the_reference_profile_takes_a_step_at_its_real_sizes(tmp_path: Path, backend: str) -> None:
    """In bf16, captured whole, on a device without contents, through the shapes that torch's own kernels declare."""
    modules = fresh(tmp_path, AUTORESEARCH_PROFILE="reference")
    train, attention = modules["train"], modules["attention"]
    attend = {b.name: b for b in attention.BACKENDS}[backend].load()
    with torch.device("meta"):  # a tensor that stayed on the CPU would be told
        model = train.GPT(train.build_config(8192), attend, torch.bfloat16)
    model.chunked = False  # as where it is compiled
    model.init_weights()
    optimizers = train.Optimizers(model, False, torch.bfloat16)
    x = torch.zeros(8, 2048, dtype=torch.int64, device="meta")
    loss = torch.compile(model, backend="eager", dynamic=False, fullgraph=True)(x, x.clone())
    loss.backward()
    assert (loss.shape, loss.dtype) == ((), torch.float32)
    assert all(p.grad.dtype == p.dtype == torch.float32 for p in model.parameters())
    optimizers.step(0.1, 3)
    with torch.no_grad():
        assert model(x, x.clone(), reduction="none").shape == (8 * 2048,)
        logits = model(x)
    assert (logits.shape, logits.dtype) == ((8, 2048, 8192), torch.float32)
    assert model.parameter_counts()["total"] == 80_937_778  # with 44.2 M in matrices, as in the public record
