"""`autoresearch.toml`: every key optional, every mistake named with the nearest known key."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from autoresearch_tui import devices
from autoresearch_tui.errors import UserError
from autoresearch_tui.frozen import Frozen

FILE_NAME = "autoresearch.toml"
MOST_WAITING = 8


def _key(default: Any, doc: str) -> Any:
    """A key with its default and what docs/configuration.md says of it."""
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"doc": doc})
    return field(default=default, metadata={"doc": doc})


class LabSettings(Frozen):
    """What may change and what may not. Paths are relative to the lab's folder."""

    program: str = _key("program.md", "The human's standing instructions to the researcher.")
    editable: tuple[str, ...] = _key(("train.py",), "The only paths that a proposal may change.")
    locked: tuple[str, ...] = _key(
        ("prepare.py",),
        "The fixed evaluation: hashed at the start of the session and before every verdict, read-only for a run.",
    )


class RunSettings(Frozen):
    """One execution of the training command. Times are seconds.

    `devices`: that many experiments at once, each on its own: accelerators by number ("0") or processors ("cpu0-3").
    """

    command: tuple[str, ...] = _key(
        ("uv", "run", "train.py"),
        "Run in the experiment's own folder, in the cage, without network. `uv` uses the lab's `.venv` as it is; "
        "where `uv` is not installed, that environment's Python is called directly.",
    )
    budget_seconds: float = _key(
        300, "Seconds of training, handed to the run as `AUTORESEARCH_TIME_BUDGET`; start-up and scoring do not count."
    )
    budget_tokens: int = _key(
        0,
        "Tokens of training, handed to the run as `AUTORESEARCH_TOKEN_BUDGET`, for machines whose speed drifts and for "
        "repeatable tests; 0: seconds count.",
    )
    timeout_seconds: float = _key(600, "The whole run from start-up to exit; what takes longer is killed, and a crash.")
    memory_gb: float = _key(
        0,
        "GiB of main memory that a run may hold with all its processes; one that holds more is ended, and a crash. "
        "0: all but a reserve that keeps the machine, or the container, alive (a fiftieth of it, at least 512 MiB).",
    )
    env: Mapping[str, str] = _key(
        {}, "What else the run may see in its environment. Nothing of the user's own is passed on, secrets never."
    )
    devices: tuple[str, ...] = _key(
        (),
        'Several experiments at once, each on a device of its own: accelerators by number (`"0"`) or processors '
        '(`"cpu0-3"`).',
    )


class MetricSettings(Frozen):
    """What decides."""

    name: str = _key("val_bpb", "The score's name, as it is shown.")
    pattern: str = _key(
        r"^val_bpb:\s+(\S+)",
        "A regular expression with one group, whose last match in the log (or in the referee's output) is the score. "
        "With the default, other ways to print `name` and a number are understood as well.",
    )
    goal: Literal["minimize", "maximize"] = _key("minimize", "Whether lower or higher is better.")
    referee: tuple[str, ...] = _key(
        (),
        "A trusted scorer, run after the training; where set, printed scores are shown, but never decide.",
    )
    keep_margin: float = _key(0.0, "A gain that is not larger than this is discarded.")
    baseline_runs: int = _key(1, "Repeats of the baseline, which measure the spread between equal runs.")
    at_most: Mapping[str, float] = _key(
        {},
        "Upper bounds on keys of the run's summary, such as `{ peak_vram_mb = 24000, num_params_M = 60 }`. A run "
        "beyond one, or without the key, is discarded however good its score is. `total_seconds`, `host_memory_mb` and "
        "`device_memory_mb` (the most that the run held, MiB) are measured from outside; a `peak_vram_mb` far below "
        "what its accelerator held does not count. Other keys are the run's own word.",
    )
    at_least: Mapping[str, float] = _key({}, "Lower bounds, likewise, such as `{ accuracy = 0.9 }`.")


class ResearcherSettings(Frozen):
    """Who proposes."""

    kind: Literal["claude", "command", "search"] = _key(
        "claude", "Claude through the API, any command-line agent, or the built-in offline search."
    )
    model: str = _key("", "For `claude`; empty: chosen from what the API offers.")
    effort: Literal["", "low", "medium", "high", "xhigh", "max"] = _key(
        "", "For `claude`: how much effort to put into an answer; empty: the model's own default."
    )
    thinking: Literal["", "off", "adaptive", "enabled"] = _key(
        "", "For `claude`; empty: the best kind that the model offers."
    )
    command: tuple[str, ...] = _key(
        (), 'For `command`, e.g. `["claude", "-p"]`; the prompt arrives on its standard input.'
    )
    env: tuple[str, ...] = _key((), "For `command`: variables of yours that it may see beside its own keys.")
    home: tuple[str, ...] = _key(
        (), "For `command`: names in your home folder that it may read, such as `.config/mine`."
    )
    timeout_seconds: float = _key(1200, "What one request, or one run of the agent, may take.")
    silence_seconds: float = _key(300, "How long it may be silent meanwhile.")
    max_usd: float = _key(0, "Stop asking when the session has cost this much; 0: no limit.")
    max_tokens: int = _key(0, "Stop asking when the session has taken as many tokens; 0: no limit.")
    queue: int = _key(1, "How many proposals may wait while a run goes on; at most 8.")


class ReviewSettings(Frozen):
    """The gate: who lets a proposal pass, and what happens when nobody answers."""

    mode: Literal["ask", "auto"] = _key("ask", "Ask a human, or let every proposal pass.")
    unattended: Literal["hold", "approve-low-risk", "veto"] = _key(
        "hold",
        "What happens to a proposal that nobody has answered: it waits, passes where it risks nothing, or is vetoed.",
    )
    after_seconds: float = _key(300, "How long a proposal waits for an answer before `unattended` decides.")


class HookSettings(Frozen):
    """Commands of the human's own, run without a shell when something happens; empty: none."""

    best: tuple[str, ...] = _key((), "A new best score.")
    crash: tuple[str, ...] = _key((), "A crash.")
    waits: tuple[str, ...] = _key((), "A proposal waits for an answer.")
    stopped: tuple[str, ...] = _key((), "The loop has stopped or failed.")


class Settings(Frozen):
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
    return written(folder) or Settings()


def written(folder: Path) -> Settings | None:
    """What :func:`load` reads, or None where nobody has written any settings for the lab."""
    path = folder / FILE_NAME
    # A broken link is there too: whoever made it does not mean the defaults.
    if path.exists() or path.is_symlink():
        return from_table(_read(path), str(path))
    project = folder / "pyproject.toml"
    if project.is_file():
        tools = _read(project).get("tool")
        table = tools.get("autoresearch") if isinstance(tools, Mapping) else None
        if table is not None:
            return from_table(table, f"{project} [tool.autoresearch]")
    return None


def from_table(table: Mapping[str, Any], where: str) -> Settings:
    """Settings from a parsed table; `where` names its source in errors."""
    settings = typing.cast(Settings, _fill(Settings, table, where, ()))
    _check(settings, where)
    return settings


def _read(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a file; put the settings there, or move it away")
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))  # Windows' editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _fill(kind: type, table: object, where: str, keys: tuple[str, ...]) -> object:
    if not isinstance(table, Mapping):
        name = f"[{'.'.join(keys)}] " if keys else ""
        raise UserError(f"{where}: {name}must be a table, not {table!r}")
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
    if not isinstance(value, hint) or isinstance(value, bool):
        words = {str: "a string", int: "a whole number", float: "a number"}
        raise UserError(f"{name} must be {words[hint]}, not {value!r}")
    return value


def _bounds(value: object, name: str) -> Mapping[str, float]:
    numbers = value.values() if isinstance(value, dict) else (None,)
    if not all(isinstance(item, int | float) and not isinstance(item, bool) and item == item for item in numbers):
        raise UserError(f"{name} must be a table of numbers, such as {{ peak_vram_mb = 24000 }}, not {value!r}")
    assert isinstance(value, dict)
    return types.MappingProxyType({key: float(item) for key, item in value.items()})


def _check(settings: Settings, where: str) -> None:
    _check_numbers(settings, where)
    _check_paths(settings.lab, where)
    _check_commands(settings, where)
    _check_researcher(settings.researcher, where)
    if problem := devices.problem(settings.run.devices):
        raise UserError(f"{where}: `run.devices`: {problem}")
    name = settings.metric.name
    if not name.strip() or not name.isprintable():
        raise UserError(f"{where}: `metric.name` must be one line of text, not {name!r}")
    try:
        groups = re.compile(settings.metric.pattern).groups
    except re.error as error:
        raise UserError(f"{where}: `metric.pattern` is not a regular expression: {error}") from None
    if groups < 1:
        raise UserError(f"{where}: `metric.pattern` needs one group (...) around the value")


def _check_commands(settings: Settings, where: str) -> None:
    if not settings.run.command:
        raise UserError(f'{where}: `run.command` is empty; for example ["python", "train.py"]')
    hooks = {f"hooks.{each.name}": getattr(settings.hooks, each.name) for each in dataclasses.fields(HookSettings)}
    commands = {
        "run.command": settings.run.command,
        "metric.referee": settings.metric.referee,
        "researcher.command": settings.researcher.command,
        **hooks,
    }
    for name, words in commands.items():
        if words and not words[0].strip():
            raise UserError(f"{where}: `{name}` begins with an empty word; its first is the program")
        if any("\0" in word for word in words):
            raise UserError(f"{where}: `{name}` has a NUL, which no command can have")


def _check_numbers(settings: Settings, where: str) -> None:
    run, metric = settings.run, settings.metric
    positive = {
        "run.budget_seconds": run.budget_seconds,
        "run.timeout_seconds": run.timeout_seconds,
        "metric.baseline_runs": metric.baseline_runs,
        "researcher.timeout_seconds": settings.researcher.timeout_seconds,
        "researcher.silence_seconds": settings.researcher.silence_seconds,
        "researcher.queue": settings.researcher.queue,
    }
    for name, value in positive.items():
        if not 0 < value < float("inf"):
            raise UserError(f"{where}: `{name}` must be more than 0, not {value:g}")
    not_negative = {
        "run.budget_tokens": run.budget_tokens,
        "run.memory_gb": run.memory_gb,
        "metric.keep_margin": metric.keep_margin,
        "researcher.max_usd": settings.researcher.max_usd,
        "researcher.max_tokens": settings.researcher.max_tokens,
        "review.after_seconds": settings.review.after_seconds,
    }
    for name, value in not_negative.items():
        if not 0 <= value < float("inf"):
            raise UserError(f"{where}: `{name}` must not be less than 0, not {value:g}")


def _check_researcher(researcher: ResearcherSettings, where: str) -> None:
    if researcher.kind == "command" and not researcher.command:
        raise UserError(f'{where}: `researcher.command` is empty; for example ["claude", "-p"]')
    if researcher.queue > MOST_WAITING:
        raise UserError(f"{where}: `researcher.queue` must be at most {MOST_WAITING}, not {researcher.queue}")
    for name in researcher.home:
        if name.startswith(("/", "~")) or not Path(name).parts or ".." in Path(name).parts:
            raise UserError(f"{where}: `researcher.home` has {name!r}; names are relative to your home folder")


def _check_paths(lab: LabSettings, where: str) -> None:
    if not lab.editable:
        raise UserError(f"{where}: `lab.editable` is empty; name at least one file that a proposal may change")
    for name, paths in (("program", (lab.program,)), ("editable", lab.editable), ("locked", lab.locked)):
        for path in paths:
            if path.startswith("/") or ".." in Path(path).parts:
                raise UserError(f"{where}: `lab.{name}` has {path!r}; paths are relative to the lab's folder")
            if path != str(Path(path)) or path == ".":
                raise UserError(f"{where}: `lab.{name}` has {path!r}; name a file, and plainly, as git does: `a/b.py`")
            if {".git", ".autoresearch"} & set(Path(path).parts):
                raise UserError(f"{where}: `lab.{name}` has {path!r}, which is no file of the lab's own")
        if twice := [path for path in paths if paths.count(path) > 1]:
            raise UserError(f"{where}: `lab.{name}` has {twice[0]!r} twice")
    both = set(lab.editable) & set(lab.locked)
    if both:
        raise UserError(f"{where}: {', '.join(sorted(both))} is both in `lab.editable` and in `lab.locked`")
