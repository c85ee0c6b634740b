"""How shards become a tokenizer, tokens on disk and the rows that are scored. prepare.py calls `run`.

The shards are tokenised once into flat uint16 arrays with document offsets, so that training starts without it.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fixed import loader
from fixed.corpus import (
    ATTEMPTS,
    FULL,
    SEALED_NAME,
    SEALED_SHARD,
    STDLIB_SEALED,
    STDLIB_VAL,
    VAL_FILENAME,
    VAL_NAME,
    DamagedShardError,
    PrepareError,
    Progress,
    gather,
    read_shard,
    source_changed,
    text_bytes,
)
from fixed.settings import REFEREED_TOKENS, Profile
from fixed.store import Layout, Manifest, find_problem, only_one, replacing, rows_path
from fixed.tokenizer import SPECIAL_TOKENS, Tokenizer

# the GPT-4 split with numbers in groups of one or two digits, as the reference has it
SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
LEAST_VOCAB = 8  # a vocabulary is too large where the text has less than this part of it
WHEELS = "https://download.pytorch.org/whl/flash-attn-3/"  # torch's own builds
HIDDEN = "hidden.json"  # beside a private folder: what else shows its text
TRAIN_CHARS, DOC_CHARS = 1_000_000_000, 10_000  # what the tokenizer is trained on, as in the reference

# ---------------------------------------------------------------------------
# Tokenizer and tokens
# ---------------------------------------------------------------------------


def train_tokenizer(where: Layout, shards: list[Path], vocab_size: int, tell: Progress, manifest: Manifest) -> None:
    """Train byte-level BPE on the training shards and write token_bytes.npy, then tokenizer.json."""
    from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Encoder

    total = sum(p.stat().st_size for p in shards) / 1e6

    def texts() -> Iterator[str]:
        left, done = TRAIN_CHARS, 0.0
        for path in shards:
            for text in read_shard(path):
                if left <= 0:
                    return
                yield text[:DOC_CHARS]
                left -= min(len(text), DOC_CHARS)
            done += path.stat().st_size / 1e6
            tell("tokenizer", done * 0.9, total, "MB")

    enc = Encoder(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    enc.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    enc.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    enc.train_from_iterator(
        texts(),
        trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
        ),
    )
    if (in_text := enc.get_vocab_size()) < vocab_size // LEAST_VOCAB:
        raise PrepareError(
            f"{where.dataset}: the training text has only {in_text} of {vocab_size} tokens in it; "
            "add text or take a profile with a smaller vocabulary"
        )
    if in_text < vocab_size:
        tell("tokenizer", 0, 1, "MB", f"little text: {vocab_size - in_text} of {vocab_size} tokens stay unused", True)
        enc.add_special_tokens([f"<|unused_{i}|>" for i in range(vocab_size - in_text)])
    # one character of a byte-level token stands for one byte, also where the bytes are not valid UTF-8
    names = [enc.id_to_token(i) for i in range(vocab_size)]
    reserved = {*SPECIAL_TOKENS, *names[in_text:]}
    sizes = np.array([0 if name in reserved else len(name) for name in names], np.int32)
    with replacing(where.tokenizer / "token_bytes.npy") as partial, partial.open("wb") as f:
        np.save(f, sizes, allow_pickle=False)
    with replacing(where.tokenizer / "tokenizer.json") as partial:
        partial.write_text(enc.to_str(), encoding="utf-8")
    manifest.add(where.tokenizer / "token_bytes.npy")
    manifest.add(where.tokenizer / "tokenizer.json")
    tell("tokenizer", total, total, "MB")


def tokenize_shard(source: Path, target: Path, tokenizer: Any, sizes: Any, tell: Callable[[int], None]) -> int:
    """Write the tokens of a shard to `target` (uint16) and its document offsets to *.idx.npy (int64).

    Returns the number of documents. Raises PrepareError where the tokens' bytes are not the text's, so the metric's
    denominator is the text's size by construction.
    """
    offsets, texts = [0], read_shard(source)
    with replacing(target) as partial:
        with partial.open("wb") as out:
            while batch := list(islice(texts, 256)):
                encoded = [np.array(ids, np.uint16) for ids in tokenizer.encode(batch)]
                flat = np.concatenate(encoded)
                nbytes = sum(len(text.encode()) for text in batch)
                if int(sizes[flat].sum()) != nbytes:
                    raise PrepareError(f"{source}: its tokens do not give its text back; delete {target.parent.parent}")
                out.write(flat.tobytes())
                offsets.extend((offsets[-1] + np.cumsum([len(ids) for ids in encoded])).tolist())
                tell(nbytes)
        with replacing(target.with_suffix(".idx.npy")) as index, index.open("wb") as f:
            np.save(f, np.array(offsets, np.int64), allow_pickle=False)
    return len(offsets) - 1


def tokenize_shards(where: Layout, shards: dict[str, Path], tell: Progress, manifest: Manifest) -> None:
    """Tokenise the shards that have not been; the library uses every core. Raises PrepareError for an empty shard."""
    tokenizer = Tokenizer.from_directory(where.tokenizer)
    sizes = np.load(where.tokenizer / "token_bytes.npy", allow_pickle=False)
    made_with = manifest.sha256(where.tokenizer / "tokenizer.json")
    done = 0.0
    total = sum(text_bytes(path) for path in shards.values()) / 1e6

    def advance(nbytes: int) -> None:
        nonlocal done
        done += nbytes / 1e6
        tell("tokens", min(done, total * 0.999), total, "MB")

    for name, path in shards.items():
        target = (where.tokens if name.startswith("train") else where.private / "tokens") / f"{name}.bin"
        facts = {"source": manifest.sha256(path), "tokenizer": made_with}
        if manifest.has(target, **facts) and manifest.has(target.with_suffix(".idx.npy"), **facts):
            advance(text_bytes(path))
            continue
        if not tokenize_shard(path, target, tokenizer, sizes, advance):
            raise PrepareError(f"{path}: no text in this shard; delete it and run this again")
        manifest.add(target.with_suffix(".idx.npy"), **facts)
        manifest.add(target, **facts)
    tell("tokens", total, total, "MB")


def write_rows(split: str, where: Layout, profile: Profile, most: int, tell: Progress, manifest: Manifest) -> None:
    """Pack the text of "val" or "sealed" once into rows and keep at most `most`, spread evenly over the pass."""

    target = rows_path(split, where, profile)
    source = manifest.sha256(where.private / "tokens" / f"{VAL_NAME if split == 'val' else SEALED_NAME}.bin")
    if manifest.has(target, source=source):
        return
    tokens, offsets = loader.load_tokens(split, where)
    pieces = loader.cut_documents(offsets, profile.max_seq_len)
    once = islice(loader.stream_pieces(pieces, None), len(pieces.length))
    rows = list(loader.pack_rows(once, profile.max_seq_len + 1))
    wanted = min(len(rows), most)
    chosen = [i * len(rows) // wanted for i in range(wanted)]
    others = sorted(set(range(len(rows))) - set(chosen))[: len(rows) if split == "val" else 0]
    bos = Tokenizer.from_directory(where.tokenizer).get_bos_token_id()
    sizes = np.load(where.tokenizer / "token_bytes.npy", allow_pickle=False)
    pool = rows_path("pool", where, profile)  # what is left of the text that is validated
    for path, numbers in ((pool, others[: profile.eval_tokens // profile.max_seq_len]), (target, chosen)):
        if not numbers:
            continue
        out = np.empty((len(numbers), profile.max_seq_len + 1), np.uint16)
        loader.fill_rows([rows[i] for i in numbers], tokens, out, bos)
        with replacing(path) as partial:
            partial.write_bytes(out.tobytes())
        manifest.add(path, source=source, rows=len(numbers), text_bytes=int(sizes[out[:, 1:]].sum()))
    tell("tokens", 1, 1, "files", f"{wanted} {'evaluation' if split == 'val' else split} rows")


def write_private(where: Layout, profile: Profile, tell: Progress, manifest: Manifest, sealed: bool) -> None:
    """What the referee scores with: rows of both splits, and byte counts of its own."""
    own, shown = where.private / "token_bytes.npy", where.tokenizer / "token_bytes.npy"
    if not manifest.has(own) or manifest.sha256(own) != manifest.sha256(shown):
        with replacing(own) as partial:
            partial.write_bytes(shown.read_bytes())
        manifest.add(own)
    if sealed:
        scored = min(profile.eval_tokens, REFEREED_TOKENS)
        write_rows("sealed", where, profile, max(1, scored // profile.max_seq_len // 4), tell, manifest)
    # the last: what is looked for first
    write_rows("val", where, profile, profile.eval_tokens // profile.max_seq_len, tell, manifest)


def write_hidden(where: Layout) -> None:
    """Say what else on this machine shows the private text: modules of interpreters, and the user's own files."""
    embedded = where.dataset == "embedded"
    modules = [*STDLIB_VAL, *STDLIB_SEALED] if embedded else []
    paths = [] if embedded or where.dataset == "climbmix" else [str(Path(where.dataset).expanduser().resolve())]
    with replacing(where.private / HIDDEN) as partial:
        partial.write_text(json.dumps({"modules": modules, "paths": paths}) + "\n", encoding="utf-8")


def forget_old(where: Layout) -> None:
    """Validation text from before it was private."""
    for path in [*where.tokens.glob("val_*"), *([where.data / VAL_FILENAME] if where.dataset != "climbmix" else [])]:
        path.unlink(missing_ok=True)


# ---------------------------------------------------------------------------
# All of it
# ---------------------------------------------------------------------------


def prepare_all(where: Layout, profile: Profile, num_shards: int, tell: Progress) -> None:
    """Shards, tokenizer, tokens, evaluation rows: whatever of these is not there yet."""
    manifest = Manifest(where)
    forget_old(where)
    shards = gather(where, num_shards, tell, manifest)
    write_hidden(where)
    pair = [where.tokenizer / "token_bytes.npy", where.tokenizer / "tokenizer.json"]
    if not all(manifest.has(path) for path in pair):
        train = [path for name, path in shards.items() if name.startswith("train")]
        train_tokenizer(where, train, profile.vocab_size, tell, manifest)
    tokenize_shards(where, shards, tell, manifest)
    write_private(where, profile, tell, manifest, SEALED_NAME in shards)


def run(where: Layout, profile: Profile, num_shards: int, as_json: bool) -> int:
    """Prepare and tell how it went: 0 ready, 2 with one line on stderr, 130 interrupted."""
    tell = Progress(as_json)
    needed = num_shards % (SEALED_SHARD + 1) if where.dataset == "climbmix" else 1
    try:
        if changed := source_changed(where):
            tell("shards", 0, 1, "files", f"{where.dataset} has changed since it was prepared: preparing it anew", True)
        if changed or find_problem(where, profile, needed):
            with only_one(where.root):
                repair(where, profile, num_shards, tell)
        if offer := faster_attention():
            tell("note", 0, 1, "", offer, True)
        tell("done", 1, 1, "files", str(where.root))
        return 0
    except PrepareError as error:
        message = str(error)
    except OSError as error:
        if error.errno in FULL:
            message = f"{where.root}: the disk is full; free some space (or set AUTORESEARCH_CACHE) and run this again"
        else:
            message = f"{error.filename or where.root}: {error.strerror or error}; fix that and run this again"
    except KeyboardInterrupt:
        tell.close()
        return 130
    tell.close()
    print(message, file=sys.stderr)
    return 2


def faster_attention() -> str:
    """What to install for a Hopper GPU, on which flash-attn 3 trains faster; empty if it is there or of no use."""
    if importlib.util.find_spec("flash_attn_interface") or not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    if "9.0" not in done.stdout.split():
        return ""
    return f"flash-attn 3 is faster on this GPU: `{sys.executable} -m pip install flash-attn-3 --find-links {WHEELS}`"


def repair(where: Layout, profile: Profile, num_shards: int, tell: Progress) -> None:
    """Prepare; where a shard of ours turns out damaged, name it, take it away and go on, a few times."""
    for attempt in range(ATTEMPTS):
        try:
            prepare_all(where, profile, num_shards, tell)
            return
        except DamagedShardError as error:
            ours = any(error.path.is_relative_to(folder) for folder in (where.data, where.private_data))
            if not ours or attempt + 1 == ATTEMPTS:
                raise
            tell("shards", 0, 1, "files", f"{error.path.name} is damaged: making it again", True)
            error.path.unlink(missing_ok=True)
