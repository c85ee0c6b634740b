"""The facts in a lab's files about their constants: who reads them, assertions, possible values."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from autoresearch_tui.python_source import syntax
from autoresearch_tui.python_source.constants import Value, number


def _nodes(texts: Mapping[str, str]) -> Iterator[ast.AST]:
    for text in texts.values():
        yield from _flat(text)


@lru_cache(maxsize=16)
def _flat(text: str) -> tuple[ast.AST, ...]:
    try:
        return tuple(ast.walk(syntax.parse(text)))
    except (SyntaxError, RecursionError):
        return ()


def choices(texts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The values that the files compare each name with, and under "" the alphabets that they look letters up in."""
    found: dict[str, set[str]] = {}
    for node in _nodes(texts):
        match node:
            case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn()], comparators=[right]):
                values = _texts(right)
                found.setdefault(_name(left), set()).update(values)
                if len(values) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn):
                    found.setdefault("", set()).add(values[0])
            case ast.Subscript(value=ast.Dict() as table, slice=index):
                found.setdefault(_name(index), set()).update(_texts(table))
            case ast.Dict() | ast.Set():
                letters = _texts(node)
                if letters and all(len(letter) == 1 for letter in letters):
                    found.setdefault("", set()).add("".join(letters))
    return {name: tuple(sorted(values)) for name, values in found.items()}


def _texts(node: ast.expr) -> list[str]:
    items: Iterable[ast.expr | None] = [node]
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        items = node.elts
    elif isinstance(node, ast.Dict):
        items = node.keys
    return [i.value for i in items if isinstance(i, ast.Constant) and isinstance(i.value, str)]


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else "?"


def read_names(texts: Mapping[str, str]) -> set[str]:
    """Every name that some file reads, imports or takes from a module."""
    found: set[str] = set()
    for node in _nodes(texts):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
    return found


def computed_arguments(texts: Mapping[str, str]) -> set[str]:
    """Names of arguments that a caller computes: their defaults mean nothing."""
    return {
        node.arg
        for node in _nodes(texts)
        if isinstance(node, ast.keyword) and node.arg and not isinstance(node.value, ast.Constant | ast.Tuple)
    }


def rebound(text: str) -> set[str]:
    """Names that the module binds more than once, or as a global in a function: counters, not constants."""
    nodes = _flat(text)
    seen: set[str] = set()
    again = {n for node in nodes if isinstance(node, ast.Global) for n in node.names}
    waiting = list(nodes[:1])
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            (again if node.id in seen else seen).add(node.id)
        if isinstance(node, ast.AugAssign | ast.For) and isinstance(node.target, ast.Name):
            again.add(node.target.id)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return again


class Rules:
    """The files' assertions (and checks that raise) about their constants."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._tests: list[tuple[ast.expr, bool]] = []
        self._bound: dict[str, ast.expr] = {}
        for node in _nodes(texts):
            match node:
                case ast.Assert(test=test):
                    self._tests.append((test, True))
                case ast.If(test=test, body=[ast.Raise(), *_]):
                    self._tests.append((test, False))
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._bound.setdefault(name, value)
        self._broken_at_first = {index for index, _ in self._failing({})}

    def kept(self, setting: Mapping[str, Value]) -> bool:
        """Whether all assertions that hold still hold with these constants changed (by name)."""
        return not any(index not in self._broken_at_first for index, _ in self._failing(setting))

    def partners(self, setting: Mapping[str, Value]) -> set[str]:
        """The other constants of assertions that these changes break."""
        broken = [test for index, test in self._failing(setting) if index not in self._broken_at_first]
        return {name for test in broken for name in self._mentioned(test, 4)} - set(setting)

    def _failing(self, setting: Mapping[str, Value]) -> list[tuple[int, ast.expr]]:
        return [
            (index, test)
            for index, (test, wanted) in enumerate(self._tests)
            if self._holds(test, setting) not in (None, wanted)
        ]

    def _mentioned(self, node: ast.expr, depth: int) -> Iterator[str]:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name):
                yield inner.id
                if depth and inner.id in self._bound:
                    yield from self._mentioned(self._bound[inner.id], depth - 1)

    def _holds(self, test: ast.expr, setting: Mapping[str, Value]) -> bool | None:
        match test:
            case ast.BoolOp(op=ast.And(), values=values):
                results = [self._holds(value, setting) for value in values]
                return False if False in results else None if None in results else True
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                a, b = self._value(left, setting), self._value(right, setting)
                return None if a is None or b is None else _compare(op, a, b)
            case ast.BinOp(op=ast.Mod()):
                value = self._value(test, setting)
                return None if value is None else bool(value)
        return None

    def _value(self, node: ast.expr, setting: Mapping[str, Value], depth: int = 6) -> int | float | None:
        names: dict[str, Value] = dict(setting)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and inner.id not in names and depth and inner.id in self._bound:
                value = self._value(self._bound[inner.id], setting, depth - 1)
                if value is not None:
                    names[inner.id] = value
        return number(node, names)


def _compare(op: ast.cmpop, a: float, b: float) -> bool | None:
    match op:
        case ast.Eq():
            return a == b
        case ast.NotEq():
            return a != b
        case ast.Lt():
            return a < b
        case ast.LtE():
            return a <= b
        case ast.Gt():
            return a > b
        case ast.GtE():
            return a >= b
    return None
