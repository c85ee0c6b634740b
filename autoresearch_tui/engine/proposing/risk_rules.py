"""The risk rules: constructs of a Python file that could bend the score."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from autoresearch_tui.util.frozen import Frozen

_MODULES = {
    "network": "socket ssl urllib urllib3 http requests httpx aiohttp ftplib smtplib poplib imaplib telnetlib xmlrpc "
    "websocket websockets paramiko huggingface_hub grpc zmq",
    "processes": "subprocess multiprocessing signal threading concurrent _thread pty psutil resource atexit sched "
    "asyncio faulthandler",
    "files": "shutil tempfile pickle shelve sqlite3 mmap glob fileinput pathlib io zipfile tarfile joblib safetensors "
    "h5py dbm",
    "data": "pyarrow datasets pandas tokenizers tiktoken sentencepiece",
    "clock": "time datetime timeit",
    "seed": "random secrets",
    "code": "ctypes cffi importlib imp runpy inspect marshal codecs base64 zlib binascii code codeop builtins types "
    "gc weakref pkgutil site sysconfig dis",
    "metrics": "logging",
}
KIND_OF_MODULE = {module: kind for kind, names in _MODULES.items() for module in names.split()}
# Model and optimiser code may import these freely.
PLAIN = frozenset(
    "torch math dataclasses typing functools itertools collections numpy einops __future__ abc enum".split()
)
# Modules of torch that share a name with others.
_NAMESAKES = frozenset({"torch.types", "torch.signal", "torch.nn.modules", "torch.utils.data.datasets"})
# No attribute of a model has such a name, so through any object it is the module.
_MODULE_ATTRIBUTES = frozenset(
    "os sys subprocess importlib builtins socket shutil ctypes pickle urllib threading multiprocessing".split()
)

_IDENTIFIERS: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (kind, re.compile(pattern), why)
    for kind, pattern, why in (
        ("evaluation", r"(^|_)(eval|evals|evaluate|evaluation|evaluator|validation|referee)(_|$)", "evaluation"),
        ("evaluation", r"^val_|_val$|_val_|^bits_per_byte$|^bpb$|_bpb$", "the validation score or its data"),
        (
            "data",
            r"(^|_)(dataloader|loader|loaders|dataset|datasets|parquet|shard|shards|corpus)(_|$)",
            "training data",
        ),
        ("data", r"(^|_)tokenizer(_|$)|^data_(dir|path|file)|^token_bytes$", "the tokenizer or the data"),
        ("seed", r"(^|_)(seed|seeds|rng|randomstate|default_rng)(_|$)", "randomness"),
        ("clock", r"(^|_)(budget|deadline|elapsed|timeout|perf_counter|monotonic|synchronize)(_|$)", "the clock"),
        ("clock", r"(^|_)(train|training|total|start|end|wall|run)_(time|seconds)(_|$)|^time_|_seconds$", "the clock"),
    )
)
_BUILTINS = {
    "exec": ("code", "executes text as code"),
    "eval": ("code", "executes text as code"),
    "compile": ("code", "compiles text as code"),
    "__import__": ("code", "imports by name"),
    "getattr": ("code", "reaches attributes by name"),
    "setattr": ("code", "sets attributes by name"),
    "delattr": ("code", "deletes attributes by name"),
    "globals": ("code", "reaches the module's names"),
    "locals": ("code", "reaches local names"),
    "vars": ("code", "reaches an object's names"),
    "breakpoint": ("code", "starts a debugger"),
    "open": ("files", "opens a file"),
    "input": ("files", "reads standard input"),
    "exit": ("processes", "ends the process"),
    "quit": ("processes", "ends the process"),
    "print": ("metrics", "prints to the log"),
}
_ATTRIBUTES = {
    **dict.fromkeys(
        "read_text write_text read_bytes write_bytes unlink rmtree iterdir rglob mkdir memmap".split(), "files"
    ),
    **dict.fromkeys(["fromfile", "tofile", "savez", "symlink_to", "hardlink_to", "expanduser"], "files"),
    **dict.fromkeys(
        ["manual_seed", "set_rng_state", "get_rng_state", "set_state", "initial_seed", "Generator", "PRNGKey"], "seed"
    ),
    **dict.fromkeys(["Popen", "check_output", "check_call", "set_start_method"], "processes"),
    **dict.fromkeys(
        ["_getframe", "settrace", "setprofile", "modules", "meta_path", "path_hooks", "addaudithook"], "code"
    ),
    **dict.fromkeys(["stdout", "stderr", "__stdout__"], "metrics"),
    **dict.fromkeys(["urlopen", "urlretrieve"], "network"),
}
_DOTTED = {
    "torch.save": "files",
    "torch.load": "files",
    "torch.hub": "network",
    "torch.distributed": "processes",
    "torch.utils.cpp_extension": "code",
    "torch.ops.load_library": "code",
    "torch.utils.data": "data",
    "torch.seed": "seed",
    "numpy.load": "files",
    "numpy.save": "files",
    "numpy.random.seed": "seed",
    "numpy.random": "seed",
    "sys.exit": "processes",
    "sys.path": "code",
    "sys.argv": "processes",
    "json.dump": "files",
    "json.load": "files",
}
_SETTINGS = re.compile(r"^torch\.(backends|_dynamo\.config|_inductor\.config|_functorch\.config)\b")
_SUMMARY = re.compile(
    r"val_bpb|training_seconds|total_seconds|peak_vram|mfu_percent|total_tokens|num_steps|num_params|^-{3}$|FAIL\b"
)
_SPLITS = frozenset({"val", "valid", "validation", "test"})
_MAGIC = re.compile(r"^__\w+__$")
_COMMON_MAGIC = frozenset(
    ["__init__", "__name__", "__call__", "__len__", "__iter__", "__next__", "__repr__", "__post_init__", "__version__"]
)
_DEFINED_MAGIC = _COMMON_MAGIC | {"__getitem__", "__enter__", "__exit__", "__str__", "__hash__", "__eq__"}
_SHADOWED = frozenset(
    "print open float int str min max sum round len range type isinstance abs sorted format repr".split()
)
# Methods of a model that its referee, its optimiser or torch calls.
_CALLED = frozenset(
    "forward __call__ eval train parameters named_parameters buffers state_dict load_state_dict".split()
)
# Methods that change what they are called on.
_MUTATES = frozenset("append extend insert add update pop popitem clear remove setdefault appendleft".split())
_DRAWS = re.compile(
    r"^(torch|numpy\.random|random)\.(rand|randn|randint|randperm|rand_like|randn_like|randint_like|normal|bernoulli"
    r"|multinomial|poisson|random|choice|shuffle|uniform|standard_normal|permutation)$|^torch\.nn\.(?!init\b|functional\b)\w+$"
)
_DRAWS_IN_PLACE = frozenset("normal_ uniform_ random_ bernoulli_ exponential_ log_normal_ cauchy_ geometric_".split())
_SHORT_BODY = 3  # statements: so few are what the condition is about


class RiskMatch(Frozen):
    """A construct on the lines `first` to `last`."""

    first: int
    last: int
    kind: str
    why: str


def risk_matches(tree: ast.Module) -> list[RiskMatch]:
    """Every construct of a file that could bend the score."""
    finder = RiskVisitor(tree)
    finder.visit(tree)
    return [*finder.found, *_endings(tree), *_kept_state(tree), *_unused_draws(tree, finder.dotted)]


class RiskVisitor(ast.NodeVisitor):
    def __init__(self, tree: ast.Module) -> None:
        self.found: list[RiskMatch] = []
        self._imported: dict[str, str] = {}
        self._classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)} | {"cls"}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._imported[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._imported[alias.asname or alias.name] = f"{node.module or '.'}.{alias.name}"

    def _add(self, node: ast.AST, kind: str, why: str) -> None:
        self.found.append(_match(node, kind, why))

    # --- imports ---

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._import(node, alias.name, alias.asname)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or "."
        for alias in node.names:
            self._import(node, module, None, alias.name)
            self._identifier(node, alias.name)

    def _import(self, node: ast.AST, module: str, asname: str | None, name: str = "") -> None:
        top = module.partition(".")[0]
        dotted = f"{module}.{name}" if name else module
        kind = _dotted_kind(dotted) or KIND_OF_MODULE.get(top) or _kind_behind(dotted)
        if kind:
            self._add(node, kind, f"imports {dotted}")
        elif top not in PLAIN or name == "*":
            self._add(node, "imports", f"imports {dotted}")
        if (asname in PLAIN and asname != module) or (asname in KIND_OF_MODULE and asname != module):
            self._add(node, "code", f"passes {module} off as {asname}")

    # --- names ---

    def _identifier(self, node: ast.AST, name: str) -> None:
        lower = name.lower()
        for kind, pattern, what in _IDENTIFIERS:
            if pattern.search(lower):
                self._add(node, kind, f"touches {what} (`{name}`)")
                return

    def visit_Name(self, node: ast.Name) -> None:
        self._identifier(node, node.id)
        if not isinstance(node.ctx, ast.Load):
            if node.id in self._imported:
                self._add(node, "code", f"rebinds the imported name `{node.id}`")
            elif node.id in _SHADOWED:
                self._add(node, "code", f"rebinds the builtin `{node.id}`")
        elif _MAGIC.match(node.id) and node.id not in _COMMON_MAGIC:
            self._add(node, "code", f"reaches `{node.id}`")
        elif node.id in _BUILTINS and node.id not in ("print", "compile"):
            self._add(node, *_BUILTINS[node.id])
        elif kind := self._kind_of(self._imported.get(node.id, "")):
            self._add(node, kind, f"uses {self._imported[node.id]}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        dotted = self.dotted(node)
        if dotted and not isinstance(node.ctx, ast.Load) and not _SETTINGS.match(dotted):
            self._add(node, "code", f"patches {dotted}")
        if dotted and (kind := self._kind_of(dotted)):
            self._add(node, kind, f"uses {dotted}")
            return
        if not isinstance(node.ctx, ast.Load):
            self._replaced(node)
        if kind := _ATTRIBUTES.get(node.attr):
            self._add(node, kind, f"uses .{node.attr}")
        elif node.attr in _MODULE_ATTRIBUTES:
            self._add(node, KIND_OF_MODULE.get(node.attr, "code"), f"reaches the module `{node.attr}`")
        elif _MAGIC.match(node.attr) and node.attr not in _COMMON_MAGIC:
            self._add(node, "code", f"reaches `.{node.attr}`")
        else:
            self._identifier(node, node.attr)
        self.visit(node.value)

    def _replaced(self, node: ast.Attribute) -> None:
        """An attribute of a class that is set from outside, or a method that others call."""
        if isinstance(node.value, ast.Name) and node.value.id in self._classes:
            self._add(node, "code", f"sets `{node.attr}` of the class `{node.value.id}` from outside")
        elif node.attr in _CALLED:
            self._add(node, "code", f"replaces `.{node.attr}`")

    def visit_Subscript(self, node: ast.Subscript) -> None:
        dotted = self.dotted(node.value)
        if dotted and not isinstance(node.ctx, ast.Load) and not _SETTINGS.match(dotted):
            self._add(node, "code", f"patches {dotted}")
        self.generic_visit(node)

    def dotted(self, node: ast.AST) -> str | None:
        """`torch.nn.functional.relu` for what an import reaches, whatever its local name."""
        if isinstance(node, ast.Name):
            return self._imported.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else None
        return None

    def _kind_of(self, dotted: str) -> str | None:
        top, _, rest = dotted.partition(".")
        if top == "os":
            if rest.startswith(("path.join", "path.basename", "cpu_count")):
                return None
            return _kind_of_os(rest)
        return _dotted_kind(dotted) or KIND_OF_MODULE.get(top) or _kind_behind(dotted)

    # --- calls, bindings and what stands in front of them ---

    def visit_Call(self, node: ast.Call) -> None:
        before = len(self.found)
        if isinstance(node.func, ast.Name) and node.func.id in _BUILTINS and node.func.id not in self._imported:
            self._add(node, *_BUILTINS[node.func.id])
        else:
            self.visit(node.func)
        # A change of an argument is a change of the call, however many lines it takes.
        self.found[before:] = [
            RiskMatch(f.first, node.end_lineno or f.last, f.kind, f.why) for f in self.found[before:]
        ]
        for child in (*node.args, *node.keywords):
            self.visit(child)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self._identifier(node, node.arg)
        self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._binding(node, node.targets)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._binding(node, [node.target])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._binding(node, [node.target])

    def _binding(self, node: ast.Assign | ast.AugAssign | ast.AnnAssign, targets: list[ast.expr]) -> None:
        before = len(self.found)
        for target in targets:
            self.visit(target)
        self.found[before:] = [
            RiskMatch(f.first, node.end_lineno or f.last, f.kind, f.why) for f in self.found[before:]
        ]
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._definition(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._definition(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._definition(node)

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._identifier(node, node.name)
        if _MAGIC.match(node.name) and node.name not in _DEFINED_MAGIC:
            self._add(node, "code", f"defines `{node.name}`")
        if node.name in self._imported or node.name in _SHADOWED:
            self._add(node, "code", f"redefines `{node.name}`")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._guard(node, node.test, node.body)

    def visit_While(self, node: ast.While) -> None:
        self._guard(node, node.test, node.body)

    def _guard(self, node: ast.If | ast.While, test: ast.expr, body: list[ast.stmt]) -> None:
        before = len(self.found)
        self.generic_visit(node)
        if len(body) <= _SHORT_BODY:
            first, last = node.lineno, test.end_lineno or node.lineno
            inside = {(f.kind, f.why) for f in self.found[before:] if f.first > last}
            self.found += [RiskMatch(first, last, kind, f"guards what {why}") for kind, why in sorted(inside)]

    def visit_Expr(self, node: ast.Expr) -> None:
        if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        text = node.value
        if not isinstance(text, str):
            return
        if _SUMMARY.search(text):
            self._add(node, "metrics", "spells a line of the summary")
        elif text in _SPLITS:
            self._add(node, "evaluation", f"names the split {text!r}")
        elif "://" in text:
            self._add(node, "network", "has an address")
        elif ".parquet" in text or "shard_" in text:
            self._add(node, "data", "names a data file")
        elif re.match(r"(/|~|\.\.)\S", text):
            self._add(node, "files", "names a path")


def _match(node: ast.AST, kind: str, why: str) -> RiskMatch:
    first = getattr(node, "lineno", 1)
    return RiskMatch(first, getattr(node, "end_lineno", None) or first, kind, why)


def _dotted_kind(dotted: str) -> str | None:
    return next((kind for name, kind in _DOTTED.items() if dotted == name or dotted.startswith(name + ".")), None)


def _kind_of_os(name: str) -> str:
    acts = re.match(r"environ|getenv|system|fork|exec|spawn|kill|popen|_exit|nice|get.id|sched", name)
    return "processes" if acts else "files"


def _kind_behind(dotted: str) -> str | None:
    """The kind of a module that is reached through another one, as `prepare.os.environ` reaches `os`."""
    parts = dotted.split(".")
    for place in range(1, len(parts)):
        name, path = parts[place], ".".join(parts[: place + 1])
        if name == "os":
            return _kind_of_os(".".join(parts[place + 1 :]))
        if path not in _NAMESAKES and (name == "sys" or name in KIND_OF_MODULE):
            return KIND_OF_MODULE.get(name, "code")
    return None


# --- constructs that show only in how names are used ---

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _is_clock(name: str) -> bool:
    return any(kind == "clock" and pattern.search(name.lower()) for kind, pattern, _ in _IDENTIFIERS)


def _names(node: ast.AST) -> set[str]:
    """The names and attributes that an expression reads."""
    found = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return found | {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}


def _assigned(node: ast.AST) -> tuple[list[ast.expr], ast.expr | None]:
    match node:
        case ast.Assign():
            return node.targets, node.value
        case ast.AugAssign() | ast.AnnAssign() | ast.NamedExpr():
            return [node.target], node.value
    return [], None


def _scopes(tree: ast.Module) -> list[list[ast.AST]]:
    """The nodes of the module and of each function, without those of the functions inside."""
    found: list[list[ast.AST]] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        top, nodes = waiting.pop(), list[ast.AST]()
        inside = list(ast.iter_child_nodes(top))
        while inside:
            node = inside.pop()
            if isinstance(node, _Function | ast.Lambda):
                waiting.append(node)
                continue
            nodes.append(node)
            inside += ast.iter_child_nodes(node)
        found.append(nodes)
    return found


def _endings(tree: ast.Module) -> list[RiskMatch]:
    """What decides when training ends, and what sets the values that time is divided by or compared with."""
    found: list[RiskMatch] = []
    measures: set[str] = set()
    ending = _behind_endings(tree)
    for nodes in _scopes(tree):
        clocks = _tainted(nodes)
        aside = _aside(nodes, ending)
        tests = [node.test for node in nodes if isinstance(node, ast.While | ast.If) and _ends_loop(node)]
        found += [
            _match(test, "clock", f"ends by `{min(_names(test) & clocks)}`") for test in tests if _names(test) & clocks
        ]
        for node in nodes:
            if node not in aside:
                measures |= _measures(node, clocks)
    for nodes in _scopes(tree):
        for node in nodes:
            targets, value = _assigned(node)
            named = {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
            if value is not None and (against := sorted(named & measures)):
                found.append(_match(node, "clock", f"is what the time is held against (`{against[0]}`)"))
    return found


def _behind_endings(tree: ast.Module) -> set[str]:
    """Every name on which the end of a loop may depend."""
    nodes = list(ast.walk(tree))
    found = set[str]().union(
        *(_names(node.test) for node in nodes if isinstance(node, ast.While | ast.If) and _ends_loop(node))
    )
    while True:
        size = len(found)
        for node in nodes:
            targets, value = _assigned(node)
            if value is not None and any(_names(target) & found for target in targets):
                found |= _names(value)
        if len(found) == size:
            return found


def _aside(nodes: list[ast.AST], ending: set[str]) -> set[ast.AST]:
    """Computations for something other than an ending, such as learning rates, which also follow the time."""
    found: set[ast.AST] = set()
    for node in nodes:
        targets, value = _assigned(node)
        if value is not None and not any(_names(target) & ending for target in targets):
            found |= set(ast.walk(value))
    return found


def _tainted(nodes: list[ast.AST]) -> set[str]:
    """The names of one scope that hold a time or a share of the budget: by their name, or computed from one."""
    clocks = {name for node in nodes for name in _own_names(node) if _is_clock(name)}
    while True:
        size = len(clocks)
        for node in nodes:
            targets, value = _assigned(node)
            if value is not None and _arithmetic(value) & clocks:
                clocks |= {target.id for target in targets if isinstance(target, ast.Name)}
        if len(clocks) == size:
            return clocks


def _own_names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name):
        return {node.id}
    return {node.attr} if isinstance(node, ast.Attribute) else set()


def _arithmetic(node: ast.expr) -> set[str]:
    """The names that a number is computed from: through operators, `min`, `max` and conversions, not other calls."""
    match node:
        case ast.Name() | ast.Attribute():
            return _own_names(node)
        case ast.BinOp():
            return _arithmetic(node.left) | _arithmetic(node.right)
        case ast.UnaryOp():
            return _arithmetic(node.operand)
        case ast.Call(func=ast.Name(id="min" | "max" | "float" | "int" | "abs" | "round"), args=arguments):
            return set[str]().union(*map(_arithmetic, arguments))
        case ast.IfExp():
            return _arithmetic(node.body) | _arithmetic(node.orelse)
    return set()


def _measures(node: ast.AST, clocks: set[str]) -> set[str]:
    """The names beside a time: its divisor, or the other side of a comparison."""
    sides: list[tuple[ast.expr, ast.expr]] = []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.FloorDiv):
        sides = [(node.left, node.right)]
    elif isinstance(node, ast.Compare):
        sides = [(node.left, other) for other in node.comparators] + [(other, node.left) for other in node.comparators]
    return {name for one, other in sides if _arithmetic(one) & clocks for name in _arithmetic(other)}


def _ends_loop(node: ast.While | ast.If) -> bool:
    """A `while`, or an `if` that leaves a loop or the program."""
    return isinstance(node, ast.While) or any(isinstance(each, ast.Break | ast.Raise) for each in node.body)


def _kept_state(tree: ast.Module) -> list[RiskMatch]:
    """State that a model's `forward` keeps for its next call: it must not learn from the referee's questions."""
    found: list[RiskMatch] = []
    for function in ast.walk(tree):
        if isinstance(function, _Function) and function.name in ("forward", "__call__"):
            names = (each for each in ast.walk(function) if isinstance(each, ast.Name))
            local = {each.id for each in names if isinstance(each.ctx, ast.Store)}
            local |= {each.arg for each in ast.walk(function) if isinstance(each, ast.arg)}
            for node in ast.walk(function):
                if name := _left_behind(node, local - {"self"}):
                    first = getattr(node, "lineno", function.lineno)
                    last = getattr(node, "end_lineno", None) or first
                    found.append(
                        RiskMatch(first, last, "evaluation", f"`{function.name}` keeps `{name}` for its next call")
                    )
    return found


def _left_behind(node: ast.AST, local: set[str]) -> str:
    """The name of what a statement changes outside its function; empty if it changes nothing there."""
    if isinstance(node, ast.Global | ast.Nonlocal):
        return node.names[0]
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return _outside(node, local)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        method = node.func.attr
        in_place = method.endswith("_") and not method.endswith("__")
        if in_place or method in _MUTATES or method == "register_buffer":
            return _outside(node.func.value, local)
    return ""


def _outside(node: ast.expr, local: set[str]) -> str:
    """What an expression reaches, if that lives longer than the call: `self.cache`, or a name of the module."""
    whole = node
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if not isinstance(node, ast.Name) or node.id in local:
        return ""
    if node.id == "self" and whole is node:
        return ""
    return ast.unparse(whole)[:40]


def _unused_draws(tree: ast.Module, dotted: Callable[[ast.AST], str | None]) -> list[RiskMatch]:
    """Unused random numbers: they only change the generator's state after the seed was set."""
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    found: list[RiskMatch] = []
    for node in ast.walk(tree):
        targets, value = _assigned(node)
        names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
        if isinstance(node, ast.Expr):
            drawn = _draws(node.value, dotted)
        elif value is not None and names and not read.intersection(names):
            drawn = _draws(value, dotted)
        else:
            drawn = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and _times_zero(node, dotted)
        if drawn:
            found.append(_match(node, "seed", "draws what nothing uses"))
    return found


def _draws(node: ast.expr, dotted: Callable[[ast.AST], str | None]) -> bool:
    """A draw, or methods called on one: `torch.rand(1)`, `torch.empty(1).normal_()`, `torch.rand(1).item()`."""
    while isinstance(node, ast.Call):
        if _DRAWS.match(dotted(node.func) or ""):
            return True
        if not isinstance(node.func, ast.Attribute):
            return False
        if node.func.attr in _DRAWS_IN_PLACE and isinstance(node.func.value, ast.Call):
            return True
        node = node.func.value
    return False


def _times_zero(node: ast.BinOp, dotted: Callable[[ast.AST], str | None]) -> bool:
    zeros = [side for side in (node.left, node.right) if isinstance(side, ast.Constant) and side.value == 0]
    return bool(zeros) and any(_draws(side, dotted) for side in (node.left, node.right))
