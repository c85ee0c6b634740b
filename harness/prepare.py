"""The fixed part of every experiment: constants, data, tokenizer, dataloader and the metric.

`train.py` imports from here and may not change it. Run as a program it prepares the data once:

    python prepare.py                       # the data set of the profile
    python prepare.py --data embedded       # the Python standard library's sources, no download
    python prepare.py --data ~/texts        # a folder or file of .parquet, .txt, .md or .jsonl
    python prepare.py --check               # exit 0 where everything is ready, else 2

Environment: AUTORESEARCH_CACHE (default ~/.cache/autoresearch), AUTORESEARCH_PROFILE (a row of PROFILES),
AUTORESEARCH_DATA (climbmix, embedded or a path), AUTORESEARCH_TIME_BUDGET (seconds of training),
AUTORESEARCH_TOKEN_BUDGET (tokens in place of seconds where it is above zero), AUTORESEARCH_SEED (added to the seed),
AUTORESEARCH_PREFLIGHT (a rehearsal: two small steps on made-up data).

Nothing heavy is imported at the top: `--check` has to answer at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from bisect import bisect_right, insort
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    import torch

# ---------------------------------------------------------------------------
# Constants. Scores compare only where these are equal.
# ---------------------------------------------------------------------------


class Profile(NamedTuple):
    """What an evaluation depends on, fixed for a class of hardware."""

    max_seq_len: int  # tokens of context, in training and in evaluation
    eval_tokens: int  # upper bound on the validation tokens that are scored
    vocab_size: int  # reserved tokens included
    dataset: str  # climbmix | embedded


PROFILES = {
    "reference": Profile(2048, 40 * 524288, 8192, "climbmix"),  # H100, H200: the constants of the reference
    "consumer24": Profile(2048, 10 * 524288, 8192, "climbmix"),  # 24 GB card
    "consumer8": Profile(1024, 4 * 524288, 8192, "climbmix"),  # 8 GB card
    "apple": Profile(1024, 2 * 524288, 4096, "climbmix"),  # Apple silicon
    "cpu": Profile(128, 131072, 4096, "embedded"),  # a few cores
    "demo": Profile(128, 65536, 2048, "embedded"),  # one experiment in a minute on two cores
}
VAL_SHARD = 6542  # the pinned validation shard, never trained on
VAL_FILENAME = f"shard_{VAL_SHARD:05d}.parquet"
SEALED_SHARD = 6541  # of the split that only the human sees, never trained on either
REFEREED_TOKENS = 2**21  # at most so many validation tokens are scored by a referee
SPECIAL_TOKENS = tuple(f"<|reserved_{i}|>" for i in range(4))
BOS_TOKEN = SPECIAL_TOKENS[0]
# the GPT-4 split with numbers in groups of one or two digits, as the reference has it
SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)


class NotReadyError(FileNotFoundError):
    """The data of this profile has not been prepared; the message says how to mend it."""


def fail(message: str) -> NoReturn:
    """Print one line on stderr and leave with exit code 2."""
    print(message, file=sys.stderr)
    raise SystemExit(2)


def _number(name: str, default: int) -> float:
    """A number from the environment; whole where it can be, and never negative."""
    raw = os.environ.get(name, "").strip()
    try:
        value = float(raw) if raw else float(default)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        fail(f"{name}={raw}: not a number from zero up; unset it or give one")
    return int(value) if value == int(value) else value


PROFILE_NAME = os.environ.get("AUTORESEARCH_PROFILE") or "reference"
if PROFILE_NAME not in PROFILES:
    fail(f"AUTORESEARCH_PROFILE={PROFILE_NAME}: no such profile; one of {', '.join(PROFILES)}")
PROFILE = PROFILES[PROFILE_NAME]
PREFLIGHT = bool(os.environ.get("AUTORESEARCH_PREFLIGHT"))  # two small steps on made-up data: does the code run?
if PREFLIGHT:
    import rehearsal

    PROFILE = PROFILE._replace(max_seq_len=min(PROFILE.max_seq_len, rehearsal.MAX_SEQ_LEN))
MAX_SEQ_LEN = PROFILE.max_seq_len
EVAL_TOKENS = PROFILE.eval_tokens
VOCAB_SIZE = PROFILE.vocab_size
TIME_BUDGET = _number("AUTORESEARCH_TIME_BUDGET", 300)
TOKEN_BUDGET = 1 if PREFLIGHT else int(_number("AUTORESEARCH_TOKEN_BUDGET", 0))
SEED_SHIFT = int(_number("AUTORESEARCH_SEED", 0))  # repeats of a run differ in this alone
DATASET = os.environ.get("AUTORESEARCH_DATA") or PROFILE.dataset
CACHE_DIR = Path(os.environ.get("AUTORESEARCH_CACHE") or "~/.cache/autoresearch").expanduser()
PRIVATE_DIR = CACHE_DIR / "private"  # what is scored, which no run of the loop gets to see
REFEREE_FD = os.environ.get("AUTORESEARCH_REFEREE_FD", "")  # where a run asks to be scored; empty: it scores itself


class Layout(NamedTuple):
    """Where one data set with one vocabulary lies on disk."""

    dataset: str
    root: Path  # manifest.json, tokenizer/, tokens/
    data: Path  # parquet shards
    tokenizer: Path  # tokenizer.json, token_bytes.npy
    tokens: Path  # *.bin and *.idx.npy for each shard, val_<T>_<N>.bin
    manifest: Path
    private: Path  # rows/ and tokens/ of the val and sealed splits, token_bytes.npy
    private_data: Path  # their parquet shards


def layout(dataset: str = DATASET, vocab_size: int = VOCAB_SIZE) -> Layout:
    """Folders of a data set; climbmix with the reference's vocabulary lies where the reference keeps it."""
    name = dataset
    if dataset not in ("climbmix", "embedded"):
        path = str(Path(dataset).expanduser().resolve())
        slug = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-") or "data"
        name = f"{slug}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    plain = dataset == "climbmix" and vocab_size == PROFILES["reference"].vocab_size
    root = CACHE_DIR if plain else CACHE_DIR / f"{name}-{vocab_size}"
    data = CACHE_DIR / "data" if dataset == "climbmix" else root / "data"
    private = PRIVATE_DIR / f"{name}-{vocab_size}"
    hidden = PRIVATE_DIR / "climbmix" if dataset == "climbmix" else private / "data"
    return Layout(dataset, root, data, root / "tokenizer", root / "tokens", root / "manifest.json", private, hidden)


LAYOUT = layout()
DATA_DIR = LAYOUT.data
TOKENIZER_DIR = LAYOUT.tokenizer

# ---------------------------------------------------------------------------
# The manifest: what was prepared, with sizes and hashes
# ---------------------------------------------------------------------------


def load_manifest(where: Layout = LAYOUT) -> dict[str, Any]:
    """The manifest, or an empty one where there is none that can be read."""
    try:
        manifest = json.loads(where.manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) and manifest.get("version") == 2 else {}


def rows_path(split: str, where: Layout = LAYOUT, profile: Profile = PROFILE) -> Path:
    """File of the rows of the "val" or the "sealed" split that are scored."""
    return where.private / "rows" / f"{split}_{profile.max_seq_len}_{profile.eval_tokens}.bin"


def private_entries(where: Layout = LAYOUT) -> dict[str, Any]:
    """The manifest's entries of what runs do not see, by path relative to PRIVATE_DIR (or absolute)."""
    return load_manifest(where).get("private", {})


def find_problem(where: Layout = LAYOUT, profile: Profile = PROFILE, num_shards: int = 1) -> str:
    """What is missing before training can start, or an empty string. Looks at names and sizes only.

    A run that is scored by a referee does not see what that scores: there it is not looked for.
    """
    if not (where.tokenizer / "tokenizer.json").exists():
        return f"no tokenizer for {where.dataset} in {where.tokenizer}"
    manifest = load_manifest(where)
    files, private = manifest.get("files", {}), manifest.get("private", {})
    if str(rows_path("val", where, profile).relative_to(PRIVATE_DIR)) not in private:
        return f"no evaluation rows of {profile.max_seq_len} tokens for {where.dataset} in {PRIVATE_DIR}"
    if sum(1 for name in files if re.fullmatch(r"tokens/train_.*\.bin", name)) < num_shards:
        return f"fewer than {num_shards} training shards in {where.tokens}"
    for path, entry in _entries(where, {} if REFEREE_FD else private, files):
        if not path.exists() or path.stat().st_size != entry["size"]:
            return f"{path} is missing or damaged"
    return ""


def _entries(where: Layout, private: dict[str, Any], files: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    yield from ((where.root / name, entry) for name, entry in files.items())
    yield from ((PRIVATE_DIR / name, entry) for name, entry in private.items())


def verify_manifest(where: Layout = LAYOUT) -> list[str]:
    """Every file of the manifest whose contents are not what was prepared."""
    manifest = load_manifest(where)
    entries = _entries(where, manifest.get("private", {}), manifest.get("files", {}))
    return [str(path) for path, entry in entries if file_sha256(path) != entry["sha256"]]


def data_id(where: Layout = LAYOUT) -> str:
    """Name of the data set and the first digits of a hash of its shards; scores compare only where it is equal."""
    manifest = load_manifest(where)
    entries = _entries(where, manifest.get("private", {}), manifest.get("files", {}))
    shards = sorted(entry["sha256"] for path, entry in entries if path.suffix == ".parquet")
    return f"{Path(where.dataset).name} {hashlib.sha256(' '.join(shards).encode()).hexdigest()[:12]}"


def file_sha256(path: Path) -> str:
    """Hex digest of a file, empty where it cannot be read."""
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError:
        return ""


def require_ready() -> None:
    """Leave with one line on stderr and exit code 2 unless the data of this profile is ready."""
    if not PREFLIGHT and (problem := find_problem()):
        fail(f"{problem}: run `autoresearch-tui prepare`")


# ---------------------------------------------------------------------------
# Tokenizer
# ---------------------------------------------------------------------------


class Tokenizer:
    """Byte-level BPE; every text can be encoded and decodes to itself."""

    def __init__(self, enc: Any) -> None:
        self.enc = enc
        self.enc.encode_special_tokens = True  # "<|reserved_0|>" in a text is text
        self.bos_token_id: int = enc.token_to_id(BOS_TOKEN)

    @classmethod
    def from_directory(cls, tokenizer_dir: str | Path = TOKENIZER_DIR) -> Tokenizer:
        """Load tokenizer.json. Raises NotReadyError where there is none."""
        from tokenizers import Tokenizer as Encoder

        if PREFLIGHT:
            return cls(rehearsal.encoder(VOCAB_SIZE, SPECIAL_TOKENS))
        path = Path(tokenizer_dir) / "tokenizer.json"
        if not path.exists():
            raise NotReadyError(f"no tokenizer for {DATASET} in {tokenizer_dir}: run `autoresearch-tui prepare`")
        return cls(Encoder.from_file(str(path)))

    def get_vocab_size(self) -> int:
        return self.enc.get_vocab_size()

    def get_bos_token_id(self) -> int:
        return self.bos_token_id

    def encode(self, text: str | list[str], prepend: int | None = None, num_threads: int = 8) -> list[Any]:
        """Token ids of a text, or of each text in a list; `prepend` puts one id in front of each.

        `num_threads` is the reference's; the library uses the cores it finds.
        """
        del num_threads
        first = [] if prepend is None else [prepend]
        if isinstance(text, str):
            return first + self.enc.encode(text, add_special_tokens=False).ids
        encoded = self.enc.encode_batch_fast(text, add_special_tokens=False)
        return [first + e.ids for e in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; bytes that are not valid UTF-8 become replacement characters."""
        return self.enc.decode(list(ids), skip_special_tokens=False)


def get_token_bytes(device: str | torch.device = "cpu", where: Layout = LAYOUT) -> torch.Tensor:
    """(vocab,) int32: the bytes each token stands for, 0 for the reserved tokens."""
    import numpy as np
    import torch

    if PREFLIGHT:
        return torch.from_numpy(rehearsal.token_bytes(VOCAB_SIZE, len(SPECIAL_TOKENS))).to(device)
    table = np.load(where.tokenizer / "token_bytes.npy", allow_pickle=False)
    return torch.from_numpy(table).to(device)


# ---------------------------------------------------------------------------
# Packing: documents into rows
# ---------------------------------------------------------------------------


class Pieces(NamedTuple):
    """Parts of documents, each short enough for a row. Three columns of equal length."""

    shard: np.ndarray  # index into the list of token arrays
    start: np.ndarray  # first token of the piece in its shard
    length: np.ndarray  # tokens, without the BOS that will stand in front


def cut_documents(offsets: Sequence[np.ndarray], longest: int) -> Pieces:
    """Cut every document of every shard into pieces of at most `longest` tokens; empty ones vanish.

    offsets: for each shard, (documents + 1,) token positions where documents begin and end.
    """
    import numpy as np

    columns = []
    for shard, bounds in enumerate(offsets):
        sizes = np.diff(bounds)
        parts = -(-sizes // longest)
        nth = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        start = np.repeat(bounds[:-1], parts) + nth * longest
        length = np.minimum(np.repeat(bounds[1:], parts) - start, longest)
        columns.append((np.full(len(start), shard), start, length))
    return Pieces(*(np.concatenate(column) for column in zip(*columns, strict=True)))


Slice = tuple[int, int, int, int]  # tokens, serial number of the piece, shard, first token


def pack_rows(pieces: Iterable[Slice], capacity: int, buffer_size: int = 1000) -> Iterator[list[Slice]]:
    """Best-fit packing of pieces into rows of exactly `capacity` tokens, each piece behind a BOS.

    The longest piece in the buffer that fits goes in (the latest read, among equals). Where none fits, the longest
    is split and its rest goes back, so every token is used once; the reference crops and throws the rest away. A
    finite stream ends with one row that may be short.
    """
    buffer: list[Slice] = []
    source = iter(pieces)
    room = 0
    while room == 0:
        row: list[Slice] = []
        room = capacity
        while room:
            if len(buffer) < buffer_size and (fresh := list(islice(source, buffer_size))):
                buffer += fresh
                buffer.sort()
            if not buffer:
                break
            fitting = bisect_right(buffer, (room - 1, sys.maxsize))
            if fitting:
                piece = buffer.pop(fitting - 1)
            else:
                length, serial, shard, start = buffer.pop()
                piece = (room - 1, serial, shard, start)
                insort(buffer, (length - room + 1, serial, shard, start + room - 1))
            row.append(piece)
            room -= piece[0] + 1
        if row:
            yield row


def fill_rows(rows: Sequence[list[Slice]], shards: Sequence[np.ndarray], out: np.ndarray, bos: int) -> None:
    """Copy the tokens of packed rows into `out`, (len(rows), capacity); what a short row lacks becomes BOS."""
    out[:] = bos
    for target, row in zip(out, rows, strict=True):
        at = 1
        for length, _, shard, start in row:
            target[at : at + length] = shards[shard][start : start + length]
            at += length + 1


# ---------------------------------------------------------------------------
# Dataloader
# ---------------------------------------------------------------------------


def load_tokens(split: str, where: Layout = LAYOUT) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Memory-mapped uint16 tokens and int64 document offsets of each shard of "train", "val" or "sealed".

    Raises NotReadyError where there are none, or where a run of the loop is not to see them.
    """
    import numpy as np

    if PREFLIGHT:
        return rehearsal.tokens(VOCAB_SIZE, len(SPECIAL_TOKENS))
    folder = where.tokens if split == "train" else where.private / "tokens"
    table, top = ("files", where.root) if split == "train" else ("private", PRIVATE_DIR)
    known = (top / name for name in load_manifest(where).get(table, {}))
    paths = sorted(p for p in known if p.parent == folder and re.fullmatch(rf"{split}_\d+\.bin", p.name))
    if not paths or not paths[0].exists():
        hint = "runs do not see them" if REFEREE_FD and split != "train" else "run `autoresearch-tui prepare`"
        raise NotReadyError(f"no {split} tokens for {where.dataset} in {folder}: {hint}")
    # a plain view: slicing a memmap object costs ten times as much
    tokens = [np.asarray(np.memmap(path, np.uint16, "r")) for path in paths]
    offsets = [np.load(path.with_suffix(".idx.npy"), allow_pickle=False) for path in paths]
    return tokens, offsets


def stream_pieces(pieces: Pieces, seed: int | None) -> Iterator[Slice]:
    """Endless passes over the pieces, each in a fresh order under `seed`, or in file order without one."""
    import numpy as np

    total = len(pieces.length)
    for epoch in count():
        order = np.arange(total)
        if seed is not None:
            order = np.random.default_rng([seed, epoch]).permutation(total)
        for at in range(0, total, 4096):
            part = order[at : at + 4096]
            serial = range(epoch * total + at, epoch * total + at + len(part))
            columns = (pieces.length[part], pieces.shard[part], pieces.start[part])
            length, shard, start = (column.tolist() for column in columns)
            yield from zip(length, serial, shard, start, strict=True)


def packed_batches(
    split: str, B: int, T: int, bos: int, buffer_size: int, seed: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Endless (rows, epoch): rows is (B, T + 1) int64."""
    import numpy as np

    tokens, offsets = load_tokens(split)
    pieces = cut_documents(offsets, T)
    rows = pack_rows(stream_pieces(pieces, seed if split == "train" else None), T + 1, buffer_size)
    total = len(pieces.length)
    short = np.empty((B, T + 1), np.uint16)
    while True:
        batch = list(islice(rows, B))
        fill_rows(batch, tokens, short, bos)
        yield short.astype(np.int64), batch[-1][-1][1] // total + 1


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

    if split not in ("train", "val"):
        raise ValueError(f"split must be train or val, not {split!r}")
    device = torch.device(device or default_device())
    batches = packed_batches(split, B, T, tokenizer.get_bos_token_id(), buffer_size, seed)

    def host() -> Iterator[tuple[torch.Tensor, int]]:
        for rows, epoch in batches:
            block = torch.from_numpy(rows)
            yield (block.pin_memory() if device.type == "cuda" else block), epoch

    for block, epoch in prefetch(host()):
        rows = block.to(device, non_blocking=True)
        yield rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), epoch


def prefetch(items: Iterator[Any], depth: int = 4) -> Iterator[Any]:
    """The same items in the same order, made by a thread that runs up to `depth` ahead; its errors are raised here."""
    import queue
    import threading

    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: tuple[Any, BaseException | None]) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item, None))
                if stop.is_set():
                    return
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))

    threading.Thread(target=work, name="prefetch", daemon=True).start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()


def default_device() -> str:
    """cuda, mps or cpu: the best that is there."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


# ---------------------------------------------------------------------------
# The metric
# ---------------------------------------------------------------------------


def load_rows(split: str = "val", where: Layout = LAYOUT) -> np.ndarray:
    """(rows, MAX_SEQ_LEN + 1) uint16, memory-mapped: the fixed rows that are scored, each once.

    Raises NotReadyError where they have not been prepared.
    """
    import numpy as np

    if PREFLIGHT:
        return load_tokens("val")[0][0][: rehearsal.ROWS * (MAX_SEQ_LEN + 1)].reshape(rehearsal.ROWS, -1)
    path = rows_path(split, where)
    if not path.exists():
        raise NotReadyError(f"no evaluation rows in {path}: run `autoresearch-tui prepare`")
    return np.asarray(np.memmap(path, np.uint16, "r")).reshape(-1, MAX_SEQ_LEN + 1)


def evaluate_bpb(model: torch.nn.Module, tokenizer: Tokenizer, batch_size: int) -> float:
    """Bits per byte on the validation rows; does not depend on the vocabulary or on the batch size.

    The sum of the targets' cross-entropies in nats over the sum of their UTF-8 bytes, over ln 2. Reserved tokens count
    in neither sum. In the loop a referee computes it: rows are not here, `model(x)` answers its questions with logits
    for every position, once, and its number is returned (port.py). Elsewhere `model(x, y, reduction="none")` has to
    return one loss for each target; unlike the reference's, every row is scored once and none is left out when the
    batch size does not divide their number.
    """
    import math

    import numpy as np
    import torch

    if REFEREE_FD:
        import port

        return port.be_scored(model, batch_size, int(REFEREE_FD))
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    rows, bos = load_rows(), tokenizer.get_bos_token_id()
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
    where = layout(args.data, VOCAB_SIZE)
    if args.check:
        if problem := find_problem(where):
            fail(f"{problem}: run `autoresearch-tui prepare`")
        return 0
    if args.verify:
        if changed := verify_manifest(where):
            fail(f"{where.root}: not as prepared: {', '.join(changed)}; run `autoresearch-tui prepare`")
        return 0
    import encode

    return encode.run(where, PROFILE, args.num_shards, as_json=args.json)


if __name__ == "__main__":
    raise SystemExit(main())
