"""Structural edits of a Python file: another form of an expression, another order of statements, a term left out.

Every edit changes the text at one place, and nothing else, comments included. Code that keeps time, evaluates, reads,
writes, prints or seeds stays untouched: see :data:`_HANDS_OFF`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from autoresearch_tui.python_source import syntax
from autoresearch_tui.researchers.search import forms, rewrites
from autoresearch_tui.researchers.search.rewrites import Place
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import word_set

_HANDS_OFF = word_set(
    "seed seeds rng eval evals evaluate evaluation val valid validation metric score time timer timeout perf clock now "
    "budget deadline spent seconds sec meter print show log logging write read open save load path file checkpoint os "
    "sys environ exit exec subprocess socket assert mfu flops cache warm judge referee"
)
_MOST = 400  # edits of one file


class Edit(Frozen):
    """One edit. `site` is the same from one version of the file to the next; `text` is the whole new file; `words` is
    its description if the other fields do not make a good one."""

    path: str
    site: str
    family: str
    before: str
    after: str
    why: str
    text: str
    words: str = ""

    @property
    def key(self) -> str:
        return f"{self.path}:{self.site}"

    @property
    def description(self) -> str:
        """For the table."""
        if self.words:
            return self.words
        where = self.site.partition(" / ")[0]
        return f"{where}: {self.before} → {self.after}"


@lru_cache(maxsize=64)
def edits(path: str, text: str) -> tuple[Edit, ...]:
    """Every known structural edit of a file that still parses; none if the file does not parse."""
    try:
        tree = syntax.parse(text)
    except SyntaxError:
        return ()
    if text.startswith("\ufeff"):
        return ()
    source = rewrites.Source(text, tree)
    taken: dict[str, int] = {}
    found: list[Edit] = []
    for place, rewrite in _rewrites(source):
        name = f"{place.qualified or 'top'} / {rewrite.family}"
        if rewrite.first:
            taken[name] = taken.get(name, 0) + 1
        site = name if taken.get(name, 1) == 1 else f"{name}#{taken[name]}"
        if len(found) < _MOST and syntax.parses(rewrite.text):
            found.append(Edit(path, site, rewrite.family, rewrite.before, rewrite.after, rewrite.why, rewrite.text))
    return tuple(found)


def _rewrites(source: rewrites.Source) -> Iterator[tuple[Place, rewrites.Rewrite]]:
    for place in source.places():
        if place.words & _HANDS_OFF:
            continue
        within: set[tuple[str, ast.AST]] = set()  # nodes that an outer form of the same family covers
        for node in place.expressions():
            found = [each for each in _swapped(source, place, node) if (each.family, node) not in within]
            yield from ((place, each) for each in found)
            within |= {(each.family, inner) for each in found[:1] for inner in ast.walk(node)}
        for rule in rewrites.RULES:
            yield from ((place, each) for each in rule(source, place))


def _swapped(source: rewrites.Source, place: Place, node: ast.expr) -> Iterator[rewrites.Rewrite]:
    first = True
    for swap in forms.swaps(node, source.text, source.imported):
        new = swap.text
        if place.needs_brackets(node) and not isinstance(ast.parse(new, mode="eval").body, forms.ATOMS):
            new = f"({new})"
        yield rewrites.Rewrite(
            swap.family.name, swap.before, swap.after, swap.family.why, source.replaced([(node, new)]), first
        )
        first = False
