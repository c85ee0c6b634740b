"""Hands the training data to a run, and scores it when it asks: the run answers with logits, all else is decided here.

The supervisor starts it (`python -I referee.py`, AUTORESEARCH_REFEREE_FD) outside the run's sandbox, from a clean copy
of the locked files: together with the run, where AUTORESEARCH_HANDOVER names the socket on which the supervisor says
what the run wants, else when the run asks to be scored. What comes from the run is numbers of a size and kind fixed
here: they are copied before they are looked at, and normalised here. On stdout: the score, then a line of JSON for the
loop. Exit code 1 with one line on stderr where there is no score.
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
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from fixed import loader, port, probes, settings, store
from fixed.port import MAGIC, REQUEST, Sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK, NEAR = 32, 2**16  # tokens that one core adds up together, and more where they have fewer logits: what stays near
LARGE = 4 << 30  # logits from which on numpy on one core would be too slow
LEAST_QUESTIONS = 48
POOL_TOKENS = 2**20  # at most so many that other continuations are taken from
PATIENCE = 3600.0  # seconds; the supervisor's timeout comes first
ORDER_BYTES, TAKE = 5, b"T"  # what the supervisor says: a letter and an index; any other letter is to score the run
USUAL = 1.5  # times the median answer, on average: what answers may take before the rest counts as training


class Refused(Exception):
    """There is no score, and why."""


Place = tuple[int, int]  # a row of an answer, and a position in it


class Numpy:
    """Cross-entropies on one core, in fp32; sums over the vocabulary are pairwise."""

    width = 4
    slot_bytes = 1 << 24  # of logits in an answer, where a row is not more

    def begin(self, slots: np.ndarray) -> None:
        """Answers will lie in these."""

    def losses(
        self, answer: np.ndarray, targets: np.ndarray, wanted: Sequence[Place]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """(B, T) nats for logits of (B, T, V), which may change while they are read, and the logits at some places."""
        flat, tokens = answer.reshape(-1, answer.shape[-1]), targets.reshape(-1)
        block = max(BLOCK, NEAR // flat.shape[1])
        places = [row * targets.shape[1] + place for row, place in wanted]
        among: dict[int, list[int]] = {}
        for number, place in enumerate(places):
            among.setdefault(place // block, []).append(number)
        found = np.empty(len(flat))
        vectors = [flat[:0]] * len(places)
        with np.errstate(all="ignore"):  # what is no number is looked for in the sums
            for at in range(0, len(flat), block):
                logits = np.array(flat[at : at + block], np.float32)  # from here on nobody can change it
                for number in among.get(at // block, ()):
                    vectors[number] = logits[places[number] - at].copy()
                logits -= logits.max(axis=1, keepdims=True)
                own = logits[np.arange(len(logits)), tokens[at : at + block]]
                found[at : at + block] = np.log(np.exp(logits, out=logits).sum(axis=1).astype(np.float64)) - own
        return found.reshape(targets.shape), vectors


class Torch:
    """The same with torch, on the accelerator where it has room.

    The accelerator is left alone until there are answers: until then the run trains on it.
    """

    width = 2
    slot_bytes = 1 << 27

    def __init__(self) -> None:
        import torch

        self.torch, self.device = torch, torch.device("cpu")

    def begin(self, slots: np.ndarray) -> None:
        """As above."""
        torch = self.torch
        if not torch.cuda.is_available():
            return
        with contextlib.suppress(RuntimeError):
            torch.zeros(1 << 28, device="cuda")
            self.device = torch.device("cuda")
            port.pin(torch.from_numpy(slots))

    def losses(
        self, answer: np.ndarray, targets: np.ndarray, wanted: Sequence[Place]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """As above."""
        torch = self.torch
        private = torch.from_numpy(answer).to(self.device, copy=True)
        tokens = torch.from_numpy(targets.astype(np.int64)).to(self.device)
        found = []
        for row, target in zip(private, tokens, strict=True):
            logits = row.float()
            found.append(torch.logsumexp(logits, dim=-1).double() - logits.gather(1, target[:, None])[:, 0].double())
        rows, places = np.array(wanted, np.int64).reshape(-1, 2).T
        vectors = private[torch.from_numpy(rows.copy()), torch.from_numpy(places.copy())].float().cpu().numpy()
        return torch.stack(found).cpu().numpy(), list(vectors)


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
    """The data that is scored: rows of both splits, and the bytes of each token; and a pool of rows that are not."""

    def __init__(self) -> None:
        entries = store.private_entries()
        paths = [store.rows_path("val"), store.LAYOUT.private / "token_bytes.npy"]
        more = {split: store.rows_path(split) for split in ("sealed", "pool")}
        more = {split: path for split, path in more.items() if str(path.relative_to(settings.PRIVATE_DIR)) in entries}
        for path in [*paths, *more.values()]:
            entry = entries.get(str(path.relative_to(settings.PRIVATE_DIR)), {})
            if not entry or store.file_sha256(path) != entry["sha256"]:
                raise Refused(f"{path} is not as it was prepared: run `autoresearch-tui prepare`")
        val = loader.load_rows("val")
        most = min(len(val), max(1, settings.REFEREED_TOKENS // settings.MAX_SEQ_LEN))
        self.val = len(val[:most])
        places = np.arange(most) * len(val) // most
        sealed, pool = (loader.load_rows(split) if split in more else val[:0] for split in ("sealed", "pool"))
        pool = np.concatenate((np.delete(val, places, axis=0), pool))[: max(1, POOL_TOKENS // settings.MAX_SEQ_LEN)]
        if not len(pool):  # all of the text is validated: half of the sealed rows are not scored
            sealed, pool = sealed[::2], sealed[1::2]
        self.rows = np.concatenate((val[places], sealed))
        self.pool = pool
        self.bytes = np.load(paths[1], allow_pickle=False).astype(np.int64)


@dataclass(frozen=True)
class Drawn:
    """All that can be known before a run asks."""

    scored: Scored
    plan: probes.Plan
    sizes: Sizes
    arithmetic: Numpy | Torch


def draw(rng: np.random.Generator) -> Drawn:
    """Read the rows and draw the questions. Raises Refused and ValueError."""
    scored = Scored()
    showings = probes.number_of_showings(len(scored.rows))
    tokens, vocab = settings.MAX_SEQ_LEN, len(scored.bytes)
    arithmetic = scorer(showings * tokens * vocab)
    each = arithmetic.slot_bytes // (tokens * vocab * arithmetic.width)
    each = max(1, min(each, showings // LEAST_QUESTIONS))
    plan = probes.draw(scored.rows, scored.pool, scored.bytes > 0, each, rng)
    sizes = Sizes(each, tokens, vocab, arithmetic.width, len(plan.questions) // each, probes.AHEAD)
    return Drawn(scored, plan, sizes, arithmetic)


def ask(line: socket.socket, drawn: Drawn) -> tuple[dict[str, Any], str]:
    """The whole conversation. Returns the details and why they are refused. Raises OSError and EOFError, and before
    the first question Refused."""
    if REQUEST.unpack(port.receive(line, REQUEST.size))[0] != MAGIC:
        raise Refused("the run did not ask to be scored in a way that is known here")
    scored, plan = drawn.scored, drawn.plan
    losses, answers, took, changed = converse(line, drawn)
    if changed:
        return {}, "the parameters changed while it answered: a model may not learn from what it is asked"
    if not np.isfinite(losses[plan.row > -2]).all():
        return {}, "the answers are not finite: NaN or infinity among the logits"
    weights = scored.bytes[scored.rows[:, 1:]]
    first = plan.first(losses)
    nats = np.where(weights > 0, first, 0.0).sum(axis=1)
    sizes_of_rows = weights.sum(axis=1)
    data = f"{store.data_id()} {settings.PROFILE_NAME}"
    baseline = Baseline(data)
    problem = probes.find_look_ahead(plan, losses, answers, scored.bytes > 0, baseline.load(first.shape))
    if not problem:
        baseline.save(first)
    rows = [[round(float(n), 4), int(b)] for n, b in zip(nats, sizes_of_rows, strict=True)]
    details = {
        "val_bpb": bits(nats[: scored.val], sizes_of_rows[: scored.val]),
        "sealed": bits(nats[scored.val :], sizes_of_rows[scored.val :]),
        "rows": rows[: scored.val],
        "sealed_rows": rows[scored.val :],
        "data": data,
        "probes": int((plan.probe >= 0).sum()),
        "answer_seconds": round(sum(took), 3),
        "late_seconds": round(max(0.0, sum(took) - USUAL * float(np.median(took)) * len(took)), 3),
    }
    return details, problem


class Baseline:
    """The losses of the session's first run that was scored, token by token, in a file that no run sees."""

    def __init__(self, data: str) -> None:
        self.data = data
        self.path = Path(os.environ.get("AUTORESEARCH_TOKEN_LOSSES") or os.devnull)

    def load(self, shape: tuple[int, ...]) -> np.ndarray | None:
        """(rows, T) nats; None if there are none, or of other data."""
        try:
            with np.load(self.path, allow_pickle=False) as kept:
                losses = kept["losses"].astype(np.float64)
                return losses if str(kept["data"]) == self.data and losses.shape == shape else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, losses: np.ndarray) -> None:
        """Keep these unless there are some that fit."""
        if str(self.path) == os.devnull or self.load(losses.shape) is not None:
            return
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # a full disk: the next run's will do
            try:
                with partial.open("wb") as file:
                    np.savez(file, losses=np.minimum(losses, 60_000).astype(np.float16), data=np.array(self.data))
                partial.replace(self.path)
            finally:
                partial.unlink(missing_ok=True)


def bits(nats: np.ndarray, sizes: np.ndarray) -> float | None:
    """Per byte; None without bytes."""
    total = int(sizes.sum())
    return float(nats.sum()) / (math.log(2) * total) if total else None


def converse(line: socket.socket, drawn: Drawn) -> tuple[np.ndarray, list[np.ndarray], list[float], bool]:
    """Losses of every showing, the logits that its junctions ask for, the seconds that each answer took, and whether
    parameters changed."""
    plan, sizes, arithmetic = drawn.plan, drawn.sizes, drawn.arithmetic
    kind = np.float32 if sizes.width == 4 else np.float16
    descriptor = shared_memory(sizes.slots * sizes.slot_bytes)
    memory = mmap.mmap(descriptor, sizes.slots * sizes.slot_bytes)
    slots = np.frombuffer(memory, kind).reshape(sizes.slots, sizes.rows, sizes.tokens, sizes.vocab)
    arithmetic.begin(slots)
    losses = np.empty(plan.targets.shape)
    answers: list[np.ndarray] = []
    asked, took, free, changed = [0.0] * sizes.questions, [], 0.0, False

    def put(number: int) -> None:
        line.sendall(plan.questions[number * sizes.rows :][: sizes.rows].astype("<u2").tobytes())
        asked[number] = time.monotonic()

    socket.send_fds(line, [port.HELLO.pack(MAGIC, *sizes)], [descriptor])
    os.close(descriptor)
    for number in range(min(sizes.slots, sizes.questions)):
        put(number)
    for number in range(sizes.questions):
        changed |= bytes(port.receive(line, 1)) == port.CHANGED
        now = time.monotonic()
        took.append(now - max(asked[number], free))
        free = now
        where = slice(number * sizes.rows, (number + 1) * sizes.rows)
        junctions = plan.junctions_of(where.start, where.stop)
        places = [(junction.showing - where.start, junction.place) for junction in junctions]
        losses[where], found = arithmetic.losses(slots[number % sizes.slots], plan.targets[where], places)
        answers += [logits[junction.others] for logits, junction in zip(found, junctions, strict=True)]
        if number + sizes.slots < sizes.questions:
            put(number + sizes.slots)
    return losses, answers, took, changed


def wanted(line: socket.socket, control: socket.socket, sizes: Sizes) -> bool:
    """Hand over the training data until the run asks to be scored; False where it ends without."""
    paths = [name for path in store.token_paths("train") for name in (path, path.with_suffix(".idx.npy"))]
    if not paths or not all(path.exists() for path in paths):
        raise Refused(
            f"no training data for {settings.DATASET} in {store.LAYOUT.tokens}: run `autoresearch-tui prepare`"
        )
    began = False
    with contextlib.suppress(EOFError):
        while (order := port.receive(control, ORDER_BYTES)).startswith(TAKE):
            first = int.from_bytes(order[1:], "little")
            if first == port.SIZES:
                with contextlib.suppress(OSError):
                    line.sendall(port.HELLO.pack(MAGIC, *sizes))
                continue
            with contextlib.ExitStack() as open_files:
                files = [open_files.enter_context(path.open("rb")) for path in paths[first : first + port.FILES]]
                if not began:
                    control.sendall(b"\1")  # the clock starts
                    began = True
                message = port.HANDED.pack(MAGIC, len(files), len(paths))
                with contextlib.suppress(OSError):  # it has ended; what follows, the supervisor says
                    socket.send_fds(line, [message], [file.fileno() for file in files])
        return True
    return False


def main(_: Sequence[str] | None = None) -> int:
    if not settings.REFEREE_FD:
        print("the run did not ask to be scored: train.py has to call evaluate_bpb", file=sys.stderr)
        return 1
    line = socket.socket(fileno=int(settings.REFEREE_FD))
    line.settimeout(PATIENCE)
    details: dict[str, Any] = {}
    code, asked = 1, not settings.HANDOVER
    try:
        drawn = draw(np.random.default_rng(int.from_bytes(os.urandom(16))))
        if not asked and not (asked := wanted(line, socket.socket(fileno=int(settings.HANDOVER)), drawn.sizes)):
            print("the run ended without asking to be scored", file=sys.stderr)
            return 3
        details, problem = ask(line, drawn)
    except (Refused, ValueError, settings.NotReadyError) as error:
        problem = str(error)
        with contextlib.suppress(OSError):  # no question: the run ends as if it had answered them all
            if asked:
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
