"""Pure: results from before a session: others' in the lab, its own earlier sessions', and other labs'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session.events import HistoryRead
from autoresearch_tui.util.frozen import Frozen, defaults

if TYPE_CHECKING:
    from autoresearch_tui.session.state import Experiment

LIMIT = 5000
"""The most rows that a journal takes over: the newest, and the best."""
RECORD_ROWS = 200
"""The most rows in one record of the journal, which every viewer reads whole."""
REPEAT, NEVER_RUN = "repeat", "waiting"
"""Further statuses of an earlier session's results: a run of a commit that had run, or no run at all."""
_UNTRIED = frozenset({REPEAT, NEVER_RUN, "withdrawn"})


class PriorResult(Frozen):
    """One result from before the session. `name`: as in its table; `commit`: if that is in this repository.

    `value` is None without a score, memory is in GiB, `flags` say what is wrong with the row. Only of the lab's own
    earlier sessions: `session` is the tag, `number` the experiment's, `reason` the verdict's or a veto's, `base` the
    commit that it changed. Only of other labs: `origin` is the source, `code` the tree of its files and of those that
    it changed, `judged_alike` whether evaluator, metric and budget are ours. None of that is verified.
    """

    name: str
    value: float | None
    memory_gb: float
    status: str
    description: str
    flags: tuple[str, ...] = ()
    commit: str = ""
    session: str = ""
    number: int = -1
    reason: str = ""
    base: str = ""
    origin: str = ""
    code: str = ""
    hypothesis: str = ""
    judged_alike: bool = False

    @property
    def comparable(self) -> bool:
        """Whether another lab's score, if true, compares with ours."""
        return self.judged_alike and not self.flags and self.value is not None

    @property
    def settled(self) -> bool:
        """Whether its code need not run again. Others' keeps may be wanted here; our own count if measured alike."""
        if not self.commit:
            return False
        if not self.session:
            return self.status in ("discard", "crash")
        return self.status not in _UNTRIED and (not self.flags or self.status == "vetoed")


def verified(experiment: Experiment) -> str:
    """The origin of an idea from another lab, and whether its score was verified here; empty for our own."""
    made, value = experiment.proposal, experiment.value
    if not made.origin:
        return ""
    if value is None:
        return f"an idea of {made.origin}, not verified here"
    if made.claimed is None:
        return f"an idea of {made.origin}; here, on other code than theirs, {value:.6f}"
    return f"an idea of {made.origin}; verified here: {value:.6f} against their {made.claimed:.6f}"


_FIELDS = PriorResult.__struct_fields__
_SHARED = {name: defaults(PriorResult)[name] for name in _FIELDS[_FIELDS.index("origin") :]}


def to_rows(earlier: Iterable[PriorResult]) -> tuple[Mapping[str, Any], ...]:
    """The rows for a journal. Fields that only shared results have are left out elsewhere."""
    return tuple(_row(each) for each in earlier)


def _row(each: PriorResult) -> dict[str, Any]:
    values = {name: getattr(each, name) for name in _FIELDS} | {"flags": list(each.flags)}
    return {name: value for name, value in values.items() if name not in _SHARED or value != _SHARED[name]}


def from_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[PriorResult, ...]:
    """The inverse of :func:`to_rows`."""
    return tuple(PriorResult(**{**row, "flags": tuple(row.get("flags", ()))}) for row in rows)


def newest(earlier: Sequence[PriorResult], goal: Goal, limit: int = LIMIT) -> Sequence[PriorResult]:
    """At most `limit` results, in order: the newest, and the best however old."""
    kept = earlier[-limit:]
    top = best(earlier, goal)
    return kept if top is None or top in kept else (top, *kept[1:])


def records(path: str, earlier: Sequence[PriorResult], *, left_out: int = 0) -> tuple[HistoryRead, ...]:
    """The events that take over results from `path`, each short enough to read quickly."""
    total = len(earlier)
    pieces = ((start, earlier[start : start + RECORD_ROWS]) for start in range(0, total, RECORD_ROWS))
    return tuple(
        HistoryRead(path, to_rows(rows), sum(1 for row in rows if row.flags), left_out, start, total)
        for start, rows in pieces
    )


def best(earlier: Iterable[PriorResult], goal: Goal) -> PriorResult | None:
    """The best kept result with a score."""
    kept = [each for each in earlier if each.status == "keep" and each.value is not None]
    return min(kept, key=lambda each: goal.sort_key(each.value or 0.0), default=None)


def furthest(earlier: Iterable[PriorResult], goal: Goal) -> PriorResult | None:
    """The best keep of the lab's earlier sessions that is still here and was measured like this session."""
    return best((one for one in earlier if one.session and one.commit and not one.flags), goal)
