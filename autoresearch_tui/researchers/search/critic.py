"""A critic that judges by rules: no key, no cost, and no opinion on other questions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from autoresearch_tui.lab.editable import applied
from autoresearch_tui.python_source.constants import Value
from autoresearch_tui.python_source.setting import reading
from autoresearch_tui.researchers.base import Attempt, Brief, Criticism, Proposal
from autoresearch_tui.session.ends import FAILED, Opinion, Outcome
from autoresearch_tui.session.stream_marks import TEXT, part
from autoresearch_tui.util.text import describe

REFUTED = FAILED | {Outcome.DISCARD, Outcome.GIVEN_UP, Outcome.VETOED}
_NEAR = 0.25  # of the larger of two steps
_LOOKED_AT = 200  # earlier attempts, the newest

Step = Mapping[str, tuple[Value, Value]]
"""A change of constants: values before and after, by the constant's key."""


class RuleCritic:
    """Disagrees with a risk match, and with nearly the same step as one that was not kept; agrees with any other
    change of constants; is unsure about a change of code."""

    def judge(
        self,
        brief: Brief,
        proposal: Proposal,
        risks: Sequence[str],
        say: Callable[[str], None],
        _cancelled: threading.Event,
    ) -> Criticism | None:
        found = _opinion(brief, proposal, risks)
        say(f"{part(TEXT, found.reasons)}\n")
        return found


def _opinion(brief: Brief, proposal: Proposal, risks: Sequence[str]) -> Criticism:
    if risks:
        return Criticism(Opinion.DISAGREE, f"it matches a risk rule: {'; '.join(risks)}")
    now = step(brief.files, applied(brief.files, proposal.files))
    if now is None:
        return Criticism(Opinion.UNSURE, "it changes code, which rules cannot judge")
    for attempt, before in _refuted(brief):
        if near(now, before):
            return Criticism(Opinion.DISAGREE, _reason(attempt, now, before))
    return Criticism(Opinion.AGREE, "it changes constants alone, has no risk match, and repeats nothing that failed")


def _refuted(brief: Brief) -> Iterator[tuple[Attempt, Step]]:
    """The newest attempts that no front kept, with their changes of constants; not those that the brief fixes or
    combines."""
    asked_for = {brief.fixes, brief.combines}
    for attempt in brief.history[: -_LOOKED_AT - 1 : -1]:
        if attempt.outcome not in REFUTED or attempt.leads or attempt.number in asked_for or not attempt.base:
            continue
        try:
            found = step(brief.files_at(attempt.base), brief.files_at(attempt.commit))
        except (KeyError, OSError):
            continue
        if found:
            yield attempt, found


def step(before: Mapping[str, str], after: Mapping[str, str]) -> Step | None:
    """The constants that differ; None if anything else differs."""
    changed: dict[str, tuple[Value, Value]] = {}
    for path in before.keys() | after.keys():
        old, new = before.get(path, ""), after.get(path, "")
        if old == new:
            continue
        one, two = (reading(path, files[path]) if path in files else None for files in (before, after))
        if one is None or two is None or one.skeleton != two.skeleton or one.values.keys() != two.values.keys():
            return None
        values = two.values
        changed |= {key: (value, values[key]) for key, value in one.values.items() if value != values[key]}
    return changed


def near(one: Step, two: Step) -> bool:
    """Whether both take the same constants from the same values to nearly the same ones."""
    return bool(one) and one.keys() == two.keys() and all(_near(one[key], two[key]) for key in one)


def _near(one: tuple[Value, Value], two: tuple[Value, Value]) -> bool:
    if one[0] != two[0]:
        return False
    numbers = [value for value in (*one, *two) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 4:
        return one[1] == two[1]
    start, mine, _, other = numbers
    return abs(mine - other) <= _NEAR * max(abs(mine - start), abs(other - start))


def _reason(attempt: Attempt, now: Step, before: Step) -> str:
    names = ", ".join(f"{key.partition(':')[2]} from {old!r} to {new!r}" for key, (old, new) in sorted(before.items()))
    value = "" if attempt.value is None else f" with {attempt.value:.7g}"
    here = ", ".join(repr(new) for _, (_, new) in sorted(now.items()))
    return (
        f"{attempt.name} took {names} and ended as {describe(attempt.outcome, 12)}{value}; "
        f"to {here} is nearly the same step"
    )
