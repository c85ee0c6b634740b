"""The knobs of a Python file: literals with a name, found with `ast`, changed where they stand.

A file is read as a skeleton (its syntax tree without literals, comments and docstrings) and the values of the literals.
Two texts with the same skeleton and the same values are the same code.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import operator
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from autoresearch_tui.python_source import syntax
from autoresearch_tui.python_source.syntax import ARITHMETIC
from autoresearch_tui.util.frozen import Frozen

Value = bool | int | float | str

MODULE, LOCAL, BARE = "module", "local", "bare"  # how likely a literal is meant to be tuned

_LINE_END = re.compile(r"\r\n|\r|\n")  # as Python counts lines
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,23}")
_OPERATIONS = {**ARITHMETIC, ast.LShift: operator.lshift}


class Knob(Frozen):
    """A named literal. `column` and `end_column` count characters; `source`: as written."""

    path: str
    name: str
    reach: str
    value: Value
    source: str
    line: int
    column: int
    end_line: int
    end_column: int

    @property
    def key(self) -> str:
        """Identifies the knob across versions of the file."""
        return f"{self.path}:{self.name}"


class Reading(Frozen):
    """A file as a hash of everything but its literals, and the literals."""

    skeleton: str
    knobs: tuple[Knob, ...]

    @property
    def values(self) -> dict[str, Value]:
        """The setting of the file, by knob key."""
        return {knob.key: knob.value for knob in self.knobs}


def read(path: str, text: str) -> Reading | None:
    """The skeleton and the knobs of a file; None if it does not parse."""
    chunks = syntax.chunks(text)
    if chunks is None:
        return None
    pieces = [(first, _piece(chunk)) for first, chunk in chunks]
    digest = hashlib.sha256("".join(piece.skeleton for _, piece in pieces).encode()).hexdigest()
    return Reading(digest, tuple(_knobs(path, pieces)))


def statements(path: str, text: str) -> list[tuple[str, tuple[Knob, ...]]]:
    """The skeleton and the knobs of each chunk of a file; empty if it does not parse."""
    pieces = [(first, _piece(chunk)) for first, chunk in syntax.chunks(text) or ()]
    knobs = iter(_knobs(path, pieces))
    return [(piece.skeleton, tuple(itertools.islice(knobs, len(piece.knobs)))) for _, piece in pieces]


def number(node: ast.expr, names: Mapping[str, Value] | None = None) -> int | float | None:
    """The value of an arithmetic expression over numbers (and the given names), without executing it."""
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.Name(id=name) if names is not None:
            known = names.get(name)
            return known if isinstance(known, int | float) else None
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = number(operand, names)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            return _operate(type(op), number(left, names), number(right, names))
    return None


def edit(text: str, changes: Mapping[Knob, Value]) -> str:
    """The text with the given literals changed and every other byte unchanged."""
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    parts = []
    for first, chunk in syntax.chunks(text) or ():
        lines = range(first + 1, first + chunk.count("\n") + 2)
        wanted = {knob: value for knob, value in changes.items() if knob.line in lines}
        parts.append(_rewritten(chunk, first, wanted) if wanted else chunk)
    return mark + "\n".join(parts)


def _rewritten(chunk: str, first: int, wanted: Mapping[Knob, Value]) -> str:
    starts = [0, *(found.end() for found in _LINE_END.finditer(chunk))]
    # From the end: what stands before keeps its place.
    for knob in sorted(wanted, key=lambda knob: (knob.line, knob.column), reverse=True):
        begin = starts[knob.line - first - 1] + knob.column
        end = starts[knob.end_line - first - 1] + knob.end_column
        chunk = f"{chunk[:begin]}{written(knob.source, wanted[knob])}{chunk[end:]}"
    return chunk


def written(source: str, value: Value) -> str:
    """A value in the style of the literal that it replaces: 2**19 stays a power, 3e-4 keeps its exponent."""
    if isinstance(value, str):
        return source[0] + value + source[-1]
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        shaped = _shaped(ast.parse(source.strip(), mode="eval").body, value)
        return shaped or (f"{value:_}" if "_" in source else str(value))
    plain = repr(value)
    if "e" in source.lower() and value and "e" not in plain:
        mantissa, exponent = f"{value:.12e}".split("e")
        plain = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return re.sub(r"e([+-])0*(\d)", lambda found: f"e{found[1].lstrip('+')}{found[2]}", plain)


# --- the pieces of a file -------------------------------------------------------------------------------


class _Piece(Frozen):
    skeleton: str
    knobs: tuple[Knob, ...]
    """Without a path; their lines count from the piece's first."""


@lru_cache(maxsize=4096)
def _piece(chunk: str) -> _Piece:
    tree = syntax.parse(chunk)
    syntax.drop_texts(tree)
    lines = chunk.split("\n")
    found = list(_named(tree, "", MODULE)) or list(_bare(tree))
    knobs: list[Knob] = []
    taken: dict[str, int] = {}
    for name, reach, node in found:
        for label, leaf in _leaves(name, node):
            taken[label] = taken.get(label, 0) + 1
            unique = label if taken[label] == 1 else f"{label}#{taken[label]}"
            knobs.append(_knob(unique, reach, leaf, lines))
            _hollow(leaf)
    return _Piece("".join(map(ast.dump, tree.body)), tuple(knobs))


def _knobs(path: str, pieces: list[tuple[int, _Piece]]) -> Iterator[Knob]:
    named = any(knob.reach != BARE for _, piece in pieces for knob in piece.knobs)
    taken: dict[str, int] = {}
    for first, piece in pieces:
        for p in piece.knobs:
            taken[p.name] = taken.get(p.name, 0) + 1
            name = p.name if taken[p.name] == 1 else f"{p.name}#{taken[p.name]}"
            reach = p.reach if p.reach != BARE or not named else "hidden"
            ends = (p.line + first, p.column, p.end_line + first, p.end_column)
            yield Knob(path, name, reach, p.value, p.source, *ends)


def _knob(name: str, reach: str, node: ast.expr, lines: list[str]) -> Knob:
    def column(line: int, offset: int) -> int:
        text = lines[line - 1]
        return offset if text.isascii() else len(text.encode()[:offset].decode())

    end_line, end = node.end_lineno or node.lineno, node.end_col_offset or 0
    begin, end = column(node.lineno, node.col_offset), column(end_line, end)
    covered = lines[node.lineno - 1 : end_line]
    covered[-1] = covered[-1][:end]
    covered[0] = covered[0][begin:]
    value = _literal(node)
    assert value is not None
    return Knob("", name, reach, value, "\n".join(covered), node.lineno, begin, end_line, end)


def _hollow(node: ast.expr) -> None:
    """Replace the literal in the tree by a placeholder."""
    node.__class__ = ast.Name
    node.__dict__.clear()
    node.__dict__.update(id="", ctx=ast.Load())


def _named(node: ast.AST, where: str, reach: str) -> Iterator[tuple[str, str, ast.expr]]:
    """Named literals: assignments, defaults, keyword arguments, and values under text keys."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        where, reach = f"{where}{node.name}.", LOCAL
    for name, value in _pairs(node):
        if _leaves(name, value):
            yield where + name, reach if isinstance(node, ast.Assign | ast.AnnAssign) else LOCAL, value
    if not isinstance(node, ast.JoinedStr):
        for child in ast.iter_child_nodes(node):
            yield from _named(child, where, reach)


def _pairs(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
            if isinstance(target, ast.Name):
                yield target.id, value
            elif isinstance(target, ast.Attribute):
                yield target.attr, value
        case ast.keyword(arg=str(name), value=value):
            yield name, value
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value
        case ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args):
            plain = [*args.posonlyargs, *args.args]
            yield from zip((a.arg for a in plain[len(plain) - len(args.defaults) :]), args.defaults, strict=True)
            yield from ((a.arg, d) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d)


def _bare(node: ast.AST, where: str = "") -> Iterator[tuple[str, str, ast.expr]]:
    """Numbers inside formulas, for files without named literals."""
    if isinstance(node, ast.JoinedStr | ast.Subscript | ast.Compare | ast.Raise | ast.Assert):
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        where = f"{where}{node.name}."
    for child in ast.iter_child_nodes(node):
        within = isinstance(node, ast.expr | ast.Return | ast.Assign)
        if within and isinstance(child, ast.Constant) and type(child.value) in (int, float):
            yield f"{where}number", BARE, child
            continue
        yield from _bare(child, where)


def _leaves(name: str, node: ast.expr) -> list[tuple[str, ast.expr]]:
    if isinstance(node, ast.Tuple | ast.List):
        if 0 < len(node.elts) <= 32 and all(number(item) is not None for item in node.elts):
            return [(f"{name}[{index}]", item) for index, item in enumerate(node.elts)]
        return []
    return [(name, node)] if _literal(node) is not None else []


def _literal(node: ast.expr) -> Value | None:
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, bool) or (isinstance(value, str) and _WORD.fullmatch(value)):
            return value
    return number(node)


def _operate(kind: type[ast.operator], left: int | float | None, right: int | float | None) -> int | float | None:
    if left is None or right is None:
        return None
    if kind in (ast.Pow, ast.LShift) and (abs(right) > 64 or abs(left) > 1 << 32):
        return None
    try:
        value = _OPERATIONS[kind](left, right)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return value if isinstance(value, int | float) and abs(value) < 1 << 80 else None


def _shaped(node: ast.expr, value: int) -> str | None:
    """An integer with the operators of the expression that it replaces, if possible."""
    if not isinstance(node, ast.BinOp) or value <= 0:
        return None
    left, right = number(node.left), number(node.right)
    if isinstance(node.op, ast.Mult) and isinstance(right, int) and right > 0 and value % right == 0:
        inner = _shaped(node.left, value // right) or str(value // right)
        return f"{inner} * {ast.unparse(node.right)}"
    if isinstance(node.op, ast.Pow | ast.LShift) and isinstance(left, int):
        base, unit = (left, 1) if isinstance(node.op, ast.Pow) else (2, left)
        for power in range(1, 64):
            if base > 1 and unit * base**power == value:
                return f"{left}**{power}" if isinstance(node.op, ast.Pow) else f"{left} << {power}"
    return None
