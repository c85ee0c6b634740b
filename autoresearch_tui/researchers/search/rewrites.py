"""The places of a Python file where a statement can be rewritten, and the rules that rewrite one."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from autoresearch_tui.researchers.search import forms
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe

_WIDTH = 40
_NAMED_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_BETAS = ("(0.9, 0.95)", "(0.9, 0.99)", "(0.8, 0.98)")
_NESTEROV = "momentum that looks ahead corrects itself earlier"
_PARALLEL = "two branches that read the same input save a dependency, and each sees the other's input unchanged"
_ORDER = "what comes first shapes what the other one reads"
_NORM = "where the norm stands decides what scale the residual stream may take"
_TERM = "what does not help costs time: without it more steps fit into the budget"
_HOIST = "what does not change in a loop need not be looked up in it"
_BETAS_WHY = "parameters of another kind may want another memory of their gradients"
_TIE = "one table for both ends halves what has to be learnt about each token"


class Rewrite(Frozen):
    """A new text of the file. `first`: the first one of its place and family."""

    family: str
    before: str
    after: str
    why: str
    text: str
    first: bool = True


class Place(Frozen):
    """One statement, and its position in its block. `words` are those of its names and of its function."""

    statement: ast.stmt
    block: Sequence[ast.stmt]
    index: int
    qualified: str
    words: frozenset[str]

    @property
    def next(self) -> ast.stmt | None:
        return self.block[self.index + 1] if self.index + 1 < len(self.block) else None

    def expressions(self) -> Iterator[ast.expr]:
        """The expressions of the statement itself, outer before inner, without those of statements in it."""
        waiting: list[ast.AST] = [self.statement]
        while waiting:
            node = waiting.pop(0)
            if isinstance(node, ast.expr):
                yield node
            inner = (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt))
            waiting.extend(inner)

    def needs_brackets(self, node: ast.expr) -> bool:
        """Whether the code around `node` could split its replacement."""
        for around in ast.walk(self.statement):
            if node in ast.iter_child_nodes(around):
                kinds = ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.Compare | ast.Attribute | ast.Subscript | ast.IfExp
                return isinstance(around, kinds) or (isinstance(around, ast.Call) and around.func is node)
        return True


class Source:
    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text, self.tree = text, tree
        self._lines = text.split("\n")
        starts = [0]
        for line in self._lines:
            starts.append(starts[-1] + len(line) + 1)
        self._starts = starts
        self.imported = frozenset(
            alias.asname or alias.name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        )

    def places(self) -> Iterator[Place]:
        """Every statement."""
        yield from self._places(self.tree, "", frozenset())

    def segment(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Start and end of a node, in characters."""
        one = self._at(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        return one, self._at(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def replaced(self, changes: Sequence[tuple[ast.AST, str]]) -> str:
        """The text with nodes, which do not overlap, replaced."""
        text = self.text
        for start, end, new in sorted(((*self.span(node), new) for node, new in changes), reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def without(self, statement: ast.stmt) -> str:
        """The text without the lines of a statement, which share no line with others."""
        lines = self._lines
        return "\n".join([*lines[: statement.lineno - 1], *lines[statement.end_lineno :]])

    def before(self, statement: ast.stmt, line: str, text: str) -> str:
        """`text`, which has the same lines up to the statement, with one more line before it."""
        lines = text.split("\n")
        indent = " " * statement.col_offset
        return "\n".join([*lines[: statement.lineno - 1], indent + line, *lines[statement.lineno - 1 :]])

    def _at(self, line: int, offset: int) -> int:
        text = self._lines[line - 1]
        column = offset if text.isascii() else len(text.encode()[:offset].decode())
        return self._starts[line - 1] + column

    def _places(self, node: ast.AST, qualified: str, words: frozenset[str]) -> Iterator[Place]:
        for found in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            block = [each for each in found if isinstance(each, ast.stmt)] if isinstance(found, list) else []
            for index, statement in enumerate(block):
                if isinstance(statement, _NAMED_FUNCTIONS):
                    name = f"{qualified}.{statement.name}" if qualified else statement.name
                    own = forms.words_of(ast.Name(statement.name))
                    yield from self._places(statement, name, words | own)
                    continue
                yield Place(statement, block, index, qualified, words | _own_words(statement))
                yield from self._places(statement, qualified, words)


def _own_words(statement: ast.stmt) -> frozenset[str]:
    found: frozenset[str] = frozenset({"assert"}) if isinstance(statement, ast.Assert | ast.Raise) else frozenset()
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, ast.stmt):
            found |= forms.words_of(child)
    return found


def _same(one: ast.AST, two: ast.AST) -> bool:
    return forms.bind(one, two, {})


def _grown(statement: ast.stmt | None) -> tuple[ast.Name, ast.expr, ast.expr] | None:
    """Name, whole sum and second term of `x = x + term`, or of `return x + term`."""
    match statement:
        case ast.Assign(targets=[ast.Name() as name], value=ast.BinOp(left=left, op=ast.Add(), right=term) as whole):
            return (name, whole, term) if _same(name, left) else None
        case ast.Return(value=ast.BinOp(left=ast.Name() as name, op=ast.Add(), right=term) as whole):
            return name, whole, term
    return None


def branches(source: Source, place: Place) -> Iterator[Rewrite]:
    """`x = x + f(x)` and `x = x + g(x)` in the other order, or side by side."""
    one, two = _grown(place.statement), _grown(place.next)
    if one is None or two is None or not isinstance(place.statement, ast.Assign) or not _same(one[0], two[0]):
        return
    first, second = source.segment(one[2]), source.segment(two[2])
    text = source.replaced([(one[2], second), (two[2], first)])
    yield Rewrite("order", "one branch first", "the other branch first", _ORDER, text)
    lines = Source(source.replaced([(two[1], f"{source.segment(one[1])} + {second}")]), source.tree)
    yield Rewrite("order", "one branch first", "both side by side", _PARALLEL, lines.without(place.statement), False)


def residual_norm(source: Source, place: Place) -> Iterator[Rewrite]:
    """`x + f(norm(x))`: the norm after f, or on both sides of it."""
    found = _grown(place.statement)
    if found is None:
        return
    name, _, call = found
    if not isinstance(call, ast.Call) or not call.args:
        return
    match call.args[0]:
        case ast.Call(func=norm, args=[inner], keywords=[]) as normed if _same(name, inner):
            pass
        case _:
            return
    if not forms.words_of(norm) & {"norm", "rmsnorm", "layernorm"}:
        return
    word = source.segment(norm)
    around = f"{word}({source.segment(call)})"
    after = around.replace(source.segment(normed), source.segment(inner), 1)
    yield Rewrite("norm place", "before the branch", "after the branch", _NORM, source.replaced([(call, after)]))
    yield Rewrite("norm place", "before the branch", "on both sides", _NORM, source.replaced([(call, around)]), False)


def term(source: Source, place: Place) -> Iterator[Rewrite]:
    """`x = x + term` without its term; x may have a factor that is learnt."""
    match place.statement:
        case ast.Assign(targets=[ast.Name() as name], value=ast.BinOp(left=left, op=ast.Add(), right=more) as whole):
            learnt = forms.words_of(left) & {"lambda", "lambdas", "scale", "gate"}
            if place.qualified and (_same(name, left) or (learnt and forms.words_of(name) <= forms.words_of(left))):
                whole_sum = f"… + {describe(source.segment(more), _WIDTH)}"
                text = source.replaced([(whole, source.segment(left))])
                yield Rewrite("term", f"{name.id} = {whole_sum}", "without that term", _TERM, text)


def nesterov(source: Source, place: Place) -> Iterator[Rewrite]:
    """`v = m * v - g; x += v` as Nesterov's momentum."""
    match place.statement, place.next:
        case (
            ast.Assign(targets=[velocity], value=ast.BinOp(left=ast.BinOp(op=ast.Mult()), op=ast.Sub()) as value),
            ast.AugAssign(op=ast.Add(), value=added),
        ) if _same(velocity, added) and any(_same(velocity, node) for node in ast.walk(value.left)):
            text = source.replaced([(added, source.segment(value))])
            yield Rewrite("momentum", "plain momentum", "Nesterov's", _NESTEROV, text)


def betas(source: Source, place: Place) -> Iterator[Rewrite]:
    """Separate betas for one of several optimizers that share them."""
    for node in place.expressions():
        if not isinstance(node, ast.Call) or not _last_words(node.func) & {"adam", "adamw", "lion"}:
            continue
        if any(keyword.arg is None or keyword.arg.startswith("beta") for keyword in node.keywords):
            continue
        if "betas" not in source.text:
            continue
        called = source.segment(node)
        about = describe(source.segment(node.args[0]), _WIDTH) if node.args else "it"
        for values in _BETAS:
            text = source.replaced([(node, f"{called[:-1].rstrip().rstrip(',')}, betas={values})")])
            before = f"the betas of {about}"
            yield Rewrite("betas", before, values, _BETAS_WHY, text, values == _BETAS[0])


def _last_words(function: ast.expr) -> frozenset[str]:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return forms.words_of(ast.Name(name))


def tie(source: Source, place: Place) -> Iterator[Rewrite]:
    """The output layer's weight is the embedding's."""
    for other in place.block[: place.index]:
        match other, place.statement:
            case (
                ast.Assign(targets=[ast.Attribute() as table], value=ast.Call(func=made, args=[size, width])),
                ast.Assign(targets=[ast.Attribute() as head], value=ast.Call(args=[inner, outer, *_])),
            ) if "embedding" in forms.words_of(made) and _same(size, outer) and _same(width, inner):
                line = f"{source.segment(head)}.weight = {source.segment(table)}.weight"
                following = place.next
                if following is not None:
                    text = source.before(following, line, source.text)
                    yield Rewrite("tying", "tables of their own", line, _TIE, text)
                return


def hoist(source: Source, place: Place) -> Iterator[Rewrite]:
    """`len(x)` in a loop's condition, and `x.append` in its body, looked up once before it."""
    loop = place.statement
    if not isinstance(loop, ast.While | ast.For) or not place.qualified:
        return
    stored = {n.id for n in ast.walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    changed = {
        n.value.id
        for n in ast.walk(loop)
        if isinstance(n, ast.Attribute | ast.Subscript)
        and isinstance(n.value, ast.Name)
        and (isinstance(n, ast.Attribute) or isinstance(n.ctx, ast.Store | ast.Del))
    }
    lengths: dict[str, list[ast.AST]] = {}
    methods: dict[str, list[ast.AST]] = {}
    for node in ast.walk(loop):
        match node:
            case ast.Call(func=ast.Name(id="len"), args=[ast.Name(id=name)]) if name not in stored | changed:
                lengths.setdefault(name, []).append(node)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append") as method) if name not in stored:
                methods.setdefault(name, []).append(method)
    for found, new, made in ((lengths, "length_of_", "len({})"), (methods, "append_to_", "{}.append")):
        for name, nodes in found.items():
            text = source.replaced([(node, new + name) for node in nodes])
            text = source.before(loop, f"{new}{name} = {made.format(name)}", text)
            what = made.format(name)
            yield Rewrite(f"hoist {what}", f"{what} in the loop", "once before it", _HOIST, text)


RULES: tuple[Callable[[Source, Place], Iterator[Rewrite]], ...] = (
    branches,
    residual_norm,
    term,
    nesterov,
    betas,
    tie,
    hoist,
)
