"""Evaluates the names in a Python module from its syntax, without executing anything.

It follows arithmetic, paths, environment variables with their defaults, names of other modules in the same folder, and
functions that are one `return`; everything else is unknown.
"""

from __future__ import annotations

import ast
import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from autoresearch_tui.python_source.syntax import ARITHMETIC

_DEEP = 40  # the deepest chain of names
_LONG = 4096
_MODULES = 40
_LARGE = 2 << 20
_PLAIN_CALLS: Mapping[str, Callable[..., Any]] = {
    "int": int, "float": float, "str": str, "round": round, "min": min, "max": max, "abs": abs,
    "math.ceil": math.ceil, "math.floor": math.floor,
}  # fmt: skip
_PATHS = ("Path", "PurePath", "PosixPath")
_SECONDS = {"weeks": 604800, "days": 86400, "hours": 3600, "minutes": 60, "seconds": 1, "milliseconds": 0.001}


class Unknown(Exception):
    """An expression that cannot be evaluated; `str()` is its source, in one line."""

    def __init__(self, what: ast.expr | str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return self.what if isinstance(self.what, str) else _source(self.what)


class _TooDeep(Unknown):
    """A chain of names that is too deep here; evaluated by itself, this expression may work."""


class Modules:
    """The modules of one folder tree, read on demand, as a process with this environment sees them."""

    def __init__(self, root: Path, environ: Mapping[str, str], home: Path | str, like: Modules | None = None) -> None:
        """`like`: modules of the same tree, whose parsed syntax is reused."""
        self.root = root
        self.environ = environ
        self.home = str(home)
        self._like = like
        self._read: dict[Path, Module | None] = {}
        self._named: dict[tuple[Path, str], Path | None] = {}

    def find(self, name: str, tops: Sequence[Path]) -> Path | None:
        """The file of a module by its dotted name, in the first of these folders that has it."""
        for top in tops:
            if (top, name) not in self._named:
                paths = (top / f"{name.replace('.', '/')}.py", top / name.replace(".", "/") / "__init__.py")
                self._named[top, name] = next((path for path in paths if name and path.is_file()), None)
            if (found := self._named[top, name]) is not None:
                return found
        return None

    def module(self, path: Path) -> Module | None:
        """The parsed module; None if the file is missing or does not parse."""
        if path not in self._read:
            self._read[path] = None  # for circular imports
            try:
                if self._like is not None and (theirs := self._like.module(path)) is not None:
                    self._read[path] = Module(self, path, theirs.text, theirs.tree)
                elif path.is_file() and path.stat().st_size <= _LARGE:
                    self._read[path] = Module(self, path, path.read_text("utf-8", "replace"))
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                pass
        return self._read[path]

    def reached(self, paths: Sequence[Path]) -> Iterator[Module]:
        """The modules in these files, then those of the tree that they import, lazily."""
        seen: set[Path] = set()
        waiting = list(paths)
        while waiting and len(seen) < _MODULES:
            path = waiting.pop(0)
            module = self.module(path) if path not in seen else None
            seen.add(path)
            if module is not None:
                yield module
                waiting += module.imported()


@functools.lru_cache(maxsize=2 * _MODULES)
def _tree(text: str) -> ast.Module:
    """The syntax, which nobody changes: the locked files of a lab are read again and again."""
    return ast.parse(text)


class Module:
    """One module's names and expressions."""

    def __init__(self, modules: Modules, path: Path, text: str, tree: ast.Module | None = None) -> None:
        self.path = path
        self.text = text
        self.tree = tree or _tree(text.removeprefix("\ufeff"))
        self._modules = modules
        self._followed: dict[int, Any] = {}  # by node id: its value, or an Unknown
        self._files: dict[tuple[str, int], Path | None] = {}
        self._values: dict[str, ast.expr | None] = {}
        self._functions: dict[str, ast.FunctionDef] = {}
        self._aliases: dict[str, tuple[str, str]] = {}  # imported name: module, name in it
        self._collect(self.tree.body, certain=True)

    @functools.cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of its syntax, level by level, without operators and contexts."""
        found: list[ast.AST] = [self.tree]
        for node in found:
            for name in node._fields:
                if name in ("ctx", "op", "ops"):
                    continue
                value = getattr(node, name, None)
                if isinstance(value, ast.AST):
                    found.append(value)
                elif isinstance(value, list):
                    found += [each for each in value if isinstance(each, ast.AST)]
        return tuple(found)

    def defines(self, name: str) -> bool:
        """Whether the module assigns the name at its top level."""
        return name in self._values

    def names(self) -> tuple[str, ...]:
        """The names that the module assigns at its top level."""
        return tuple(self._values)

    def value(self, name: str) -> Any:
        """The value of a name at the module's top level. Raises Unknown if it is missing or cannot be evaluated."""
        return self._name(name, 0)

    def evaluate(self, node: ast.expr) -> Any:
        """The value of an expression. Raises Unknown."""
        return self._evaluate(node, {}, 0)

    def imported(self) -> Iterator[Path]:
        """The files of the tree that it imports, anywhere in its code."""
        for node in self.nodes:
            match node:
                case ast.Import(names=names):
                    found = [self._file(name.name, 0) for name in names]
                case ast.ImportFrom(module=module, names=names, level=level):
                    inside = (f"{module or ''}.{name.name}".lstrip(".") for name in names)
                    found = [self._file(name, level) for name in (module or "", *inside)]
                case _:
                    continue
            yield from (path for path in found if path is not None)

    def expressions(self) -> Iterator[tuple[ast.expr, Any]]:
        """Every expression that can be evaluated, with its value."""
        for node in self.nodes:
            if isinstance(node, ast.Call | ast.BinOp | ast.Constant | ast.JoinedStr | ast.Attribute | ast.BoolOp):
                try:
                    yield node, self._evaluate(node, {}, 0)
                except Unknown:
                    continue

    def _collect(self, body: Sequence[ast.stmt], *, certain: bool) -> None:
        for node in body:
            match node:
                case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                    self._assign(node, certain=certain)
                case ast.FunctionDef(name=name):
                    self._functions[name] = node
                case ast.Import(names=names):
                    for each in names:
                        self._aliases[each.asname or each.name.partition(".")[0]] = (each.name, "")
                case ast.ImportFrom(module=module, names=names, level=level):
                    for each in names:
                        self._aliases[each.asname or each.name] = ("." * level + (module or ""), each.name)
                case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                    continue
                case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While():
                    for part in ("body", "orelse", "finalbody"):
                        self._collect(getattr(node, part, []), certain=False)

    def _assign(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, *, certain: bool) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for name in (target.id for target in targets if isinstance(target, ast.Name)):
                    self._set(name, value, certain=certain)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self._set(name, value, certain=certain)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                before = self._values.get(name)
                self._values[name] = ast.BinOp(before, op, value) if before is not None and certain else None

    def _set(self, name: str, value: ast.expr, *, certain: bool) -> None:
        """A name with several possible values is unknown."""
        before = self._values.get(name, value)
        same = before is value or (before is not None and ast.dump(before) == ast.dump(value))
        self._values[name] = value if certain or same else None

    def _file(self, name: str, level: int) -> Path | None:
        if (name, level) not in self._files:
            tops = [self._modules.root, self.path.parent] if not level else [self.path.parents[level - 1]]
            self._files[name, level] = self._modules.find(name, tops)
        return self._files[name, level]

    def _name(self, name: str, depth: int) -> Any:
        if depth > _DEEP:
            raise _TooDeep(name)
        if name in self._values:
            value = self._values[name]
            if value is None:
                raise Unknown(f"{name}, which has several values")
            return self._evaluate(value, {}, depth + 1)
        if name in self._aliases:
            module, theirs = self._aliases[name]
            path = self._file(module.lstrip("."), len(module) - len(module.lstrip(".")))
            found = self._modules.module(path) if path is not None and theirs else None
            if found is not None:
                return found._name(theirs, depth + 1)
        if name == "__file__":
            return str(self.path)
        raise Unknown(name)

    def _evaluate(self, node: ast.expr, local: Mapping[str, Any], depth: int) -> Any:
        if depth > _DEEP:
            raise _TooDeep(node)
        if local:
            return self._compute(node, local, depth)
        # Cached: an expression is evaluated by itself, and as a part of others.
        if (found := self._followed.get(id(node), self)) is self:
            try:
                found = self._compute(node, local, depth)
            except _TooDeep:
                raise
            except Unknown as error:
                found = Unknown(error.what)  # without the traceback of the error
            self._followed[id(node)] = found
        if isinstance(found, Unknown):
            raise Unknown(found.what)
        return found

    def _compute(self, node: ast.expr, local: Mapping[str, Any], depth: int) -> Any:
        try:
            value = self._follow(node, local, depth + 1)
        except (ArithmeticError, ValueError, TypeError, LookupError, AttributeError, MemoryError, RecursionError):
            raise Unknown(node) from None
        if isinstance(value, str | bytes | tuple | dict) and len(value) > _LONG:
            raise Unknown(node)
        return value

    def _follow(self, node: ast.expr, local: Mapping[str, Any], depth: int) -> Any:
        def sub(other: ast.expr) -> Any:
            return self._evaluate(other, local, depth)

        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return local[name] if name in local else self._name(name, depth)
            case ast.UnaryOp() | ast.BinOp() | ast.BoolOp() | ast.IfExp():
                return _computed(node, sub)
            case ast.Tuple() | ast.List() | ast.Dict() | ast.JoinedStr():
                return _collection(node, sub)
            case ast.Subscript(value=value, slice=key) if _dotted(value) in ("os.environ", "environ"):
                return self._modules.environ[sub(key)]
            case ast.Subscript(value=value, slice=key):
                return sub(value)[sub(key)]
            case ast.Attribute(value=value, attr=attribute):
                return self._attribute(value, attribute, sub, depth)
            case ast.Call(func=function, args=args, keywords=keywords):
                return self._call(function, args, keywords, sub, depth)
        raise Unknown(node)

    def _attribute(self, value: ast.expr, attribute: str, sub: Callable[[ast.expr], Any], depth: int) -> Any:
        if isinstance(value, ast.Name) and value.id in self._aliases and value.id not in self._values:
            module, theirs = self._aliases[value.id]
            name = f"{module}.{theirs}".strip(".") if theirs else module
            path = self._file(name, 0)
            found = self._modules.module(path) if path is not None else None
            if found is not None:
                return found._name(attribute, depth)
        where = sub(value)
        if isinstance(where, PurePosixPath):
            if attribute == "parent":
                return where.parent
            if attribute == "parents":
                return tuple(where.parents)
            if attribute in ("name", "stem", "suffix"):
                return getattr(where, attribute)
        raise Unknown(value)

    def _call(
        self,
        function: ast.expr,
        args: Sequence[ast.expr],
        keywords: Sequence[ast.keyword],
        sub: Callable[[ast.expr], Any],
        depth: int,
    ) -> Any:
        name = _dotted(function)
        named = {each.arg: sub(each.value) for each in keywords if each.arg is not None and name not in _PATHS}
        if name in ("os.environ.get", "environ.get", "os.getenv", "getenv"):
            return self._modules.environ.get(sub(args[0]), sub(args[1]) if len(args) > 1 else named.get("default"))
        if name in ("timedelta", "datetime.timedelta"):
            return _Span(sum(_SECONDS[key] * value for key, value in named.items()))
        if isinstance(function, ast.Attribute) and function.attr == "total_seconds":
            return sub(function.value).seconds
        if name.rpartition(".")[2] in ("Path", "PurePath", "PosixPath") and name.count(".") < 2:
            return PurePosixPath(*(sub(each) for each in args))
        if name in ("Path.home", "pathlib.Path.home"):
            return PurePosixPath(self._modules.home)
        if name in ("Path.cwd", "pathlib.Path.cwd", "os.getcwd"):
            return PurePosixPath(self._modules.root) if name != "os.getcwd" else str(self._modules.root)
        if name.startswith(("os.path.", "path.", "osp.")):
            return self._os_path(name.rpartition(".")[2], [sub(each) for each in args])
        if name in _PLAIN_CALLS:
            return _PLAIN_CALLS[name](*(sub(each) for each in args), **named)
        if name in self._functions and name not in self._values:
            return self._returned(self._functions[name], [sub(each) for each in args], named, depth)
        if isinstance(function, ast.Attribute):
            return self._method(sub(function.value), function.attr, [sub(each) for each in args])
        raise Unknown(function)

    def _os_path(self, name: str, args: Sequence[Any]) -> Any:
        if name == "expanduser":
            return self._at_home(str(args[0]))
        if name == "expandvars":
            text = str(args[0])
            for key, value in self._modules.environ.items():
                text = text.replace(f"${{{key}}}", value).replace(f"${key}", value)
            return text.replace("$HOME", self._modules.home)
        if name in ("abspath", "realpath"):
            return os.path.normpath(self._modules.root / str(args[0]))
        if name in ("join", "dirname", "basename", "normpath"):
            return getattr(os.path, name)(*map(str, args))
        raise Unknown(f"os.path.{name}(…)")

    def _method(self, value: Any, name: str, args: Sequence[Any]) -> Any:
        if isinstance(value, PurePosixPath):
            if name == "expanduser":
                return PurePosixPath(self._at_home(str(value)))
            if name in ("resolve", "absolute"):
                return PurePosixPath(os.path.normpath(self._modules.root / value))
            if name in ("joinpath", "with_name", "with_suffix", "as_posix"):
                return getattr(value, name)(*args)
        if isinstance(value, str) and name in ("strip", "lower", "upper", "rstrip", "lstrip", "format", "replace"):
            return getattr(value, name)(*args)
        if isinstance(value, dict) and name == "get":
            return value.get(*args)
        raise Unknown(f"….{name}(…)")

    def _at_home(self, text: str) -> str:
        return self._modules.home + text[1:] if text == "~" or text.startswith("~/") else text

    def _returned(self, node: ast.FunctionDef, args: Sequence[Any], named: Mapping[str, Any], depth: int) -> Any:
        """The result of a function that is one `return`."""
        body = [each for each in node.body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
        names = [each.arg for each in (*node.args.args, *node.args.kwonlyargs)]
        defaults = node.args.defaults
        local = {
            name: self._evaluate(value, {}, depth)
            for name, value in zip([each.arg for each in node.args.args][-len(defaults) :], defaults, strict=False)
            if defaults
        }
        local |= dict(zip(names, args, strict=False)) | dict(named)
        if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value is not None:
            return self._evaluate(body[0].value, local, depth)
        raise Unknown(f"{node.name}(…)")


class _Span:
    """A `timedelta`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def _computed(node: ast.UnaryOp | ast.BinOp | ast.BoolOp | ast.IfExp, sub: Callable[[ast.expr], Any]) -> Any:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -sub(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            return _binary(type(op), sub(left), sub(right))
        case ast.BoolOp(op=op, values=values):
            return _either(values, sub, until=isinstance(op, ast.Or))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return sub(body) if sub(test) else sub(orelse)
    raise Unknown(node)


def _collection(node: ast.Tuple | ast.List | ast.Dict | ast.JoinedStr, sub: Callable[[ast.expr], Any]) -> Any:
    match node:
        case ast.Dict(keys=keys, values=values):
            return {sub(key): sub(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case ast.JoinedStr(values=parts):
            return "".join(str(sub(part.value if isinstance(part, ast.FormattedValue) else part)) for part in parts)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(sub(item) for item in items)


def _binary(op: type[ast.operator], left: Any, right: Any) -> Any:
    if isinstance(left, PurePosixPath) and op is ast.Div:
        return left / str(right)
    if op is ast.Pow and (abs(left) > 1e6 or abs(right) > 64):
        raise ValueError
    if op is ast.Mult and not all(isinstance(each, int | float) for each in (left, right)):
        raise ValueError
    return ARITHMETIC[op](left, right)


def _either(values: Sequence[ast.expr], sub: Callable[[ast.expr], Any], *, until: bool) -> Any:
    """`a or b`, `a and b`."""
    value: Any = None
    for each in values:
        value = sub(each)
        if bool(value) is until:
            break
    return value


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute) if inner := _dotted(value):
            return f"{inner}.{attribute}"
    return ""


def _source(node: ast.expr) -> str:
    try:
        text = " ".join(ast.unparse(node).split())
    except (ValueError, RecursionError, AttributeError):
        return "an expression"
    return text if len(text) <= 80 else f"{text[:79]}…"
