"""Fixed: what `sort.py` has to do, the lists that it gets, and how it is told right from wrong. Nobody changes this
file. `judge.py` reads it.
"""

import random
from array import array
from collections.abc import Callable, Iterator

Numbers = list[int]

FILE, FUNCTION, ARGUMENT = "sort.py", "sort", "numbers"
WRONG = "the answer is not the same numbers in order"
SIZE = 1000  # numbers in a timed list; short turns dodge most of what else the machine does
SEED = 20240607  # of the lists that are only checked


def reference(numbers: Numbers) -> Numbers:
    """A plain merge sort."""
    if len(numbers) < 2:
        return numbers
    middle = len(numbers) // 2
    left, right = reference(numbers[:middle]), reference(numbers[middle:])
    merged: Numbers = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]


def pack(numbers: Numbers) -> bytes:
    """A question as it is sent."""
    return array("q", numbers).tobytes()


def unpack(question: bytes) -> Numbers:
    """What was packed."""
    numbers = array("q")
    numbers.frombytes(question)
    return numbers.tolist()


pack_answer = pack


def same(answer: bytes, expected: bytes) -> bool:
    """Whether an answer is as good as the plain function's."""
    return answer == expected


def _random(rng: random.Random, size: int) -> Numbers:
    return [rng.getrandbits(41) - 2**40 for _ in range(size)]


def _few_values(rng: random.Random, size: int) -> Numbers:
    values = _random(rng, 12)
    return [rng.choice(values) for _ in range(size)]


def _nearly_sorted(rng: random.Random, size: int) -> Numbers:
    numbers = sorted(_random(rng, size))
    for _ in range(size // 50):
        i, j = rng.randrange(size), rng.randrange(size)
        numbers[i], numbers[j] = numbers[j], numbers[i]
    return numbers


def _reversed(rng: random.Random, size: int) -> Numbers:
    return sorted(_random(rng, size), reverse=True)


def _sawtooth(rng: random.Random, size: int) -> Numbers:
    start, period = rng.randrange(2**30), rng.randrange(40, 60)
    return [start + i % period * 1000 + i for i in range(size)]


def _organ_pipe(rng: random.Random, size: int) -> Numbers:
    half = sorted(_random(rng, size // 2))
    return half + half[::-1]


def _against_middle_pivots(rng: random.Random, size: int) -> Numbers:
    """Evens and odds interleaved so that the median of the first, middle and last number splits off next to nothing."""
    start, half = rng.randrange(2**30), size // 2
    front = [start + i + (half if i % 2 else 0) for i in range(half)]
    return front + [start + 2 * i for i in range(half)]


KINDS: dict[str, Callable[[random.Random, int], Numbers]] = {
    "random": _random,
    "few values": _few_values,
    "nearly sorted": _nearly_sorted,
    "reversed": _reversed,
    "sawtooth": _sawtooth,
    "organ pipe": _organ_pipe,
    "against middle pivots": _against_middle_pivots,
}


def checked() -> Iterator[tuple[str, Numbers]]:
    """Lists that are only checked: the small, the empty and the extreme."""
    rng = random.Random(SEED)
    limits = [-(2**63), 2**63 - 1]
    yield from (("empty", []), ("one number", [7]), ("all equal", [5] * 300), ("limits", [*limits, 0, *limits]))
    for size in (2, 3, 31, 33, 63, 65, 127, 129, 1000):
        yield from ((f"{name}, {size} numbers", make(rng, size)) for name, make in KINDS.items())
