"""Every attention back-end that runs here against the dense definition, and the order in which they are chosen."""

from __future__ import annotations

import itertools
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pytest
import torch

from .conftest import HARNESS, forget, fresh
from .test_gpu_check import checker

__all__ = ["checker"]
modules = fresh(Path("/nonexistent"), ("fixed.attention", "fixed.backends"))
attention, backends = modules["attention"], modules["backends"]
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


def seen(window_size: tuple[int, int], length: int) -> int:
    """A stand-in's reading of a window: (-1, 0) is the causal form, and the only one for a whole row."""
    assert window_size[0] < length - 1
    return length if window_size[0] == -1 else window_size[0]


def shapes() -> tuple[list[torch.Tensor], torch.Tensor]:
    """q, k and v with a third of the heads, and where documents begin: three in a row, one in the other."""
    generator = torch.Generator().manual_seed(5)
    q, k, v = (torch.randn(2, 64, heads, 16, generator=generator) for heads in (6, 2, 2))
    starts = torch.zeros(2, 64, dtype=torch.bool)
    starts[:, 0] = starts[0, 9] = starts[0, 40] = True
    return [q, k, v], starts


def plain(q, k, v, window, scale, starts):
    """One query at a time."""
    y = torch.zeros_like(q)
    for b, t, h in itertools.product(*map(range, q.shape[:3])):
        first = max(0, t - window)
        if starts is not None:
            first = max(first, int(starts[b, : t + 1].nonzero().max()))
        keys, values = (x[b, first : t + 1, h // 3] for x in (k, v))
        y[b, t, h] = (scale * keys @ q[b, t, h]).softmax(0) @ values
    return y


@pytest.mark.parametrize("window", [64, 16, 40])
def test_fewer_heads_a_scale_and_documents_are_exact(window: int) -> None:
    (q, k, v), starts = shapes()
    for cut in (None, starts):
        want = plain(q, k, v, window, 0.3, cut)
        for attend in (attention.dense_attention, attention.sdpa_attention):
            torch.testing.assert_close(attend(q, k, v, window, 0.3, cut), want, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.parametrize("name", [b.name for b in backends.BACKENDS])
def test_every_back_end_takes_them(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Through kernels that stand in for those of the packages and of torch."""
    stand_ins(monkeypatch)
    attend = {b.name: b for b in backends.BACKENDS}[name].load()
    (q, k, v), starts = shapes()
    for window, cut in itertools.product((64, 63, 16, 40), (None, starts)):
        want = attention.dense_attention(q, k, v, window, 0.3, cut)
        torch.testing.assert_close(attend(q, k, v, window, 0.3, cut), want, atol=1e-5, rtol=1e-5)


def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.attention import varlen

    def flash_attn_func(q, k, v, *, softmax_scale, causal, window_size):
        assert causal
        return attention.dense_attention(q, k, v, seen(window_size, q.size(1)), softmax_scale)

    def varlen_attn(q, k, v, begin, end, longest_q, longest_k, *, window_size, scale=None, enable_gqa=False):
        assert enable_gqa == (k.size(1) != q.size(1))
        rows = (x.view(2, 64, *x.shape[1:]) for x in (q, k, v))
        return attention.dense_attention(*rows, seen(window_size, 64), scale).reshape(q.shape)

    def sdpa_kernel(backend):
        assert backend == torch.nn.attention.SDPBackend.CUDNN_ATTENTION
        return nullcontext()

    for part in ("flash_attn_interface", "flash_attn", "flash_attn.cute"):
        module = ModuleType(part)
        module.flash_attn_func = flash_attn_func
        monkeypatch.setitem(sys.modules, part, module)
    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    monkeypatch.setattr(torch.nn.attention, "sdpa_kernel", sdpa_kernel)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


def test_cudnn_has_the_full_windows_and_the_flash_kernel_the_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins(monkeypatch)
    asked = []
    real = torch.nn.attention.sdpa_kernel
    monkeypatch.setattr(torch.nn.attention, "sdpa_kernel", lambda backend: asked.append(backend) or real(backend))
    attend = backends.load_cudnn()
    q, k, v, _ = tensors(64)
    attend(q, k, v, 16)
    assert not asked
    attend(q, k, v, 64)
    assert len(asked) == 1


def test_flex_compiles_whole_with_masks_that_are_made_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients, which its plain kernel has not on a CPU."""
    from torch.nn.attention import flex_attention

    attend, made = backends.load_flex(), []
    backends.make_masks("flex", 128, (128, 32, 128), CPU)
    monkeypatch.setattr(flex_attention, "create_block_mask", lambda *_, **__: made.append(1))
    compiled = torch.compile(attend, backend="eager", dynamic=False, fullgraph=True)
    for window in (128, 32):
        q, k, v, _ = (t.detach() for t in tensors(128))
        want = attention.dense_attention(q, k, v, window)
        torch.testing.assert_close(compiled(q, k, v, window), want, atol=1e-5, rtol=1e-5)
    assert not made


def test_a_window_of_w_sees_w_keys_and_itself() -> None:
    seen = attention.band_mask(8, 8, 3, CPU).sum(dim=1)
    assert seen.tolist() == [1, 2, 3, 4, 4, 4, 4, 4]


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flex_has_the_same_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # the plain kernel has no backward here
    attend = backends.load_flex()
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
        return attention.dense_attention(*rows, seen(window_size, 64)).reshape(q.shape)

    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    q, k, v, _ = tensors(64)
    torch.testing.assert_close(backends.load_varlen()(q, k, v, 9), attention.dense_attention(q, k, v, 9))
    for window in (63, 64, 1000):
        y = backends.load_varlen()(q, k, v, window)
        torch.testing.assert_close(y, attention.dense_attention(q, k, v, window))


@pytest.mark.parametrize(
    ("name", "module", "beside"),
    [("flash3", "flash_attn_interface", True), ("flash2", "flash_attn", False), ("flash4", "flash_attn.cute", True)],
)
def test_flash_attn_is_asked_for_windows_to_the_left(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, beside: bool
) -> None:
    """A stand-in with the interface of the package; some versions return the log-sum-exp beside the output."""

    def flash_attn_func(q, k, v, *, softmax_scale, causal, window_size):
        assert causal
        assert window_size[1] == 0
        y = attention.dense_attention(q, k, v, seen(window_size, q.size(1)), softmax_scale)
        return (y, None) if beside else y

    for part in {module.partition(".")[0], module}:
        stand_in = ModuleType(part)
        stand_in.flash_attn_func = flash_attn_func
        monkeypatch.setitem(sys.modules, part, stand_in)
    attend = {b.name: b for b in backends.BACKENDS}[name].load()
    assert backends.check_attention(attend, CPU, torch.float32, 16) == ""


def test_check_finds_a_wrong_window_and_a_wrong_gradient() -> None:
    def off_by_one(q, k, v, window):
        return attention.dense_attention(q, k, v, window - 1)

    def no_gradient(q, k, v, window):
        return attention.dense_attention(q, k.detach() + 0 * k, v, window)

    assert backends.check_attention(attention.sdpa_attention, CPU, torch.float32, 16) == ""
    assert "output" in backends.check_attention(off_by_one, CPU, torch.float32, 16)
    assert "dk" in backends.check_attention(no_gradient, CPU, torch.float32, 16)


def choose(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], broken: dict[str, object], compiled: bool = False
) -> object:
    """The choice on a made-up card on which every back-end is the dense one, but those in `broken`."""

    def loader(name: str):
        def load_it():
            if isinstance(broken.get(name), Exception):
                raise broken[name]
            return broken.get(name, attention.dense_attention)

        return load_it

    loaded = tuple(b._replace(load=loader(b.name)) for b in backends.BACKENDS)
    monkeypatch.setattr(backends, "BACKENDS", loaded)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: capability)
    real = backends.check_attention
    monkeypatch.setattr(backends, "check_attention", lambda attend, _d, dtype, dim: real(attend, CPU, dtype, dim))
    whole = backends.check_whole
    monkeypatch.setattr(backends, "check_whole", lambda name, attend, _d, *rest: whole(name, attend, CPU, *rest))
    return backends.choose_attention(torch.device("cuda"), torch.bfloat16, 16, compiled)


def test_order_of_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ModuleNotFoundError("No module named 'flash_attn_interface'")

    def wrong(q, k, v, window):
        return attention.dense_attention(q, k, v, 3)

    with monkeypatch.context() as m:
        assert choose(m, (9, 0), {}).name == "flash3"
    with monkeypatch.context() as m:
        assert choose(m, (8, 0), {}).name == "flash2"
    with monkeypatch.context() as m:
        assert choose(m, (9, 0), {"flash3": missing, "flash4": missing}).name == "cudnn"
    with monkeypatch.context() as m:
        choice = choose(
            m, (9, 0), {"flash3": missing, "flash2": OSError("undefined symbol"), "flash4": wrong, "cudnn": missing}
        )
        assert choice.name == "varlen"
        assert "ModuleNotFoundError" in choice.rejected["flash3"]
        assert "undefined symbol" in choice.rejected["flash2"]
        assert "off by" in choice.rejected["flash4"]
    with monkeypatch.context() as m:
        assert choose(m, (7, 5), {}).name == "flex"
    with monkeypatch.context() as m:
        m.setenv("AUTORESEARCH_ATTENTION", "sdpa")
        assert choose(m, (9, 0), {}).name == "sdpa"


class _OnlyForward(torch.autograd.Function):
    """Right when it runs, and nothing for a compiler: it looks at values, which a traced tensor has not."""

    @staticmethod
    def forward(ctx, q, k, v, window):
        ctx.save_for_backward(q, k, v)
        ctx.window = window
        assert q.sum().item() < 1e9
        return attention.dense_attention(q, k, v, window)

    @staticmethod
    def backward(ctx, grad):
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
            y = attention.dense_attention(*inputs, ctx.window)
        return *torch.autograd.grad(y, inputs, grad), None


def test_a_back_end_has_to_compile_whole_where_training_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def eager_only(q, k, v, window):
        return _OnlyForward.apply(q, k, v, window)

    @torch.compiler.disable
    def breaks_the_graph(q, k, v, window):
        return attention.dense_attention(q, k, v, window)

    def raises_in_backward(q, k, v, window):
        y = attention.dense_attention(q, k, v, window)
        if torch.compiler.is_compiling():
            y = y.detach()  # as with a kernel that has no gradient registered
        return y

    broken = {"flash3": eager_only, "flash4": breaks_the_graph, "cudnn": raises_in_backward}
    with monkeypatch.context() as m:
        # The compiler imports what it traces by its name, and another test may have forgotten the harness.
        m.syspath_prepend(str(HARNESS))
        for module in modules.values():
            m.setitem(sys.modules, module.__name__, module)
        choice = choose(m, (9, 0), broken, compiled=True)
    assert choice.name == "flash2", choice.rejected
    assert all(choice.rejected[name].startswith("does not compile whole: ") for name in broken)
    assert not any("\n" in why for why in choice.rejected.values())
    with monkeypatch.context() as m:
        assert choose(m, (9, 0), broken).name == "flash3"  # good enough where nothing is compiled


def test_a_cpu_takes_sdpa_at_once() -> None:
    choice = backends.choose_attention(CPU, torch.float32, 64)
    assert choice.name == "sdpa"
    assert set(choice.rejected.values()) == {"needs CUDA"}


def test_sdpa_compiles_with_its_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = torch.compile(attention.sdpa_attention, backend="eager", fullgraph=True)
    q, k, v, _ = (t.detach() for t in tensors(64))
    for window in (64, 16, 40):
        torch.testing.assert_close(
            compiled(q, k, v, window), attention.dense_attention(q, k, v, window), atol=1e-5, rtol=1e-5
        )


def test_the_gpu_check_looks_at_every_back_end(tmp_path: Path, checker: ModuleType) -> None:
    fresh(tmp_path)
    try:
        found = checker.attention(checker.Place(tmp_path, dry=True))
    finally:
        forget()
    assert found.passed, found
    assert re.search(r"sdpa: [\d.]+ and [\d.]+ ms", found.found)
