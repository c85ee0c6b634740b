"""The training loop as a GPU would run it, on the CPU: what is compiled when, and a step ahead of the device."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from .conftest import fresh
from .test_end_to_end import SMALL, make_lab, run_train

ROWS = 2


@pytest.fixture
def train(harness: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = harness["train"]
    tokens = ROWS * module.MAX_SEQ_LEN
    knobs = {"DEPTH": 2, "ASPECT_RATIO": 16, "HEAD_DIM": 32, "WINDOW_PATTERN": "SL"}
    knobs |= {"TOTAL_BATCH_SIZE": 2 * tokens}
    for name, value in knobs.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(harness["meter"], "TOKEN_BUDGET", 6 * tokens)
    return module


def clock(train: ModuleType) -> ModuleType:
    """The module of the meter that this train.py uses."""
    return sys.modules[train.Meter.__module__]


def make_meter(train: ModuleType) -> Any:
    return train.Meter(train.TOTAL_BATCH_SIZE, 1.0, 1.0)


def on(train: ModuleType, device: str) -> Any:
    """A machine that calls itself so; nothing is moved there."""
    return train.hardware.Machine(torch.device(device), torch.float32, False, None, None)


def make_run(train: ModuleType, compiled: bool = False) -> Any:
    torch.manual_seed(0)
    model = train.GPT(train.build_config(train.prepare.VOCAB_SIZE))
    model.chunked = not compiled
    model.init_weights()
    optimizers = train.Optimizers(model, compiled, torch.float32)
    forward = train.torch.compile(model, dynamic=False) if compiled else model
    return train.Run(model, forward, optimizers, on(train, "cpu"))


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
    meter = make_meter(train)
    train.train(run, batches(train), meter, 2)
    assert meter.steps == 3
    loader = sys.modules["fixed.loader"]
    rows = loader.load_rows()[: 2 * ROWS]
    monkeypatch.setattr(loader, "load_rows", lambda: rows)
    assert 1 < train.evaluate_bpb(run.forward, train.Tokenizer.from_directory(), ROWS) < 20
    assert len(graphs) == made


def test_a_step_ahead_trains_the_same(train: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    weights, lines = [], []
    for device in ("cpu", "cuda"):  # tensors stay on the CPU; the loop takes the device's word
        run = make_run(train)
        run.machine = on(train, device)
        meter = make_meter(train)
        train.train(run, batches(train), meter, 2)
        assert (meter.steps, meter.tokens) == (3, clock(train).TOKEN_BUDGET)
        weights.append([p.detach().clone() for p in run.model.parameters()])
        lines.append([line.split(" | lrm")[0] for line in capsys.readouterr().out.split("\r")[1:]])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert lines[0][0] == lines[1][0]
    assert lines[0][-1] == lines[1][-1]
    assert lines[0][-1].startswith("step 00002 (66.7%)")


def test_a_budget_of_seconds_ends_within_the_steps_that_were_queued(train: ModuleType, monkeypatch) -> None:
    monkeypatch.setattr(clock(train), "TOKEN_BUDGET", 0)
    monkeypatch.setattr(clock(train), "TIME_BUDGET", 10)
    ticks = iter(range(0, 1000, 4))
    monkeypatch.setattr(clock(train).time, "perf_counter", lambda: float(next(ticks)))
    for device, steps in (("cpu", 3), ("cuda", 4)):
        run = make_run(train)
        run.machine = on(train, device)
        meter = make_meter(train)
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
        train.train(run, batches(train), make_meter(train), 2)
    assert stopped.value.code == 1
    assert capsys.readouterr().out.endswith("\nFAIL\n")


def diverging(train: ModuleType, monkeypatch: pytest.MonkeyPatch, losses: Callable[[int], float], steps: int) -> int:
    """Steps that were taken of `steps` in the budget, with made-up losses."""
    monkeypatch.setattr(clock(train), "TOKEN_BUDGET", steps * train.TOTAL_BATCH_SIZE)
    run, taken = make_run(train), itertools.count()
    run.step = lambda *_: torch.tensor(losses(next(taken)))
    run.optimizers.step = lambda *_: 1.0
    meter = make_meter(train)
    block = next(batches(train))
    with contextlib.suppress(SystemExit):
        train.train(run, itertools.repeat(block), meter, 1)
    return meter.steps


def test_a_loss_above_that_of_guessing_ends_a_run_after_a_twentieth_of_the_budget(
    train: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guessing = math.log(train.prepare.VOCAB_SIZE)
    taken = diverging(train, monkeypatch, lambda _: guessing + 1.1, 400)
    assert taken == 21
    assert capsys.readouterr().out.endswith("\nFAIL\n")
    assert diverging(train, monkeypatch, lambda step: guessing + (20 if step >= 150 else -2), 400) < 160
    assert capsys.readouterr().out.endswith("\nFAIL\n")
    honest = {
        "just guessing": lambda _: guessing + 0.9,
        "a bad start": lambda step: guessing + 12 * 0.7**step,
        "a spike": lambda step: guessing + (8 if step == 200 else -2),
    }
    for name, losses in honest.items():
        assert diverging(train, monkeypatch, losses, 400) == 400, name
        assert "FAIL" not in capsys.readouterr().out
    assert diverging(train, monkeypatch, lambda _: guessing + 5, 8) == 8  # too few steps to tell


def test_a_run_that_learns_too_fast_fails_long_before_its_budget(cache: Path, tmp_path: Path) -> None:
    rates = {"MATRIX_LR": 1000.0, "EMBEDDING_LR": 300.0}
    lab = make_lab(tmp_path, **SMALL, **rates, TOTAL_BATCH_SIZE=1024, DEVICE_BATCH_SIZE=8)
    done = run_train(lab, cache, AUTORESEARCH_TOKEN_BUDGET=str(1024 * 400))
    assert done.returncode == 1
    assert done.stdout.endswith("\nFAIL\n")
    steps = re.findall(r"\rstep (\d+)", done.stdout)
    assert int(steps[-1]) < 100  # of 400


def test_the_collector_does_nothing_inside_the_loop(train: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    for name in ("collect", "freeze", "enable"):
        monkeypatch.setattr(train.gc, name, lambda *_, name=name: called.append(name) or 0)
    run = make_run(train)
    run.warm_up(ROWS)
    assert called == ["collect"]  # what the compiler leaves behind
    train.train(run, batches(train), make_meter(train), 2)
    assert called == ["collect"]


def test_a_batch_that_does_not_divide_is_said(train: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "TOTAL_BATCH_SIZE", 1000)
    with pytest.raises(SystemExit, match="TOTAL_BATCH_SIZE = 1000 is not a multiple of 7 rows of 128 tokens"):
        train.set_up(train.Tokenizer.from_directory())


@pytest.mark.parametrize("backend", ["varlen", "cudnn", "sdpa"])
def test_the_reference_profile_takes_a_step_at_its_real_sizes(tmp_path: Path, backend: str) -> None:
    """In bf16, captured whole, on a device without contents, through the shapes that torch's own kernels declare."""
    modules = fresh(tmp_path, AUTORESEARCH_PROFILE="reference")
    train, backends = modules["train"], modules["backends"]
    attend = {b.name: b for b in backends.BACKENDS}[backend].load()
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
