"""Families of expressions that can replace one another, such as activations, or shapes of a schedule.

A pattern is Python with holes: names that begin with an underscore. Numbers are compared by value, and a hole that
occurs twice must have the same content twice.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from msgspec import field

from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe, word_set

Holes = dict[str, ast.expr]
_NO_MATTER = ("ctx", "kind", "type_comment")
_WIDTH = 40


class Form(Frozen):
    """One way to write an expression. The first pattern is written; `needs` is a name that must be imported."""

    words: str
    patterns: tuple[str, ...]
    needs: str = ""


class Family(Frozen):
    """Forms that can replace one another. `holes` limits a hole's content to patterns; `named` to names with one of
    these words. `plain`: only in files that do not import torch. `stored`: not for the result of a call, which may
    not be a list.
    """

    name: str
    why: str
    forms: tuple[Form, ...]
    holes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    named: Mapping[str, frozenset[str]] = field(default_factory=dict)
    plain: bool = False
    literal: bool = False
    stored: bool = False


_RAMP = ("(1 - _p) / _w", "min(1, (1 - _p) / _w)", "min((1 - _p) / _w, 1)")

FAMILIES: tuple[Family, ...] = (
    Family(
        "activation",
        "which inputs a layer lets through, and how steeply, changes what it can learn in a short run",
        (
            Form(
                "squared ReLU", ("F.relu(_x).square()", "F.relu(_x) ** 2", "F.relu(_x).pow(2)", "squared_relu(_x)"), "F"
            ),
            Form("GELU", ("F.gelu(_x)",), "F"),
            Form("SiLU", ("F.silu(_x)",), "F"),
            Form("ReLU", ("F.relu(_x)",), "F"),
        ),
    ),
    Family(
        "activation",
        "which inputs a layer lets through, and how steeply, changes what it can learn in a short run",
        (Form("ReLU", ("nn.ReLU()",), "nn"), Form("GELU", ("nn.GELU()",), "nn"), Form("SiLU", ("nn.SiLU()",), "nn")),
    ),
    Family(
        "schedule",
        "how the rate falls decides how much of the run is spent near its end",
        (
            Form("linear", ("_e",)),
            Form("cosine", ("0.5 - 0.5 * math.cos(math.pi * _e)",), "math"),
            Form("one minus square root", ("1 - (1 - _e) ** 0.5",)),
            Form("square root", ("_e ** 0.5",)),
            Form("quadratic", ("_e ** 2",)),
        ),
        holes={"_e": _RAMP},
        named={"_w": word_set("warmdown cooldown rampdown")},
    ),
    Family(
        "schedule",
        "how fast the rate rises decides how soon the run is at full speed",
        (Form("linear", ("_e",)), Form("square root", ("_e ** 0.5",)), Form("quadratic", ("_e ** 2",))),
        holes={"_e": ("_p / _w", "min(1, _p / _w)")},
        named={"_w": word_set("warmup rampup")},
    ),
    Family(
        "decay",
        "how long weights are pulled back matters more the longer they train",
        (
            Form("falling to nothing", ("_w * (1 - _p)",)),
            Form("falling to half", ("_w * (1 - 0.5 * _p)",)),
            Form("falling quadratically", ("_w * (1 - _p) ** 2",)),
            Form("constant", ("_w",)),
        ),
        named={"_w": word_set("decay wd")},
    ),
    Family(
        "layers",
        "which layers have it trades parameters against the steps that fit into the budget",
        (
            Form("every other layer", ("_a % 2 == (_b - 1) % 2",)),
            Form("every layer", ("True",)),
            Form("every third layer", ("_a % 3 == (_b - 1) % 3",)),
            Form("the upper half", ("_a >= _b // 2",)),
            Form("the last layer", ("_a == _b - 1",)),
        ),
    ),
    Family(
        "norm",
        "a norm keeps the scale in hand, at the price of what the scale would tell",
        (Form("normed", ("_n(_x)",)), Form("as it is", ("_x",))),
        named={"_n": word_set("norm rmsnorm layernorm")},
        literal=True,
    ),
    Family(
        "sampling",
        "drawing with or without replacement changes the noise of a batch and the time to draw it",
        (
            Form("without replacement", ("random.sample(_x, _k)", "random.sample(_x, k=_k)"), "random"),
            Form("with replacement", ("random.choices(_x, k=_k)",), "random"),
        ),
    ),
    Family(
        "halving",
        "the same number, found in another way, may be found faster",
        (Form("a division", ("_a // 2",)), Form("a shift", ("_a >> 1",))),
        plain=True,
        literal=True,
    ),
    Family(
        "square",
        "the same number, found in another way, may be found faster",
        (Form("a product", ("_a * _a",)), Form("a power", ("_a ** 2",))),
        plain=True,
        literal=True,
    ),
    Family(
        "root",
        "the same number, found in another way, may be found faster",
        (Form("math.sqrt", ("math.sqrt(_a)",), "math"), Form("a power", ("_a ** 0.5",))),
        plain=True,
        literal=True,
    ),
    Family(
        "copy",
        "the same list, made in another way, may be made faster",
        (Form("a slice", ("_a[:]",)), Form("list()", ("list(_a)",)), Form(".copy()", ("_a.copy()",))),
        plain=True,
        literal=True,
        stored=True,
    ),
    Family(
        "reversal",
        "the same list, made in another way, may be made faster",
        (Form("a slice", ("_a[::-1]",)), Form("reversed()", ("list(reversed(_a))",))),
        plain=True,
        literal=True,
        stored=True,
    ),
)


class Swap(Frozen):
    """One form in place of another: the new text of the expression, and the names of both forms."""

    family: Family
    before: str
    after: str
    text: str


def swaps(node: ast.expr, source: str, imported: frozenset[str]) -> Iterator[Swap]:
    """Every form that can replace `node`; `source` is the text that it was parsed from."""
    for family in FAMILIES:
        if family.plain and "torch" in imported:
            continue
        found = _recognised(family, node)
        if found is None:
            continue
        here, holes = found
        for form in family.forms:
            written = form.patterns[0]
            known = not (form.needs and form.needs not in imported)
            if form.words != here and known and set(re.findall(r"\b_[a-z]\b", written)) <= set(holes):
                text = _filled(written, holes, source)
                words = (_shown(ast.get_source_segment(source, node) or ""), _shown(text))
                yield Swap(family, *(words if family.literal else (here, form.words)), text)
        return  # no expression fits two families


def _shown(text: str) -> str:
    return describe(text, _WIDTH)


def _recognised(family: Family, node: ast.expr) -> tuple[str, Holes] | None:
    for form in family.forms:
        for pattern in form.patterns:
            holes: Holes = {}
            if pattern.isidentifier() and pattern not in family.holes:
                continue  # a hole alone matches everything
            if bind(_parsed(pattern), node, holes) and _allowed(family, holes):
                return form.words, holes
    return None


def _allowed(family: Family, holes: Holes) -> bool:
    """Whether the holes' contents suit the family; adds holes within holes."""
    for hole, patterns in family.holes.items():
        inner: Holes = {}
        if hole not in holes or not any(bind(_parsed(each), holes[hole], inner := {}) for each in patterns):
            return False
        holes |= inner
    if family.stored and isinstance(holes["_a"], ast.Call | ast.GeneratorExp):
        return False
    if "torch" in (words_of(holes["_n"]) if "_n" in holes else ()):
        return False  # torch.norm returns a number
    return all(hole in holes and words_of(holes[hole]) & wanted for hole, wanted in family.named.items())


def bind(pattern: ast.AST, node: ast.AST, holes: Holes) -> bool:
    """Whether `node` matches `pattern`; adds the contents of its holes to `holes`."""
    match pattern, node:
        case ast.Name(id=hole), ast.expr() if hole.startswith("_"):
            if hole in holes:
                return ast.dump(holes[hole]) == ast.dump(node)
            holes[hole] = node
            return True
        case ast.Constant(value=int() | float() as one), ast.Constant(value=int() | float() as two):
            return one == two and isinstance(one, bool) == isinstance(two, bool)
    if type(pattern) is not type(node):
        return False
    fields = ((value, getattr(node, name, None)) for name, value in ast.iter_fields(pattern) if name not in _NO_MATTER)
    return all(_bind_field(wanted, value, holes) for wanted, value in fields)


def _bind_field(wanted: object, value: object, holes: Holes) -> bool:
    if isinstance(wanted, list):
        if not isinstance(value, list) or len(value) != len(wanted):
            return False
        return all(bind(a, b, holes) for a, b in zip(wanted, value, strict=True))
    if isinstance(wanted, ast.AST):
        return isinstance(value, ast.AST) and bind(wanted, value, holes)
    return wanted == value


def words_of(node: ast.AST) -> frozenset[str]:
    """The words of the names in an expression, in lower case."""
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    names += [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)]
    return frozenset(word.lower() for name in names for word in re.findall(r"[A-Za-z][a-z]*|[A-Z]+", _split(name)))


def _split(name: str) -> str:
    return name.lower() if name.isupper() else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)


def _filled(pattern: str, holes: Holes, source: str) -> str:
    def put(found: re.Match[str]) -> str:
        node = holes[found[0]]
        text = ast.get_source_segment(source, node) or ast.unparse(node)
        return f"({text})" if not isinstance(node, ATOMS) and found[0] != pattern else text

    return re.sub(r"\b_[a-z]\b", put, pattern)


ATOMS = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant, ast.List, ast.Tuple, ast.Dict)


@lru_cache(maxsize=256)
def _parsed(pattern: str) -> ast.expr:
    return ast.parse(pattern, mode="eval").body
