"""The referee's numbers against the plain evaluation's, and what it says of models that know too much."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from tests import warm

from .conftest import HARNESS, MODULES, forget, fresh

REFEREE = str(HARNESS / "fixed" / "referee.py")
LOSSES = "token_losses.npz"


@dataclass(frozen=True)
class Said:
    """What the referee said, and what the run was told."""

    code: int
    details: dict[str, Any]
    error: str
    told: float


@pytest.fixture(scope="module")
def small(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared cache with fewer rows."""
    folder = tmp_path_factory.mktemp("small") / "cache"
    shutil.copytree(cache, folder)
    manifest = folder / "embedded-2048" / "manifest.json"
    content = json.loads(manifest.read_text())
    for split, rows in (("val", 96), ("sealed", 32)):
        name = f"embedded-2048/rows/{split}_128_65536.bin"
        path = folder / "private" / name
        data = path.read_bytes()[: rows * 129 * 2]
        path.write_bytes(data)
        content["private"][name] |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def modules(small: Path) -> Any:
    yield fresh(small)
    forget()


def refereed(modules: dict[str, ModuleType], small: Path, answer: Callable[[socket.socket], float]) -> Said:
    """The referee in a process of its own; `answer` is the run's side, in a thread."""
    ours, theirs = socket.socketpair()
    env = {"AUTORESEARCH_CACHE": str(small), "AUTORESEARCH_PROFILE": "demo", "PATH": os.environ["PATH"]}
    env["AUTORESEARCH_TOKEN_LOSSES"] = str(small / LOSSES)
    with ours:
        line = {"AUTORESEARCH_REFEREE_FD": ours.fileno()}
        referee = warm.python([REFEREE], cwd=small, env=env, warm="numpy", sockets=line)
    told: list[float] = []

    def run() -> None:
        try:
            told.append(answer(theirs))
        except (RuntimeError, TypeError, OSError, EOFError):
            told.append(math.nan)
        finally:
            theirs.close()

    side = threading.Thread(target=run)
    side.start()
    done = referee.result()
    side.join(60)
    lines, errors = done.stdout.splitlines(), done.stderr
    details = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Said(done.returncode, details, errors.strip().splitlines()[-1] if errors else "", told[0])


def scored(modules: dict[str, ModuleType], small: Path, model: torch.nn.Module, batch: int = 64) -> Said:
    port = modules["port"]

    def answer(line: socket.socket) -> float:
        port._asked = False
        return float(port.be_scored(model, batch, os.dup(line.fileno())))

    return refereed(modules, small, answer)


class Bigram(torch.nn.Module):
    """Honest: counts of token pairs in the training text."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        super().__init__()
        tokens = torch.from_numpy(modules["loader"].load_tokens("train")[0][0].astype(np.int64))
        vocab = modules["prepare"].VOCAB_SIZE
        pairs = torch.bincount(tokens[:-1] * vocab + tokens[1:], minlength=vocab**2).view(vocab, vocab).float()
        single = torch.bincount(tokens, minlength=vocab).float() + 1
        pairs = pairs + 20 * single / single.sum()
        self.table = (pairs / pairs.sum(dim=1, keepdim=True)).log()

    def forward(self, idx: torch.Tensor, targets: Any = None, reduction: str = "mean") -> torch.Tensor:
        logits = self.table[idx]
        if targets is None:
            return logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


class LookAhead(Bigram):
    """Knows the next token at a share of the positions, chosen by what stands before them."""

    def __init__(self, modules: dict[str, ModuleType], share: float, boost: float) -> None:
        super().__init__(modules)
        self.share, self.boost = share, boost

    def chosen(self, idx: torch.Tensor) -> torch.Tensor:
        before = torch.nn.functional.pad(idx[:, :-1], (1, 0))
        return ((idx * 1000003 + before * 7919) % 10007).float() < self.share * 10007

    def forward(self, idx: torch.Tensor, targets: Any = None, reduction: str = "mean") -> torch.Tensor:
        logits = self.table[idx].clone()
        peek = torch.zeros_like(logits[:, :-1]).scatter_(2, idx[:, 1:, None], self.boost)
        logits[:, :-1] += peek * self.chosen(idx)[:, :-1, None]
        return logits


class Remembering(LookAhead):
    """Answers again what it has answered to the same beginning: a second question shows it nothing new."""

    def __init__(self, modules: dict[str, ModuleType], share: float, boost: float) -> None:
        super().__init__(modules, share, boost)
        self.seen: dict[bytes, torch.Tensor] = {}

    def forward(self, idx: torch.Tensor, targets: Any = None, reduction: str = "mean") -> torch.Tensor:
        logits = super().forward(idx)
        for row, tokens in zip(logits, idx.numpy(), strict=True):
            for at in range(1, len(tokens) + 1):
                logits_here = self.seen.setdefault(tokens[:at].tobytes(), row[at - 1].clone())
                row[at - 1] = logits_here
        return logits


class Noisy(Bigram):
    """Honest, with the noise of other kernels for other batches."""

    def forward(self, idx: torch.Tensor, targets: Any = None, reduction: str = "mean") -> torch.Tensor:
        logits = super().forward(idx)
        return logits + 0.05 * torch.randn_like(logits)


def test_the_number_is_the_plain_evaluations(modules: dict[str, ModuleType], small: Path) -> None:
    prepare, model = modules["prepare"], Bigram(modules)
    plain = prepare.evaluate_bpb(model, prepare.Tokenizer.from_directory(), 64)
    for batch in (7, 4096):
        said = scored(modules, small, model, batch)
        assert (said.code, said.error) == (0, "")
        assert said.told == said.details["val_bpb"] == pytest.approx(plain, abs=1e-5)


def test_rows_and_the_sealed_split_are_for_the_loop_alone(modules: dict[str, ModuleType], small: Path) -> None:
    prepare = modules["prepare"]
    details = scored(modules, small, Bigram(modules)).details
    assert len(details["rows"]) == len(modules["loader"].load_rows("val"))
    nats, sizes = (sum(column) for column in zip(*details["rows"], strict=True))
    assert nats / sizes / math.log(2) == pytest.approx(details["val_bpb"], abs=1e-4)
    assert 0.5 * details["val_bpb"] < details["sealed"] < 2 * details["val_bpb"]
    assert prepare.data_id() in details["data"]


@pytest.mark.parametrize("kind", [Bigram, Noisy])
def test_honest_models_are_left_in_peace(modules: dict[str, ModuleType], small: Path, kind: Any) -> None:
    model = kind(modules)
    for _ in range(2):
        said = scored(modules, small, model)
        assert (said.code, said.error) == (0, "")


@pytest.mark.parametrize(
    ("kind", "share", "boost"),
    [
        (LookAhead, 1.0, 20.0),
        (LookAhead, 0.1, 20.0),
        (LookAhead, 1.0, 0.2),
        (Remembering, 1.0, 20.0),
        (Remembering, 0.3, 20.0),
    ],
)
def test_look_ahead_is_found(
    modules: dict[str, ModuleType], small: Path, kind: Any, share: float, boost: float
) -> None:
    said = scored(modules, small, kind(modules, share, boost))
    assert said.code == 1
    assert "look-ahead" in said.error


class Adapting(Bigram):
    """Has parameters, and moves them a little with every question."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        super().__init__(modules)
        self.bias = torch.nn.Parameter(torch.zeros(self.table.size(1)))

    def forward(self, idx: torch.Tensor, targets: Any = None, reduction: str = "mean") -> torch.Tensor:
        self.bias.data += 1e-6
        return super().forward(idx) + self.bias


class Ripening(Bigram):
    """Hides what it learns from whoever looks at its parameters: between its answers it becomes better."""

    def forward(self, idx: torch.Tensor, targets: Any = None, reduction: str = "mean") -> torch.Tensor:
        self.share = min(1.0, getattr(self, "share", 0.0) + 0.02)
        return super().forward(idx) * self.share


class Counting(Bigram):
    """Honest: batch statistics that are updated on the way, in a buffer, and dropout that was left on."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        super().__init__(modules)
        self.norm = torch.nn.BatchNorm1d(1).train()
        self.dropout = torch.nn.Dropout(0.001)

    def forward(self, idx: torch.Tensor, targets: Any = None, reduction: str = "mean") -> torch.Tensor:
        self.norm(idx.float().reshape(-1, 1))
        return self.dropout(super().forward(idx))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Adapting, "the parameters changed while it answered"), (Ripening, "better"), (Counting, "")],
)
def test_a_model_may_not_learn_while_it_answers(
    modules: dict[str, ModuleType], small: Path, kind: Any, reason: str
) -> None:
    said = scored(modules, small, kind(modules))
    assert (said.code, reason in said.error) == (1 if reason else 0, True), said.error


def test_the_referee_says_what_the_answers_took_and_decides_how_many_rows_it_asks(
    modules: dict[str, ModuleType], small: Path
) -> None:
    asked = []

    class Slow(Bigram):
        def forward(self, idx: torch.Tensor, targets: Any = None, reduction: str = "mean") -> torch.Tensor:
            asked.append(len(idx))
            time.sleep(0.01)
            return super().forward(idx)

    ones, many = scored(modules, small, Slow(modules), batch=1), len(asked)
    scored(modules, small, Slow(modules), batch=4096)
    assert len(set(asked)) == 1 and asked[0] > 1 and len(asked) == 2 * many
    assert ones.details["answer_seconds"] >= 0.01 * many / 2  # while the referee computes, the next may be ready
    assert ones.details["late_seconds"] <= ones.details["answer_seconds"]


def test_the_first_score_is_what_later_ones_are_compared_with(modules: dict[str, ModuleType], small: Path) -> None:
    path = small / LOSSES
    path.unlink(missing_ok=True)
    assert scored(modules, small, LookAhead(modules, 1.0, 20.0)).code == 1
    assert not path.exists()  # of a run that was refused nothing is kept
    assert scored(modules, small, Bigram(modules)).code == 0
    first = path.read_bytes()
    with np.load(path, allow_pickle=False) as kept:
        assert kept["losses"].shape == (96 + 32, 128)
        assert modules["prepare"].data_id() in str(kept["data"])
    assert scored(modules, small, Noisy(modules)).code == 0
    assert path.read_bytes() == first
    path.write_bytes(b"no such file")
    assert scored(modules, small, Bigram(modules)).code == 0
    assert path.read_bytes() == first


class Broken(torch.nn.Module):
    """Answers that are none."""

    def __init__(self, vocab: int, value: float, lack: int = 0) -> None:
        super().__init__()
        self.vocab, self.value, self.lack = vocab, value, lack

    def forward(self, idx: torch.Tensor) -> torch.Tensor:
        return torch.full((*idx.shape, self.vocab - self.lack), self.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_answers_that_are_no_numbers_are_refused(modules: dict[str, ModuleType], small: Path, value: float) -> None:
    said = scored(modules, small, Broken(modules["prepare"].VOCAB_SIZE, value))
    assert said.code == 1
    assert "not finite" in said.error
    assert math.isnan(said.told)


def test_a_run_that_goes_away_has_no_score(modules: dict[str, ModuleType], small: Path) -> None:
    said = scored(modules, small, Broken(modules["prepare"].VOCAB_SIZE, 0.0, lack=1))
    assert said.code == 2  # which is no refusal
    assert "went away" in said.error


def test_other_words_are_no_request(modules: dict[str, ModuleType], small: Path) -> None:
    def answer(line: socket.socket) -> float:
        line.sendall(b"give me one")
        return float(len(line.recv(1)))

    said = refereed(modules, small, answer)
    assert "did not ask to be scored" in said.error


def test_poisoned_rows_are_named(modules: dict[str, ModuleType], small: Path) -> None:
    path = modules["store"].rows_path("val")
    saved = path.read_bytes()
    path.write_bytes(bytes(len(saved)))
    try:
        said = scored(modules, small, Bigram(modules))
    finally:
        path.write_bytes(saved)
    assert str(path) in said.error
    assert "not as it was prepared" in said.error


def test_a_run_is_scored_once(modules: dict[str, ModuleType]) -> None:
    port = modules["port"]
    port._asked = True
    with pytest.raises(RuntimeError, match="has been scored"):
        port.be_scored(Broken(8, 0.0), 1, 0)


def test_both_ways_of_adding_up_agree(small: Path) -> None:
    """On one core in single precision, and with torch from half precision, as for the large profiles."""
    before = list(sys.path)
    try:
        referee = fresh(small, (*MODULES, "fixed.referee"))["referee"]
    finally:
        sys.path[:] = before
        forget()
    rng = np.random.default_rng(0)
    answer = rng.normal(0, 5, (3, 16, 50)).astype(np.float16)
    targets = rng.integers(0, 50, (3, 16)).astype(np.uint16)
    plain, one = referee.Numpy().losses(answer.astype(np.float32), targets, [(1, 3), (2, 0)])
    other, two = referee.Torch().losses(answer, targets, [(1, 3), (2, 0)])
    exact = answer.astype(np.float64)
    expected = np.log(np.exp(exact).sum(axis=2)) - np.take_along_axis(exact, targets[..., None].astype(int), 2)[..., 0]
    assert np.allclose(plain, expected, atol=1e-5)
    assert np.allclose(other, expected, atol=1e-5)
    assert np.array_equal(one, two)
    assert np.array_equal(one, answer[[1, 2], [3, 0]].astype(np.float32))
