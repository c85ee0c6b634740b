"""Packing against a slow packer that is obviously right, and the loader against its own promises."""

from __future__ import annotations

import mmap
import subprocess
import sys
import threading
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import HARNESS, load

packer = load("fixed.loader")


def slow_pack(pieces: list[tuple[int, int, int, int]], capacity: int, buffer_size: int) -> list[list[tuple]]:
    """Best fit by looking at everything, in the order that pack_rows promises."""
    waiting, buffer, rows = list(pieces), [], []
    while waiting or buffer:
        row, room = [], capacity
        while room and (waiting or buffer):
            if len(buffer) < buffer_size:
                buffer, waiting = buffer + waiting[:buffer_size], waiting[buffer_size:]
            fitting = [piece for piece in buffer if piece[0] + 1 <= room]
            if fitting:
                piece = max(fitting)
                buffer.remove(piece)
            else:
                length, serial, shard, start = max(buffer)
                buffer.remove((length, serial, shard, start))
                buffer.append((length - (room - 1), serial, shard, start + room - 1))
                piece = (room - 1, serial, shard, start)
            row.append(piece)
            room -= piece[0] + 1
        rows.append(row)
    return rows


def number(lengths: list[int]) -> list[tuple[int, int, int, int]]:
    return [(length, i, i % 3, 100 * i) for i, length in enumerate(lengths)]


@given(
    st.lists(st.integers(1, 16), max_size=60),
    st.integers(17, 24),
    st.integers(1, 12),
)
def test_packing_equals_the_slow_packer(lengths: list[int], capacity: int, buffer_size: int) -> None:
    fast = list(packer.pack_rows(number(lengths), capacity, buffer_size))
    assert fast == slow_pack(number(lengths), capacity, buffer_size)


@given(st.lists(st.integers(0, 90), min_size=1, max_size=40), st.integers(2, 16))
def test_every_token_is_used_once_and_rows_are_full(sizes: list[int], longest: int) -> None:
    offsets = [np.cumsum([0, *sizes])]
    pieces = packer.cut_documents(offsets, longest)
    if not len(pieces.length):
        assert sum(sizes) == 0
        return
    stream = packer.stream_pieces(pieces, None)
    rows = list(packer.pack_rows([next(stream) for _ in pieces.length], longest + 1, 5))
    used = [t for row in rows for length, _, _, start in row for t in range(start, start + length)]
    assert sorted(used) == list(range(sum(sizes)))
    assert all(sum(piece[0] + 1 for piece in row) == longest + 1 for row in rows[:-1])


def test_rows_hold_bos_and_the_documents_tokens() -> None:
    shards = [np.arange(10, 30, dtype=np.uint16), np.arange(50, 60, dtype=np.uint16)]
    out = np.empty((2, 8), np.uint16)
    rows = [[(4, 0, 0, 3), (2, 1, 1, 5)], [(3, 2, 1, 0)]]
    packer.fill_rows(rows, shards, out, bos=1)
    assert out.tolist() == [[1, 13, 14, 15, 16, 1, 55, 56], [1, 50, 51, 52, 1, 1, 1, 1]]


def take(harness: dict[str, ModuleType], batches: int, **options: object) -> list[tuple]:
    prepare = harness["prepare"]
    loader = prepare.make_dataloader(prepare.Tokenizer.from_directory(), 4, 64, "train", device="cpu", **options)
    return [next(loader) for _ in range(batches)]


def test_loader_repeats_under_a_seed_and_differs_under_another(harness: dict[str, ModuleType]) -> None:
    first, again, other = (take(harness, 20, seed=seed) for seed in (3, 3, 4))
    assert all(bool((a[0] == b[0]).all()) and bool((a[1] == b[1]).all()) for a, b in zip(first, again, strict=True))
    assert any(bool((a[0] != b[0]).any()) for a, b in zip(first, other, strict=True))


def test_loader_gives_bos_aligned_rows_and_shifted_targets(harness: dict[str, ModuleType]) -> None:
    bos = harness["prepare"].Tokenizer.from_directory().get_bos_token_id()
    for x, y, epoch in take(harness, 3):
        assert x.shape == y.shape == (4, 64)
        assert x.is_contiguous()
        assert y.is_contiguous()
        assert (x[:, 0] == bos).all()
        assert (x[:, 1:] == y[:, :-1]).all()
        assert epoch == 1


def test_loader_counts_epochs(harness: dict[str, ModuleType]) -> None:
    packer = harness["loader"]
    pieces = packer.cut_documents([np.array([0, 5, 9])], 8)
    stream = packer.stream_pieces(pieces, 0)
    serials = [next(stream)[1] for _ in range(6)]
    assert serials == [0, 1, 2, 3, 4, 5]


def test_unknown_split_is_an_error(harness: dict[str, ModuleType]) -> None:
    with pytest.raises(ValueError, match="train or val"):
        next(harness["prepare"].make_dataloader(None, 1, 8, "test"))


def test_errors_of_the_thread_are_raised_by_the_loader() -> None:
    def broken():
        yield 1
        raise OSError("gone")

    items = packer.prefetch(broken())
    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_the_thread_has_ended_before_the_interpreter_does() -> None:
    """What is at work in C++ when the interpreter ends aborts the process, and with it a run that had its score."""
    source = """
import sys, time
sys.path.insert(0, sys.argv[1])
from fixed import loader

def items():
    try:
        while True:
            time.sleep(0.05)
            yield 1
    finally:
        print("ended in time", flush=True)

kept = loader.prefetch(items())
print(next(kept))
"""
    done = subprocess.run(
        [sys.executable, "-c", source, str(HARNESS)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split("\n")[:2] == ["1", "ended in time"], done


class Mapped:
    """Stands in for a mapped file: it can be of any length, and tells what the system was asked for."""

    def __init__(self, length: int) -> None:
        self.length, self.advice = length, []

    def __len__(self) -> int:
        return self.length

    def madvise(self, option: int) -> None:
        self.advice.append((option, threading.current_thread()))


def test_cold_files_are_read_ahead_by_the_thread_that_packs(harness: dict[str, ModuleType], monkeypatch) -> None:
    prepare, packer = harness["prepare"], harness["loader"]
    files = [Mapped(1000), Mapped(2000)]
    monkeypatch.setattr(packer, "_mapped", [])
    packer.load_tokens("train")
    assert sum(map(len, packer._mapped)) == sum(p.stat().st_size for p in harness["store"].token_paths("train"))
    monkeypatch.setattr(packer, "_mapped", files)
    monkeypatch.setattr(packer, "load_tokens", lambda _: ([np.zeros(50, np.uint16)], [np.array([0, 50])]))
    next(prepare.make_dataloader(prepare.Tokenizer.from_directory(), 1, 8, "train", device="cpu"))
    for file in files:
        (advice,) = file.advice
        assert advice[0] == mmap.MADV_WILLNEED
        assert advice[1] is not threading.main_thread()
    huge = [Mapped(2**48)]
    packer.read_ahead(huge)  # more than memory holds
    assert not huge[0].advice
