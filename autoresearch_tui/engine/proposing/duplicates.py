"""Pure: whether two descriptions are nearly the same idea.

The words are compared so that "from 0.04 to 0.06" and "from 0.04 to 0.08" are two ideas, as are before and after,
up and down, EMBEDDING_LR and UNEMBEDDING_LR; and "raise" for "increase" is not.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping

from autoresearch_tui.researchers.base import Attempt
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe, word_set

_ALIKE = 0.8  # common share of the weight, if one has all words of the other
_ALIKE_IN_OTHER_WORDS = 0.9
_SAME_ORDER = 0.5  # share of neighbouring words in common
_NUMBER_WEIGHT = _NAME_WEIGHT = 3.0
_REASON_WIDTH = 300

_TOKEN = re.compile(
    r"(?P<power>\d+\s?(?:\*\*|\^)\s?\d+)"
    r"|(?P<number>(?:(?<![\w.)\]])-)?(?:\d[\d,_]*(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?(?P<unit>[kKM](?![A-Za-z]))?)"
    r"|(?P<word>[^\W\d_](?:[^\W_]|_(?=\w))*)"
)
_PARTS = re.compile(r"[A-Z]+s?(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_UNITS = {"k": 1e3, "K": 1e3, "M": 1e6}


_STOP = word_set(
    "a an and as at be for from if in into is it its of or so than that the then this to was when which while will "
    "with we our set sets setting change changes changed switch adjust adjusted tune tuned try tried use used using "
    "apply make move update updated test value values now new done finished complete completed edit edited file files "
    "train training py experiment proposal description given idea result here i have has been"
)
# Words that make it another idea even if all else is the same: as stems, and whole.
_STEMS: Mapping[str, frozenset[str]] = {
    "up": word_set("increas rais boost bump larg enlarg grow widen deepen lengthen extend"),
    "down": word_set("decreas reduc lower shrink shorten narrow lessen"),
    "off": word_set("remov delet drop disabl omit strip eliminat"),
    "on": word_set("add introduc insert enabl includ"),
    "double": word_set("doubl"),
    "halve": word_set("halv"),
    "triple": word_set("tripl"),
}
_WHOLE: Mapping[str, frozenset[str]] = {
    "up": word_set("higher bigger wider deeper longer more up"),
    "down": word_set("smaller shorter narrower shallower fewer less cut down"),
    "off": word_set("off without no not"),
    "on": word_set("on"),
    **{word: frozenset({word}) for word in word_set("by before after first last pre post all only even odd")},
}
_ENDINGS = ("", "e", "er", "es", "s", "ed", "ped", "ing", "ping")
_WAY_OF = {
    **{stem + end: way for way, stems in _STEMS.items() for stem in stems for end in _ENDINGS},
    **{word: way for way, words in _WHOLE.items() for word in words},
}
_SAME: Mapping[str, str] = {
    "fraction": "frac", "initialization": "init", "initialisation": "init", "initialize": "init",
    "initialise": "init", "scheduler": "schedule", "dimension": "dim", "parameters": "param", "parameter": "param",
    "activations": "activation",
}  # fmt: skip


class Idea(Frozen):
    """A parsed description. `numbers` and `words` are in order; `names` are words of identifiers."""

    numbers: tuple[float, ...]
    words: tuple[str, ...]
    names: frozenset[str]
    ways: frozenset[str]


def idea(text: str) -> Idea:
    """Parse a description, whatever its spelling."""
    numbers: list[float] = []
    words: list[str] = []
    names: set[str] = set()
    ways: set[str] = set()
    for found in _TOKEN.finditer(re.sub(r"(?i)\blearning[ -]rates?\b", "lr", text)):
        word = found["word"]
        if word is None:
            numbers.append(_value(found))
            continue
        if way := _WAY_OF.get(word.lower()):
            ways.add(way)
            continue
        parts = [_plain(part) for part in _PARTS.findall(word)]
        if len(parts) > 1 or not (word.islower() or word.istitle()):
            names.update(parts)
        words += [part for part in parts if part not in _STOP]
    return Idea(tuple(numbers), tuple(words), frozenset(names), frozenset(ways))


def alike(one: Idea, two: Idea) -> bool:
    """Whether two descriptions are nearly the same idea."""
    if one.numbers != two.numbers or one.ways != two.ways or not (one.words or one.ways - {"off"}):
        return False
    names = one.names | two.names
    if [w for w in one.words if w in names] != [w for w in two.words if w in names]:
        return False
    mine, others = frozenset(one.words), frozenset(two.words)
    weight = _NUMBER_WEIGHT * len(one.numbers) + len(one.ways)
    common = weight + _weight(mine & others, names)
    share = common / (weight + _weight(mine | others, names))
    wanted = _ALIKE if mine <= others or others <= mine else _ALIKE_IN_OTHER_WORDS
    return share >= wanted and _in_order(one.words, two.words)


def key(description: str) -> int:
    """Equal for descriptions that are :func:`alike`, different for most others."""
    found = idea(description)
    return hash((found.numbers, found.ways))


def nearest(description: str, earlier: Iterable[Attempt], skip: Collection[int] = ()) -> Attempt | None:
    """The first of `earlier` that is nearly the same idea, if any."""
    wanted = idea(description)
    for attempt in earlier:
        if attempt.number in skip or attempt.outcome == Outcome.WITHDRAWN:
            continue
        if alike(wanted, idea(attempt.description)):
            return attempt
    return None


def message(attempt: Attempt, why: str) -> str:
    """The message to the researcher: which experiment the proposal repeats, and its result."""
    value = "" if attempt.value is None else f" with {attempt.value:.7g}"
    reason = f" ({describe(attempt.reason, _REASON_WIDTH)})" if attempt.reason.strip() else ""
    became = "has no result yet" if attempt.outcome == "waiting" else f"ended as {attempt.outcome}{value}{reason}"
    return (
        f'{why} {attempt.name}, "{describe(attempt.description)}", which {became}. '
        "Propose something that has not been tried; or, if the result should differ now, send this again and say in "
        "the hypothesis why"
    )


def _value(found: re.Match[str]) -> float:
    if found["power"]:
        base, power = (int(part) for part in re.split(r"\s?(?:\*\*|\^)\s?", found["power"]))
        return float(base**power) if power <= 64 and base <= 1024 else float(power)
    text = found["number"].rstrip("kKM").replace("_", "").replace(",", "").rstrip(".")
    return float(text or 0) * _UNITS.get(found["unit"] or "", 1.0)


def _plain(word: str) -> str:
    word = _SAME.get(word.lower(), word.lower())
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _weight(words: Iterable[str], names: Collection[str]) -> float:
    return sum(_NAME_WEIGHT if word in names else 1.0 for word in words)


def _in_order(one: tuple[str, ...], two: tuple[str, ...]) -> bool:
    """Whether the words are mostly in the same order: swapped, they may mean the opposite."""
    mine, others = set(itertools.pairwise(one)), set(itertools.pairwise(two))
    both = mine | others
    return not both or len(mine & others) >= _SAME_ORDER * len(both)
