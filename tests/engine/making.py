"""States for tests, without a journal."""

from __future__ import annotations

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Outcome, RunEnd
from autoresearch_tui.session.sequence import Experiments
from autoresearch_tui.session.state import Experiment, Stage, State, best_keep


def experiment(
    number: int,
    outcome: str = "discard",
    value: float | None = None,
    *,
    stage: Stage | None = None,
    reason: str = "",
    run: ev.RunEnded | None = None,
    score: ev.RunScored | None = None,
    **made: object,
) -> Experiment:
    """One that is done, unless told otherwise; `made`: fields of its proposal."""
    fields: dict[str, object] = {
        "commit": f"c{number}",
        "base": "c0",
        "description": f"idea {number}",
        "hypothesis": f"because of {number}",
        "author": "claude" if number else "baseline",
        "program": "",
        "added": 1,
        "removed": 1,
    }
    proposal = ev.ProposalMade(number, **{**fields, **made})  # type: ignore[arg-type]
    verdict, dropped = None, None
    match outcome:
        case Outcome.VETOED:
            dropped = ev.ProposalVetoed(number, proposal.commit, "human", reason)
        case Outcome.WITHDRAWN:
            dropped = ev.ProposalWithdrawn(number, reason)
        case _ if outcome:
            verdict = ev.VerdictGiven(number, Outcome(outcome), value, 0.0, reason)
    return Experiment(
        proposal,
        stage=stage or (Stage.DONE if outcome else Stage.REVIEW),
        run=run or ev.RunEnded(number, RunEnd.CRASHED if outcome == "crash" else RunEnd.FINISHED, 0, 1.0),
        score=score,
        verdict=verdict,
        dropped=dropped,
        judged_after=number,
    )


def state(*experiments: Experiment, goal: str = "minimize", **more: object) -> State:
    """A session with these experiments; its frontier is the last keep, its best the best of them."""
    began = ev.SessionBegan("t", "autoresearch/t", "c0", "val_bpb", goal, 0.0, 300, ("train.py",), {})
    keeps = [e.number for e in experiments if e.outcome == "keep"]
    frontier = keeps[-1] if keeps else None
    best = best_keep(experiments, Goal(goal))
    known = {"frontier_number": frontier, "best_number": best, **more}
    return State(session=began, experiments=Experiments.of(experiments), **known)  # type: ignore[arg-type]
