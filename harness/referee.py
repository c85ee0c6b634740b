"""Scores a run that asks for it: the run answers with logits, everything else is decided here. Fixed.

The supervisor starts it (`python -I referee.py`, AUTORESEARCH_REFEREE_FD) when a run asks, outside the run's sandbox,
from a clean copy of the locked files. What comes from the run is numbers of a size and kind fixed here: they are
copied before they are looked at, and normalised here. On stdout: the score, then one line of JSON for the loop.
Exit code 1 with one line on stderr where there is no score.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import port
import prepare
import probes
from port import MAGIC, REQUEST, Sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 32  # tokens that one core adds up together: what stays near it
LARGE = 4 << 30  # logits from which on numpy on one core would be too slow
LEAST_QUESTIONS = 16
PATIENCE = 3600.0  # seconds; the supervisor's timeout comes first


class Refused(Exception):
    """There is no score, and why."""


Vectors = dict[int, np.ndarray]


class Numpy:
    """Cross-entropies on one core, in fp32; sums over the vocabulary are pairwise."""

    width = 4
    slot_bytes = 1 << 24  # of logits in an answer, where a row is not more

    def losses(self, answer: np.ndarray, targets: np.ndarray, cuts: dict[int, int]) -> tuple[np.ndarray, Vectors]:
        """(B, T) nats for logits of (B, T, V), which may change while they are read, and the logits before the cuts."""
        flat, wanted = answer.reshape(-1, answer.shape[-1]), targets.reshape(-1)
        places = {row * targets.shape[1] + cut - 1: row for row, cut in cuts.items()}
        found = np.empty(len(flat))
        vectors: Vectors = {}
        with np.errstate(all="ignore"):  # what is no number is looked for in the sums
            for at in range(0, len(flat), BLOCK):
                logits = np.array(flat[at : at + BLOCK], np.float32)  # from here on nobody can change it
                for place in places.keys() & set(range(at, at + len(logits))):
                    vectors[places[place]] = logits[place - at].copy()
                logits -= logits.max(axis=1, keepdims=True)
                own = logits[np.arange(len(logits)), wanted[at : at + BLOCK]]
                found[at : at + BLOCK] = np.log(np.exp(logits, out=logits).sum(axis=1).astype(np.float64)) - own
        return found.reshape(targets.shape), vectors


class Torch:
    """The same with torch, on the accelerator where it has room."""

    width = 2
    slot_bytes = 1 << 27

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            torch.zeros(1 << 28, device=self.device)
        except RuntimeError:
            self.device = torch.device("cpu")

    def losses(self, answer: np.ndarray, targets: np.ndarray, cuts: dict[int, int]) -> tuple[np.ndarray, Vectors]:
        """As above."""
        torch = self.torch
        private = torch.from_numpy(answer).to(self.device, copy=True)
        wanted = torch.from_numpy(targets.astype(np.int64)).to(self.device)
        found = []
        for row, target in zip(private, wanted, strict=True):
            logits = row.float()
            found.append(torch.logsumexp(logits, dim=-1).double() - logits.gather(1, target[:, None])[:, 0].double())
        vectors = {at: private[at, cut - 1].float().cpu().numpy() for at, cut in cuts.items()}
        return torch.stack(found).cpu().numpy(), vectors


def scorer(numbers: int) -> Numpy | Torch:
    """For so many logits."""
    if numbers < LARGE:
        return Numpy()
    try:
        return Torch()
    except ImportError:
        return Numpy()


def shared_memory(size: int) -> int:
    """A descriptor of memory of this size, which nobody can resize."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return os.dup(file.fileno())
    import fcntl

    descriptor = os.memfd_create("answers", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(descriptor, size)
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


class Scored:
    """The data that is scored: rows of both splits, and the bytes of each token."""

    def __init__(self) -> None:
        entries = prepare.private_entries()
        paths = [prepare.rows_path("val"), prepare.LAYOUT.private / "token_bytes.npy"]
        sealed = prepare.rows_path("sealed")
        if str(sealed.relative_to(prepare.PRIVATE_DIR)) in entries:
            paths.append(sealed)
        for path in paths:
            entry = entries.get(str(path.relative_to(prepare.PRIVATE_DIR)), {})
            if not entry or prepare.file_sha256(path) != entry["sha256"]:
                raise Refused(f"{path} is not as it was prepared: run `autoresearch-tui prepare`")
        val = prepare.load_rows("val")
        most = min(len(val), max(1, prepare.REFEREED_TOKENS // prepare.MAX_SEQ_LEN))
        self.val = len(val[:most])
        chosen = val[np.arange(most) * len(val) // most]
        rest = prepare.load_rows("sealed") if len(paths) == 3 else chosen[:0]
        self.rows = np.concatenate((chosen, rest))
        self.bytes = np.load(paths[1], allow_pickle=False).astype(np.int64)


def ask(line: socket.socket, rng: np.random.Generator) -> tuple[dict[str, Any], str]:
    """The whole conversation. Returns the details and why they are refused. Raises OSError and EOFError, and before
    the first question Refused."""
    magic, batch = REQUEST.unpack(port.receive(line, REQUEST.size))
    if magic != MAGIC:
        raise Refused("the run did not ask to be scored in a way that is known here")
    scored = Scored()
    showings = len(scored.rows) + min(probes.PROBES, scored.val)
    tokens, vocab = prepare.MAX_SEQ_LEN, len(scored.bytes)
    arithmetic = scorer(showings * tokens * vocab)
    each = arithmetic.slot_bytes // (tokens * vocab * arithmetic.width)
    each = max(1, min(each, batch, showings // LEAST_QUESTIONS))
    plan = probes.draw(scored.rows, scored.val, scored.bytes > 0, each, rng)
    sizes = Sizes(each, tokens, vocab, arithmetic.width, len(plan.questions) // each, probes.AHEAD)
    losses, vectors, late = converse(line, plan, sizes, arithmetic)
    if not np.isfinite(losses[plan.row >= 0]).all():
        return {}, "the answers are not finite: NaN or infinity among the logits"
    weights = scored.bytes[plan.targets]
    true = np.flatnonzero((plan.probe < 0) & (plan.row >= 0))
    true = true[np.argsort(plan.row[true])]
    nats = np.where(weights > 0, losses, 0.0)[true].sum(axis=1)
    sizes_of_rows = weights[true].sum(axis=1)
    problem = probes.find_look_ahead(plan, losses, vectors, scored.bytes > 0)
    details = {
        "val_bpb": bits(nats[: scored.val], sizes_of_rows[: scored.val]),
        "sealed": bits(nats[scored.val :], sizes_of_rows[scored.val :]),
        "rows": [[round(float(n), 4), int(b)] for n, b in zip(nats, sizes_of_rows, strict=True)][: scored.val],
        "data": f"{prepare.data_id()} {prepare.PROFILE_NAME}",
        "probes": len(plan.probes),
        "late_seconds": round(late, 3),
    }
    return details, problem


def bits(nats: np.ndarray, sizes: np.ndarray) -> float | None:
    """Per byte; None without bytes."""
    total = int(sizes.sum())
    return float(nats.sum()) / (math.log(2) * total) if total else None


def converse(
    line: socket.socket, plan: probes.Plan, sizes: Sizes, arithmetic: Numpy | Torch
) -> tuple[np.ndarray, Vectors, float]:
    """Losses of every showing, logits at the cuts, and the seconds that single answers took beyond the usual."""
    kind = np.float32 if sizes.width == 4 else np.float16
    descriptor = shared_memory(sizes.slots * sizes.slot_bytes)
    memory = mmap.mmap(descriptor, sizes.slots * sizes.slot_bytes)
    slots = np.frombuffer(memory, kind).reshape(sizes.slots, sizes.rows, sizes.tokens, sizes.vocab)
    losses = np.empty(plan.targets.shape)
    vectors: Vectors = {}
    asked, took, free = [0.0] * sizes.questions, [], 0.0

    def put(number: int) -> None:
        line.sendall(plan.questions[number * sizes.rows :][: sizes.rows].astype("<u2").tobytes())
        asked[number] = time.monotonic()

    socket.send_fds(line, [port.HELLO.pack(MAGIC, *sizes)], [descriptor])
    os.close(descriptor)
    for number in range(min(sizes.slots, sizes.questions)):
        put(number)
    for number in range(sizes.questions):
        port.receive(line, 1)
        now = time.monotonic()
        took.append(now - max(asked[number], free))
        free = now
        where = slice(number * sizes.rows, (number + 1) * sizes.rows)
        asked_here = plan.probe[where]
        cuts = {int(at): plan.probes[asked_here[at]].cut for at in np.flatnonzero(asked_here >= 0)}
        losses[where], found = arithmetic.losses(slots[number % sizes.slots], plan.targets[where], cuts)
        vectors |= {where.start + at: vector for at, vector in found.items()}
        if number + sizes.slots < sizes.questions:
            put(number + sizes.slots)
    usual = float(np.median(took))
    return losses, vectors, sum(max(0.0, seconds - 5 * usual - 0.5) for seconds in took)


def main(_: Sequence[str] | None = None) -> int:
    if not prepare.REFEREE_FD:
        print("the run did not ask to be scored: train.py has to call evaluate_bpb", file=sys.stderr)
        return 1
    line = socket.socket(fileno=int(prepare.REFEREE_FD))
    line.settimeout(PATIENCE)
    details: dict[str, Any] = {}
    code = 1
    try:
        details, problem = ask(line, np.random.default_rng(int.from_bytes(os.urandom(16))))
    except (Refused, ValueError, prepare.NotReadyError) as error:
        problem = str(error)
        with contextlib.suppress(OSError):  # no question: the run ends as if it had answered them all
            line.sendall(port.HELLO.pack(MAGIC, *Sizes(1, 1, 1, 4, 0, 1)))
    except (OSError, EOFError):
        problem, code = "the run went away before every question was answered", 2
    value = details.get("val_bpb", math.nan)
    with contextlib.suppress(OSError):  # it need not wait for its number
        line.sendall(port.VERDICT.pack(MAGIC, value))
    if not problem:
        print(f"val_bpb: {value:.6f}")
    print(json.dumps(details), flush=True)
    if problem:
        print(problem, file=sys.stderr)
    return code if problem else 0


if __name__ == "__main__":
    sys.exit(main())
