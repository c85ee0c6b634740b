"""What a run reads: tokens in packed rows, batch after batch, and the rows that are scored."""

from __future__ import annotations

import atexit
import mmap
import os
import queue
import sys
import threading
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np

from fixed import port
from fixed.settings import HANDOVER, MAX_SEQ_LEN, PREFLIGHT, REFEREE_FD, VOCAB_SIZE, NotReadyError
from fixed.store import LAYOUT, Layout, rows_path, token_paths
from fixed.tokenizer import SPECIAL_TOKENS

REHEARSAL_ROWS = 2  # that are scored
PREFETCH_SECONDS = 5.0  # that one item may take at the end
REHEARSAL_DOCUMENTS, REHEARSAL_DOCUMENT_TOKENS = 64, 1000

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


def stream_pieces(pieces: Pieces, seed: int | None) -> Iterator[Slice]:
    """Endless passes over the pieces, each in a fresh order under `seed`, or in file order without one."""
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


# ---------------------------------------------------------------------------
# Tokens
# ---------------------------------------------------------------------------


_mapped: list[mmap.mmap] = []  # the tokens that are in use
_handed: list[tuple[list[np.ndarray], list[np.ndarray]]] = []
_handing = threading.Lock()


def take_over() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The training data, from the referee: from the first call on the clock of the budget runs."""
    with _handing:
        if not _handed:
            tokens, offsets = [], []
            for number, descriptor in enumerate(port.take(int(REFEREE_FD))):
                with os.fdopen(descriptor, "rb") as file:
                    if number % 2:
                        offsets.append(np.load(file, allow_pickle=False))
                    else:
                        tokens.append(_map_tokens(descriptor))
            _handed.append((tokens, offsets))
        return _handed[0]


def load_tokens(split: str, where: Layout = LAYOUT) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Memory-mapped uint16 tokens and int64 document offsets of each shard of "train", "val" or "sealed".

    Raises NotReadyError where there are none, or where a run of the loop is not to see them.
    """
    if PREFLIGHT:
        return _made_up_tokens()
    if HANDOVER and split == "train":
        return take_over()
    paths = token_paths(split, where)
    if not paths or not paths[0].exists():
        folder = where.tokens if split == "train" else where.private / "tokens"
        hint = "runs do not see them" if REFEREE_FD and split != "train" else "run `autoresearch-tui prepare`"
        raise NotReadyError(f"no {split} tokens for {where.dataset} in {folder}: {hint}")
    tokens = []
    for path in paths:
        with path.open("rb") as file:
            tokens.append(_map_tokens(file.fileno()))
    offsets = [np.load(path.with_suffix(".idx.npy"), allow_pickle=False) for path in paths]
    return tokens, offsets


def _map_tokens(descriptor: int) -> np.ndarray:
    """uint16; a plain view, for slicing a memmap object costs ten times as much."""
    _mapped.append(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    return np.frombuffer(_mapped[-1], np.uint16)


def read_ahead(files: Sequence[mmap.mmap]) -> None:
    """Have files read before their pages are asked for one by one, in a new order: a cold disk would starve training.

    Not those of more than half the memory, of which most would be gone again when they are wanted.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    if hasattr(mmap, "MADV_WILLNEED") and sum(map(len, files)) <= memory / 2:
        for file in files:
            file.madvise(mmap.MADV_WILLNEED)


def packed_batches(
    split: str, B: int, T: int, bos: int, buffer_size: int, seed: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Endless (rows, epoch): rows is (B, T + 1) int64."""
    tokens, offsets = load_tokens(split)
    read_ahead(_mapped)  # here: in the thread that prepares batches
    pieces = cut_documents(offsets, T)
    rows = pack_rows(stream_pieces(pieces, seed if split == "train" else None), T + 1, buffer_size)
    total = len(pieces.length)
    short = np.empty((B, T + 1), np.uint16)
    while True:
        batch = list(islice(rows, B))
        fill_rows(batch, tokens, short, bos)
        yield short.astype(np.int64), batch[-1][-1][1] // total + 1


def prefetch(items: Iterator[Any], depth: int = 4) -> Iterator[Any]:
    """The same items in the same order, made by a thread that runs up to `depth` ahead; its errors are raised here."""
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

    def end() -> None:
        stop.set()
        thread.join(PREFETCH_SECONDS)

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    # An interpreter that ends under a thread at work in C++ aborts the process: a run would crash after its last line.
    atexit.register(end)
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        atexit.unregister(end)
        end()


def load_rows(split: str = "val", where: Layout = LAYOUT) -> np.ndarray:
    """(rows, MAX_SEQ_LEN + 1) uint16, memory-mapped: the fixed rows that are scored, each once.

    Raises NotReadyError where they have not been prepared.
    """
    if PREFLIGHT:
        return load_tokens("val")[0][0][: REHEARSAL_ROWS * (MAX_SEQ_LEN + 1)].reshape(REHEARSAL_ROWS, -1)
    path = rows_path(split, where)
    if not path.exists():
        raise NotReadyError(f"no evaluation rows in {path}: run `autoresearch-tui prepare`")
    return np.asarray(np.memmap(path, np.uint16, "r")).reshape(-1, MAX_SEQ_LEN + 1)


def _made_up_tokens() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For a rehearsal: one shard of random documents."""
    size = REHEARSAL_DOCUMENTS * REHEARSAL_DOCUMENT_TOKENS
    shard = np.random.default_rng(0).integers(len(SPECIAL_TOKENS), VOCAB_SIZE, size).astype(np.uint16)
    return [shard], [np.arange(0, size + 1, REHEARSAL_DOCUMENT_TOKENS)]
