"""The reference's rows, from tokens on disk: those that its record on CPUs trained on, and those that it scores."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import numpy as np

Documents = Sequence[np.ndarray]
BUFFER, REFILL = 1000, 128  # documents


def documents(tokens: Sequence[np.ndarray], offsets: Sequence[np.ndarray], bos: int) -> list[np.ndarray]:
    """Each document of each shard behind a BOS, in file order."""
    bounds = (pair for shard in zip(tokens, offsets, strict=True) for pair in zip_bounds(*shard))
    return [np.concatenate((np.array([bos], np.uint16), part)) for part in bounds]


def zip_bounds(tokens: np.ndarray, offsets: np.ndarray) -> Iterator[np.ndarray]:
    yield from (tokens[a:b] for a, b in pairwise(offsets.tolist()))


def random_windows(texts: Documents, rows: int, length: int, seed: int) -> Iterator[np.ndarray]:
    """Endless (rows, length + 1) int64: windows of the text as one stream."""
    stream = np.concatenate(texts)
    rng = np.random.default_rng(seed)
    while True:
        starts = rng.integers(0, len(stream) - length - 1, rows)
        yield np.stack([stream[at : at + length + 1] for at in starts]).astype(np.int64)


def packed_rows(texts: Documents, capacity: int, rows: int) -> np.ndarray:
    """(rows, capacity) uint16, as the reference's loader packs them, over and over the documents in file order.

    The longest document in a buffer that fits goes in, the first read among equals; where none fits, the shortest is
    cropped to fill the row and its rest is lost.
    """
    out = np.empty((rows, capacity), np.uint16)
    buffer: list[tuple[int, int]] = []  # length, serial number
    serials = count()
    for row in out:
        at = 0
        while at < capacity:
            while len(buffer) < BUFFER:
                for _ in range(REFILL):
                    serial = next(serials)
                    insort(buffer, (len(texts[serial % len(texts)]), serial))
            found = bisect_right(buffer, (capacity - at, float("inf")))
            place = bisect_left(buffer, (buffer[found - 1][0], -1)) if found else 0
            text = texts[buffer.pop(place)[1] % len(texts)][: capacity - at]
            row[at : at + len(text)] = text
            at += len(text)
    return out
