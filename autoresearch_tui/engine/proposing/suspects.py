"""The constructs that :mod:`autoresearch_tui.engine.proposing.risk` looks for, wherever they are in a file."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

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
_KIND_OF_MODULE = {module: kind for kind, names in _MODULES.items() for module in names.split()}
# Model and optimiser code may import these freely.
_PLAIN = frozenset(
    [
        "torch",
        "math",
        "dataclasses",
        "typing",
        "functools",
        "itertools",
        "collections",
        "numpy",
        "einops",
        "__future__",
        "abc",
        "enum",
    ]
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
        [
            "read_text",
            "write_text",
            "read_bytes",
            "write_bytes",
            "unlink",
            "rmtree",
            "iterdir",
            "rglob",
            "mkdir",
            "memmap",
        ],
        "files",
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
    [
        "print",
        "open",
        "float",
        "int",
        "str",
        "min",
        "max",
        "sum",
        "round",
        "len",
        "range",
        "type",
        "isinstance",
        "abs",
        "sorted",
        "format",
        "repr",
    ]
)
_SHORT_BODY = 3  # statements: a condition on so few is about them


@dataclass(frozen=True, slots=True)
class Finding:
    """A construct on the lines `first` to `last`."""

    first: int
    last: int
    kind: str
    why: str


def findings(tree: ast.Module) -> list[Finding]:
    """Every construct of a file that could bend the score."""
    finder = _Finder(tree)
    finder.visit(tree)
    return finder.found


class _Finder(ast.NodeVisitor):
    def __init__(self, tree: ast.Module) -> None:
        self.found: list[Finding] = []
        self._imported: dict[str, str] = {}
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
        first = getattr(node, "lineno", 1)
        self.found.append(Finding(first, getattr(node, "end_lineno", None) or first, kind, why))

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
        kind = _dotted_kind(dotted) or _KIND_OF_MODULE.get(top)
        if kind:
            self._add(node, kind, f"imports {dotted}")
        elif top not in _PLAIN or name == "*":
            self._add(node, "imports", f"imports {dotted}")
        if (asname in _PLAIN and asname != module) or (asname in _KIND_OF_MODULE and asname != module):
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
        dotted = self._dotted(node)
        if dotted and not isinstance(node.ctx, ast.Load) and not _SETTINGS.match(dotted):
            self._add(node, "code", f"patches {dotted}")
        if dotted and (kind := self._kind_of(dotted)):
            self._add(node, kind, f"uses {dotted}")
            return
        if kind := _ATTRIBUTES.get(node.attr):
            self._add(node, kind, f"uses .{node.attr}")
        elif _MAGIC.match(node.attr) and node.attr not in _COMMON_MAGIC:
            self._add(node, "code", f"reaches `.{node.attr}`")
        else:
            self._identifier(node, node.attr)
        self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        dotted = self._dotted(node.value)
        if dotted and not isinstance(node.ctx, ast.Load) and not _SETTINGS.match(dotted):
            self._add(node, "code", f"patches {dotted}")
        self.generic_visit(node)

    def _dotted(self, node: ast.AST) -> str | None:
        """`torch.nn.functional.relu` for what is reached through an import, whatever it is called here."""
        if isinstance(node, ast.Name):
            return self._imported.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self._dotted(node.value)
            return f"{base}.{node.attr}" if base else None
        return None

    def _kind_of(self, dotted: str) -> str | None:
        top, _, rest = dotted.partition(".")
        if top == "os":
            if rest.startswith(("path.join", "path.basename", "cpu_count")):
                return None
            return (
                "processes"
                if re.match(r"environ|getenv|system|fork|exec|spawn|kill|popen|_exit|nice|get.id|sched", rest)
                else "files"
            )
        return _dotted_kind(dotted) or _KIND_OF_MODULE.get(top)

    # --- calls, bindings and what stands in front of them ---

    def visit_Call(self, node: ast.Call) -> None:
        before = len(self.found)
        if isinstance(node.func, ast.Name) and node.func.id in _BUILTINS and node.func.id not in self._imported:
            self._add(node, *_BUILTINS[node.func.id])
        else:
            self.visit(node.func)
        # A change of an argument is a change of the call, however many lines it takes.
        self.found[before:] = [Finding(f.first, node.end_lineno or f.last, f.kind, f.why) for f in self.found[before:]]
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
        self.found[before:] = [Finding(f.first, node.end_lineno or f.last, f.kind, f.why) for f in self.found[before:]]
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
            self.found += [Finding(first, last, kind, f"guards what {why}") for kind, why in sorted(inside)]

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


def _dotted_kind(dotted: str) -> str | None:
    return next((kind for name, kind in _DOTTED.items() if dotted == name or dotted.startswith(name + ".")), None)
