"""The fixed part of a lab with a real referee and models that are tables: what prepare.evaluate_bpb is to torch."""

import math
import os
import sys
import time

import numpy as np
import prepare
from fixed import loader, port

BUDGET = float(os.environ.get("AUTORESEARCH_TIME_BUDGET") or 0.2)
trained = 0.0


class Table:
    """How often each token followed each other one."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.vocab = len(np.load(prepare.LAYOUT.tokenizer / "token_bytes.npy"))
        counts = np.full((self.vocab, self.vocab), 0.1)
        np.add.at(counts, (tokens[:-1], tokens[1:]), 1.0)
        self.table = np.log(counts / counts.sum(axis=1, keepdims=True))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(B, T, vocab) logits."""
        return self.table[x]

    def losses(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(B, T) nats."""
        return cross_entropy(self(x), y)


def load_text() -> np.ndarray:
    """The training tokens."""
    return loader.load_tokens("train")[0][0].astype(np.int64)


def train(tokens: np.ndarray | None = None) -> Table:
    """For as long as the budget says, by the clock that is at hand."""
    global trained
    prepare.ready()
    began = time.time()
    model = Table(load_text() if tokens is None else tokens)
    while time.time() - began < BUDGET:
        time.sleep(0.01)
    trained = time.time() - began
    return model


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(B, T) nats."""
    total = np.log(np.exp(logits - logits.max(axis=2, keepdims=True)).sum(axis=2)) + logits.max(axis=2)
    return total - np.take_along_axis(logits, y[..., None], axis=2)[..., 0]


def evaluate_bpb(model: Table, batch_size: int = 64) -> float:
    """Bits per byte; by the referee where there is one."""
    if prepare.REFEREE_FD:

        def respond(tokens: np.ndarray, answer: np.ndarray) -> None:
            answer[:] = model(tokens)

        return port.serve(respond, batch_size, int(prepare.REFEREE_FD))
    rows = loader.load_rows("val").astype(np.int64)
    sizes = np.load(prepare.LAYOUT.tokenizer / "token_bytes.npy")[rows[:, 1:]]
    nats = 0.0
    for at in range(0, len(rows), batch_size):
        part = rows[at : at + batch_size]
        nats += float(model.losses(part[:, :-1], part[:, 1:])[sizes[at : at + batch_size] > 0].sum())
    return nats / (math.log(2) * int(sizes.sum()))


def finish(score: float) -> None:
    """The summary that the loop reads."""
    sys.stdout.write(f"---\nval_bpb:          {score:.6f}\ntraining_seconds: {trained:.1f}\n")
