"""A gain within the noise is run again before it moves the frontier (`metric.keep = "confirmed"`)."""

from __future__ import annotations

from collections.abc import Callable

from autoresearch_tui.engine.commands import repeat
from autoresearch_tui.engine.experiments import CONFIRMED
from autoresearch_tui.engine.session import Session
from autoresearch_tui.session import confirmation, draws
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import WAITING, Experiment, Stage


def step(session: Session, judge: Callable[[Experiment], bool], may_run: Callable[[Experiment], bool]) -> bool:
    """Advance the verdicts that wait for other runs; False if nothing is due.

    `judge` decides on what is known; False if that has to wait. `may_run`: whether the session's limits leave room for
    one more run of a commit.
    """
    state = session.state
    for run in state.waiting:
        if run.proposal.confirms is not None:
            event = _before_launch(run, state.experiments[run.proposal.confirms], may_run)
            if event is not None:
                session.append(event)
                return True
    for experiment in state.confirming:
        others = confirmation.of(state, experiment.number)
        known = experiment.decided is not None or all(run.stage is Stage.DONE for run in others)
        if known and _decide(session, experiment, judge, may_run):
            return True
    return False


def _before_launch(run: Experiment, waits: Experiment, may_run: Callable[[Experiment], bool]) -> ev.Event | None:
    assert run.stage in WAITING
    if waits.stage is not Stage.CONFIRMING or waits.decided is not None:
        return ev.ProposalWithdrawn(run.number, f"#{waits.number} is decided")
    if not may_run(run):
        return ev.ProposalWithdrawn(run.number, f"no run is left for confirming #{waits.number}")
    # Its commit was approved before.
    return ev.ProposalApproved(run.number, run.commit, "auto") if run.stage is Stage.PROPOSED else None


def _decide(
    session: Session,
    experiment: Experiment,
    judge: Callable[[Experiment], bool],
    may_run: Callable[[Experiment], bool],
) -> bool:
    state, wanted = session.state, session.lab.settings.metric.keep == CONFIRMED
    if draws.missing(state, experiment):
        return judge(experiment)
    left = confirmation.runs_left(state, experiment.number)
    again = confirmation.next_run(state, experiment) if wanted and left else None
    if again is not None and may_run(again):
        session.append(repeat(session, again, confirms=experiment))
        return True
    return judge(experiment)
