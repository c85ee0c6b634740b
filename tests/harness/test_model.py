"""The model: causality, windows, the chunked loss against the plain one, counts and the resolved knobs."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

VOCAB, T = 96, 32


@pytest.fixture
def train(harness: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = harness["train"]
    knobs = {"DEPTH": 3, "ASPECT_RATIO": 20, "HEAD_DIM": 32, "WINDOW_PATTERN": "SSL", "BIGRAM_BUCKETS": 64}
    for name, value in (knobs | {"MAX_SEQ_LEN": T, "SHORT_WINDOW": 4}).items():
        monkeypatch.setattr(module, name, value)
    return module


@pytest.fixture
def model(train: ModuleType) -> torch.nn.Module:
    torch.manual_seed(0)
    model = train.GPT(train.build_config(VOCAB))
    model.init_weights()
    for p in model.parameters():  # zeros would hide mistakes
        p.data.add_(torch.randn_like(p) * 0.1)
    return model


def test_knobs_resolve_to_whole_heads(train: ModuleType) -> None:
    config = train.build_config(VOCAB)
    assert (config.n_embd, config.n_head, config.windows) == (64, 2, (8, 8, 32))


def test_unknown_window_letters_are_refused(train: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "WINDOW_PATTERN", "SXL")
    with pytest.raises(ValueError, match="SXL"):
        train.build_config(VOCAB)


def test_no_token_sees_a_later_one(model: torch.nn.Module) -> None:
    x = torch.randint(0, VOCAB, (2, T), generator=torch.Generator().manual_seed(1))
    changed = x.clone()
    changed[:, 20:] = (changed[:, 20:] + 1) % VOCAB
    a, b = model(x), model(changed)
    assert a.shape == (2, T, VOCAB)
    assert torch.equal(a[:, :20], b[:, :20])
    assert not torch.equal(a[:, 20:], b[:, 20:])


def test_chunked_loss_and_gradients_are_the_plain_ones(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(2)
    model = model.double()
    x, y = (torch.randint(0, VOCAB, (5, T), generator=generator) for _ in range(2))
    y[0, :9] = -1
    results = []
    for chunked in (True, False):
        model.chunked = chunked
        loss = model(x, y)
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            results.append([loss, *grads, model(x, y, reduction="none").flatten()])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-4, check_dtype=False)


@pytest.mark.parametrize("kind", ["cap", "temperature", "z-loss"])
def test_a_changed_loss_is_trained_everywhere(model: torch.nn.Module, kind: str) -> None:
    """What a researcher writes into `logits` or `loss` holds in chunks and whole, with the gradients of all it uses."""
    generator = torch.Generator().manual_seed(2)
    model = model.double()
    plain = model.loss
    if kind == "cap":  # of one side more than of the other
        model.logits = lambda x: torch.sigmoid(model.head(x).float() / 5) * 20 - 4
    elif kind == "temperature":  # through a parameter that was not there
        model.warmth = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        model.logits = lambda x: (model.head(x) * model.warmth.exp()).float()
    else:

        def loss(x: torch.Tensor, y: torch.Tensor, reduction: str = "none") -> torch.Tensor:
            losses = plain(x, y) + 0.01 * model.logits(x).logsumexp(-1).square() * (y >= 0)
            return losses if reduction == "none" else losses.sum() / (y >= 0).sum()

        model.loss = loss
    x, y = (torch.randint(0, VOCAB, (5, T), generator=generator) for _ in range(2))
    results = []
    for model.chunked in (True, False):
        mean = model(x, y)
        results.append([mean, *torch.autograd.grad(mean, list(model.parameters()))])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-4, check_dtype=False)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_squared_relu_keeps_its_output_alone(harness: dict[str, ModuleType], kind: torch.dtype) -> None:
    squared_relu = harness["lean"].squared_relu
    x = torch.randn(50, 40, generator=torch.Generator().manual_seed(4)).to(kind).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = squared_relu(x)
    assert [t.data_ptr() for t in kept] == [y.data_ptr()]
    plain = torch.nn.functional.relu(x.double()).square()
    weight = torch.randn(50, 40, generator=torch.Generator().manual_seed(5))
    for got, want in (
        (y, plain),
        (torch.autograd.grad((y * weight).sum(), x)[0], torch.autograd.grad((plain * weight).sum(), x)[0]),
    ):
        precision = 1e-9 if kind == torch.float64 else 2e-2
        torch.testing.assert_close(got.double(), want.double(), atol=precision, rtol=precision)


def test_losses_can_be_had_one_by_one_with_gradients(model: torch.nn.Module) -> None:
    x = torch.zeros(1, T, dtype=torch.int64)
    assert model(x, x, reduction="none").requires_grad


def test_counts_cover_every_parameter(model: torch.nn.Module) -> None:
    assert model.parameter_counts()["total"] == sum(p.numel() for p in model.parameters())


def test_flops_count_weights_and_visible_keys(train: ModuleType, model: torch.nn.Module) -> None:
    count = model.parameter_counts()
    assert model.flops_per_token() == 6 * (count["head"] + count["matrices"]) + 12 * 64 * (8 + 8 + 32)


def test_reference_knobs_give_the_flops_of_the_record(harness: dict[str, ModuleType], monkeypatch) -> None:
    """Depth 8 at width 512 is 2.391e8 FLOPs a token in the public record of the reference."""
    train = harness["train"]
    monkeypatch.setattr(train, "MAX_SEQ_LEN", 2048)
    for name, value in {"DEPTH": 8, "ASPECT_RATIO": 64, "WINDOW_PATTERN": "SSSL", "SHORT_WINDOW": 2}.items():
        monkeypatch.setattr(train, name, value)
    with torch.device("meta"):
        model = train.GPT(train.build_config(8192))
    assert model.flops_per_token() == pytest.approx(2.391e8, rel=1e-3)
    assert model.parameter_counts()["total"] == pytest.approx(50.3e6, rel=2e-3)


def test_pairs_share_buckets_only_by_hash(train: ModuleType) -> None:
    a = train.bigram_buckets(torch.tensor([[1, 2, 3, 2]]))
    b = train.bigram_buckets(torch.tensor([[7, 2, 3, 2]]))
    assert a.min() >= 0
    assert a.max() < 64
    assert a[0, 2:].tolist() == b[0, 2:].tolist()
    assert a[0, 1] != b[0, 1]
