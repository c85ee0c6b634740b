"""The files and folders that a lab's code names for reading and writing, in the lab, the home or elsewhere.

Only the checkout's files are read, never a proposal's, so a proposal cannot show itself files by naming them.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.python_source.values import Module, Modules, Unknown
from autoresearch_tui.util.frozen import Frozen

# Stands for a run's own home while the code is read.
_RUN_HOME = "/\x00home"
_WRITES = re.compile(
    "save|dump|savefig|to_(?:csv|parquet|json|pickle|hdf|feather)|write_(?:text|bytes|parquet|csv)|tofile|savez(?:_compressed)?"
    "|savetxt|imsave|imwrite|save_file|save_model|FileHandler"
)
_LONGEST = 1000
_MAKES = frozenset(("makedirs", "mkdir"))


class Named(Frozen):
    """Paths in the code: `read`, `written` and `made` (folders) relative to the lab's folder, `outside` of it.

    Each of `outside` is the path where a run looks (absolute, or in its home), the real path, and whether a file names
    it that no proposal can change.
    """

    read: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()
    outside: tuple[tuple[str, Path, bool], ...] = ()

    def reads(self, place: str) -> bool:
        """Whether the code names this, or something in it, for other than writing."""
        return any(PurePosixPath(each).is_relative_to(place) for each in self.read - self.written - self.made)

    def overwrites(self, place: str) -> bool:
        """Whether the code writes this very file."""
        return place in self.written


def of_lab(lab: Lab) -> Named:
    """The paths in the lab's checkout and the modules that it imports. Read again when they change."""
    settings = lab.settings
    files, run = (*settings.lab.locked, *lab.editable_files), settings.run
    key = hash((lab.root, files, run.command, frozenset(run.env.items()), frozenset(os.environ.items())))
    stamps, found = _KNOWN.get(key, ({}, Named()))
    if not stamps or any(_stamp(path) != stamp for path, stamp in stamps.items()):
        paths, found = _read(lab)
        _KNOWN[key] = {path: _stamp(path) for path in paths}, found
    return found


_KNOWN: dict[int, tuple[dict[Path, tuple[int, int]], Named]] = {}


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _read(lab: Lab) -> tuple[list[Path], Named]:
    """The files read, and the paths in them."""
    settings = lab.settings
    seen: list[Path] = []
    run_env = dict(settings.run.env)
    if cache := os.environ.get("AUTORESEARCH_CACHE"):
        run_env["AUTORESEARCH_CACHE"] = cache
    theirs = Modules(lab.root, {**os.environ, **run_env}, Path.home())
    runs = Modules(lab.root, run_env, _RUN_HOME, like=theirs)
    scripts = [word for word in settings.run.command if word.endswith(".py")]
    places = [lab.root / name for name in dict.fromkeys((*settings.lab.locked, *lab.editable_files, *scripts))]
    locked = {lab.root / name for name in settings.lab.locked}
    editable = {lab.root / name for name in lab.editable_files}
    read: set[str] = set()
    written: set[str] = set()
    made: set[str] = set()
    outside: dict[tuple[str, Path], bool] = {}
    for module in theirs.reached(places):
        seen.append(module.path)
        twin = runs.module(module.path)
        for use, value in _paths(module):
            real = Path(os.path.normpath(lab.root / value))
            if real != lab.root and real.is_relative_to(lab.root):
                place = str(real.relative_to(lab.root))
                # Files that fixed code writes, such as data, are for runs to read.
                (read if not use or module.path in locked else made if use in _MAKES else written).add(place)
                read.add(place)
        for place, path in _pairs(module, twin) if twin is not None else ():
            key = place, path
            outside[key] = outside.get(key, False) or module.path not in editable
    elsewhere = tuple((*key, trusted) for key, trusted in outside.items())
    return seen, Named(frozenset(read), frozenset(written), frozenset(made), elsewhere)


def _paths(module: Module) -> Iterator[tuple[str, str]]:
    """Every path in a module, with the name of the call that writes or makes it; empty for any other use."""
    targets = {id(node): call for each in module.nodes for call, node in _targets(each)}
    for node, value in module.expressions():
        if text := _as_path(value):
            yield targets.get(id(node), ""), text
    for name in module.nodes:  # its value is elsewhere in the source
        if id(name) in targets and isinstance(name, ast.Name):
            try:
                yield targets[id(name)], _as_path(module.evaluate(name))
            except Unknown:
                continue


def _targets(call: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The arguments of a call that writes a file or makes a folder, with its name."""
    if not isinstance(call, ast.Call):
        return
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    arguments = [*call.args, *(each.value for each in call.keywords)]
    modes = [each.value for each in arguments[:3] if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    opened = name == "open" and any(set(mode) & set("wax+") and len(mode) <= 3 for mode in modes)
    if opened or name in _MAKES or _WRITES.fullmatch(name):
        yield from ((name, each) for each in arguments)
        if isinstance(function, ast.Attribute):
            yield name, function.value


def _pairs(theirs: Module, runs: Module) -> Iterator[tuple[str, Path]]:
    """Paths outside the lab: where a run looks, and the user's own."""
    for node in theirs.nodes:
        if not isinstance(node, ast.expr):
            continue
        try:
            real = _as_path(theirs.evaluate(node))
            if real.startswith("~/"):
                real = str(Path(real).expanduser())
            if not real.startswith("/") or len(Path(real).parts) < 2:
                continue
            place = _as_path(runs.evaluate(node))
        except Unknown:
            continue
        if place.startswith((f"{_RUN_HOME}/", "~/")):
            yield os.path.normpath(place.removeprefix(f"{_RUN_HOME}/").removeprefix("~/")), Path(real)
        elif place.startswith("/") and place == real:
            yield place, Path(real)


def _as_path(value: Any) -> str:
    """A value as a path; empty if it is not one."""
    text = str(value) if isinstance(value, PurePosixPath) else value
    if not isinstance(text, str) or len(text) > _LONGEST or text in ("", "."):
        return ""
    return "" if re.search(r"[\0\n]", text.removeprefix(_RUN_HOME)) else text
