"""What a human asks for, turned into events. A late or repeated answer does nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import overruling
from autoresearch_tui.engine.proposing import preflight
from autoresearch_tui.engine.review import ATTENDED_SECONDS, HUMAN, RELEASED_SECONDS, attended
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.state import IN_FLIGHT, WAITING, Experiment, Stage
from autoresearch_tui.text import clean_text, describe


class Human:
    """Obeys one command at a time, in the engine's thread."""

    def __init__(self, session: Session, stop_runs: Callable[[int | None], None]) -> None:
        """`stop_runs` ends the run of an experiment, or every run."""
        self._session = session
        self._stop_runs = stop_runs
        # What a human is at an answer about: until when at most, and the policy's deadline before that.
        self._attended: dict[int, tuple[float, str]] = {}

    def attends(self, experiment: Experiment) -> bool:
        """Whether a human is at an answer about it: it is not launched, nor merged onto another base, meanwhile."""
        until, _ = self._attended.get(experiment.number, (0.0, ""))
        return time.monotonic() < until

    def obey(self, command: cmd.Command) -> None:
        """Journal what follows from a command. Raises OSError, GitError."""
        match command:
            case cmd.Approve():
                self._approve(command)
            case cmd.Veto():
                self._veto(command)
            case cmd.Revise():
                self._revise(command)
            case cmd.Attend():
                self._attend(command)
            case cmd.Pause():
                self._pause(command)
            case cmd.Resume():
                self._session.append(ev.Resumed(HUMAN))
            case cmd.StopRun():
                self._stop_runs(command.number)
            case cmd.Repeat() | cmd.Overrule() | cmd.ContinueFrom():
                overruling.obey(self._session, command)
            case cmd.Note():
                self._note(command)
            case cmd.Stop():
                self._stop(command)
            case cmd.Detach():
                pass  # the loop's own

    def _approve(self, command: cmd.Approve) -> None:
        experiment = self._asked_about(command.number, command.commit, "approve")
        if experiment is not None and experiment.stage is not Stage.APPROVED:
            self._session.append(ev.ProposalApproved(experiment.number, experiment.commit, HUMAN))

    def _veto(self, command: cmd.Veto) -> None:
        experiment = self._asked_about(command.number, command.commit, "veto")
        if experiment is not None:
            reason = describe(command.reason)
            self._session.append(ev.ProposalVetoed(experiment.number, experiment.commit, HUMAN, reason))

    def _revise(self, command: cmd.Revise) -> None:
        experiment = self._asked_about(command.number, command.commit, "revise")
        if experiment is None:
            return
        session = self._session
        before = session.archive.files(experiment.base)
        strangers = sorted(set(command.files) - set(before))
        problem: str | None = f"{', '.join(strangers)}: not editable" if strangers else None
        if problem is None:
            after = {**before, **command.files}
            problem = preflight.check(before, after, tried={}, python_path=session.python_path)
        if problem is not None:
            session.append(ev.CommandRefused("revise", problem))
            return
        revised = session.attempts.revised(experiment, command.files, session.now())
        session.append(revised)
        session.append(ev.ProposalApproved(experiment.number, revised.commit, f"{HUMAN}, edited"))

    def _attend(self, command: cmd.Attend) -> None:
        """Where it is not waiting any more, the answer itself is refused in words."""
        experiments, number = self._session.state.experiments, command.number
        experiment = experiments[number] if 0 <= number < len(experiments) else None
        if experiment is None or experiment.stage not in WAITING or experiment.commit != command.commit:
            return
        if not command.over:
            before = self._attended.get(number, (0.0, experiment.deadline))[1]
            self._attended[number] = time.monotonic() + ATTENDED_SECONDS, before
            if later := attended(experiment, experiment.deadline, datetime.now(UTC), ATTENDED_SECONDS):
                self._session.append(later)
        elif number in self._attended:
            _, deadline = self._attended.pop(number)
            if later := attended(experiment, deadline, datetime.now(UTC), RELEASED_SECONDS):
                self._session.append(later)

    def _pause(self, command: cmd.Pause) -> None:
        self._session.append(ev.PauseAsked(HUMAN, stop_run=command.stop_run))
        if command.stop_run:
            self._stop_runs(None)

    def _note(self, command: cmd.Note) -> None:
        text = clean_text(command.text).strip()
        if text:
            self._session.append(ev.NoteGiven(text))

    def _stop(self, command: cmd.Stop) -> None:
        self._session.append(ev.StopAsked("now" if command.now else "after"))
        if command.now:
            self._stop_runs(None)

    def _asked_about(self, number: int, commit: str, what: str) -> Experiment | None:
        """The proposal that was on the screen, if it still waits and is still the same commit."""
        experiments = self._session.state.experiments
        experiment = experiments[number] if 0 <= number < len(experiments) else None
        if experiment is None or experiment.stage not in WAITING:
            running = experiment is not None and experiment.stage in IN_FLIGHT
            why = "it is in training already; s stops it" if running else "it is not waiting any more"
        elif experiment.commit != commit:
            why = "it changed meanwhile; look at the new diff"
        else:
            self._attended.pop(number, None)
            return experiment
        self._session.append(ev.CommandRefused(what, f"#{number}: {why}"))
        return None
