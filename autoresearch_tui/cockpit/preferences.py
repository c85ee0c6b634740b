"""What one human likes: colours, keys, noise. A mistake in the file is told and never in the way."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoresearch_tui.cockpit.actions import ACTIONS
from autoresearch_tui.frozen import Frozen


class Preferences(Frozen):
    """`keys` maps an action's id to keys with commas between; `problems` is what could not be understood."""

    theme: str = ""
    bell: bool = True
    notify: bool = True
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    problems: tuple[str, ...] = ()


def keys_of(app: object) -> Mapping[str, str]:
    """The human's own keys, by the action's id."""
    return getattr(app, "preferences", Preferences()).keys


def path() -> Path:
    """`~/.config/autoresearch/cockpit.toml`, or where XDG_CONFIG_HOME says."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "autoresearch" / "cockpit.toml"


def load(file: Path) -> Preferences:
    """The preferences in `file`; the defaults where there is none."""
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return Preferences()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return Preferences(problems=(f"{file}: {error}",))
    problems: list[str] = []
    known = {"theme": str, "bell": bool, "notify": bool}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key == "keys" and isinstance(value, dict):
            continue
        if key not in known:
            problems.append(f"{file}: unknown key `{key}`{_nearest(key, [*known, 'keys'])}")
        elif not isinstance(value, known[key]):
            problems.append(f"{file}: `{key}` must be {'true or false' if known[key] is bool else 'a string'}")
        else:
            values[key] = value
    keys = _keys(table.get("keys"), file, problems)
    return Preferences(**values, keys=MappingProxyType(keys), problems=tuple(problems))


def _keys(table: object, file: Path, problems: list[str]) -> dict[str, str]:
    ids = [action.id for action in ACTIONS]
    keys: dict[str, str] = {}
    for name, key in table.items() if isinstance(table, dict) else ():
        if name not in ids:
            problems.append(f"{file}: unknown action `{name}`{_nearest(name, ids)}")
        elif not isinstance(key, str) or not key:
            problems.append(f'{file}: `keys.{name}` must be a key, such as "a" or "ctrl+a"')
        else:
            keys[name] = key
    return keys


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(known)}"
