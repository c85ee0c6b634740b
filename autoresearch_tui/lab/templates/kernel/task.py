"""Fixed: what `kernel.py` has to compute, the words that it gets, and how it is told right from wrong. Nobody changes
this file. `judge.py` reads it.
"""

import json
import random
from array import array
from collections.abc import Callable, Iterator, Sequence

Words = list[str]

FILE, FUNCTION, ARGUMENT = "kernel.py", "distances", "words"
WRONG = "the answer is not the edit distances"
SIZE = 32  # letters in a timed word
OTHERS = 3  # words that the first one is compared with
SEED = 20240711  # of the words that are only checked
DNA = "acgt"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SCRIPTS = "αβγδεжзиклשתא中文字符漢語🙂🙃😀"


def reference(words: Words) -> list[int]:
    """How many letters have to be put in, left out or replaced to make the first word into each of the others."""
    return [_distance(words[0], other) for other in words[1:]]


def _distance(a: str, b: str) -> int:
    """The whole table, cell by cell."""
    rows = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if i == 0 or j == 0:
                rows[i][j] = i + j
            elif a[i - 1] == b[j - 1]:
                rows[i][j] = rows[i - 1][j - 1]
            else:
                rows[i][j] = 1 + min(rows[i - 1][j], rows[i][j - 1], rows[i - 1][j - 1])
    return rows[len(a)][len(b)]


def pack(words: Words) -> bytes:
    """A question as it is sent."""
    return json.dumps(words).encode()


def unpack(question: bytes) -> Words:
    """What was packed."""
    words: Words = json.loads(question)
    return words


def pack_answer(distances: Sequence[int]) -> bytes:
    """An answer as it is sent."""
    return array("q", distances).tobytes()


def same(answer: bytes, expected: bytes) -> bool:
    """Whether an answer is as good as the plain function's. Numbers with a fraction would need a bound."""
    return answer == expected


def _word(rng: random.Random, alphabet: str, size: int) -> str:
    return "".join(rng.choices(alphabet, k=size))


def _strangers(alphabet: str) -> Callable[[random.Random, int], Words]:
    """Words that have nothing to do with each other."""
    return lambda rng, size: [_word(rng, alphabet, size) for _ in range(1 + OTHERS)]


def _near(rng: random.Random, size: int) -> Words:
    """A word and copies of it with a few letters wrong, one lost and one put in."""
    word = _word(rng, LETTERS, size)
    others = []
    for _ in range(OTHERS):
        letters = list(word)
        for at in rng.sample(range(size), min(3, size)):
            letters[at] = rng.choice(LETTERS)
        letters.insert(rng.randint(0, size), rng.choice(LETTERS))
        del letters[rng.randint(0, size)]
        others.append("".join(letters))
    return [word, *others]


def _same_ends(rng: random.Random, size: int) -> Words:
    """Words that differ in the middle alone."""
    start, end = _word(rng, LETTERS, size // 3), _word(rng, LETTERS, size // 3)
    return [start + _word(rng, LETTERS, size // 3) + end for _ in range(1 + OTHERS)]


def _shifted(rng: random.Random, size: int) -> Words:
    """The same letters, begun a little later."""
    word = _word(rng, LETTERS, size)
    return [word, *(word[place:] + word[:place] for place in range(1, 1 + OTHERS))]


def _ragged(rng: random.Random, size: int) -> Words:
    """Words of two letters, the others from none to as long as the first."""
    return [_word(rng, "ab", size), *(_word(rng, "ab", size * k // 2) for k in range(OTHERS))]


# All questions of a kind and a size are the same amount of work, because the best turns of both sides are compared.
KINDS: dict[str, Callable[[random.Random, int], Words]] = {
    "four letters": _strangers(DNA),
    "many scripts": _strangers(SCRIPTS),
    "near": _near,
    "same ends": _same_ends,
    "shifted": _shifted,
    "ragged": _ragged,
}


def checked() -> Iterator[tuple[str, Words]]:
    """Words that are only checked: none, the empty ones, and lengths around those of a machine's words."""
    rng = random.Random(SEED)
    yield from (("no others", ["kitten"]), ("empty", ["", "", "a"]), ("one letter", ["a", "a", "b", "", "ba"]))
    yield from (("equal", ["same" * 9, "same" * 9]), ("known", ["kitten", "sitting", "mitten", "kit"]))
    for size in (1, 2, 3, 8, 31, 32, 33, 64, 65):
        yield from ((f"{name}, {size} letters", make(rng, size)) for name, make in KINDS.items())
