"""A checkout of the reference, or of a fork, that nobody has configured: what its own files say about running it.

The three files are enough. What a fork does otherwise it tells its agent in `program.md` (the command, the timeout) and
its code in `prepare.py` (the budget); both are read here, and nothing in them is executed.
"""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import replace
from pathlib import Path

from autoresearch_tui.settings import LabSettings, RunSettings, Settings, written

_STEMS = ("program", "prepare", "train")
_ENDS = {"program": ".md", "prepare": ".py", "train": ".py"}
# Between backticks, at the start of a line or after a prompt; what follows (a redirection) is the agent's.
_COMMAND = (
    r"(?:^|[`$>]|\s)((?:uv run|(?:[\w./~-]*/)?python3?(?:\.\d+)?)(?: -{{1,2}}[\w-]+(?:=\S+)?)* {script})(?![\w.])"
)
_TIMEOUT = re.compile(
    r"(?:exceed\w*|longer than|more than|over|past|>)\s*~?(\d{1,3})\s*min[^.\n]{0,40}(?:kill|stop|treat|abort)"
    r"|kill[^.\n]{0,40}?(?:exceed\w*|longer than|more than|over|after|past|>)\s*~?(\d{1,3})\s*min",
    re.IGNORECASE,
)


def files(folder: Path) -> tuple[str, str, str] | None:
    """The names of the program, the fixed and the editable file: the reference's, or the only ones of their kind."""
    found = []
    for stem in _STEMS:
        exact = folder / f"{stem}{_ENDS[stem]}"
        others = [exact] if exact.is_file() else sorted(folder.glob(f"{stem}_*{_ENDS[stem]}"))
        if len(others) != 1:
            return None
        found.append(others[0].name)
    return found[0], found[1], found[2]


def settings(folder: Path) -> Settings:
    """The settings that the checkout's own files ask for; the defaults where it is none, or says nothing else."""
    names = files(folder)
    if names is None:
        return Settings()
    program, fixed, editable = names
    text = (folder / program).read_text("utf-8", "replace")
    usual = RunSettings()
    budget = _constant((folder / fixed).read_text("utf-8", "replace"), "TIME_BUDGET") or usual.budget_seconds
    run = replace(
        usual,
        command=command(text, editable) or ("uv", "run", editable),
        budget_seconds=budget,
        timeout_seconds=max(timeout(text) or usual.timeout_seconds, 1.5 * budget),
    )
    return replace(Settings(), lab=LabSettings(program, (editable,), (fixed,)), run=run)


def deaf(folder: Path) -> str:
    """Why a budget from outside would change nothing in a checkout that nobody has configured; empty where it would."""
    names = files(folder)
    if written(folder) is not None or names is None:
        return ""
    if any("AUTORESEARCH_TIME_BUDGET" in (folder / name).read_text("utf-8", "replace") for name in names[1:]):
        return ""
    return f"{names[1]} has a TIME_BUDGET of its own, and reads no other; change that, and commit it"


def command(program: str, script: str) -> tuple[str, ...]:
    """The training command that a program tells its agent; empty where it tells none."""
    found = re.search(_COMMAND.format(script=re.escape(script)), program, re.MULTILINE)
    return tuple(shlex.split(found[1])) if found else ()


def timeout(program: str) -> float | None:
    """After how many seconds a program has its agent kill a run; None where it does not say."""
    found = _TIMEOUT.search(program)
    return 60.0 * int(found[1] or found[2]) if found else None


def kernels(text: str) -> tuple[str, ...]:
    """The kernels that a training script asks the hub for at its start, by their repositories' names."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    given: dict[str, ast.expr] = {}
    asked: list[ast.expr] = []
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                given[name] = value
            case ast.Call(func=ast.Name(id="get_kernel") | ast.Attribute(attr="get_kernel"), args=[first, *_]):
                asked.append(first)
    names = []
    for expression in asked:
        source = given.get(expression.id, expression) if isinstance(expression, ast.Name) else expression
        names += [node.value for node in ast.walk(source) if isinstance(node, ast.Constant)]
    return tuple(dict.fromkeys(n for n in names if isinstance(n, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", n)))


def _constant(text: str, name: str) -> float | None:
    """A number that a module gives a name at its top, above nought."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=int() | float() as value)) if (
                found == name and not isinstance(value, bool) and 0 < value < 1e7
            ):
                return float(value)
    return None
