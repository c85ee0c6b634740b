"""Writes one value into a lab's `autoresearch.toml`, and leaves every other byte alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from autoresearch_tui.lab.settings import FILE_NAME
from autoresearch_tui.lab.settings_reading import from_table
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.errors import UserError


def remember(folder: Path, name: str, value: str) -> bool:
    """Set `run.env.NAME` in the lab's settings file. False, without a change, if that takes a human."""
    path = folder / FILE_NAME
    try:
        old = path.read_bytes().decode("utf-8")
        table = tomllib.loads(old)
        from_table(table, str(path))
        table.setdefault("run", {}).setdefault("env", {})[name] = value
        new = _with_env(old, name, value)
        if tomllib.loads(new) != table:
            return False
        write(path, new)
    except (OSError, ValueError, UserError, TOMLKitError):
        return False
    return True


def _with_env(text: str, name: str, value: str) -> str:
    document = tomlkit.parse(text)
    run = document.setdefault("run", tomlkit.table())
    run.setdefault("env", tomlkit.inline_table())[name] = value
    return tomlkit.dumps(document)
