"""New data for each verdict (`metric.evaluator = "fresh"`): a seed is drawn when the run has ended."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from autoresearch_tui.lab.evaluator import DRAW, MOST_DRAWS
from autoresearch_tui.session import draws
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, State


def due(state: State, ended: Experiment) -> ev.DataDrawn | None:
    """The draw of a run that has ended; None if it has one, or is to have none.

    Runs at another scale, which decide nothing and are compared with each other, share one.
    """
    if not draws.fresh(state) or ended.draw is not None:
        return None
    shared = (e.draw.seed for e in state.experiments if ended.scale and e.scale and e.draw)
    return ev.DataDrawn(ended.number, next(shared, secrets.randbelow(MOST_DRAWS)))


def environment(experiment: Experiment) -> Mapping[str, str]:
    """What the referee of a run sees of its draw; no run ever does."""
    return {DRAW: str(experiment.draw.seed)} if experiment.draw is not None else {}


def pause(before: State, experiment: Experiment, verdict: ev.VerdictGiven) -> ev.PauseAsked | None:
    """Why nothing more is to run, where a verdict could not compare: the next could not either.

    `before`: the state that the verdict was given in.
    """
    if verdict.verdict != Outcome.DISCARD or verdict.value is None or verdict.against is not None:
        return None
    again = draws.rescored(experiment, before.frontier)
    if again is None or again.value is not None or before.frontier is None:
        return None
    name = f"#{before.frontier.number}"
    return ev.PauseAsked(
        "engine",
        f"the frontier, {name}, has no score on new data ({again.problem}), so nothing can be compared with it; "
        "continue from another experiment, then resume",
    )
