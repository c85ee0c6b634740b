"""What a human makes of a verdict: run it once more, replace it, or let the search go on from there."""

from __future__ import annotations

from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.review import HUMAN, REPEAT
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.state import TABLED, Experiment, Stage
from autoresearch_tui.text import describe


def obey(session: Session, command: cmd.Repeat | cmd.Overrule | cmd.ContinueFrom) -> None:
    """Journal what follows, and make it true. Said twice it does no more than once. Raises OSError, GitError."""
    experiments = session.state.experiments
    experiment = experiments[command.number] if 0 <= command.number < len(experiments) else None
    what = type(command).__name__.lower()
    if experiment is None or experiment.outcome not in TABLED:
        session.append(ev.CommandRefused(what, f"#{command.number}: it has no verdict"))
        return
    match command:
        case cmd.Repeat():
            _repeat(session, experiment)
        case cmd.Overrule():
            _overrule(session, experiment, command.verdict, command.reason)
        case cmd.ContinueFrom():
            _continue_from(session, experiment)


def _repeat(session: Session, first: Experiment) -> None:
    state = session.state
    same = [e for e in state.experiments if e.commit == first.commit]
    if not any(e.author == REPEAT and e.stage is not Stage.DONE for e in same):
        seed = 1 + max(e.seed for e in same)
        session.append(session.attempts.repeat(len(state.experiments), first, state.program, seed))


def _overrule(session: Session, experiment: Experiment, verdict: str, reason: str) -> None:
    if verdict != experiment.outcome:
        if problem := _why_not(session, experiment, verdict):
            session.append(ev.CommandRefused("overrule", f"#{experiment.number}: {problem}"))
            return
        session.append(ev.VerdictOverruled(experiment.number, verdict, HUMAN, describe(reason)))


def _continue_from(session: Session, experiment: Experiment) -> None:
    if experiment.outcome != "keep":
        _overrule(session, experiment, "keep", "the search goes on from here")
        return
    if session.state.frontier != experiment.number:
        session.append(ev.FrontierMoved(experiment.number, HUMAN))


def _why_not(session: Session, experiment: Experiment, verdict: str) -> str:
    """Why a verdict cannot be replaced by `verdict`; empty where it can."""
    score = experiment.score
    if verdict not in ("keep", "discard"):
        return f"{verdict} is not a verdict that can be given; keep or discard is"
    if verdict == "keep" and (score is None or score.value is None):
        return "it has no score, so nothing could be measured against it"
    if verdict == "discard" and experiment.outcome != "keep":
        return f"it is not kept, it is {experiment.outcome}"
    if verdict == "discard" and sum(1 for e in session.state.experiments if e.outcome == "keep") == 1:
        return "it is the only one that is kept; keep another first"
    return ""
