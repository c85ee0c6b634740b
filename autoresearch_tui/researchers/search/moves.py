"""The moves of a knob: its scale, and its steps from coarse to fine.

A name is read word by word: MATRIX_LR is a rate, WARMDOWN_RATIO a part of one, ADAM_BETAS close to one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from autoresearch_tui.python_source.constants import BARE, LOCAL, MODULE, Knob, Value
from autoresearch_tui.python_source.plain_text import SAID, STATED
from autoresearch_tui.researchers.search import facts
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import word_set

LEVELS = 6


# Changes of these game the score or have no effect: the seed, the evaluation, the clock, printing.
_UNTOUCHED = word_set(
    "seed seeds rng eval evals evaluation val valid validation test metric score time timer timeout budget deadline "
    "second seconds sec secs minutes hours interval log logs logging print verbose debug save checkpoint ckpt path "
    "dir file cache port host version id ids token vocab exclude startup flops peak mfu worker workers thread "
    "threads ignore pad bos eos dtype device cuda gpu backend shard shards"
)
_RATES = word_set("lr rate eps wd decay scale std gain lambda lambdas alpha softcap cap base theta init clip")
_FRACTIONS = word_set("ratio frac fraction prob dropout warmup warmdown cooldown rampup portion share")
_BETAS = word_set("beta betas beta1 beta2 momentum ema")
_POWERS = word_set("batch seq context block ctx window")
_WIDTHS = word_set("dim width embd embed hidden channels size features aspect window bins")
_TABLES = word_set("buckets bins entries table vocabulary")
_STRUCTURE = word_set("depth layer layers head heads steps ns kernel expansion mult pattern degree")
_TELLING = _RATES | _FRACTIONS | _BETAS | _WIDTHS | _STRUCTURE

_FACTORS = (2.0, 1.5, 1.25, 1.1, 1.05, 1.02)
_SIZES = (1.5, 1.25, 1.125, 1.0625, 1.04, 1.02)
_PARTS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
# Beyond these a value means infinity or zero: no step from it has a meaning.
_SMALLEST, _LARGEST = 1e-30, 1e30


class Step(Frozen):
    """One change of one knob."""

    knob: Knob
    after: Value
    direction: str


@lru_cache(maxsize=1024)
def words(name: str) -> frozenset[str]:
    """The lower-case words of the last part of a knob's name."""
    last = re.sub(r"[\[#].*", "", name).split(".")[-1]
    return frozenset(part.lower() for part in re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+", last))


def usable(knobs: Iterable[Knob], texts: Mapping[str, str]) -> list[list[Knob]]:
    """The knobs worth changing, in groups: those that the author meant as knobs first, deeper ones after them.

    `texts` has all files of the lab: a constant that none of them reads is no knob. If there are none, the
    numbers that a function names count, under any name.
    """
    reads, passed = facts.read_names(texts), facts.computed_arguments(texts)
    rebound = {path: facts.rebound(text) for path, text in texts.items()}
    groups: list[list[Knob]] = [[], [], [], []]
    unnamed: list[Knob] = []
    for knob in knobs:
        parts = words(knob.name)
        name = knob.name.split("[")[0]
        if parts & _UNTOUCHED - ({"device"} if "batch" in parts else set()):
            continue
        if knob.reach == MODULE and name not in rebound.get(knob.path, ()) and name in reads:
            groups[0 if name.isupper() else 1].append(knob)
        elif knob.reach == LOCAL and name.split(".")[-1] not in passed:
            if parts & _TELLING and _telling(knob):
                groups[2].append(knob)
            elif not isinstance(knob.value, str | bool):
                unnamed.append(knob)
        elif knob.reach in (STATED, SAID):
            groups[0 if knob.reach == STATED else 1].append(knob)
        elif knob.reach == BARE:
            groups[3].append(knob)
    if not any(groups):
        groups[3] = unnamed
    return groups


def scale(knob: Knob, choices: Iterable[str]) -> str | None:
    """The kind of quantity of a knob; None for a literal that is no knob."""
    value, parts = knob.value, words(knob.name)
    if isinstance(value, bool):
        return "switch"
    if isinstance(value, str):
        if re.fullmatch(r"[A-Z]{1,24}", value) and ("pattern" in parts or len(set(value)) < len(value)):
            return "pattern"
        return "choice" if value in set(choices) else None
    if not (value == 0 or _SMALLEST <= abs(value) <= _LARGEST):
        return None
    if isinstance(value, int):
        return _integer_scale(value, parts, knob.source)
    if parts & _BETAS and 0 < value < 1:
        return "beta"
    if parts & _FRACTIONS and 0 <= value <= 1:
        return "fraction"
    return "rate" if parts & _RATES or (value > 0 and knob.reach in (MODULE, STATED, SAID)) else "coefficient"


def _telling(knob: Knob) -> bool:
    """False for an axis (dim=-1) and for a counter that starts at zero."""
    value = knob.value
    return isinstance(value, float | str) or value > (3 if words(knob.name) == {"dim"} else 0)


def _integer_scale(value: int, parts: frozenset[str], source: str) -> str:
    if "**" in source or "<<" in source or (value >= 8 and value & (value - 1) == 0 and parts & _POWERS):
        return "power"
    if {"head", "dim"} <= parts and value & (value - 1) == 0:
        return "power"
    if parts & _TABLES and (value == 0 or value >= 256):
        return "table"
    if abs(value) <= 12 or parts & {"depth", "layer", "layers", "heads"}:
        return "count"
    return "size" if value < 1000 or parts & _WIDTHS else "large"


def coordinate(kind: str, value: Value) -> float:
    """A number on a scale on which a coarse step has a length of about one, for any knob."""
    if isinstance(value, str):
        return 0.0
    match kind:
        case "fraction":
            return float(value) / 0.2
        case "beta":
            return -math.log2(max(1 - float(value), 1e-9))
        case "count" | "switch":
            return float(value)
        case "coefficient":
            return math.asinh(float(value) * 10)
        case "size":
            return math.log(max(abs(float(value)), 1e-9), 1.5)
    return math.log2(max(abs(float(value)), 1e-9))


def steps(knob: Knob, level: int, choices: tuple[str, ...] = ()) -> Iterator[Step]:
    """The moves of a knob at a level of fineness, from 0 (coarse) to LEVELS - 1."""
    kind, value = scale(knob, choices), knob.value
    if kind == "pattern":
        targets: Iterable[Value] = _patterns(str(value), choices, level)
    elif kind == "choice":
        targets = (c for c in choices if c != value) if level == 0 else ()
    elif isinstance(value, str) or kind is None:
        targets = ()
    elif isinstance(value, bool):
        targets = (not value,) if level == 0 else ()
    else:
        targets = _numbers(kind, value, level, "head" in words(knob.name))
    for after in targets:
        if type(after) is type(value) and after != value:
            yield Step(knob, after, direction(value, after))


def trades(knobs: Iterable[Knob]) -> Iterator[tuple[Step, Step]]:
    """Depth against width at about the same number of parameters, which is depth times width squared.

    A width that is written as a ratio to the depth grows with it: there the ratio's exponent is 3/2, else 1/2.
    """
    whole = [knob for knob in knobs if isinstance(knob.value, int) and not isinstance(knob.value, bool)]
    depths = [knob for knob in whole if words(knob.name) & {"depth", "layer", "layers"} and int(knob.value) > 1]
    widths = [knob for knob in whole if words(knob.name) & {"aspect", "width", "embd"} and int(knob.value) >= 8]
    for depth, width in ((d, w) for d in depths[:1] for w in widths[:1]):
        power = 1.5 if "aspect" in words(width.name) else 0.5
        for layers in (int(depth.value) - 1, int(depth.value) + 1, int(depth.value) - 2, int(depth.value) + 2):
            if layers < 1:
                continue
            size = round(int(width.value) * (int(depth.value) / layers) ** power)
            if size >= 1 and size != width.value:
                yield (
                    Step(depth, layers, direction(depth.value, layers)),
                    Step(width, size, direction(width.value, size)),
                )


def direction(before: Value, after: Value) -> str:
    """The direction of a change: up, down, on, off, more of a letter, or to a value."""
    if isinstance(after, bool) or isinstance(before, bool):
        return "on" if after else "off"
    if isinstance(before, str) or isinstance(after, str):
        a, b = str(before), str(after)
        if re.fullmatch(r"[A-Z]+", a) and re.fullmatch(r"[A-Z]+", b):
            gains = {c: b.count(c) / len(b) - a.count(c) / len(a) for c in sorted(set(a + b))}
            best = max(gains, key=lambda c: gains[c])
            if gains[best] > 1e-9:
                return f"more {best}"
        return f"to {after}"
    return "up" if after > before else "down"


def _numbers(kind: str, value: int | float, level: int, even: bool) -> Iterator[int | float]:
    if isinstance(value, int):
        yield from (v for v in _integers(kind, value, level, even) if v > 0 or value <= 0)
        return
    digits = 2 if level < 2 else 3
    if kind == "fraction":
        part = _PARTS[min(level + 1, LEVELS - 1)] if value == 0 else _PARTS[level]
        # Zero and one are a different method, not a further step: go half of the remaining way at most.
        higher = min(value + part, (1 + value) / 2, 3 * value or part)
        yield from (_tidy(v, 3) for v in (higher, max(value - part, value / 2)) if 0 < v < 1)
    elif kind == "beta":
        for rest in ((1 - value) * _FACTORS[level], (1 - value) / _FACTORS[level]):
            if 0 < _tidy(rest, digits) < 1:
                yield round(1 - _tidy(rest, digits), 9)
    elif value == 0:
        first = (0.1, 0.01, 0.03, 0.3, 0.003, 1.0)[level]
        yield from (first, -first) if kind == "coefficient" else (first,)
    else:
        factor = _FACTORS[level]
        yield from (_tidy(value * factor, digits), _tidy(value / factor, digits))


def _integers(kind: str, value: int, level: int, even: bool) -> Iterator[int]:
    if kind == "power":
        if level < 3:
            yield value << (level + 1)
            yield (
                value >> (level + 1) if value % (1 << (level + 1)) == 0 and value >> level > (8 if even else 1) else 0
            )
    elif kind == "count":
        stride = (level + 1) * (2 if even and value % 2 == 0 and value > 2 else 1)
        yield from (value + stride, value - stride)
    elif kind == "table":
        if level < 3:
            yield from (value << (level + 1), value >> (level + 1)) if value else (1024 << (2 * level),)
    elif kind == "size":
        grain = next(g for g in (8, 4, 2, 1) if value % g == 0)
        for wanted in (value * _SIZES[level], value / _SIZES[level]):
            yield max(grain, round(wanted / grain) * grain)
    else:
        for wanted in (value * _FACTORS[level], value / _FACTORS[level]):
            yield int(_tidy(wanted, 2 if level < 2 else 3))


def _patterns(value: str, alphabets: tuple[str, ...], level: int) -> Iterator[str]:
    alphabet = sorted({*value, *(c for letters in alphabets if set(value) <= set(letters) for c in letters)})
    others = [c for c in alphabet if c != value[-1]]
    if level == 0:
        yield from (value[:-1] + c for c in others)
        yield from (c + value for c in alphabet if len(value) < 16)
        if len(value) > 1:
            yield value[1:]
    elif level == 1:
        for at in range(len(value) - 1):
            yield from (value[:at] + c + value[at + 1 :] for c in alphabet)
    elif level == 2 and len(value) < 16:
        yield from (value[:at] + c + value[at:] for at in range(1, len(value) + 1) for c in alphabet)


def _tidy(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
