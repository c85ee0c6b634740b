"""Pure: whether two sessions measure in the same way, so that their scores compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoresearch_tui.session import events as ev
from autoresearch_tui.util.frozen import Frozen

if TYPE_CHECKING:
    from autoresearch_tui.session.outline import Outline
    from autoresearch_tui.session.state import State


class Measured(Frozen):
    """How a session measures. `hardware`: its last engine's; empty if unknown."""

    session: ev.SessionBegan
    hardware: str = ""


def measured(state: State | Outline) -> Measured | None:
    """How this session measures; None before it has begun."""
    if state.session is None:
        return None
    return Measured(state.session, state.last_engine.hardware if state.last_engine is not None else "")


def same_score(before: Measured, now: Measured) -> bool:
    """Whether the scores are of the same metric and goal."""
    return (before.session.metric, before.session.goal) == (now.session.metric, now.session.goal)


def differences(before: Measured, now: Measured) -> tuple[str, ...]:
    """Why results of an earlier session do not compare with this one's."""
    found = []
    if not same_score(before, now):
        found.append(f"its metric was {before.session.metric}, {before.session.goal}")
    if before.session.evaluator != now.session.evaluator:
        found.append(f"its evaluator was {before.session.evaluator}")
    if before.session.budget_seconds != now.session.budget_seconds:
        found.append(f"its budget was {before.session.budget_seconds:g} s")
    if before.hardware and now.hardware and before.hardware != now.hardware:
        found.append(f"it ran on {before.hardware}")
    mine, others = before.session.locked, now.session.locked
    if changed := sorted(path for path in {*mine, *others} if mine.get(path) != others.get(path)):
        found.append(f"{', '.join(changed)} was another")
    return tuple(found)
