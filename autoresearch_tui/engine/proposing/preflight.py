"""Static checks of a proposal, before it may cost accelerator time. Nothing of the lab is imported or executed."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from autoresearch_tui.python_source import syntax


def check(
    before: Mapping[str, str],
    after: Mapping[str, str],
    *,
    tried: Callable[[str], int | str | None] = lambda _print: None,
    python_path: Sequence[Path] = (),
) -> str | None:
    """What is wrong with a change, in one line that says how to fix it; None if nothing.

    `tried` gives the earlier attempt with a :func:`fingerprint`, if there is one. Imports are looked up in this
    interpreter and in `python_path`: the lab's own folders, then its packages.
    """
    changed = sorted(path for path in after if after[path] != before.get(path))
    removed = sorted(before.keys() - after.keys())
    if not changed and not removed:
        return f"nothing changes in {', '.join(sorted(after)) or 'any file'}; a proposal must change an editable file"
    for path in changed:
        if path.endswith(".py"):
            problem = _compiles(path, after[path]) or _names(path, before.get(path, ""), after[path])
            if problem:
                return problem
    own = {Path(path).stem for path in after if path.endswith(".py")}
    gone = {Path(path).stem: path for path in removed if path.endswith(".py") and Path(path).stem not in own}
    for path in sorted(after) if gone else ():
        if path.endswith(".py") and (problem := _imports_removed(path, after[path], gone)):
            return problem
    for path in changed:
        if path.endswith(".py") and (problem := _imports(path, before, after, own, python_path)):
            return problem
    print_ = fingerprint(after)
    if print_ == fingerprint(before):
        return f"{', '.join(changed + removed)}: only comments, docstrings or layout change; the code stays the same"
    if (same := tried(print_)) is not None:
        return f"the same code as experiment {same}; propose something that has not been tried"
    return None


def fingerprint(files: Mapping[str, str]) -> str:
    """A sha256 that is the same for the same code: comments, docstrings and layout of Python files do not count."""
    digest = hashlib.sha256()
    for path, text in sorted(files.items()):
        form = syntax.normal_form(text) if path.endswith(".py") else None
        if form is None:
            form = "\n".join(line.rstrip() for line in text.rstrip().splitlines())
        for part in (path, form):
            digest.update(f"{len(part)}:{part}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def change_print(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """A sha256 that is the same for the same change of any code: of the removed and the added statements."""
    digest = hashlib.sha256()
    for path in sorted(before.keys() | after.keys()):
        old, new = _statements(path, before.get(path, "")), _statements(path, after.get(path, ""))
        for sign, statements in (("-", old - new), ("+", new - old)):
            for text in sorted(statements.elements()):
                digest.update(f"{sign}{len(path)}:{path}{len(text)}:{text}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _statements(path: str, text: str) -> Counter[str]:
    forms = syntax.normal_forms(text) if path.endswith(".py") else None
    return Counter(text.splitlines() if forms is None else forms)


def _compiles(path: str, text: str) -> str | None:
    try:
        tree = syntax.parse(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{path}:{error.lineno or 1}: {_shown(error)}; fix the syntax"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{path}:1: cannot be compiled ({error}); simplify it"
    return None


def _shown(error: SyntaxError) -> str:
    line = " ".join((error.text or "").split())
    return f"{error.msg} in `{line[:80]}`" if line else error.msg


def _names(path: str, before: str, after: str) -> str | None:
    """The problem of an undefined name, unless it was undefined before."""
    known = {name for _, name in _undefined(before)}
    for line, name in _undefined(after):
        if name not in known:
            return f"{path}:{line}: undefined name `{name}`; define or import it before it is used"
    return None


def _undefined(text: str) -> list[tuple[int, str]]:
    from pyflakes import messages  # type: ignore[import-untyped]
    from pyflakes.checker import Checker  # type: ignore[import-untyped]

    try:
        found = Checker(syntax.parse(text)).messages
    except (SyntaxError, RecursionError):
        return []
    kinds = (messages.UndefinedName, messages.UndefinedLocal, messages.UndefinedExport)
    return sorted((m.lineno, str(m.message_args[0])) for m in found if isinstance(m, kinds))


def _imports_removed(path: str, text: str, gone: Mapping[str, str]) -> str | None:
    for line, module, _ in _imported(text):
        if module.partition(".")[0] in gone:
            return f"{path}:{line}: imports `{module}`, and {gone[module.partition('.')[0]]} is removed; keep that file"
    return None


def _imports(
    path: str, before: Mapping[str, str], after: Mapping[str, str], own: set[str], python_path: Sequence[Path]
) -> str | None:
    """The problem of an import that cannot work, unless it was there before (the lab may have packages that we cannot
    see)."""
    known = {(module, name) for text in before.values() for _, module, name in _imported(text)}
    known_modules = {module for module, _ in known}
    for line, module, name in _imported(after[path]):
        top = module.partition(".")[0]
        if top not in own and module not in known_modules and not _resolves(top, python_path):
            return f"{path}:{line}: no module named `{top}` is installed; use what the lab already imports"
        if name and (module, name) not in known:
            offered = _offered(module, after, python_path)
            if offered is not None and name not in offered:
                return f"{path}:{line}: `{module}` has no name `{name}`; import something that it defines"
    return None


def _imported(text: str) -> list[tuple[int, str, str]]:
    """Line, module and name of each import that is not guarded by `try`."""
    try:
        tree = syntax.parse(text)
    except SyntaxError:
        return []
    return list(_import_statements(tree))


def _import_statements(node: ast.AST) -> Iterator[tuple[int, str, str]]:
    match node:
        case ast.Try(handlers=[_, *_]):
            return
        case ast.Import(names=names, lineno=line):
            yield from ((line, alias.name, "") for alias in names)
        case ast.ImportFrom(module=str(module), names=names, level=0, lineno=line):
            yield from ((line, module, "" if alias.name == "*" else alias.name) for alias in names)
    for child in ast.iter_child_nodes(node):
        yield from _import_statements(child)


def _resolves(top: str, python_path: Sequence[Path]) -> bool:
    if top in sys.stdlib_module_names or top == "__main__":
        return True
    try:
        # Of a name without dots, neither look-up imports anything.
        return bool(importlib.util.find_spec(top) or PathFinder.find_spec(top, [str(p) for p in python_path]))
    except (ImportError, ValueError):
        return True


def _offered(module: str, files: Mapping[str, str], python_path: Sequence[Path]) -> set[str] | None:
    """The names that a module of the lab defines; None for other modules, and if only running it would show."""
    text = _source(module, files, python_path)
    try:
        tree = syntax.parse(text or "")
    except SyntaxError:
        return None
    if text is None:
        return None
    names: set[str] = {"__name__", "__file__", "__doc__"}
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.alias(name=name, asname=asname):
                names.add(asname or name.partition(".")[0])
    return None if names & {"*", "__getattr__"} else names


def _source(module: str, files: Mapping[str, str], python_path: Sequence[Path]) -> str | None:
    """The text of a module of the lab: one of the given files, or one beside them."""
    name = f"{module.replace('.', '/')}.py"
    for path, text in files.items():
        if f"/{path}".endswith(f"/{name}"):
            return text
    for folder in python_path:
        if folder.name != "site-packages" and (folder / name).is_file():
            try:
                return (folder / name).read_text("utf-8")
            except (OSError, ValueError):
                return None
    return None
