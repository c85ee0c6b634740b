"""A run that is over, scored once more by the lab's own referee: on another's draw, or on the holdout."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from autoresearch_tui.engine.judging import referee, score_file, scoring
from autoresearch_tui.engine.judging.assessment import tampered
from autoresearch_tui.engine.launching import Launcher, tidy
from autoresearch_tui.lab.evaluator import DRAW
from autoresearch_tui.lab.session_files import RunFiles, SessionFiles
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import statistics
from autoresearch_tui.session.state import Experiment, State


def on_draw(
    launcher: Launcher,
    files: SessionFiles,
    state: State,
    run: Experiment,
    other: Experiment,
    cancelled: threading.Event,
) -> ev.Rescored:
    """`other` on the draw of `run`. Slow. Raises OSError, also if it was cancelled, and GitError."""
    assert run.draw is not None
    said = again(launcher, files, state, other, {DRAW: str(run.draw.seed)}, files.run(run.number), cancelled)
    mine, rows = score_file.scored_rows(files.run(run.number).score)
    theirs, others = score_file.rows_of(said.details)
    stderr = statistics.paired_error(rows, others) if mine == theirs else None
    return ev.Rescored(run.number, other.number, said.value, stderr, said.problem)


def failed(run: Experiment, other: Experiment, error: Exception) -> ev.Rescored:
    """What a fault of ours amounts to: no score, and why."""
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
    """What the referee says of an experiment's run with `env` in its environment; it works in a folder of `beside`.

    It gets the run's working copy; if that is gone, the commit's tree with the files that `run.keep` has kept. Raises
    OSError, also if it was cancelled, and GitError.
    """
    assert state.session is not None
    settings = launcher.lab.settings
    theirs, place = files.run(experiment.number), beside.again
    tidy(place)
    referee.export(launcher.lab, launcher.repo, experiment.commit, place)
    source = theirs
    if not theirs.work.exists():
        launcher.export(experiment.commit, place)
        lend(theirs, launcher.cwd(place))
        source = place
    cwd = launcher.cwd(source)
    if problem := tampered(source, cwd, state.session.locked, settings):
        return referee.RefereeResult(None, problem, {})
    whole = {**launcher.environment(place, experiment.proposal.seed, experiment.device), **env}
    said = referee.start(settings, place, theirs, cwd, whole, cancelled)
    if said.value is not None and (problem := scoring.impossible(said.value, settings.metric)):
        said = referee.RefereeResult(None, problem, said.details)
    tidy(place)
    return said


def lend(run: RunFiles, cwd: Path) -> None:
    """Have the files that were kept of a run where it had left them; they stay where they are kept."""
    for path in run.kept_files:
        target = cwd / path.relative_to(run.kept)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(path, target)
