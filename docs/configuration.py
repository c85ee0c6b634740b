"""Writes docs/configuration.md from the code: `python docs/configuration.py` (a test compares the two)."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any, Literal

from autoresearch_tui.settings import Settings

INTRODUCTION = """\
# Configuration

<!-- Written by docs/configuration.py from autoresearch_tui/settings.py: change that, and run `make docs`. -->

A lab may have an `autoresearch.toml`, or the same tables under `[tool.autoresearch]` in its `pyproject.toml`. Every key
is optional. The defaults fit an unmodified checkout of karpathy/autoresearch; where nobody wrote any settings, its
own files are asked first ([labs](labs.md)). An unknown key or a wrong type is an error that names the key, the file and
the nearest known key. Times are seconds.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    hints = typing.get_type_hints(Settings)
    for field in dataclasses.fields(Settings):
        kind = hints[field.name]
        parts.append(f"## `[{field.name}]`\n\n{(kind.__doc__ or '').splitlines()[0]}\n\n{_table(kind)}")
    return "\n".join(parts)


def _table(kind: type) -> str:
    hints = typing.get_type_hints(kind)
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(kind):
        default = field.default if field.default is not dataclasses.MISSING else {}
        rows.append(f"| `{field.name}` | {_type(hints[field.name])} | `{_toml(default)}` | {field.metadata['doc']} |")
    return "\n".join(rows) + "\n"


def _type(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(f"`{_toml(choice)}`" for choice in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "list of strings"
    if typing.get_origin(hint) is not None:
        return "table of numbers" if typing.get_args(hint)[1] is float else "table of strings"
    return {str: "string", int: "whole number", float: "number"}[hint]


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return json.dumps(list(value))
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, str):
        return f"'{value}'" if "\\" in value else json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(), "utf-8")
