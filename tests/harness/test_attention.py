"""Every attention back-end that runs here against the dense definition, and the order in which they are chosen."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from .conftest import load

attention = load("attention")
CPU = torch.device("cpu")


def tensors(length: int, heads: int = 2, dim: int = 16) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(2, length, heads, dim, generator=generator, requires_grad=i < 3) for i in range(4)]


@pytest.mark.parametrize(
    ("length", "window"), [(64, 64), (64, 63), (64, 16), (64, 8), (64, 1), (64, 40), (60, 16), (1, 1)]
)
def test_sdpa_windows_are_exact(length: int, window: int) -> None:
    q, k, v, weight = tensors(length)
    results = []
    for attend in (attention.sdpa_attention, attention.dense_attention):
        y = attend(q, k, v, window)
        grads = torch.autograd.grad((y * weight).sum(), (q, k, v))
        results.append((y, *grads))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_a_window_of_w_sees_w_keys_and_itself() -> None:
    seen = attention.band_mask(8, 8, 3, CPU).sum(dim=1)
    assert seen.tolist() == [1, 2, 3, 4, 4, 4, 4, 4]


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flex_has_the_same_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # the plain kernel has no backward here
    attend = attention.load_flex()
    for window in (128, 32, 20):
        q, k, v, _ = (t.detach() for t in tensors(128))
        got = attend(q, k, v, window)
        torch.testing.assert_close(got, attention.dense_attention(q, k, v, window), atol=1e-5, rtol=1e-5)


def test_varlen_is_asked_for_rows_as_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.attention import varlen

    def stand_in(q, k, v, begin, end, longest_q, longest_k, window_size):
        assert begin.dtype == torch.int32
        assert begin.tolist() == end.tolist() == [0, 64, 128]
        assert (longest_q, longest_k, window_size[1]) == (64, 64, 0)
        shape = (2, 64, *q.shape[1:])
        rows = (x.view(shape) for x in (q, k, v))
        return attention.dense_attention(*rows, window_size[0]).reshape(q.shape)

    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    q, k, v, _ = tensors(64)
    torch.testing.assert_close(attention.load_varlen()(q, k, v, 9), attention.dense_attention(q, k, v, 9))


@pytest.mark.parametrize(
    ("name", "module", "beside"),
    [("flash3", "flash_attn_interface", True), ("flash2", "flash_attn", False), ("flash4", "flash_attn.cute", True)],
)
def test_flash_attn_is_asked_for_windows_to_the_left(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, beside: bool
) -> None:
    """A stand-in with the interface of the package; some versions return the log-sum-exp beside the output."""

    def flash_attn_func(q, k, v, *, causal, window_size):
        assert causal
        assert window_size[1] == 0
        y = attention.dense_attention(q, k, v, window_size[0])
        return (y, None) if beside else y

    for part in {module.partition(".")[0], module}:
        stand_in = ModuleType(part)
        stand_in.flash_attn_func = flash_attn_func
        monkeypatch.setitem(sys.modules, part, stand_in)
    attend = {b.name: b for b in attention.BACKENDS}[name].load()
    assert attention.check_attention(attend, CPU, torch.float32, 16) == ""


def test_check_finds_a_wrong_window_and_a_wrong_gradient() -> None:
    def off_by_one(q, k, v, window):
        return attention.dense_attention(q, k, v, window - 1)

    def no_gradient(q, k, v, window):
        return attention.dense_attention(q, k.detach() + 0 * k, v, window)

    assert attention.check_attention(attention.sdpa_attention, CPU, torch.float32, 16) == ""
    assert "output" in attention.check_attention(off_by_one, CPU, torch.float32, 16)
    assert "dk" in attention.check_attention(no_gradient, CPU, torch.float32, 16)


def choose(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], broken: dict[str, object]) -> object:
    """The choice on a made-up card on which every back-end is the dense one, but those in `broken`."""

    def loader(name: str):
        def load_it():
            if isinstance(broken.get(name), Exception):
                raise broken[name]
            return broken.get(name, attention.dense_attention)

        return load_it

    backends = tuple(b._replace(load=loader(b.name)) for b in attention.BACKENDS)
    monkeypatch.setattr(attention, "BACKENDS", backends)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: capability)
    real = attention.check_attention
    monkeypatch.setattr(attention, "check_attention", lambda attend, _d, dtype, dim: real(attend, CPU, dtype, dim))
    return attention.choose_attention(torch.device("cuda"), torch.bfloat16, 16)


def test_order_of_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ModuleNotFoundError("No module named 'flash_attn_interface'")

    def wrong(q, k, v, window):
        return attention.dense_attention(q, k, v, 3)

    with monkeypatch.context() as m:
        assert choose(m, (9, 0), {}).name == "flash3"
    with monkeypatch.context() as m:
        assert choose(m, (8, 0), {}).name == "flash2"
    with monkeypatch.context() as m:
        choice = choose(m, (9, 0), {"flash3": missing, "flash2": OSError("undefined symbol"), "flash4": wrong})
        assert choice.name == "varlen"
        assert "ModuleNotFoundError" in choice.rejected["flash3"]
        assert "undefined symbol" in choice.rejected["flash2"]
        assert "off by" in choice.rejected["flash4"]
    with monkeypatch.context() as m:
        assert choose(m, (7, 5), {}).name == "flex"
    with monkeypatch.context() as m:
        m.setenv("AUTORESEARCH_ATTENTION", "sdpa")
        assert choose(m, (9, 0), {}).name == "sdpa"


def test_a_cpu_takes_sdpa_at_once() -> None:
    choice = attention.choose_attention(CPU, torch.float32, 64)
    assert choice.name == "sdpa"
    assert set(choice.rejected.values()) == {"needs CUDA"}


def test_sdpa_compiles_with_its_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = torch.compile(attention.sdpa_attention, backend="eager", fullgraph=True)
    q, k, v, _ = (t.detach() for t in tensors(64))
    for window in (64, 16, 40):
        torch.testing.assert_close(
            compiled(q, k, v, window), attention.dense_attention(q, k, v, window), atol=1e-5, rtol=1e-5
        )
