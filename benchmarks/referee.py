"""What the referee costs and what it finds, each with its method.

    python benchmarks/referee.py price              # plain against refereed evaluation, in turns: a minute
    python benchmarks/referee.py price --profile reference   # on a GPU, after `autoresearch-tui prepare`
    python benchmarks/referee.py find               # how often which look-ahead and memory are found: some minutes
    python benchmarks/referee.py alarms --repeats 200   # sessions of honest models: how often one is refused

`price` takes the untrained model of train.py, evaluates it by itself and then with the referee of a run, as the loop
starts it, and prints seconds and their ratio: the goal is at most 5 % or 10 s more, whichever is larger. `find` and
`alarms` ask tables of token pairs on made-up text, 640 rows of 128, in this process, and compare with the losses of
another table, the baseline's; every figure is a share of the repeats.
"""

from __future__ import annotations

import argparse
import math
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
sys.path[:0] = [str(HARNESS.parent), str(HARNESS)]


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


# ── price ───────────────────────────────────────────────────────────────────────────────────────────────────────


def price(profile: str, repeats: int) -> None:
    """Seconds of both evaluations on the validation rows of a profile."""
    os.environ["AUTORESEARCH_PROFILE"] = profile
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as train.py has it, before torch is imported
    import prepare

    if problem := prepare.find_problem():
        sys.exit(f"{problem}: run `AUTORESEARCH_PROFILE={profile} python harness/prepare.py`")
    import torch
    from fixed import loader, port, settings

    from autoresearch_tui.lab import profiles

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
    cpu_plain, cpu_refereed = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), processor_seconds()
        value = prepare.evaluate_bpb(run.forward, tokenizer, rows)
        plain.append(time.perf_counter() - began)
        cpu_plain.append(processor_seconds() - used)
        used = processor_seconds()
        other, seconds = with_referee(lambda end: port.be_scored(run.model, rows, end))
        refereed.append(seconds)
        cpu_refereed.append(processor_seconds() - used)
    one, two = statistics.median(plain), statistics.median(refereed)
    scored = min(len(loader.load_rows("val")) * prepare.MAX_SEQ_LEN, settings.REFEREED_TOKENS)
    row(
        "profile",
        "tokens, plain",
        "tokens, referee",
        "plain",
        "refereed",
        "more",
        "ratio",
        "processor: plain, refereed",
        "val_bpb",
    )
    row(*["---"] * 9)
    row(
        profile,
        f"{len(loader.load_rows('val')) * prepare.MAX_SEQ_LEN:,}",
        f"{scored:,}",
        f"{one:.2f} s",
        f"{two:.2f} s",
        f"{two - one:+.2f} s",
        f"{two / one:.2f}",
        f"{statistics.median(cpu_plain):.2f} s, {statistics.median(cpu_refereed):.2f} s",
        f"{other - value:+.6f}",
    )


def processor_seconds() -> float:
    """Of this process and of the referees that have ended; on a busy machine the only figure to be trusted."""
    return sum(os.times()[:4])


def with_referee(answer: Callable[[int], float]) -> tuple[float, float]:
    """One conversation with a referee in a process of its own, which starts while the run trains; its seconds."""
    from fixed import port

    port._asked = False
    (ours, theirs), (control, orders) = socket.socketpair(), socket.socketpair()
    ends = {"AUTORESEARCH_REFEREE_FD": str(ours.fileno()), "AUTORESEARCH_HANDOVER": str(orders.fileno())}
    command = [sys.executable, "-I", str(HARNESS / "fixed" / "referee.py")]
    with ours, orders:
        numbers = [ours.fileno(), orders.fileno()]
        referee = subprocess.Popen(command, env={**os.environ, **ends}, pass_fds=numbers, stdout=subprocess.DEVNULL)
    control.sendall(b"T" + bytes(4))
    control.recv(1)  # it is ready
    for number in socket.recv_fds(theirs, port.HANDED.size, port.FILES)[1]:
        os.close(number)
    began = time.perf_counter()
    control.sendall(b"S" + bytes(4))
    value = answer(theirs.detach())
    seconds = time.perf_counter() - began
    if referee.wait() != 0:
        sys.exit("the referee refused an honest model")
    return value, seconds


# ── find ────────────────────────────────────────────────────────────────────────────────────────────────────────

VOCAB, LENGTH, ROWS, POOL, EACH = 64, 128, 640, 32, 16
COUNTED = np.arange(VOCAB) > 0
Model = Callable[[np.ndarray], np.ndarray]


class Text:
    """Rows of a first-order chain, a pool of more of it, and the true chances: the best that an honest model can do."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        chances = rng.dirichlet(np.full(VOCAB, 0.3), size=VOCAB)
        sums, draws = chances.cumsum(axis=1), rng.random((LENGTH + 1, ROWS + POOL))
        tokens = np.zeros((LENGTH + 1, ROWS + POOL), np.int64)
        for at in range(1, LENGTH + 1):
            tokens[at] = np.minimum((sums[tokens[at - 1]] < draws[at][:, None]).sum(axis=1), VOCAB - 1)
        self.rows, self.pool = np.split(tokens.T.astype(np.uint16), [ROWS])
        self.table = np.log(chances + 1e-6)


def honest(text: Text, noise: float = 0.0, error: float = 0.3, seed: int = 3) -> Model:
    """A table that is wrong by so much, and the noise of dropout or of other kernels for other batches."""
    table = text.table + np.random.default_rng(seed).normal(0, error, text.table.shape)
    table -= np.log(np.exp(table).sum(axis=1, keepdims=True))
    rng = np.random.default_rng()
    return lambda x: table[x] + rng.normal(0, noise, (*x.shape, VOCAB)) if noise else table[x]


def ahead(model: Model, share: float = 1.0, boost: float = 20.0, gate: float = 0.0) -> Model:
    """Adds `boost` to the logit of the next token, at a share of the positions, where that is likely enough."""

    def answer(x: np.ndarray) -> np.ndarray:
        logits = model(x)
        mixed = np.arange(1, x.shape[1] + 1) * 104729
        for back in range(4):  # what stands before a position decides, so that it is the same each time
            mixed = mixed * 31337 + np.pad(x[:, : x.shape[1] - back], ((0, 0), (back, 0)))
        rows, places = np.nonzero((mixed % 1000003 < share * 1000003)[:, :-1])
        following = x[rows, places + 1]
        likely = logits[rows, places, following] > math.log(max(gate, 1e-300))
        logits[rows[likely], places[likely], following[likely]] += boost
        return logits

    return answer


def mixed(model: Model, share: float) -> Model:
    """Gives the next token a share of the probability, everywhere."""

    def answer(x: np.ndarray) -> np.ndarray:
        chances = np.exp(model(x))
        chances /= chances.sum(axis=2, keepdims=True)
        rows, places = np.nonzero(np.ones((len(x), x.shape[1] - 1), bool))
        chances[rows, places] *= 1 - share
        chances[rows, places, x[rows, places + 1]] += share
        return np.log(chances)

    return answer


def remembering(model: Model) -> Model:
    """Answers as it has answered to the same beginning before."""
    seen: dict[bytes, np.ndarray] = {}

    def answer(x: np.ndarray) -> np.ndarray:
        logits = model(x)
        for own, tokens in zip(logits, x, strict=True):
            for at in range(len(tokens)):
                own[at] = seen.setdefault(tokens[: at + 1].tobytes(), own[at].copy())
        return logits

    return answer


def second(model: Model, cheat: Model) -> Model:
    """Honest about rows that are new; cheats in those whose beginning it has seen, from where they part."""
    seen: dict[bytes, np.ndarray] = {}

    def answer(x: np.ndarray) -> np.ndarray:
        logits, other = model(x), cheat(x)
        for own, better, tokens in zip(logits, other, x, strict=True):
            earlier = seen.get(tokens[:12].tobytes())
            if earlier is not None:
                parts = np.flatnonzero(earlier != tokens)
                own[parts[0] if len(parts) else 0 :] = better[parts[0] if len(parts) else 0 :]
            seen[tokens[:12].tobytes()] = tokens.copy()
        return logits

    return answer


def quoting(model: Model, order: int) -> Model:
    """Expects what followed the same `order` tokens in an earlier question."""
    known: dict[bytes, int] = {}

    def answer(x: np.ndarray) -> np.ndarray:
        logits = model(x)
        for own, tokens in zip(logits, x, strict=True):
            for end in range(order, len(tokens) + 1):
                if (token := known.get(tokens[end - order : end].tobytes())) is not None:
                    own[end - 1, token] += 3.0
        for tokens in x:
            known.update((tokens[end - order : end].tobytes(), int(tokens[end])) for end in range(order, len(tokens)))
        return logits

    return answer


def learning(model: Model, weight: float) -> Model:
    """Adds what followed each token in all earlier questions, as if the model were worth `weight` of them."""
    counts = np.zeros((VOCAB, VOCAB))

    def answer(x: np.ndarray) -> np.ndarray:
        chances = np.exp(model(x))
        chances /= chances.sum(axis=2, keepdims=True)
        logits = np.log(weight * chances + counts[x]) - np.log(weight + counts[x].sum(axis=2, keepdims=True))
        np.add.at(counts, (x[:, :-1], x[:, 1:]), 1.0)
        return logits

    return answer


Asked = tuple[Any, np.ndarray, list[np.ndarray]]  # plan, losses, answers at the junctions


def ask(text: Text, model: Model) -> Asked:
    """One scoring."""
    from fixed import probes

    plan = probes.draw(text.rows, text.pool, COUNTED, EACH, np.random.default_rng())
    losses = np.empty(plan.targets.shape)
    answers: list[np.ndarray] = []
    for start in range(0, len(plan.questions), EACH):
        logits = model(plan.questions[start : start + EACH].astype(np.int64))
        top = logits.max(axis=2, keepdims=True)
        total = np.log(np.exp(logits - top).sum(axis=2)) + top[..., 0]
        targets = plan.targets[start : start + EACH].astype(np.int64)
        losses[start : start + EACH] = total - np.take_along_axis(logits, targets[..., None], axis=2)[..., 0]
        junctions = plan.junctions_of(start, start + EACH)
        answers += [logits[own.showing - start, own.place][own.others] for own in junctions]
    return plan, losses, answers


def mean(asked: Asked) -> float:
    """The loss that counts, in nats."""
    plan, losses, _ = asked
    return float(plan.first(losses)[COUNTED[plan.tokens[:, 1:]]].mean())


def find(repeats: int) -> None:
    """Shares of the repeats in which each model is refused, and what it would have gained."""
    from fixed import probes

    text = Text()
    plan, losses, _ = ask(text, honest(text, seed=9))
    baseline = plan.first(losses)
    plain = honest(text)
    usual = mean(ask(text, plain))
    bad = honest(text, error=1.0)
    kinds: list[tuple[str, Callable[[], Model]]] = [("honest", lambda: plain)]
    kinds += [(f"honest, noise of {n:g} in each logit", lambda n=n: honest(text, n)) for n in (0.05, 0.3)]
    for share in (0.1, 0.03, 0.01):
        kinds.append((f"looks ahead at {100 * share:g} %", lambda s=share: ahead(plain, s)))
    for share in (0.1, 0.05, 0.03, 0.02, 0.01):
        kinds.append((f"and remembers at {100 * share:g} %", lambda s=share: remembering(ahead(plain, s))))
    for share in (0.1, 0.03, 0.01):
        kinds.append((f"in second showings at {100 * share:g} %", lambda s=share: second(plain, ahead(plain, s))))
    for boost in (0.05, 0.01):
        kinds.append((f"adds {boost:g} to every next token", lambda b=boost: ahead(plain, 1.0, b)))
    for boost in (0.3, 0.2, 0.15, 0.1, 0.07, 0.05):
        kinds.append((f"and remembers, adding {boost:g}", lambda b=boost: remembering(ahead(plain, 1.0, b))))
    for gate in (0.02, 0.1):
        label = f"the same with 0.3, where its chance is above {gate:g}"
        kinds.append((label, lambda g=gate: remembering(ahead(plain, 1.0, 0.3, g))))
    for share in (0.02, 0.01, 0.005, 0.002, 0.001):
        kinds.append((f"remembers, and mixes in {100 * share:g} %", lambda s=share: remembering(mixed(plain, s))))
    for order in (3, 5, 8):
        kinds.append((f"quotes what followed the same {order} tokens", lambda o=order: remembering(quoting(plain, o))))
    for weight in (30.0, 3000.0, 30000.0):
        kinds.append((f"learns from questions, {weight:g} to one", lambda w=weight: remembering(learning(bad, w))))
    row("model", "refused", "gain in nats, of", f"{usual:.3f}")
    row(*["---"] * 4)
    worst = mean(ask(text, bad))
    for label, make in kinds:
        asked = [ask(text, make()) for _ in range(repeats)]
        refused = sum(bool(probes.find_look_ahead(*one, COUNTED, baseline)) for one in asked)
        before = worst if label.startswith("learns") else usual
        gain = before - statistics.mean(mean(one) for one in asked)
        row(label, f"{refused} of {repeats}", f"{gain:.3f}", f"{100 * gain / before:.1f} %")


def alarms(sessions: int) -> None:
    """Honest models of several kinds, scored once in each session: refusals, and how the experiments come out."""
    from fixed import probes

    text = Text()
    plan, losses, _ = ask(text, honest(text, seed=9))
    known = (None, plan.first(losses))
    rng = np.random.default_rng(0)
    sigmas, refused = [], 0
    for number in range(sessions):
        model = honest(
            text, (0.0, 0.3, 0.0, 1.0)[number % 4], (0.3, 0.3, 1.0, 0.1)[number % 4], int(rng.integers(2**31))
        )
        one = ask(text, model)
        baseline = known[number // 4 % 2]
        sigmas += [e.sigmas for e in probes.experiments(*one, COUNTED, baseline)]
        refused += bool(probes.find_look_ahead(*one, COUNTED, baseline))
    table = np.array(sigmas)
    row("sessions", "experiments", "refused", "largest, in standard deviations", "their standard deviation")
    row(*["---"] * 5)
    row(sessions, table.size, refused, f"{table.max():.2f}", f"{table.std():.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["price", "find", "alarms"])
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--repeats", type=int, default=0)
    args = parser.parse_args()
    if args.what == "price":
        price(args.profile, args.repeats or 3)
    elif args.what == "find":
        find(args.repeats or 40)
    else:
        alarms(args.repeats or 200)


if __name__ == "__main__":
    main()
