"""What stands behind prepare.py imports downwards alone, in the order that fixed/__init__.py gives."""

from __future__ import annotations

import ast
import re

from .conftest import HARNESS

FIXED = HARNESS / "fixed"


def imported(name: str) -> set[str]:
    """Modules of the harness that a file of the folder imports, at whatever place in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((FIXED / f"{name}.py").read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(module="fixed", names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module)):
                found.add(module.removeprefix("fixed."))
            case ast.Import(names=names):
                found |= {alias.name.removeprefix("fixed.") for alias in names}
    return found


def test_each_module_imports_those_above_it_alone() -> None:
    listed = re.findall(r"^([a-z, ]+?)   +\S", (FIXED / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    order = [name for line in listed for name in line.split(", ")]
    assert sorted(order) == sorted(path.stem for path in FIXED.glob("*.py") if path.stem != "__init__")
    ours = {*order, "prepare", "train"}
    for at, name in enumerate(order):
        assert imported(name) & ours <= set(order[:at]), name
