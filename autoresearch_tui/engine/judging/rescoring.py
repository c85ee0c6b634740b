"""Draws of new data (`metric.evaluator = "fresh"`), and finished runs scored again: on a draw, or on the holdout."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path

from autoresearch_tui.engine.judging import referee, score_file, scoring
from autoresearch_tui.engine.judging.assessment import tampered
from autoresearch_tui.engine.launching import Launcher, tidy
from autoresearch_tui.lab.evaluator import DRAW, MOST_DRAWS
from autoresearch_tui.lab.session_files import RunFiles, SessionFiles
from autoresearch_tui.session import draws, statistics
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, State


def new_draw(state: State, ended: Experiment) -> ev.DataDrawn | None:
    """The draw for a run that has ended; None if it has one, or needs none.

    Runs at another scale, which are only compared with each other, share one.
    """
    if not draws.fresh(state) or ended.draw is not None:
        return None
    shared = (e.draw.seed for e in state.experiments if ended.scale and e.scale and e.draw)
    return ev.DataDrawn(ended.number, next(shared, secrets.randbelow(MOST_DRAWS)))


def draw_environment(experiment: Experiment) -> Mapping[str, str]:
    """The environment variable of the draw, for the referee alone: no run ever sees it."""
    return {DRAW: str(experiment.draw.seed)} if experiment.draw is not None else {}


def pause(before: State, experiment: Experiment, verdict: ev.VerdictGiven) -> ev.PauseAsked | None:
    """A pause after a verdict without a comparison, as the next could not compare either.

    `before`: the state before the verdict.
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


def on_draw(
    launcher: Launcher,
    files: SessionFiles,
    state: State,
    run: Experiment,
    other: Experiment,
    cancelled: threading.Event,
) -> ev.Rescored:
    """Score `other` on the draw of `run`. Slow. Raises OSError, also if cancelled, and GitError."""
    assert run.draw is not None
    result = again(launcher, files, state, other, {DRAW: str(run.draw.seed)}, files.run(run.number), cancelled)
    data, rows = score_file.scored_rows(files.run(run.number).score)
    other_data, other_rows = score_file.rows_of(result.details)
    stderr = statistics.paired_error(rows, other_rows) if data == other_data else None
    return ev.Rescored(run.number, other.number, result.value, stderr, result.problem)


def failed(run: Experiment, other: Experiment, error: Exception) -> ev.Rescored:
    """The result if our own code failed: no score, and why."""
    return ev.Rescored(run.number, other.number, None, problem=scoring.unscorable(other.number, error).problem)


def again(
    launcher: Launcher,
    files: SessionFiles,
    state: State,
    experiment: Experiment,
    env: Mapping[str, str],
    beside: RunFiles,
    cancelled: threading.Event,
) -> referee.RefereeResult:
    """The referee's result for an experiment's run, with `env` in its environment; it works in a folder of `beside`.

    It gets the run's working copy, or if that is gone, the commit's tree with the files that `run.keep` saved. Raises
    OSError, also if cancelled, and GitError.
    """
    assert state.session is not None
    settings = launcher.lab.settings
    own, place = files.run(experiment.number), beside.again
    tidy(place)
    referee.export(launcher.lab, launcher.repo, experiment.commit, place)
    source = own
    if not own.work.exists():
        launcher.export(experiment.commit, place)
        lend(own, launcher.cwd(place))
        source = place
    cwd = launcher.cwd(source)
    if problem := tampered(source, cwd, state.session.locked, settings):
        return referee.RefereeResult(None, problem, {})
    whole = {**launcher.environment(place, experiment.proposal.seed, experiment.device), **env}
    result = referee.start(settings, place, own, cwd, whole, cancelled)
    if result.value is not None and (problem := scoring.impossible(result.value, settings.metric)):
        result = referee.RefereeResult(None, problem, result.details)
    tidy(place)
    return result


def lend(run: RunFiles, cwd: Path) -> None:
    """Link the kept files of a run to where the run had left them."""
    for path in run.kept_files:
        target = cwd / path.relative_to(run.kept)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(path, target)
