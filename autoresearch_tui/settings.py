"""`autoresearch.toml`: every key optional, every mistake named with the nearest known key."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from autoresearch_tui import devices
from autoresearch_tui.errors import UserError

FILE_NAME = "autoresearch.toml"


@dataclass(frozen=True, slots=True)
class LabSettings:
    """What may change and what may not. Paths are relative to the lab's folder."""

    program: str = "program.md"
    editable: tuple[str, ...] = ("train.py",)
    locked: tuple[str, ...] = ("prepare.py",)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """One execution of the training command. Times are seconds.

    `devices`: that many experiments at once, each on its own: accelerators by number ("0") or processors ("cpu0-3").
    """

    command: tuple[str, ...] = ("uv", "run", "train.py")
    budget_seconds: float = 300
    budget_tokens: int = 0
    timeout_seconds: float = 600
    env: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """What decides. `pattern` has one group, whose last match in the log is the printed score."""

    name: str = "val_bpb"
    pattern: str = r"^val_bpb:\s+(\S+)"
    goal: Literal["minimize", "maximize"] = "minimize"
    referee: tuple[str, ...] = ()
    keep_margin: float = 0.0
    baseline_runs: int = 1


@dataclass(frozen=True, slots=True)
class ResearcherSettings:
    """Who proposes. `max_usd` 0 means no limit."""

    kind: Literal["claude", "command", "search"] = "claude"
    model: str = ""
    command: tuple[str, ...] = ()
    max_usd: float = 0


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """The gate. When nobody has answered for `after_seconds`, `unattended` decides."""

    mode: Literal["ask", "auto"] = "ask"
    unattended: Literal["hold", "approve-low-risk", "veto"] = "hold"
    after_seconds: float = 300


@dataclass(frozen=True, slots=True)
class HookSettings:
    """Commands of the human's own, run without a shell when something happens; empty: none."""

    best: tuple[str, ...] = ()
    crash: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole of `autoresearch.toml`; the defaults fit an unmodified checkout of the reference."""

    lab: LabSettings = field(default_factory=LabSettings)
    run: RunSettings = field(default_factory=RunSettings)
    metric: MetricSettings = field(default_factory=MetricSettings)
    researcher: ResearcherSettings = field(default_factory=ResearcherSettings)
    review: ReviewSettings = field(default_factory=ReviewSettings)
    hooks: HookSettings = field(default_factory=HookSettings)


def load(folder: Path) -> Settings:
    """The settings of the lab in `folder`, from `autoresearch.toml` or `[tool.autoresearch]`.

    Raises UserError that names the file, the key and the nearest known key.
    """
    path = folder / FILE_NAME
    if path.is_file():
        return from_table(_read(path), str(path))
    project = folder / "pyproject.toml"
    if project.is_file():
        table = _read(project).get("tool", {}).get("autoresearch")
        if table is not None:
            return from_table(table, f"{project} [tool.autoresearch]")
    return Settings()


def from_table(table: Mapping[str, Any], where: str) -> Settings:
    """Settings from a parsed table; `where` names its source in errors."""
    settings = typing.cast(Settings, _fill(Settings, table, where, ()))
    _check(settings, where)
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _fill(kind: type, table: object, where: str, keys: tuple[str, ...]) -> object:
    if not isinstance(table, Mapping):
        raise UserError(f"{where}: [{'.'.join(keys)}] must be a table")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = ".".join((*keys, key))
        if key not in hints:
            raise UserError(f"{where}: unknown key `{name}`{_nearest(key, keys, hints)}")
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            values[key] = _fill(typing.cast(type, hint), value, where, (*keys, key))
        else:
            values[key] = _value(hint, value, f"{where}: `{name}`")
    return kind(**values)


def _nearest(key: str, keys: tuple[str, ...], known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean `{'.'.join((*keys, close[0]))}`?"
    return f"; known keys: {', '.join(known)}"


def _value(hint: Any, value: object, name: str) -> object:
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise UserError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UserError(f'{name} must be a list of strings, such as ["a", "b"], not {value!r}')
        return tuple(value)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise UserError(f'{name} must be a table of strings, such as {{ KEY = "value" }}, not {value!r}')
        return types.MappingProxyType(dict(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or isinstance(value, bool):
        words = {str: "a string", int: "a whole number", float: "a number"}
        raise UserError(f"{name} must be {words[hint]}, not {value!r}")
    return value


def _check(settings: Settings, where: str) -> None:
    _check_numbers(settings, where)
    _check_paths(settings.lab, where)
    if problem := devices.problem(settings.run.devices):
        raise UserError(f"{where}: `run.devices`: {problem}")
    if not settings.run.command:
        raise UserError(f'{where}: `run.command` is empty; for example ["python", "train.py"]')
    if settings.researcher.kind == "command" and not settings.researcher.command:
        raise UserError(f'{where}: `researcher.command` is empty; for example ["claude", "-p"]')
    try:
        groups = re.compile(settings.metric.pattern).groups
    except re.error as error:
        raise UserError(f"{where}: `metric.pattern` is not a regular expression: {error}") from None
    if groups < 1:
        raise UserError(f"{where}: `metric.pattern` needs one group (...) around the value")


def _check_numbers(settings: Settings, where: str) -> None:
    run, metric = settings.run, settings.metric
    positive = {
        "run.budget_seconds": run.budget_seconds,
        "run.timeout_seconds": run.timeout_seconds,
        "metric.baseline_runs": metric.baseline_runs,
    }
    for name, value in positive.items():
        if not 0 < value < float("inf"):
            raise UserError(f"{where}: `{name}` must be more than 0, not {value:g}")
    not_negative = {
        "run.budget_tokens": run.budget_tokens,
        "metric.keep_margin": metric.keep_margin,
        "researcher.max_usd": settings.researcher.max_usd,
        "review.after_seconds": settings.review.after_seconds,
    }
    for name, value in not_negative.items():
        if not 0 <= value < float("inf"):
            raise UserError(f"{where}: `{name}` must not be less than 0, not {value:g}")


def _check_paths(lab: LabSettings, where: str) -> None:
    if not lab.editable:
        raise UserError(f"{where}: `lab.editable` is empty; name at least one file that a proposal may change")
    for name, paths in (("editable", lab.editable), ("locked", lab.locked)):
        for path in paths:
            if path.startswith("/") or ".." in Path(path).parts:
                raise UserError(f"{where}: `lab.{name}` has {path!r}; paths are relative to the lab's folder")
    both = set(lab.editable) & set(lab.locked)
    if both:
        raise UserError(f"{where}: {', '.join(sorted(both))} is both in `lab.editable` and in `lab.locked`")
