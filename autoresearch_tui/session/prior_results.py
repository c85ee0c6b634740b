"""What was in a lab before a session began: others' results, and those of its own earlier sessions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session.events import HistoryRead

if TYPE_CHECKING:
    from autoresearch_tui.session.state import Experiment

LIMIT = 5000
"""Rows that are taken over: the newest, and the best; a journal is no archive."""
RECORD_ROWS = 200
"""Rows in one record of the journal, which every viewer reads whole."""
REPEAT, NEVER_RUN = "repeat", "waiting"
"""What a result of an earlier session may be beside an outcome: a run of a commit that had run, or none at all."""
_UNTRIED = frozenset({REPEAT, NEVER_RUN, "withdrawn"})


@dataclass(frozen=True, slots=True)
class PriorResult:
    """One result from before the session. `name` is what its table calls it; `commit` where that is one that is here.

    `value` is None if there is no score, memory is GiB, `flags` say what was wrong with the row. Of an earlier
    session of the lab's own: its tag, the experiment's number, the verdict's reason, such as a veto's, and the commit
    that it changed. Of another lab that shares: `origin` is who says so, `code` the tree of its files and of those that
    it changed, and `judged_alike` whether our evaluator, metric and budget are theirs. Nothing of it is verified.
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
        """Whether another lab's score may stand beside ours, if it is true."""
        return self.judged_alike and not self.flags and self.value is not None

    @property
    def settled(self) -> bool:
        """Whether its code need not be run again: others' keeps may be wanted here, our own were measured alike."""
        if not self.commit:
            return False
        if not self.session:
            return self.status in ("discard", "crash")
        return self.status not in _UNTRIED and (not self.flags or self.status == "vetoed")


def verified(experiment: Experiment) -> str:
    """Whose idea a proposal is that another lab shared, and what became of its score here; empty for one of our own."""
    made, value = experiment.proposal, experiment.value
    if not made.origin:
        return ""
    if value is None:
        return f"an idea of {made.origin}, not verified here"
    if made.claimed is None:
        return f"an idea of {made.origin}; here, on other code than theirs, {value:.6f}"
    return f"an idea of {made.origin}; verified here: {value:.6f} against their {made.claimed:.6f}"


_FIELDS = tuple(field.name for field in fields(PriorResult))
_SHARED = {field.name: field.default for field in fields(PriorResult)[_FIELDS.index("origin") :]}


def to_rows(earlier: Iterable[PriorResult]) -> tuple[Mapping[str, Any], ...]:
    """As a journal keeps them; what only shared results have is written for those alone."""
    return tuple(_row(each) for each in earlier)


def _row(each: PriorResult) -> dict[str, Any]:
    values = {name: getattr(each, name) for name in _FIELDS} | {"flags": list(each.flags)}
    return {name: value for name, value in values.items() if name not in _SHARED or value != _SHARED[name]}


def from_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[PriorResult, ...]:
    """What :func:`to_rows` was given."""
    return tuple(PriorResult(**{**row, "flags": tuple(row.get("flags", ()))}) for row in rows)


def newest(earlier: Sequence[PriorResult], goal: Goal, limit: int = LIMIT) -> Sequence[PriorResult]:
    """At most `limit` of them, in their order: the newest, and the best, however old that is."""
    kept = earlier[-limit:]
    top = best(earlier, goal)
    return kept if top is None or top in kept else (top, *kept[1:])


def records(path: str, earlier: Sequence[PriorResult], *, left_out: int = 0) -> tuple[HistoryRead, ...]:
    """The events that take these results over from `path`: each of a length that is soon read."""
    total = len(earlier)
    pieces = ((start, earlier[start : start + RECORD_ROWS]) for start in range(0, total, RECORD_ROWS))
    return tuple(
        HistoryRead(path, to_rows(rows), sum(1 for row in rows if row.flags), left_out, start, total)
        for start, rows in pieces
    )


def best(earlier: Iterable[PriorResult], goal: Goal) -> PriorResult | None:
    """The best kept one that has a score."""
    kept = [each for each in earlier if each.status == "keep" and each.value is not None]
    return min(kept, key=lambda each: goal.sort_key(each.value or 0.0), default=None)


def furthest(earlier: Iterable[PriorResult], goal: Goal) -> PriorResult | None:
    """The best that an earlier session of the lab kept, measured as this one measures; None if none is still here."""
    return best((one for one in earlier if one.session and one.commit and not one.flags), goal)
