"""What the referee costs and what it finds, each with its method.

    python benchmarks/referee.py price              # plain against refereed evaluation, in turns: a minute
    python benchmarks/referee.py price --profile reference   # on a GPU, after `autoresearch-tui prepare`
    python benchmarks/referee.py find               # how often look-ahead of which kind is found: a few minutes

`price` takes the untrained model of train.py, evaluates it by itself and then with the referee of a run, as the loop
starts it, and prints seconds and their ratio: the goal is at most 5 % or 10 s more, whichever is larger. `find` asks
tables of token pairs on made-up text, 640 rows of 128, in this process; every figure is a share of the repeats.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HARNESS = Path(__file__).resolve().parents[1] / "harness"
sys.path.insert(0, str(HARNESS))


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


# ── price ───────────────────────────────────────────────────────────────────────────────────────────────────────


def price(profile: str, repeats: int) -> None:
    """Seconds of both evaluations on the validation rows of a profile."""
    os.environ["AUTORESEARCH_PROFILE"] = profile
    import prepare

    if problem := prepare.find_problem():
        sys.exit(f"{problem}: run `AUTORESEARCH_PROFILE={profile} python harness/prepare.py`")
    import port
    import profiles
    import torch

    source = profiles.apply((HARNESS / "train.py").read_text("utf-8"), profiles.load()[profile].knobs)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "train.py").write_text(source, "utf-8")
        sys.path.insert(0, folder)
        import train

    torch.set_float32_matmul_precision("high")
    tokenizer = prepare.Tokenizer.from_directory()
    run, rows, _ = train.set_up(tokenizer)
    run.model.init_weights()
    plain, refereed = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        value = prepare.evaluate_bpb(run.forward, tokenizer, rows)
        plain.append(time.perf_counter() - began)
        began = time.perf_counter()
        other = with_referee(lambda end: port.be_scored(run.model, rows, end))
        refereed.append(time.perf_counter() - began)
    one, two = statistics.median(plain), statistics.median(refereed)
    scored = min(len(prepare.load_rows("val")) * prepare.MAX_SEQ_LEN, prepare.REFEREED_TOKENS)
    row("profile", "tokens, plain", "tokens, referee", "plain", "refereed", "more", "ratio", "difference of val_bpb")
    row(*["---"] * 8)
    row(
        profile,
        f"{len(prepare.load_rows('val')) * prepare.MAX_SEQ_LEN:,}",
        f"{scored:,}",
        f"{one:.2f} s",
        f"{two:.2f} s",
        f"{two - one:+.2f} s",
        f"{two / one:.2f}",
        f"{other - value:+.6f}",
    )


def with_referee(answer: Callable[[int], float]) -> float:
    """One conversation with a referee in a process of its own."""
    import port

    port._asked = False
    ours, theirs = socket.socketpair()
    env = {**os.environ, "AUTORESEARCH_REFEREE_FD": str(ours.fileno())}
    command = [sys.executable, "-I", str(HARNESS / "referee.py")]
    with ours:
        referee = subprocess.Popen(command, env=env, pass_fds=[ours.fileno()], stdout=subprocess.DEVNULL)
    value = answer(theirs.detach())
    if referee.wait() != 0:
        sys.exit("the referee refused an honest model")
    return value


# ── find ────────────────────────────────────────────────────────────────────────────────────────────────────────

VOCAB, LENGTH, ROWS, EACH = 64, 128, 640, 16


class Text:
    """Rows of a first-order chain, and the true chances: the best that an honest model can do."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        chances = rng.dirichlet(np.full(VOCAB, 0.3), size=VOCAB)
        sums, draws = chances.cumsum(axis=1), rng.random((LENGTH + 1, ROWS))
        tokens = np.zeros((LENGTH + 1, ROWS), np.int64)
        for at in range(1, LENGTH + 1):
            tokens[at] = np.minimum((sums[tokens[at - 1]] < draws[at][:, None]).sum(axis=1), VOCAB - 1)
        self.rows = tokens.T.astype(np.uint16)
        self.table = np.log(chances + 1e-6)


class Honest:
    """Answers with the table, and the noise of other kernels for other batches."""

    def __init__(self, text: Text, noise: float = 0.0) -> None:
        self.table, self.noise = text.table, noise

    def __call__(self, x: np.ndarray) -> np.ndarray:
        logits = self.table[x]
        return logits + np.random.default_rng().normal(0, self.noise, logits.shape) if self.noise else logits.copy()


class Ahead(Honest):
    """Knows the next token at a share of the positions; adds `boost` to its logit."""

    def __init__(self, text: Text, share: float, boost: float = 20.0) -> None:
        super().__init__(text)
        self.share, self.boost = share, boost

    def __call__(self, x: np.ndarray) -> np.ndarray:
        logits = super().__call__(x)
        mixed = np.arange(1, x.shape[1] + 1) * 104729
        for back in range(4):  # what stands before a position decides, so that it is the same each time
            mixed = mixed * 31337 + np.pad(x[:, : x.shape[1] - back], ((0, 0), (back, 0)))
        chosen = mixed % 1000003 < self.share * 1000003
        rows, places = np.nonzero(chosen[:, :-1])
        logits[rows, places, x[rows, places + 1]] += self.boost
        return logits


class Remembering(Ahead):
    """Answers as it has answered to the same beginning before."""

    def __init__(self, text: Text, share: float, boost: float = 20.0) -> None:
        super().__init__(text, share, boost)
        self.seen: dict[bytes, np.ndarray] = {}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        logits = super().__call__(x)
        for own, tokens in zip(logits, x, strict=True):
            for at in range(len(tokens)):
                own[at] = self.seen.setdefault(tokens[: at + 1].tobytes(), own[at].copy())
        return logits


class Second(Ahead):
    """Honest about rows that are new; looks ahead in those whose beginning it has seen, but where they part."""

    def __init__(self, text: Text, share: float, boost: float = 20.0) -> None:
        super().__init__(text, share, boost)
        self.seen: dict[bytes, np.ndarray] = {}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        honest, ahead = Honest.__call__(self, x), super().__call__(x)
        for own, other, tokens in zip(honest, ahead, x, strict=True):
            earlier = self.seen.get(tokens[:12].tobytes())
            if earlier is not None:
                parts = np.flatnonzero(earlier != tokens)
                own[parts[0] if len(parts) else 0 :] = other[parts[0] if len(parts) else 0 :]
            self.seen[tokens[:12].tobytes()] = tokens.copy()
        return honest


def verdict(text: Text, model: Honest) -> tuple[str, float]:
    """What a referee would say of a model, and its mean loss over the true rows in nats."""
    import probes

    counted = np.arange(VOCAB) > 0
    plan = probes.draw(text.rows, ROWS, counted, EACH, np.random.default_rng())
    losses, vectors = np.empty(plan.targets.shape), {}
    for start in range(0, len(plan.questions), EACH):
        logits = model(plan.questions[start : start + EACH].astype(np.int64))
        top = logits.max(axis=2, keepdims=True)
        total = np.log(np.exp(logits - top).sum(axis=2)) + top[..., 0]
        targets = plan.targets[start : start + EACH].astype(np.int64)
        losses[start : start + EACH] = total - np.take_along_axis(logits, targets[..., None], axis=2)[..., 0]
        for at in np.flatnonzero(plan.probe[start : start + EACH] >= 0):
            vectors[start + int(at)] = logits[at, plan.probes[plan.probe[start + at]].cut - 1]
    true = (plan.probe < 0) & (plan.row >= 0)
    return probes.find_look_ahead(plan, losses, vectors, counted), float(
        losses[true][counted[plan.targets[true]]].mean()
    )


def find(repeats: int) -> None:
    """Shares of the repeats in which each model is refused, and what it would have gained."""
    text = Text()
    honest = verdict(text, Honest(text))[1]
    kinds: list[tuple[str, Callable[[], Any]]] = [
        ("honest", lambda: Honest(text)),
        ("honest, noise of 0.05 in each logit", lambda: Honest(text, 0.05)),
        ("honest, noise of 0.3 in each logit", lambda: Honest(text, 0.3)),
    ]
    for kind in (Ahead, Remembering, Second):
        for share in (1.0, 0.1, 0.05, 0.03, 0.02, 0.01):
            label = {Ahead: "looks ahead", Remembering: "and remembers", Second: "looks ahead at second sight"}[kind]
            kinds.append((f"{label} at {100 * share:g} %", lambda k=kind, s=share: k(text, s)))
    kinds += [
        (f"adds {boost:g} to every next token", lambda b=boost: Ahead(text, 1.0, b))
        for boost in (0.2, 0.05, 0.02, 0.01)
    ]
    row("model", "refused", "gain in nats, of", f"{honest:.3f}")
    row(*["---"] * 4)
    for label, make in kinds:
        said = [verdict(text, make()) for _ in range(repeats)]
        refused = sum(bool(problem) for problem, _ in said)
        gain = honest - statistics.mean(loss for _, loss in said)
        row(label, f"{refused} of {repeats}", f"{gain:.3f}", f"{100 * gain / honest:.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["price", "find"])
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--repeats", type=int, default=0)
    args = parser.parse_args()
    if args.what == "price":
        price(args.profile, args.repeats or 3)
    else:
        find(args.repeats or 40)


if __name__ == "__main__":
    main()
