"""Writes docs/configuration.md from the code: `python docs/configuration.py` (a test compares the two)."""

from __future__ import annotations

import ast
import enum
import inspect
import itertools
import json
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeGuard

from msgspec.structs import asdict

from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.util.frozen import Frozen

INTRODUCTION = """\
# Configuration

<!-- Written by docs/configuration.py from autoresearch_tui/lab/settings.py: change that, and run `make docs`. -->

A lab may have an `autoresearch.toml`, or the same tables under `[tool.autoresearch]` in its `pyproject.toml`. Every key
is optional. A missing key is read from the lab's own files if possible ([labs](labs.md)); the defaults below fit
an unmodified checkout of karpathy/autoresearch. An unknown key or a wrong type is an error that names the key, the
file and the nearest known key. Times are seconds.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    hints = typing.get_type_hints(Settings)
    for name in Settings.__struct_fields__:
        parts += _sections(name, hints[name])
    return "\n".join(parts)


def _sections(name: str, kind: type) -> Iterator[str]:
    """A table of the file, and the tables within it."""
    yield f"## `[{name}]`\n\n{(kind.__doc__ or '').splitlines()[0]}\n\n{_table(kind)}"
    for key, hint in typing.get_type_hints(kind).items():
        if _is_table(hint):
            yield from _sections(f"{name}.{key}", hint)
        elif _is_table(named := (typing.get_args(hint) or (None, None))[-1]):
            yield from _sections(f"{name}.{key}.B", named)


def _table(kind: type) -> str:
    hints = typing.get_type_hints(kind)
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    words = _documentation(kind)
    for name, default in asdict(kind()).items():
        rows.append(f"| `{name}` | {_type(hints[name])} | `{_toml(default)}` | {words[name]} |")
    return "\n".join(rows) + "\n"


def _documentation(kind: type) -> dict[str, str]:
    """The text below each key."""
    body = ast.parse(inspect.getsource(kind)).body[0].body
    return {
        key.target.id: " ".join(below.value.value.split())
        for key, below in itertools.pairwise(body)
        if isinstance(key, ast.AnnAssign) and isinstance(below, ast.Expr)
    }


def _is_table(hint: object) -> TypeGuard[type[Frozen]]:
    return isinstance(hint, type) and issubclass(hint, Frozen)


def _type(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(f"`{_toml(choice)}`" for choice in typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return " or ".join(f"`{_toml(choice.value)}`" for choice in hint)
    if typing.get_origin(hint) is tuple:
        return "list of strings"
    if _is_table(hint):
        return "table"
    if typing.get_origin(hint) is not None:
        if _is_table(typing.get_args(hint)[1]):
            return "table of tables"
        return "table of numbers" if typing.get_args(hint)[1] is float else "table of strings"
    return {str: "string", int: "whole number", float: "number", bool: "true or false"}[hint]


def _toml(value: object) -> str:
    if isinstance(value, enum.Enum):
        return _toml(value.value)
    if isinstance(value, Frozen):
        return "{}"
    if isinstance(value, tuple | bool):
        return json.dumps(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, str):
        return f"'{value}'" if "\\" in value else json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(), "utf-8")
