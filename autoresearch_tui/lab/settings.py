"""`autoresearch.toml`: every key optional, every mistake named with the nearest known key."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from autoresearch_tui.lab import devices
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.nearest import suggestion
from autoresearch_tui.util.secrets import is_secret

FILE_NAME = "autoresearch.toml"
MOST_WAITING = 8
MOST_FRONTS = 8


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
        "The fixed evaluation, as files and folders of the commit: hashed at the start of the session and before every "
        "verdict, read-only for a run.",
    )
    share: tuple[str, ...] = _key(
        ("*",),
        "What a run sees beside the commit, read-only. `*`: what git ignores or does not know beside the code, except "
        "outputs and secrets ([labs](labs.md)). A path adds a file or folder (relative to the lab's folder, `~/…` or "
        "absolute), `!path` takes one away.",
    )


class RunSettings(Frozen):
    """One execution of the training command. Times are seconds.

    `devices`: that many experiments at once, each on its own: accelerators by number ("0"), UUID or MIG instance, or
    processors ("cpu0-3").
    """

    command: tuple[str, ...] = _key(
        ("uv", "run", "train.py"),
        "Run in the experiment's own folder, in the sandbox, without network. `uv` uses the lab's `.venv` as it is; "
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
    pause_after_failures: int = _key(
        5,
        "After so many runs, or requests for a proposal, that failed one after the other with the same message "
        "(numbers aside), the loop pauses with that message until a human resumes it; 0: never. What passes by itself, "
        "such as an API that cannot be reached, does not count.",
    )
    timeout_seconds: float = _key(600, "The whole run from start-up to exit; what takes longer is killed, and a crash.")
    give_up: bool = _key(
        False,
        "From 30 % of the budget, end a run whose training loss lies further behind the frontier's than any later "
        "keep's did, by a margin learned from the session's own curves; it is a discard without a score "
        "([what it saves, and when not to use it](research.md#giving-up-hopeless-runs)).",
    )
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
        'Several experiments at once, each on a device of its own: accelerators by number (`"0"`), UUID '
        '(`"GPU-8932f937-…"`) or MIG instance (`"MIG-…"`), as `nvidia-smi -L` lists them, or processors (`"cpu0-3"`).',
    )
    keep: tuple[str, ...] = _key(
        (),
        'Files that a run leaves in its folder, such as `["model.pt", "tokenizer/*.json"]`, kept in '
        "`.autoresearch/<tag>/runs/NNNN/kept` when it becomes the frontier. Plain files, with `*`, `?` and `[…]` in a "
        "name; links are not followed.",
    )
    keep_frontiers: int = _key(3, "Of how many frontiers, the last ones, those files are kept.")
    keep_max_gb: float = _key(20, "GiB that those files may take together; the oldest go first.")
    share_accelerator: bool = _key(
        False,
        "Start runs also while another process holds more than a tenth of their accelerator's memory. Such runs are "
        "slower by what the other takes, and `device_memory_mb` is not measured.",
    )


class MetricSettings(Frozen):
    """What decides."""

    name: str = _key("val_bpb", "The score's name, as it is shown.")
    pattern: str = _key(
        r"^val_bpb:\s+(\S+)",
        "A regular expression with one group, whose last match in the log (or in the referee's output) is the score. "
        "With the default, other ways to print `name` and a number are understood as well.",
    )
    goal: Goal = _key(Goal.MINIMIZE, "Whether lower or higher is better.")
    referee: tuple[str, ...] = _key(
        (),
        "A trusted scorer, run after the training; where set, printed scores are shown, but never decide.",
    )
    range: tuple[float, ...] = _key(
        (),
        "The lowest and the highest score that can be, such as `[0, 1]`, with `inf` and `-inf` for none; a score "
        "outside is `invalid`. Empty: what the name tells, which is more than 0 for `val_bpb`, other bits and "
        "perplexities, not less than 0 for errors such as `val_rmse`, 0 to 100 for an `accuracy`, and any number for "
        "the rest.",
    )
    keep_margin: float = _key(0.0, "A gain that is not larger than this is discarded.")
    keep: Literal["strict", "confirmed"] = _key(
        "strict",
        "`strict`: any gain beyond `keep_margin` is kept, as in the reference. `confirmed`: a gain that chance may "
        "explain is run again under other seeds, two runs at most, and decided on the means "
        "([research](research.md#confirmed-keeps)).",
    )
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
    network: tuple[str, ...] = _key(
        (),
        "For `command`: addresses that it may reach besides HTTPS (port 443), such as `localhost:11434`; of an address "
        "the port counts.",
    )
    timeout_seconds: float = _key(1200, "What one request, or one run of the agent, may take.")
    silence_seconds: float = _key(300, "How long it may be silent meanwhile.")
    max_usd: float = _key(0, "Stop asking when the session has cost this much; 0: no limit.")
    max_tokens: int = _key(0, "Stop asking when the session has taken as many tokens; 0: no limit.")
    digest: bool = _key(
        True,
        "When a session ends by itself, the researcher writes a page for you, `digest.md`, in one more request; "
        "`false`: it is written by template, at no cost.",
    )
    queue: int = _key(1, "How many proposals may wait during a run; at most 8.")


class SearchSettings(Frozen):
    """How broadly a session searches. `docs/research.md` has what each costs and gains, as measured."""

    fronts: int = _key(
        1,
        "How many frontiers are alive, at most 8. What is better than where its own front stands is kept there; the "
        "best front is the session's branch and `results.tsv`. A bandit on gain per hour shares the runs out. A "
        "section `## Front: name` in `program.md` is read by one front alone, the first section by the first.",
    )
    plateau: Literal["restarts", "fronts"] = _key(
        "restarts",
        "What the loop does after 20 runs without a keep: start every fifth proposal at an earlier keep, or open one "
        "more front there, up to four.",
    )


class LimitSettings(Frozen):
    """What a session may cost, researcher and accelerators together."""

    accelerator_usd_per_hour: float = _key(
        0,
        "Dollars an hour for one device of `run.devices`, rented or in electricity; 0: not counted. All of them count "
        "as long as an engine is at work, also without a run, as a rented machine does; when no engine is there, a run "
        "that continues counts for its device.",
    )
    max_usd: float = _key(
        0,
        "The session ends when no further run fits into this: nothing is launched and nobody is asked, what runs is "
        "finished; 0: no limit. `researcher.max_usd` pauses the asking alone.",
    )


class CriticSettings(Frozen):
    """Who gives a second opinion on a proposal before it runs; `env`, `home` and `network` are the researcher's."""

    kind: Literal["", "claude", "command", "search"] = _key(
        "",
        "Claude through the API, any command-line agent, or the built-in rules, which cost nothing: they object to "
        "risk matches and to near repeats of what was not kept. Empty: no second opinion.",
    )
    model: str = _key("", "For `claude`; empty: chosen from what the API offers.")
    effort: Literal["", "low", "medium", "high", "xhigh", "max"] = _key(
        "", "For `claude`: how much effort to put into an answer; empty: the model's own default."
    )
    command: tuple[str, ...] = _key(
        (), "For `command`: as `researcher.command`; it answers with a JSON object and changes nothing."
    )
    timeout_seconds: float = _key(600, "What one opinion may take.")
    rounds: int = _key(
        5,
        "How often in a row a proposal that the critic does not agree with goes back to the researcher, with the "
        "reasons; the next such one waits for a human.",
    )


class TransferSettings(Frozen):
    """Whether a gain holds at a larger scale: the best and the baseline run there once each, and decide nothing.

    See [research](research.md#does-a-gain-transfer). `X` and `transfer N` ask for it as well.
    """

    factor: float = _key(
        2,
        "So many times the budget of `run`; `run.timeout_seconds` grows with it. 1: the same budget, and `env`.",
    )
    env: Mapping[str, str] = _key(
        {}, 'What else such a run sees in its environment, such as a scale of the lab\'s own: `{ DEPTH = "12" }`.'
    )
    every: int = _key(0, "Try the best after so many keeps; 0: only when asked.")
    rest: bool = _key(
        False, "Try the best at the end of a session with `--until` or `--hours`, as late as it still ends in time."
    )


class ReviewSettings(Frozen):
    """The gate: what lets a proposal pass, and what happens without an answer."""

    mode: Literal["ask", "auto"] = _key("ask", "Ask a human, or let every proposal pass.")
    unattended: Literal["hold", "approve-low-risk", "approve-if-critic-agrees", "veto"] = _key(
        "hold",
        "What happens to a proposal without an answer: it waits; passes if it has no risk match; passes if the critic "
        "agrees, and waits while the critic has not answered; or is vetoed.",
    )
    after_seconds: float = _key(300, "How long a proposal waits for an answer before `unattended` decides.")
    critic: CriticSettings = field(
        default_factory=CriticSettings,
        metadata={"doc": 'A second opinion before each run, such as `{ kind = "claude", effort = "low" }`.'},
    )


class HookSettings(Frozen):
    """Commands of the human's own, run without a shell when something happens; empty: none."""

    best: tuple[str, ...] = _key((), "A new best score.")
    crash: tuple[str, ...] = _key((), "A crash.")
    waits: tuple[str, ...] = _key((), "A proposal waits for an answer.")
    stopped: tuple[str, ...] = _key((), "The loop has stopped or failed.")
    ended: tuple[str, ...] = _key(
        (), "The session has ended: by a limit, a stop or a failure, not by a detach. Runs last, to stop the machine."
    )


class Settings(Frozen):
    """The whole of `autoresearch.toml`; the defaults fit an unmodified checkout of the reference."""

    lab: LabSettings = field(default_factory=LabSettings)
    run: RunSettings = field(default_factory=RunSettings)
    metric: MetricSettings = field(default_factory=MetricSettings)
    researcher: ResearcherSettings = field(default_factory=ResearcherSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    review: ReviewSettings = field(default_factory=ReviewSettings)
    hooks: HookSettings = field(default_factory=HookSettings)


def critic_as_researcher(settings: Settings) -> ResearcherSettings:
    """The critic's table as a researcher's: the same clients and the same sandbox serve both. Its kind is not empty."""
    critic = settings.review.critic
    assert critic.kind
    return dataclasses.replace(
        settings.researcher,
        kind=critic.kind,
        model=critic.model,
        effort=critic.effort,
        command=critic.command,
        timeout_seconds=critic.timeout_seconds,
    )


def load(folder: Path) -> Settings:
    """The settings of the lab in `folder`, from `autoresearch.toml` or `[tool.autoresearch]`.

    Raises UserError that names the file, the key and the nearest known key.
    """
    return from_table(*table(folder))


def table(folder: Path) -> tuple[Mapping[str, Any], str]:
    """The lab's own table, and its source for errors; empty if there is none.

    Raises UserError if it cannot be read.
    """
    path = folder / FILE_NAME
    # A broken link counts as present: the defaults are not meant.
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
    settings = typing.cast(Settings, _fill(base or Settings(), table, where, ()))
    _check(settings, where)
    return settings


def timeout_problem(run: RunSettings) -> str:
    """Why no run could ever end by itself; empty if it can."""
    if run.budget_tokens or run.budget_seconds < run.timeout_seconds:
        return ""
    return (
        f"a run is killed after {run.timeout_seconds:g} s (`run.timeout_seconds`), "
        f"before its budget of {run.budget_seconds:g} s (`run.budget_seconds`) is used"
    )


def _read(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a file", "put the settings there, or move it away")
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))  # Windows' editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}", "save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _fill(base: object, table: object, where: str, keys: tuple[str, ...]) -> object:
    """The base with the table's values in it; a table of strings adds to the base's."""
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
        if dataclasses.is_dataclass(hint):
            values[key] = _fill(getattr(base, key), value, where, (*keys, key))
            continue
        values[key] = _value(hint, value, f"{where}: `{name}`")
        if isinstance(values[key], Mapping):
            values[key] = types.MappingProxyType({**getattr(base, key), **values[key]})
    return dataclasses.replace(typing.cast(Any, base), **values)


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
        raise UserError(f"{name} must be a table of numbers, such as {{ peak_vram_mb = 24000 }}, not {value!r}")
    assert isinstance(value, dict)
    return types.MappingProxyType({key: float(item) for key, item in value.items()})


def _check(settings: Settings, where: str) -> None:
    _check_numbers(settings, where)
    _check_paths(settings.lab, where)
    _check_commands(settings, where)
    _check_researcher(settings.researcher, where)
    _check_critic(settings.review, where)
    _check_transfer(settings.transfer, where)
    _check_keep(settings.run.keep, where)
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
        raise UserError(f"{where}: `run.command` is empty", 'for example ["python", "train.py"]')
    hooks = {f"hooks.{each.name}": getattr(settings.hooks, each.name) for each in dataclasses.fields(HookSettings)}
    commands = {
        "run.command": settings.run.command,
        "metric.referee": settings.metric.referee,
        "researcher.command": settings.researcher.command,
        "review.critic.command": settings.review.critic.command,
        **hooks,
    }
    for name, words in commands.items():
        if words and not words[0].strip():
            raise UserError(f"{where}: `{name}` begins with an empty word", "its first is the program")
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
        "review.critic.timeout_seconds": settings.review.critic.timeout_seconds,
        "run.keep_frontiers": run.keep_frontiers,
        "run.keep_max_gb": run.keep_max_gb,
        "transfer.factor": settings.transfer.factor,
    }
    for name, value in positive.items():
        if not 0 < value < float("inf"):
            raise UserError(f"{where}: `{name}` must be more than 0, not {value:g}")
    not_negative = {
        "run.budget_tokens": run.budget_tokens,
        "run.memory_gb": run.memory_gb,
        "run.pause_after_failures": run.pause_after_failures,
        "metric.keep_margin": metric.keep_margin,
        "transfer.every": settings.transfer.every,
        "researcher.max_usd": settings.researcher.max_usd,
        "researcher.max_tokens": settings.researcher.max_tokens,
        "limits.accelerator_usd_per_hour": settings.limits.accelerator_usd_per_hour,
        "limits.max_usd": settings.limits.max_usd,
        "review.after_seconds": settings.review.after_seconds,
        "review.critic.rounds": settings.review.critic.rounds,
    }
    if not 1 <= settings.search.fronts <= MOST_FRONTS:
        raise UserError(f"{where}: `search.fronts` must be from 1 to {MOST_FRONTS}, not {settings.search.fronts}")
    for name, value in not_negative.items():
        if not 0 <= value < float("inf"):
            raise UserError(f"{where}: `{name}` must not be less than 0, not {value:g}")


def _check_transfer(transfer: TransferSettings, where: str) -> None:
    if transfer.factor == 1 and not transfer.env:
        raise UserError(f"{where}: `transfer.factor` is 1, which is an ordinary run; raise it, or set `transfer.env`")
    if secret := next((name for name in transfer.env if is_secret(name)), None):
        raise UserError(f"{where}: `transfer.env` has {secret!r}, which names a secret; no run gets one")


def _check_researcher(researcher: ResearcherSettings, where: str) -> None:
    if researcher.kind == "command" and not researcher.command:
        raise UserError(f"{where}: `researcher.command` is empty", 'for example ["claude", "-p"]')
    if researcher.queue > MOST_WAITING:
        raise UserError(f"{where}: `researcher.queue` must be at most {MOST_WAITING}, not {researcher.queue}")
    for name in researcher.home:
        if name.startswith(("/", "~")) or not Path(name).parts or ".." in Path(name).parts:
            raise UserError(f"{where}: `researcher.home` has {name!r}", "names are relative to your home folder")


def _check_critic(review: ReviewSettings, where: str) -> None:
    if not review.critic.kind and review.critic != CriticSettings():
        raise UserError(f"{where}: `review.critic` has no `kind`", 'for example { kind = "claude" }')
    if review.critic.kind == "command" and not review.critic.command:
        raise UserError(f"{where}: `review.critic.command` is empty", 'for example ["claude", "-p"]')
    if review.unattended == "approve-if-critic-agrees" and not review.critic.kind:
        raise UserError(
            f"{where}: `review.unattended` is {review.unattended!r}, and there is no critic",
            'set `review.critic`, for example { kind = "claude" }',
        )


def _check_keep(patterns: tuple[str, ...], where: str) -> None:
    for pattern in patterns:
        parts = PurePosixPath(pattern).parts
        if not parts or pattern.startswith(("/", "~")) or ".." in parts or "**" in parts or "\0" in pattern:
            raise UserError(
                f"{where}: `run.keep` has {pattern!r}", "name a file in the run's folder, such as model.pt or out/*.pt"
            )


def _check_paths(lab: LabSettings, where: str) -> None:
    if not lab.editable:
        raise UserError(f"{where}: `lab.editable` is empty", "name at least one file that a proposal may change")
    for name, paths in (("program", (lab.program,)), ("editable", lab.editable), ("locked", lab.locked)):
        for path in paths:
            if path.startswith("/") or ".." in Path(path).parts:
                raise UserError(f"{where}: `lab.{name}` has {path!r}", "paths are relative to the lab's folder")
            if path != str(Path(path)) or path == ".":
                raise UserError(
                    f"{where}: `lab.{name}` has {path!r}", "name a file, and plainly, as git does: `a/b.py`"
                )
            if {".git", ".autoresearch"} & set(Path(path).parts):
                raise UserError(f"{where}: `lab.{name}` has {path!r}, which is no file of the lab's own")
        if twice := [path for path in paths if paths.count(path) > 1]:
            raise UserError(f"{where}: `lab.{name}` has {twice[0]!r} twice")
    if wrong := [word for word in lab.share if not word.removeprefix("!").strip() or "\0" in word or word == "!*"]:
        raise UserError(
            f"{where}: `lab.share` has {wrong[0]!r}", "name a file or folder, `!name` to leave one out, or `*`"
        )
    both = set(lab.editable) & set(lab.locked)
    if both:
        raise UserError(f"{where}: {', '.join(sorted(both))} is both in `lab.editable` and in `lab.locked`")
