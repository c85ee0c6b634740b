"""The rules for values in `autoresearch.toml`; a broken rule is an error of one line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec.structs import asdict

from autoresearch_tui.lab import cluster_address, devices
from autoresearch_tui.lab.evaluator import DRAW, FRESH, SPLIT
from autoresearch_tui.lab.settings import (
    MOST_ASKED,
    MOST_COLUMNS,
    MOST_FRONTS,
    MOST_WAITING,
    CriticSettings,
    LabSettings,
    MetricSettings,
    ResearcherSettings,
    ReviewSettings,
    Settings,
    TransferSettings,
    front_as_researcher,
    front_letter,
)
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.secrets import is_secret

_YEAR = 31_536_000
# Settings that must be above 0; the others may be 0.
_POSITIVE = frozenset(
    {
        "run.budget_seconds",
        "run.timeout_seconds",
        "run.keep_frontiers",
        "run.keep_max_gb",
        "metric.baseline_runs",
        "cluster.lost_after_seconds",
        "researcher.timeout_seconds",
        "researcher.silence_seconds",
        "researcher.queue",
        "review.critic.timeout_seconds",
        "review.critic.rounds",
    }
)
_NAME = re.compile(r"[A-Za-z_][\w.@/%-]{0,39}")


def check(settings: Settings, where: str) -> None:
    """Raises UserError for the first rule that is broken; `where` names the file."""
    _check_numbers(settings, where)
    _check_paths(settings.lab, where)
    _check_private(settings, where)
    _check_columns(settings.metric, where)
    _check_commands(settings, where)
    _check_researcher(settings.researcher, where)
    _check_critic(settings.review, where)
    _check_fronts(settings, where)
    _check_evaluator(settings, where)
    _check_transfer(settings.transfer, where)
    _check_keep(settings.run.keep, where)
    if problem := devices.problem(settings.run.devices):
        raise UserError(f"{where}: `run.devices`: {problem}")
    check_cluster(settings, where)
    name = settings.metric.name
    if not name.strip() or not name.isprintable():
        raise UserError(f"{where}: `metric.name` must be one line of text, not {name!r}")
    try:
        groups = re.compile(settings.metric.pattern).groups
    except re.error as error:
        raise UserError(f"{where}: `metric.pattern` is not a regular expression: {error}") from None
    if groups < 1:
        raise UserError(f"{where}: `metric.pattern` needs one group (...) around the value")


def _check_private(settings: Settings, where: str) -> None:
    if settings.lab.private and not settings.metric.referee:
        raise UserError(
            f"{where}: `lab.private` has {settings.lab.private[0]!r}, and there is no `metric.referee` to read it",
            "name the command that scores a run",
        )
    if wrong := [name for name in settings.metric.referee_env if not name or "=" in name or "\0" in name]:
        raise UserError(f"{where}: `metric.referee_env` has {wrong[0]!r}", "name variables, such as ANTHROPIC_API_KEY")


def _check_columns(metric: MetricSettings, where: str) -> None:
    if len(metric.columns) > MOST_COLUMNS:
        raise UserError(f"{where}: `metric.columns` has {len(metric.columns)} names", f"at most {MOST_COLUMNS}")
    names = [word.removeprefix("+") for word in metric.columns]
    for name in names:
        if not _NAME.fullmatch(name):
            raise UserError(f"{where}: `metric.columns` has {name!r}", "name a number, such as latency_ms or +recall")
        if name == metric.name or names.count(name) > 1:
            other = "the metric itself" if name == metric.name else "there twice"
            raise UserError(f"{where}: `metric.columns` has {name!r}, which is {other}")


def _check_commands(settings: Settings, where: str) -> None:
    if not settings.run.command:
        raise UserError(f"{where}: `run.command` is empty", 'for example ["python", "train.py"]')
    hooks = {f"hooks.{name}": words for name, words in asdict(settings.hooks).items()}
    commands = {
        "run.command": settings.run.command,
        "metric.referee": settings.metric.referee,
        "researcher.command": settings.researcher.command,
        "review.critic.command": settings.review.critic.command,
        **{f"search.front.{front}.command": own.command for front, own in settings.search.front.items()},
        **hooks,
    }
    for name, words in commands.items():
        if words and not words[0].strip():
            raise UserError(f"{where}: `{name}` begins with an empty word", "its first is the program")
        if any("\0" in word for word in words):
            raise UserError(f"{where}: `{name}` has a NUL, which no command can have")


def _check_numbers(settings: Settings, where: str) -> None:
    for name, value in _numbers(settings):
        if not math.isfinite(value):
            raise UserError(f"{where}: `{name}` must be a finite number, not {value}")
        if name in _POSITIVE and value <= 0:
            raise UserError(f"{where}: `{name}` must be more than 0, not {value:g}")
        if value < 0:
            raise UserError(f"{where}: `{name}` must not be less than 0, not {value:g}")
        if name.endswith("_seconds") and value > _YEAR:
            raise UserError(f"{where}: `{name}` must be at most {_YEAR}, a year, not {value:g}")
    for bounds in ("at_most", "at_least"):
        for key, bound in getattr(settings.metric, bounds).items():
            if not math.isfinite(bound):
                raise UserError(f"{where}: `metric.{bounds}.{key}` must be a finite number, not {bound}")
    if not 1 <= settings.search.fronts <= MOST_FRONTS:
        raise UserError(f"{where}: `search.fronts` must be from 1 to {MOST_FRONTS}, not {settings.search.fronts}")


def _numbers(table: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number in the settings, with its full name."""
    for key, value in asdict(table).items():
        name = f"{prefix}{key}"
        if isinstance(value, Frozen):
            yield from _numbers(value, f"{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def _check_evaluator(settings: Settings, where: str) -> None:
    metric = settings.metric
    if metric.evaluator == FRESH and not metric.referee:
        raise UserError(
            f"{where}: `metric.evaluator` is {FRESH!r}, and there is no `metric.referee`",
            "a run that scores itself would have to know the data that it is scored on",
        )
    if metric.evaluator == FRESH and metric.testing_budget:
        raise UserError(f"{where}: `metric.testing_budget` counts looks at a fixed evaluation, and this one is fresh")
    for name, env in (("run.env", settings.run.env), ("transfer.env", settings.transfer.env)):
        if shown := next((each for each in (DRAW, SPLIT) if each in env), None):
            raise UserError(f"{where}: `{name}` has {shown}, which is the referee's alone; no run sees it")


def check_cluster(settings: Settings, where: str) -> None:
    """Raises UserError for impossible cluster settings, or ones that the lab's others rule out; `where`: the source."""
    cluster = settings.cluster
    if not cluster.resources:
        raise UserError(f"{where}: `cluster.resources` is empty", "say what one run takes, for example { GPU = 1 }")
    for name, count in cluster.resources.items():
        if not name.strip() or not name.isprintable():
            raise UserError(f"{where}: `cluster.resources` has {name!r}", "name what Ray counts, such as GPU or CPU")
        if not (0 < count < math.inf) or (count > 1 and count != int(count)):
            raise UserError(f"{where}: `cluster.resources.{name}` must be a whole number or a part of 1, not {count:g}")
    if not cluster.accelerator.isprintable():
        raise UserError(f"{where}: `cluster.accelerator` must be one line of text, not {cluster.accelerator!r}")
    if not cluster.address:
        return
    if problem := cluster_address.problem(cluster.address):
        raise UserError(f"{where}: `cluster.address`: {problem}")
    if settings.run.devices:
        raise UserError(
            f"{where}: `run.devices` names devices of this machine, and a cluster executes the runs",
            "leave out one of them, `run.devices` or `cluster.address`",
        )
    if settings.metric.evaluator == FRESH:
        raise UserError(
            f"{where}: `metric.evaluator` is {FRESH!r}, and a cluster executes the runs",
            "set it to fixed: the files that a new draw is scored on stay on the cluster's nodes",
        )


def _check_transfer(transfer: TransferSettings, where: str) -> None:
    if transfer.factor < 1:
        raise UserError(f"{where}: `transfer.factor` must be at least 1, not {transfer.factor:g}")
    if transfer.factor == 1 and not transfer.env:
        raise UserError(f"{where}: `transfer.factor` is 1, which is an ordinary run; raise it, or set `transfer.env`")
    if secret := next((name for name in transfer.env if is_secret(name)), None):
        raise UserError(f"{where}: `transfer.env` has {secret!r}, which names a secret; no run gets one")


def _check_researcher(researcher: ResearcherSettings, where: str) -> None:
    if researcher.kind == "command" and not researcher.command:
        raise UserError(f"{where}: `researcher.command` is empty", 'for example ["claude", "-p"]')
    if researcher.queue > MOST_WAITING:
        raise UserError(f"{where}: `researcher.queue` must be at most {MOST_WAITING}, not {researcher.queue}")
    if researcher.parallel > MOST_ASKED:
        raise UserError(f"{where}: `researcher.parallel` must be at most {MOST_ASKED}, not {researcher.parallel}")
    for name in researcher.home:
        if name.startswith(("/", "~")) or not Path(name).parts or ".." in Path(name).parts:
            raise UserError(f"{where}: `researcher.home` has {name!r}", "names are relative to your home folder")


def _check_fronts(settings: Settings, where: str) -> None:
    letters = [front_letter(front) for front in range(MOST_FRONTS)]
    for front, own in settings.search.front.items():
        if front not in letters:
            raise UserError(f"{where}: `search.front.{front}`: fronts are {letters[0]} to {letters[-1]}")
        if front_as_researcher(settings, letters.index(front)).kind == "command" and not (
            own.command or settings.researcher.command
        ):
            raise UserError(f"{where}: `search.front.{front}.command` is empty", 'for example ["claude", "-p"]')


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
    lists = {"program": (lab.program,), "editable": lab.editable, "locked": lab.locked, "private": lab.private}
    for name, paths in lists.items():
        for path in paths:
            if path.startswith("/") or ".." in Path(path).parts:
                raise UserError(f"{where}: `lab.{name}` has {path!r}", "paths are relative to the lab's folder")
            bare = path if name == "program" else path.removesuffix("/")
            if bare != str(Path(bare)) or bare == "." or not bare.isprintable():
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
