"""The fixed part of every experiment: constants, data, tokenizer, dataloader and the metric.

`train.py` imports from here and may not change it; what stands behind it is in `fixed/`. Run as a program it prepares
the data once:

    python prepare.py                       # the data set of the profile
    python prepare.py --data embedded       # the Python standard library's sources, no download
    python prepare.py --data ~/texts        # a folder or file of .parquet, .txt, .md or .jsonl
    python prepare.py --check               # exit 0 where everything is ready, else 2; --json tells which data

Environment: AUTORESEARCH_CACHE (default ~/.cache/autoresearch), AUTORESEARCH_PROFILE (a row of PROFILES),
AUTORESEARCH_DATA (climbmix, embedded or a path), AUTORESEARCH_TIME_BUDGET (seconds of training),
AUTORESEARCH_TOKEN_BUDGET (tokens in place of seconds where it is above zero), AUTORESEARCH_SEED (added to the seed),
AUTORESEARCH_PREFLIGHT (a rehearsal: two small steps on made-up data).

Nothing heavy is imported at the top: `--check` has to answer at once.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from typing import TYPE_CHECKING

from fixed import port
from fixed.settings import (
    CACHE_DIR,
    DATASET,
    EVAL_TOKENS,  # at most so many validation tokens are scored
    HANDOVER,
    MAX_SEQ_LEN,  # tokens of context, in training and in evaluation
    PREFLIGHT,  # in a rehearsal
    PROFILE,
    PROFILE_NAME,
    PROFILES,
    REFEREE_FD,  # empty if a run scores itself
    SEED_SHIFT,  # repeats of a run differ in this alone
    TIME_BUDGET,  # seconds of training
    TOKEN_BUDGET,  # in place of seconds where it is above zero
    VOCAB_SIZE,  # reserved tokens included
    NotReadyError,
    fail,
)
from fixed.store import LAYOUT, data_id, find_problem, identity, layout, require_ready, verify_manifest
from fixed.tokenizer import BOS_TOKEN, SPECIAL_TOKENS, Tokenizer, get_token_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

DATA_DIR, TOKENIZER_DIR = LAYOUT.data, LAYOUT.tokenizer
REQUIRED = ("numpy", "pyarrow", "tokenizers", "torch")  # looked for, not imported, before anything is prepared

# ---------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------


def make_dataloader(
    tokenizer: Tokenizer,
    B: int,
    T: int,
    split: str,
    buffer_size: int = 1000,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Endless (inputs, targets, epoch): both (B, T) int64 on `device`, the targets one token ahead.

    Every row begins with BOS, holds whole documents or long parts of them, and has no padding. The same seed gives
    the same rows. A thread prepares batches ahead; on CUDA they lie in pinned memory and are copied behind the work.
    Raises NotReadyError without prepared data, ValueError for an unknown split.
    """
    import torch
    from fixed import loader
    from fixed.device import pick_device

    if split not in ("train", "val"):
        raise ValueError(f"split must be train or val, not {split!r}")
    device = torch.device(device or pick_device(PROFILE_NAME))
    batches = loader.packed_batches(split, B, T, tokenizer.get_bos_token_id(), buffer_size, seed)

    def host() -> Iterator[tuple[torch.Tensor, int]]:
        for rows, epoch in batches:
            block = torch.from_numpy(rows)
            yield (block.pin_memory() if device.type == "cuda" else block), epoch

    for block, epoch in loader.prefetch(host()):
        rows = block.to(device, non_blocking=True)
        yield rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), epoch


def ready() -> None:
    """Take the training data over, where a run does not see it before: from here on the clock of the budget runs.

    What can be done without data, like compiling, is done before. The first use of the data calls this too.
    """
    if HANDOVER and not PREFLIGHT:
        from fixed import loader

        loader.take_over()


def rehearse(model: torch.nn.Module) -> None:
    """Answer a made-up question as the referee will ask them, where there is one: nothing is compiled for it later."""
    if HANDOVER and not PREFLIGHT:
        port.rehearse(model, int(REFEREE_FD))


# ---------------------------------------------------------------------------
# The metric
# ---------------------------------------------------------------------------


def evaluate_bpb(model: torch.nn.Module, tokenizer: Tokenizer, batch_size: int) -> float:
    """Bits per byte on the validation rows; does not depend on the vocabulary or on the batch size.

    The sum of the targets' cross-entropies in nats over the sum of their UTF-8 bytes, over ln 2. Reserved tokens count
    in neither sum. In the loop a referee computes it: rows are not here, `model(x)` answers its questions with logits
    for every position, once, and its number is returned. Elsewhere `model(x, y, reduction="none")` has to
    return one loss for each target; unlike the reference's, every row is scored once and none is left out when the
    batch size does not divide their number.
    """
    import numpy as np
    import torch
    from fixed import loader

    if REFEREE_FD:
        return port.be_scored(model, batch_size, int(REFEREE_FD))
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    rows, bos = loader.load_rows(), tokenizer.get_bos_token_id()
    token_bytes = get_token_bytes().to(torch.float64)
    nats, nbytes = 0.0, 0.0
    with torch.no_grad():
        for at in range(0, len(rows), batch_size):
            part = rows[at : at + batch_size]
            batch = np.full((batch_size, rows.shape[1]), bos, np.int64)  # one shape: nothing is compiled twice
            batch[: len(part)] = part
            block = torch.from_numpy(batch)
            x, y = block[:, :-1].contiguous(), block[:, 1:].contiguous()
            losses = model(x.to(device), y.to(device), reduction="none").reshape(-1).cpu().to(torch.float64)
            weights = token_bytes[y.view(-1)]
            nats += float(losses[weights > 0].sum())
            nbytes += float(weights.sum())
    return nats / (math.log(2) * nbytes)


# ---------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare, or say whether that is needed. Exit code 0 ready, 2 not ready or failed, 130 interrupted."""
    import argparse

    parser = argparse.ArgumentParser(prog="prepare.py", description="Prepare data and tokenizer, once.")
    parser.add_argument("--data", default=DATASET, help="climbmix, embedded or a path (default: %(default)s)")
    parser.add_argument("--num-shards", type=int, default=10, help="training shards of climbmix; -1 is all of them")
    parser.add_argument("--json", action="store_true", help="progress as JSON lines on stdout")
    parser.add_argument("--check", action="store_true", help="prepare nothing: is everything ready?")
    parser.add_argument("--verify", action="store_true", help="compare every prepared file with its hash")
    args = parser.parse_args(argv)
    if missing := [name for name in REQUIRED if importlib.util.find_spec(name) is None]:
        fail(f"{sys.executable} has no {', '.join(missing)}: install `autoresearch-tui[harness]` there")
    where = layout(args.data, VOCAB_SIZE)
    if args.check:
        if problem := find_problem(where):
            fail(f"{problem}: run `autoresearch-tui prepare`")
        if args.json:
            print(json.dumps({"stage": "ready", "data": identity(where)}))
        return 0
    if args.verify:
        if changed := verify_manifest(where):
            fail(f"{where.root}: not as prepared: {', '.join(changed)}; run `autoresearch-tui prepare`")
        return 0
    from fixed import encode

    return encode.run(where, PROFILE, args.num_shards, as_json=args.json)


if __name__ == "__main__":
    raise SystemExit(main())
