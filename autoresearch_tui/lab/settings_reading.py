"""Reads `autoresearch.toml`: every key optional, every mistake named with the nearest known key."""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from msgspec.structs import replace

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.settings import FILE_NAME, REPLACED, Settings
from autoresearch_tui.lab.settings_checks import check
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.nearest import suggestion

T = TypeVar("T", bound=Frozen)
_LARGEST = 2**63  # TOML's limit for whole numbers


def table(folder: Path) -> tuple[Mapping[str, Any], str]:
    """The lab's own table, and its source for errors; empty if there is none.

    Raises UserError if it cannot be read.
    """
    path = folder / FILE_NAME
    # A broken link counts as present, as the user does not mean the defaults.
    if path.exists() or path.is_symlink():
        return _read(path), str(path)
    project = folder / "pyproject.toml"
    if project.is_file():
        tools = _read(project).get("tool")
        found = tools.get("autoresearch") if isinstance(tools, Mapping) else None
        if found is not None:
            return found, f"{project} [tool.autoresearch]"
    return {}, str(path)


def from_table(table: Mapping[str, Any], where: str, base: Settings | None = None) -> Settings:
    """Settings from a parsed table over `base`; `where` names its source in errors. Raises UserError."""
    settings = _fill(base or Settings(), table, where, ())
    check(settings, where)
    return settings


def _read(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a file", "put the settings there, or move it away")
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))  # Windows editors write a byte order mark
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}", "save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _fill(base: T, table: object, where: str, keys: tuple[str, ...]) -> T:
    """The base with the table's values; tables of strings or numbers add to the base's, except REPLACED."""
    if not isinstance(table, Mapping):
        name = f"[{'.'.join(keys)}] " if keys else ""
        raise UserError(f"{where}: {name}must be a table, not {table!r}")
    hints = typing.get_type_hints(type(base))
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = ".".join((*keys, key))
        if key not in hints:
            prefix = "".join(f"{each}." for each in keys)
            raise UserError(f"{where}: unknown key `{name}`{suggestion(key, hints, prefix)}")
        hint = hints[key]
        if _is_table(hint):
            values[key] = _fill(getattr(base, key), value, where, (*keys, key))
            continue
        if origin := _of_tables(hint):
            if not isinstance(value, Mapping):
                raise UserError(f"{where}: `{name}` must be a table of tables, not {value!r}")
            before = getattr(base, key)
            read = {
                one: _fill(before.get(one, origin()), item, where, (*keys, key, one)) for one, item in value.items()
            }
            values[key] = types.MappingProxyType({**before, **read})
            continue
        _check_size(value, f"{where}: `{name}`")
        values[key] = _value(hint, value, f"{where}: `{name}`")
        if isinstance(values[key], Mapping) and key not in REPLACED:
            values[key] = types.MappingProxyType({**getattr(base, key), **values[key]})
    return replace(base, **values)


def _of_tables(hint: Any) -> Any:
    """The type of each entry of a table of tables by name; None for any other value."""
    named = typing.get_origin(hint) is Mapping and _is_table(typing.get_args(hint)[1])
    return typing.get_args(hint)[1] if named else None


def _is_table(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Frozen)


def _check_size(value: object, name: str) -> None:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
    if any(isinstance(part, int) and abs(part) > _LARGEST for part in parts):
        raise UserError(f"{name} has a number that is too large")


def _value(hint: Any, value: object, name: str) -> object:
    origin = typing.get_origin(hint)
    if origin is Literal or hint is Goal:
        choices = tuple(map(str, Goal)) if hint is Goal else typing.get_args(hint)
        if value not in choices:
            raise UserError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
        return Goal(str(value)) if hint is Goal else value
    if origin is tuple and typing.get_args(hint)[0] is float:
        return _range(value, name)
    if origin is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UserError(f'{name} must be a list of strings, such as ["a", "b"], not {value!r}')
        return tuple(value)
    if origin is not None and issubclass(origin, Mapping):
        if typing.get_args(hint)[1] is float:
            return _bounds(value, name)
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise UserError(f'{name} must be a table of strings, such as {{ KEY = "value" }}, not {value!r}')
        wrong = next((key for key, text in value.items() if not key or "=" in key or "\0" in key + text), None)
        if wrong is not None:
            raise UserError(f"{name} has {wrong!r}, which cannot be a variable: no `=` in its name, no NUL in either")
        return types.MappingProxyType(dict(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        words = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
        raise UserError(f"{name} must be {words[hint]}, not {value!r}")
    return value


def _range(value: object, name: str) -> tuple[float, ...]:
    match value:
        case []:
            return ()
        case [int() | float() as low, int() | float() as high] if low < high and bool not in (type(low), type(high)):
            return float(low), float(high)
    raise UserError(f"{name} must be the lowest and the highest score, such as [0, 1] or [0, inf], not {value!r}")


def _bounds(value: object, name: str) -> Mapping[str, float]:
    numbers = value.values() if isinstance(value, dict) else (None,)
    if not all(isinstance(item, int | float) and not isinstance(item, bool) and item == item for item in numbers):
        example = "GPU = 1" if "resources" in name else "peak_vram_mb = 24000"
        raise UserError(f"{name} must be a table of numbers, such as {{ {example} }}, not {value!r}")
    assert isinstance(value, dict)
    return types.MappingProxyType({key: float(item) for key, item in value.items()})
