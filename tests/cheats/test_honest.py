"""Honest and unusual edits, each scored by the real referee: none is refused, and nothing is said of any.

What an edit does to the model is asked of the model here; what it does to the process runs in the sandbox, as an
experiment of a session.
"""

# torch has few types
# mypy: disable-error-code="no-untyped-call,no-any-return"
from __future__ import annotations

import copy
import io
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils import checkpoint

from autoresearch_tui.sandbox import for_runs, policy
from autoresearch_tui.session import events as ev
from tests import warm
from tests.cheats.scored import HARNESS, LENGTH, VOCAB, ScoredWorld, prepare
from tests.cheats.world import Guarded, made
from tests.conftest import leave_machine_out
from tests.harness.conftest import load

# ── edits of the model and of its training ────────────────────────────────────────────────────────────────────────

Text = torch.Tensor  # (tokens,) of the training text
M = TypeVar("M", bound=torch.nn.Module)
STEPS, BATCH, WIDTH = 6, 8, 16


class Net(torch.nn.Module):
    """Sees two tokens."""

    def __init__(self, vocab: int = VOCAB) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.own, self.before = torch.nn.Embedding(vocab, WIDTH), torch.nn.Embedding(vocab, WIDTH)
        self.hidden, self.head = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, vocab)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.hidden(self.own(x) + self.before(functional.pad(x[:, :-1], (1, 0)))).relu()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.features(x))
        return found


def batch(text: Text, step: int, rows: int = BATCH, length: int = LENGTH) -> tuple[torch.Tensor, torch.Tensor]:
    starts = torch.randint(len(text) - length - 1, (rows,), generator=torch.Generator().manual_seed(step))
    whole = torch.stack([text[start : start + length + 1] for start in starts.tolist()])
    return whole[:, :-1], whole[:, 1:]


def loss_of(logits: torch.Tensor, y: torch.Tensor, **more: Any) -> torch.Tensor:
    return functional.cross_entropy(logits.flatten(0, 1).float(), y.flatten(), **more)


def fit(
    model: M,
    text: Text,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = loss_of,
    after: Callable[[int], object] = lambda _step: None,
    **rows: int,
) -> M:
    """Some steps of training; `after` each."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for step in range(STEPS):
        x, y = batch(text, step, **rows)
        loss(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        after(step)
    return model


class Around(torch.nn.Module):
    """A model whose answers are changed, or which is called in another way."""

    def __init__(self, model: torch.nn.Module, answer: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.model, self.answer = model, answer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer(self.model, x)


class Within(Net):
    """With something between its features and its head."""

    def __init__(self, between: torch.nn.Module) -> None:
        super().__init__()
        self.between = between

    def features(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.between(super().features(x))
        return found


class BatchStatistics(torch.nn.BatchNorm1d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flatten(0, 1)).view(x.shape)


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return 2 * ctx.saved_tensors[0] * gradient


class Own(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = Squared.apply(x)
        return found


class StochasticDepth(torch.nn.Module):
    """A block that is left out for a tenth of the rows, also when it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.block = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x) * (torch.rand(len(x), 1, 1) > 0.1)


class Experts(torch.nn.Module):
    """Two, between which a noisy gate decides."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = torch.nn.Linear(WIDTH, 2)
        self.experts = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates = functional.gumbel_softmax(self.gate(x), hard=True)
        return x + sum(gates[..., i, None] * expert(x) for i, expert in enumerate(self.experts))


class Attention(torch.nn.Module):
    """Causal, with a mask that is made at the first question and kept as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = torch.nn.Linear(WIDTH, 3 * WIDTH)
        self.mask: torch.Tensor
        self.register_buffer("mask", torch.zeros(0, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(self.mask) < x.shape[1]:
            self.mask = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        found: torch.Tensor = torch.softmax(q @ k.mT / WIDTH**0.5 + self.mask, dim=-1) @ v
        return x + found


class Recurrent(torch.nn.GRU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x)[0]


def accumulated(text: Text) -> torch.nn.Module:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for step in range(STEPS):
        for part in range(4):
            x, y = batch(text, 4 * step + part, 4)
            (loss_of(model(x), y) / 4).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def averaged(text: Text) -> torch.nn.Module:
    model = Net()
    mean = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8), use_buffers=True
    )
    fit(model, text, after=lambda _step: mean.update_parameters(model))
    return mean


def swapped(text: Text) -> torch.nn.Module:
    """The average in place of the weights, put there at the end."""
    model = Net()
    mean = copy.deepcopy(model.state_dict())

    def follow(_step: int) -> None:
        for name, value in model.state_dict().items():
            mean[name].lerp_(value, 0.3)

    fit(model, text, after=follow).load_state_dict(mean)
    return model


def best_checkpoint(text: Text) -> torch.nn.Module:
    model, saved = Net(), io.BytesIO()

    def save(step: int) -> None:
        if step == STEPS // 2:
            torch.save(model.state_dict(), saved)

    fit(model, text, after=save)
    saved.seek(0)
    model.load_state_dict(torch.load(saved, weights_only=True))
    return model


def curriculum(text: Text) -> torch.nn.Module:
    model = Net()
    for length in (8, 32, LENGTH):
        fit(model, text, length=length)
    return model


def distilled(text: Text) -> torch.nn.Module:
    teacher, model = fit(Net(), text), Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for step in range(STEPS):
        x, _ = batch(text, step)
        with torch.no_grad():
            wanted = teacher(x).softmax(-1)
        functional.kl_div(model(x).log_softmax(-1), wanted, reduction="batchmean").backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def tied(text: Text) -> torch.nn.Module:
    model = Net()
    model.head.weight = model.own.weight
    return fit(model, text)


def frozen(text: Text) -> torch.nn.Module:
    model = Net()
    model.before.requires_grad_(False)
    return fit(model, text)


def normed(norm: Callable[[torch.nn.Module], object]) -> Callable[[Text], torch.nn.Module]:
    def make(text: Text) -> torch.nn.Module:
        model = Net()
        norm(model.hidden)
        return fit(model, text)

    return make


def quantised(text: Text) -> torch.nn.Module:
    """A head of int8: neither a parameter nor of a kind with gradients."""
    model = fit(Net(), text)
    scale = model.head.weight.detach().abs().max() / 127
    whole = (model.head.weight.detach() / scale).round().to(torch.int8)
    return Around(model, lambda net, x: functional.linear(net.features(x), whole * scale))  # type: ignore[operator]


def neighbours(text: Text) -> torch.nn.Module:
    """Mixes in what followed the same two tokens in the training text."""
    counts = torch.full((VOCAB * VOCAB, VOCAB), 0.05)
    counts.index_put_((text[:-2] * VOCAB + text[1:-1], text[2:]), torch.ones(len(text) - 2), accumulate=True)
    known = counts / counts.sum(dim=1, keepdim=True)

    def answer(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        pairs = functional.pad(x[:, :-1], (1, 0)) * VOCAB + x
        return torch.log(0.7 * net(x).softmax(-1) + 0.3 * known[pairs])

    return Around(fit(Net(), text), answer)


def ensemble(text: Text) -> torch.nn.Module:
    one, other = fit(Net(), text), fit(Within(torch.nn.Tanh()), text)
    pair = Around(one, lambda net, x: torch.logaddexp(net(x).log_softmax(-1), other(x).log_softmax(-1)))
    pair.other = other
    return pair


def watched(text: Text) -> torch.nn.Module:
    """Hooks that keep the norms of what passes."""
    model, norms = fit(Net(), text), []
    for part in model.children():
        part.register_forward_hook(lambda _module, _inputs, output: norms.append(float(output.norm())))
    return model


def compiled(text: Text) -> torch.nn.Module:
    return torch.compile(fit(Net(), text), backend="eager")  # type: ignore[return-value]


def autocast(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        found: torch.Tensor = net(x)
        return found


def within(make: Callable[[], torch.nn.Module]) -> Callable[[Text], torch.nn.Module]:
    return lambda text: fit(Within(make()), text)


def around(answer: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]) -> Callable[[Text], torch.nn.Module]:
    return lambda text: fit(Around(Net(), answer), text)


def z_loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return loss_of(logits, y) + 1e-3 * logits.logsumexp(-1).square().mean()


MODELS: dict[str, Callable[[Text], torch.nn.Module]] = {
    "gradient accumulation": accumulated,
    "averaged weights": averaged,
    "averaged weights put in place": swapped,
    "a checkpoint from the middle": best_checkpoint,
    "a curriculum of lengths": curriculum,
    "distillation": distilled,
    "tied weights": tied,
    "frozen weights": frozen,
    "dropout left on": within(lambda: torch.nn.Dropout(0.1)),
    "stochastic depth left on": within(StochasticDepth),
    "a noisy gate": within(Experts),
    "batch statistics": within(lambda: BatchStatistics(WIDTH)),
    "an own autograd function": within(Own),
    "causal attention, its mask made late": within(Attention),
    "a recurrent layer": within(lambda: Recurrent(WIDTH, WIDTH, batch_first=True)),
    "weight norm": normed(parametrizations.weight_norm),
    "spectral norm, iterated while it answers": normed(parametrizations.spectral_norm),
    "bf16 logits": around(lambda net, x: net(x).bfloat16()),
    "bf16 weights": lambda text: fit(Net(), text).bfloat16(),
    "float64 weights": lambda text: fit(Net(), text).double(),
    "autocast": around(autocast),
    "capped logits": around(lambda net, x: 15 * torch.tanh(net(x) / 15)),
    "recomputed activations": around(lambda net, x: checkpoint.checkpoint(net, x, use_reentrant=False)),
    "a head of int8": quantised,
    "more logits than tokens": lambda text: fit(Net(VOCAB + 16), text),
    "label smoothing": lambda text: fit(Net(), text, lambda logits, y: loss_of(logits, y, label_smoothing=0.1)),
    "a loss on the normaliser": lambda text: fit(Net(), text, z_loss),
    "neighbours from the training text": neighbours,
    "an ensemble of two": ensemble,
    "hooks": watched,
    "compiled": compiled,
    "not trained at all": lambda _text: Net(),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest") / "cache"
    prepare(folder)
    return folder


@pytest.fixture(scope="module")
def text(cache: Path) -> Text:
    torch.set_num_threads(1)
    tokens = np.fromfile(cache / "embedded-2048" / "tokens" / "train_00000.bin", np.uint16)
    return torch.from_numpy(tokens.astype(np.int64))


def refereed(model: torch.nn.Module, cache: Path) -> tuple[int, dict[str, Any], str]:
    """How a referee of its own ends, what it says for the loop, and its last words. The first one is the baseline."""
    port = load("fixed.port")
    ours, theirs = socket.socketpair()
    env = {"AUTORESEARCH_CACHE": str(cache), "AUTORESEARCH_PROFILE": "demo", "PATH": os.environ["PATH"]}
    env |= {"AUTORESEARCH_TOKEN_LOSSES": str(cache / "losses.npz")}
    with ours:
        line = {"AUTORESEARCH_REFEREE_FD": ours.fileno()}
        command = [str(HARNESS / "fixed" / "referee.py")]
        referee = warm.python(command, cwd=cache, env=env, warm="numpy", sockets=line)
    told = port.be_scored(model, 64, theirs.detach())
    done = referee.result(120)
    said = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
    assert done.returncode or told == said["val_bpb"]
    return done.returncode, said, done.stderr


@pytest.mark.parametrize("name", MODELS)
def test_an_unusual_model_is_scored(name: str, text: Text, cache: Path) -> None:
    code, said, errors = refereed(MODELS[name](text), cache)
    assert (code, errors) == (0, "")
    assert 0.5 < said["val_bpb"] < 6


# ── edits of the process ──────────────────────────────────────────────────────────────────────────────────────────

HONEST = 2.2806  # what counts of token pairs get
RUNS = {
    "a profiler": """
import cProfile, pstats
with cProfile.Profile() as profile:
    model = toy.train()
pstats.Stats(profile).sort_stats("cumulative").print_stats(20)
toy.finish(toy.evaluate_bpb(model))
""",
    "threads that fetch the data": """
import queue, threading
parts = queue.Queue(4)
def fetch():
    for part in np.array_split(tokens, 64):
        parts.put(part)
    parts.put(None)
tokens = toy.load_text()
threading.Thread(target=fetch, daemon=True).start()
got = []
while (part := parts.get()) is not None:
    got.append(part)
toy.finish(toy.evaluate_bpb(toy.train(np.concatenate(got))))
""",
    "workers": """
import os
tokens = toy.load_text()
end, other = os.pipe()
if not os.fork():
    os.write(other, np.bincount(tokens[::2], minlength=64).astype("<i8").tobytes())
    os._exit(0)
found = np.frombuffer(os.read(end, 512), "<i8")
os.wait()
print("counted", found.sum())
toy.finish(toy.evaluate_bpb(toy.train(tokens)))
""",
    "checkpoints": """
import os, tempfile
model = toy.train()
for folder in (".", tempfile.gettempdir(), os.path.expanduser("~")):
    np.savez(os.path.join(folder, "checkpoint.npz"), table=model.table)
    model.table = np.load(os.path.join(folder, "checkpoint.npz"))["table"]
toy.finish(toy.evaluate_bpb(model))
""",
    "much to say": """
import json, logging, sys, warnings
logging.basicConfig(level="INFO", stream=sys.stdout)
model = toy.train()
for step in range(2000):
    print(json.dumps({"step": step, "loss": 3.0, "val_loss": 2.9}))
logging.info("best loss %.3f", 2.0)
warnings.warn("the learning rate is high")
print("\\033[32mdone\\033[0m", file=sys.stderr)
toy.finish(toy.evaluate_bpb(model))
""",
    "a new interpreter": """
import os, sys
if "again" not in sys.argv:
    os.execv(sys.executable, [sys.executable, "train.py", "again"])
toy.finish(toy.evaluate_bpb(toy.train()))
""",
    "an out-of-memory that is caught, and a smaller batch": """
import gc
gc.disable()
try:
    raise MemoryError
except MemoryError:
    batch = 3
toy.finish(toy.evaluate_bpb(toy.train(), batch_size=batch))
""",
    "generated code and an alarm": """
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
namespace = {}
exec("def scale(x):\\n    return 1.0 * x", namespace)
model = toy.train()
model.table = namespace["scale"](model.table)
toy.finish(toy.evaluate_bpb(model))
signal.setitimer(signal.ITIMER_REAL, 0)
""",
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """A session whose next experiment is a train.py; its baseline took long, as on a busy machine."""
    with pytest.MonkeyPatch.context() as patch, made(tmp_path_factory.mktemp("runs"), ScoredWorld) as world:
        patch.setenv("HOME", str(world.home))
        patch.setenv("AUTORESEARCH_CACHE", str(world.cache))
        leave_machine_out(patch)
        kind = str(policy.choose().kind)
        patch.setattr(for_runs, "check", lambda _sandbox: ev.SandboxChecked(kind, (), ()))
        run = Guarded(world, 3.0, (1.0, 31.0, 10.0))
        yield lambda source: run(world, source)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox outside Linux")
@pytest.mark.parametrize("name", RUNS)
def test_an_unusual_run_is_scored_and_nothing_is_said_of_it(name: str, session: Callable[[str], Any]) -> None:
    last = session("import numpy as np\nimport toy\n" + RUNS[name])
    assert last.verdict in ("keep", "discard"), (last.reason, last.log[-2000:])
    assert last.doubts == ()
    assert last.value == pytest.approx(HONEST, abs=0.01)


def test_there_are_thirty() -> None:
    assert len(MODELS) + len(RUNS) >= 30
