"""One user's theme, keys and notifications. Mistakes in the file are reported and ignored."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import field

from autoresearch_tui.cockpit.actions import ACTIONS, KEY_NAMES, Action, by_id
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.nearest import suggestion
from autoresearch_tui.util.text import clean_line

_TYPES = {bool: "true or false", str: "a string", list: "a list of strings"}
_AS_TEXTUAL = {shown: name for name, shown in KEY_NAMES.items()}


class Preferences(Frozen):
    """`keys` maps an action's id to keys separated by commas; `problems` are the mistakes in the file."""

    theme: str = ""
    bell: bool = True
    notify: bool = True
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    columns: tuple[str, ...] = ()
    """The ids of the results' columns; empty: the usual ones."""
    sort: str = ""
    problems: tuple[str, ...] = ()


def keys_of(app: object) -> Mapping[str, str]:
    """The user's own keys, by the action's id."""
    return getattr(app, "preferences", Preferences()).keys


def path() -> Path:
    """`cockpit.toml` in XDG_CONFIG_HOME, or in `~/.config`."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "autoresearch" / "cockpit.toml"


def load(file: Path) -> Preferences:
    """The preferences in `file`; the defaults if there is no file."""
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return Preferences()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return Preferences(problems=(f"{file}: {error}",))
    problems: list[str] = []
    known = {"theme": str, "bell": bool, "notify": bool, "sort": str, "columns": list}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key == "keys" and isinstance(value, dict):
            continue
        if key not in known:
            problems.append(f"{file}: unknown key `{key}`{suggestion(key, [*known, 'keys'])}")
        elif not isinstance(value, known[key]):
            problems.append(f"{file}: `{key}` must be {_TYPES[known[key]]}")
        else:
            values[key] = value
    _known_columns(values, file, problems)
    keys = _keys(table.get("keys"), file, problems)
    return Preferences(**values, keys=MappingProxyType(keys), problems=tuple(problems))


def keep_theme(file: Path, theme: str) -> str:
    """Sets the theme in `file` and leaves the rest unchanged; returns the problem in one line, if there is one."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    file = file.resolve()  # A symbolic link stays a link.
    try:
        old = file.read_bytes().decode("utf-8") if file.exists() else ""
        document = tomlkit.parse(old)
        document["theme"] = theme
        new = tomlkit.dumps(document)
        if tomllib.loads(new) != {**tomllib.loads(old), "theme": theme}:
            return f'{file}: set theme = "{theme}" there by hand to keep it'
        write(file, new)
    except (OSError, ValueError, TOMLKitError) as error:
        return f"{file}: the theme is not kept: {clean_line(str(error))}"
    return ""


def _known_columns(values: dict[str, Any], file: Path, problems: list[str]) -> None:
    """Removes unknown columns."""
    if not values.keys() & {"columns", "sort"}:
        return
    from autoresearch_tui.cockpit.widgets.table import COLUMNS, SORTABLE

    shown, sortable = [column.id for column in COLUMNS], [column.id for column in SORTABLE]
    asked = [("columns", name, shown) for name in values.get("columns", ())]
    asked += [("sort", values["sort"], sortable)] if values.get("sort") else []
    for key, name, known in asked:
        if name not in known:
            problems.append(f"{file}: `{key}`: unknown column `{clean_line(str(name))}`{suggestion(str(name), known)}")
    values["columns"] = tuple(name for name in values.get("columns", ()) if name in shown)
    values["sort"] = values.get("sort", "") if values.get("sort") in sortable else ""


def unknown_theme(preferences: Preferences, themes: Iterable[str]) -> str:
    """One line about a theme that does not exist; empty if it does."""
    name = preferences.theme
    if not name or name in themes:
        return ""
    return f"{path()}: unknown theme `{clean_line(name)}`{suggestion(name, sorted(themes))}"


def _keys(table: object, file: Path, problems: list[str]) -> dict[str, str]:
    ids = [action.id for action in ACTIONS]
    keys: dict[str, str] = {}
    for name, key in table.items() if isinstance(table, dict) else ():
        if name not in ids:
            problems.append(f"{file}: unknown action `{name}`{suggestion(name, ids)}")
        elif not isinstance(key, str) or not key:
            problems.append(f'{file}: `keys.{name}` must be a key, such as "a" or "ctrl+a"')
        else:
            keys[name] = key
    while conflict := _conflict(keys):
        name, key, other = conflict
        problems.append(f"{file}: `keys.{name}`: `{key}` is the key of `{other}`; `{name}` keeps `{by_id(name).key}`")
        del keys[name]
    return keys


def _conflict(keys: Mapping[str, str]) -> tuple[str, str, str] | None:
    """The first action whose new key another action has in the same place: the action, the key, the other."""
    for name in keys:
        action = by_id(name)
        for other in ACTIONS:
            if other.id == name or not _places(action) & _places(other):
                continue
            taken = _names(keys.get(other.id) or f"{other.key},{other.more}")
            if common := _names(keys[name]) & taken:
                return name, KEY_NAMES.get(min(common), min(common)), other.id
    return None


def _places(action: Action) -> set[str]:
    """Where an action's key applies. A pane may use a key of the main screen for itself, as some do by default."""
    if action.id == "help":
        return {a.place for a in ACTIONS}
    if action.place == "replay":
        return {""}  # the main screen
    if action.place == "results":
        return {"table", "tree"}  # of both arrangements of the experiments
    return set(action.places)


def _names(keys: str) -> set[str]:
    """Keys as Textual names them, from a list with commas."""
    return {_AS_TEXTUAL.get(key.strip(), key.strip()) for key in keys.split(",") if key.strip()}
