"""Pure: the format of a shared session: its facts, and a line of JSON for each experiment.

Anyone who can push to the remote may have written what is read here. So sizes are limited, texts cleaned and numbers
checked, and a bad line does not affect the others.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import field

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session.comparing import Measured
from autoresearch_tui.session.ends import JUDGED, Outcome
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe

PREFIX, _SENT = "refs/autoresearch/shared/", "refs/autoresearch/sent/"
SESSION, EXPERIMENTS = "session.json", "experiments.jsonl"
"""The files of a session; experiment 7 also has `0007/files/` with its code, and `0007/base/` with its base's."""
SESSION_BYTES, EXPERIMENTS_BYTES, LINE_BYTES = 64 << 10, 2 << 20, 32 << 10
MOST_EXPERIMENTS = 1000
NAME_LENGTH = 64
OUTCOMES = frozenset(JUDGED | {Outcome.STOPPED, Outcome.GIVEN_UP})
_FORMAT = 1
_LARGEST_NUMBER = 99_999
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?![.]))*", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class SharedSession(Frozen):
    """How a session measured. `evaluator`: :func:`evaluator` of its locked files; `data`: of its scored rows, if known;
    `versions`: of this program and the runs' libraries."""

    metric: str
    goal: Goal
    budget_seconds: float
    evaluator: str
    hardware: str = ""
    data: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


class SharedExperiment(Frozen):
    """An experiment that ran. `value` is None without a score; memory is in GiB."""

    number: int
    outcome: str
    value: float | None
    memory_gb: float
    description: str
    hypothesis: str = ""
    author: str = ""
    reason: str = ""
    seconds: float = 0.0
    time: str = ""

    @property
    def folder(self) -> str:
        """The folder of its code in the session's tree."""
        return folder(self.number)


class UnusableRecord(ValueError):
    """Why a record is left out."""


def folder(number: int) -> str:
    """The folder of an experiment's code."""
    return f"{number:04d}"


def evaluator(locked: Mapping[str, str]) -> str:
    """One digest of all locked files; `locked`: the sha256 of each by path."""
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(locked.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()


def differences(theirs: SharedSession, ours: Measured) -> tuple[str, ...]:
    """Why their scores do not compare with ours; empty if they do."""
    found = [] if judged_alike(theirs, ours) else _judged_otherwise(theirs, ours)
    if not theirs.hardware:
        found.append("it does not say what it ran on")
    elif theirs.hardware != ours.hardware:
        found.append(f"it ran on {theirs.hardware}")
    return tuple(found)


def judged_alike(theirs: SharedSession, ours: Measured) -> bool:
    """Whether their rules of judging are ours, on any hardware."""
    return not _judged_otherwise(theirs, ours)


def _judged_otherwise(theirs: SharedSession, ours: Measured) -> list[str]:
    found = []
    if (theirs.metric, theirs.goal) != (describe(ours.session.metric), ours.session.goal):
        found.append(f"its metric is {theirs.metric}, {theirs.goal}")
    if theirs.budget_seconds != ours.session.budget_seconds:
        found.append(f"its budget is {theirs.budget_seconds:g} s")
    if theirs.evaluator != evaluator(ours.session.locked):
        found.append("its evaluator is another")
    return found


# ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────


def safe_name(text: str) -> str:
    """A person or a session as part of a ref: lower-case letters, digits, dots and dashes; may be empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", lambda found: "." if found[0] == "." else "-", plain.lower()).strip("-.")
    return name[:NAME_LENGTH].rstrip("-.").removesuffix(".lock")


def ref_of(who: str, session: str) -> str:
    """The ref of a person's session."""
    return f"{PREFIX}{who}/{session}"


def sent(ref: str) -> str:
    """The local ref that remembers what was last pushed as `ref`."""
    return f"{_SENT}{ref.removeprefix(PREFIX)}"


def parts(ref: str) -> tuple[str, str] | None:
    """The person and session of a ref; None for a name that this program would not make."""
    names = ref.removeprefix(PREFIX).split("/")
    if not ref.startswith(PREFIX) or len(names) != 2:
        return None
    fit = all(len(n) <= NAME_LENGTH and _NAME.fullmatch(n) and not n.endswith((".", ".lock")) for n in names)
    return (names[0], names[1]) if fit else None


# ── written ─────────────────────────────────────────────────────────────────────────────────────────────────────


def session_text(session: SharedSession) -> str:
    """`session.json`."""
    fields = {"format": _FORMAT, **_fields(session), "versions": dict(sorted(session.versions.items()))}
    return json.dumps(fields, ensure_ascii=False, indent=1) + "\n"


def experiments_text(experiments: Iterable[SharedExperiment]) -> str:
    """`experiments.jsonl`."""
    return "".join(line(each) + "\n" for each in experiments)


def line(experiment: SharedExperiment) -> str:
    """One experiment, as JSON in one line."""
    return json.dumps(_fields(experiment), ensure_ascii=False)


def _fields(record: SharedSession | SharedExperiment) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__annotations__}


# ── read ────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_session(data: bytes) -> SharedSession:
    """Parse a stranger's `session.json`. Raises UnusableRecord."""
    found = _object(data, SESSION_BYTES)
    if found.get("format") != _FORMAT:
        raise UnusableRecord("another format")
    metric, goal, judged = found.get("metric"), found.get("goal"), found.get("evaluator")
    if not isinstance(metric, str) or goal not in tuple(map(str, Goal)):
        raise UnusableRecord("no metric")
    if not isinstance(judged, str) or not _DIGEST.fullmatch(judged):
        raise UnusableRecord("no evaluator")
    versions = found.get("versions")
    pairs = list(versions.items())[:20] if isinstance(versions, dict) else []
    return SharedSession(
        metric=describe(metric),
        goal=Goal(goal),
        budget_seconds=_number(found.get("budget_seconds")) or 0.0,
        evaluator=judged,
        hardware=_text(found.get("hardware"), 80),
        data=_text(found.get("data"), 80),
        versions={_text(name, 40): _text(version, 40) for name, version in pairs},
    )


def read_experiments(data: bytes) -> tuple[tuple[SharedExperiment, ...], Counter[str]]:
    """Parse a stranger's `experiments.jsonl`, each number once; and count lines that are left out, by reason."""
    found: dict[int, SharedExperiment] = {}
    left_out: Counter[str] = Counter()
    for text in data[:EXPERIMENTS_BYTES].split(b"\n"):
        if not text.strip():
            continue
        try:
            one = _experiment(_object(text, LINE_BYTES))
            if one.number in found:
                raise UnusableRecord("a number twice")
            if len(found) == MOST_EXPERIMENTS:
                raise UnusableRecord(f"more than {MOST_EXPERIMENTS:,} in one session")
        except UnusableRecord as error:
            left_out[str(error)] += 1
            continue
        found[one.number] = one
    return tuple(found[number] for number in sorted(found)), left_out


def _experiment(found: Mapping[str, Any]) -> SharedExperiment:
    number, outcome, value = found.get("number"), found.get("outcome"), found.get("value")
    if type(number) is not int or not 0 <= number <= _LARGEST_NUMBER:
        raise UnusableRecord("no number")
    if not isinstance(outcome, str) or outcome not in OUTCOMES:
        raise UnusableRecord("no outcome")
    score = _number(value)
    if score is None and (value is not None or outcome == Outcome.KEEP):
        raise UnusableRecord("no usable score")
    return SharedExperiment(
        number=number,
        outcome=outcome,
        value=score,
        memory_gb=max(0.0, _number(found.get("memory_gb")) or 0.0),
        description=_text(found.get("description"), 300) or "-",
        hypothesis=_text(found.get("hypothesis"), 600),
        author=_text(found.get("author"), 40),
        reason=_text(found.get("reason"), 300),
        seconds=max(0.0, _number(found.get("seconds")) or 0.0),
        time=_text(found.get("time"), 40),
    )


def _object(data: bytes, limit: int) -> Mapping[str, Any]:
    if len(data) > limit:
        raise UnusableRecord("too long")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise UnusableRecord("no JSON") from None
    if not isinstance(found, dict):
        raise UnusableRecord("no JSON object")
    return found


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _text(value: object, limit: int) -> str:
    return "" if not isinstance(value, str) or (text := describe(value[: 4 * limit], limit)) == "-" else text
