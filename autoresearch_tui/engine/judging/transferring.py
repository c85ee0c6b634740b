"""Runs at a larger scale, which show whether a gain transfers (`[transfer]`), by a human's request or a policy."""

from __future__ import annotations

from types import MappingProxyType

from msgspec.structs import replace

from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import transfer
from autoresearch_tui.session.ends import Outcome, RunEnd
from autoresearch_tui.session.state import Experiment, Stage
from autoresearch_tui.session.transfer import Scale
from autoresearch_tui.util.text import describe


def scale(settings: Settings) -> Scale:
    chosen = settings.transfer
    return Scale(chosen.factor, tuple(f"{name}={value}" for name, value in sorted(chosen.env.items())))


def lab_of(lab: Lab, experiment: Experiment) -> Lab:
    """The lab with the budget, timeout and environment of the run's scale."""
    chosen = transfer.scale_of(experiment)
    if chosen is None:
        return lab
    run = lab.settings.run
    scaled = replace(
        run,
        budget_seconds=run.budget_seconds * chosen.factor,
        budget_tokens=round(run.budget_tokens * chosen.factor),
        timeout_seconds=run.timeout_seconds * max(1.0, chosen.factor),
        env=MappingProxyType({**run.env, **dict(each.split("=", 1) for each in chosen.env)}),
    )
    return replace(lab, settings=replace(lab.settings, run=scaled))


def step(session: Session, now: float, *, idle: bool) -> bool:
    """Approve or propose runs at another scale; False if nothing is due. `idle`: a device is free."""
    state, chosen = session.state, session.lab.settings.transfer
    for run in state.waiting:
        if run.proposal.scale and run.stage is Stage.PROPOSED:
            session.append(ev.ProposalApproved(run.number, run.commit, "auto"))  # its commit was approved before
            return True
    wanted = scale(session.lab.settings)
    due = transfer.lacks_baseline(state, wanted)
    if due is None and not (state.paused or state.stopping):
        due = transfer.after_keeps(state, wanted, chosen.every)
        if due is None and chosen.rest and idle:
            due = transfer.in_rest(state, wanted, now)
    if due is None:
        return False
    session.append(made(session, due))
    return True


def made(session: Session, experiment: Experiment) -> ev.ProposalMade:
    """A proposal to run its commit at the lab's scale, under the first run's seed. Raises OSError, GitError."""
    state, wanted = session.state, scale(session.lab.settings)
    repeat = session.commits.repeat(len(state.experiments), experiment, state.program, 0)
    return replace(
        repeat,
        description=describe(f"{wanted.name}: #{experiment.number} {experiment.description}"),
        hypothesis=f"Does the gain of the best hold at {wanted.name}?",
        scale=wanted.factor,
        scale_env=wanted.env,
    )


def verdict(experiment: Experiment) -> ev.VerdictGiven:
    """Pure: the verdict on a run at another scale, which decides nothing."""
    chosen, run, scored = transfer.scale_of(experiment), experiment.run, experiment.score
    assert chosen is not None and run is not None
    memory = scored.memory_gb if scored is not None else 0.0
    if scored is not None and scored.value is not None:
        reason = f"{scored.value:.6f} at {chosen.name}"
    elif scored is not None:
        reason = f"has no score: {scored.problem}"
    elif experiment.stop is not None:
        reason = f"was stopped: {experiment.stop.reason or 'no reason given'}"
    else:
        last = f": {run.cause[-1]}" if run.cause and run.reason == RunEnd.CRASHED else ""
        reason = f"{run.reason}{last}"
    return ev.VerdictGiven(experiment.number, Outcome.SCALED, None, memory, reason)
