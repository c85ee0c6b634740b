"""The metric against a plain float64 computation, and the byte counts under it."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from .conftest import forget, fresh


class Toy(torch.nn.Module):
    """Fixed logits for each input token; loss in the form that evaluate_bpb asks for."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(vocab, vocab, generator=generator))

    def forward(self, x: torch.Tensor, y: torch.Tensor, reduction: str) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.table[x].flatten(0, 1), y.flatten(), reduction=reduction)


@pytest.fixture(scope="module")
def plain(cache: Path) -> tuple[Toy, float]:
    """A model and its score, computed one token at a time from the rows and the tokenizer."""
    modules = fresh(cache)
    prepare, rows = modules["prepare"], modules["loader"].load_rows("val").tolist()
    forget()
    tokenizer = prepare.Tokenizer.from_directory()
    model = Toy(tokenizer.get_vocab_size())
    table = model.table.detach().numpy().astype(np.float64)
    log_chance = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
    nats, nbytes = 0.0, 0
    for row in rows:
        for before, token in pairwise(row):
            if token >= len(prepare.SPECIAL_TOKENS):
                nats -= log_chance[before, token]
                nbytes += len(tokenizer.enc.id_to_token(token))
    return model, nats / nbytes / math.log(2)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 512, 600])
def test_score_is_the_plain_one_whatever_the_batch(
    harness: dict[str, ModuleType], plain: tuple[Toy, float], batch_size: int
) -> None:
    prepare = harness["prepare"]
    model, expected = plain
    got = prepare.evaluate_bpb(model, prepare.Tokenizer.from_directory(), batch_size)
    assert got == pytest.approx(expected, abs=1e-6)


def test_every_validation_byte_is_scored_once(harness: dict[str, ModuleType]) -> None:
    prepare, encode, corpus, store = (harness[name] for name in ("prepare", "encode", "corpus", "store"))
    everything = prepare.PROFILE._replace(eval_tokens=10**9)
    manifest = store.Manifest(prepare.LAYOUT)
    encode.write_rows("val", prepare.LAYOUT, everything, 10**9, corpus.Progress(True), manifest)
    entry = manifest.entry(store.rows_path("val", prepare.LAYOUT, everything))
    text = list(corpus.read_shard(prepare.LAYOUT.private_data / corpus.VAL_FILENAME))
    assert entry["text_bytes"] == sum(len(t.encode()) for t in text)


def test_what_is_not_scored_is_a_pool_for_the_referee(harness: dict[str, ModuleType]) -> None:
    settings, store = harness["settings"], harness["store"]
    scored, pool = ({row.tobytes() for row in harness["loader"].load_rows(split)} for split in ("val", "pool"))
    assert len(pool) >= 64
    assert not scored & pool
    assert str(store.rows_path("pool").relative_to(settings.PRIVATE_DIR)) in store.private_entries()


def test_byte_counts_are_exact_for_tokens_that_are_not_utf8(harness: dict[str, ModuleType]) -> None:
    prepare = harness["prepare"]
    tokenizer = prepare.Tokenizer.from_directory()
    sizes = prepare.get_token_bytes()
    for text in ("naïve 你好 🙂\n", "\u0301\u2028x", "plain ascii", "<|reserved_0|>"):
        assert int(sizes[tokenizer.encode(text)].sum()) == len(text.encode())
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_reserved_tokens_come_only_from_prepend(harness: dict[str, ModuleType]) -> None:
    prepare = harness["prepare"]
    tokenizer = prepare.Tokenizer.from_directory()
    bos = tokenizer.get_bos_token_id()
    ids = tokenizer.encode(["<|reserved_0|>", "b"], prepend=bos)
    assert [row[0] for row in ids] == [bos, bos]
    assert bos not in ids[0][1:]
    assert int(prepare.get_token_bytes()[bos]) == 0


def test_no_file_that_is_read_can_run_code(harness: dict[str, ModuleType]) -> None:
    prepare = harness["prepare"]
    json.loads((prepare.TOKENIZER_DIR / "tokenizer.json").read_text(encoding="utf-8"))
    path = prepare.TOKENIZER_DIR / "token_bytes.npy"
    saved = path.read_bytes()
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    try:
        with pytest.raises(ValueError, match="allow_pickle"):
            prepare.get_token_bytes()
    finally:
        path.write_bytes(saved)
