"""Turns a human's commands into events. A late or repeated answer does nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace

from autoresearch_tui.engine import gate
from autoresearch_tui.engine.gate import HOLD, HUMAN, REPEAT
from autoresearch_tui.engine.judging import holdout, transferring
from autoresearch_tui.engine.proposing import file_checks, preflight
from autoresearch_tui.engine.researcher_log import human_said
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import evaluator
from autoresearch_tui.lab.editable import Editable, applied, change_between
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import confirmation, looks, transfer, undo
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import JUDGED, SCORED, Outcome
from autoresearch_tui.session.state import IN_FLIGHT, WAITING, Experiment, Stage
from autoresearch_tui.util.text import clean_text, describe


class CommandHandler:
    """Handles one command at a time, in the engine's thread. Each command makes one event."""

    def __init__(self, session: Session, stop_runs: Callable[[int | None], None]) -> None:
        """`stop_runs` ends the run of an experiment, or every run."""
        self._session = session
        self._stop_runs = stop_runs

    def handle(self, command: cmd.Command, request: str = "") -> None:
        """Journal a command's event, as the answer to `request`, and act on it. Raises OSError, GitError.

        If the engine dies in between, the next one acts, by the state.
        """
        event = self._event(command)
        if event is not None:
            before = self._session.state
            self._session.append(event, request)
            human_said(self._session.files, event, before)
        match command, event:
            case cmd.Revise(), ev.CommandRefused(number=int(number)):
                if released := self._release(self._session.state.experiments[number]):
                    self._session.append(released)
            case cmd.StopRun(), (ev.RunStopAsked() | ev.CommandRedundant()):
                self._stop_runs(command.number)
            case cmd.Pause(stop_run=True) | cmd.Stop(now=True), _:
                self._stop_runs(None)

    def _event(self, command: cmd.Command) -> ev.Event | None:
        """The event of a command; None if it only concerned a moment that has passed."""
        match command:
            case cmd.Approve():
                return self._approve(command)
            case cmd.Veto():
                return self._veto(command)
            case cmd.Revise():
                return self._revise(command)
            case cmd.Attend():
                return self._attend(command)
            case cmd.Repeat() | cmd.Transfer() | cmd.Overrule() | cmd.ContinueFrom():
                return second_thought(self._session, command)
            case cmd.Undo():
                return self._undo(command)
            case _:
                return self._steer(command)

    def _steer(self, command: cmd.Command) -> ev.Event | None:
        """Commands about what the loop does next. The loop itself handles a detach."""
        match command:
            case cmd.Pause():
                return ev.PauseAsked(HUMAN, stop_run=command.stop_run)
            case cmd.Resume():
                return self._resume()
            case cmd.StopRun():
                return self._stop_run(command)
            case cmd.Note():
                text = clean_text(command.text).strip()
                return ev.NoteGiven(text) if text else ev.CommandRefused("note", "there is nothing in it")
            case cmd.WriteDigest():
                asked = self._session.state.digest_asked
                return ev.DigestAsked(HUMAN) if asked is None else ev.CommandRedundant("digest", "it is being written")
            case cmd.RenewBudget():
                return self._renew()
            case cmd.OpenHoldout():
                return holdout.ask(self._session.state, HUMAN, evaluator.cannot_open(self._session.lab))
            case cmd.WithdrawNote():
                return self._withdraw_note(command)
            case cmd.Stop():
                return ev.StopAsked("now" if command.now else "after")
            case cmd.CancelStop():
                return self._cancel_stop()
        return None

    def _approve(self, command: cmd.Approve) -> ev.Event:
        experiment = self._sent_back(command) or self._asked_about(command.number, command.commit, "approve")
        if isinstance(experiment, ev.CommandRefused):
            return experiment
        if experiment.stage is Stage.APPROVED:
            return ev.CommandRedundant("approve", f"#{experiment.number} is approved already")
        return ev.ProposalApproved(experiment.number, experiment.commit, HUMAN)

    def _sent_back(self, command: cmd.Approve) -> Experiment | None:
        """A proposal that the policy vetoed at the critic's objection: a human may still approve it."""
        experiment = self._experiment(command.number)
        if experiment is None or experiment.commit != command.commit:
            return None
        return experiment if experiment.sent_back else None

    def _veto(self, command: cmd.Veto) -> ev.Event:
        experiment = self._asked_about(command.number, command.commit, "veto")
        if isinstance(experiment, ev.CommandRefused):
            return experiment
        return ev.ProposalVetoed(experiment.number, experiment.commit, HUMAN, _reason(command.reason))

    def _revise(self, command: cmd.Revise) -> ev.Event:
        experiment = self._asked_about(command.number, command.commit, "revise")
        if isinstance(experiment, ev.CommandRefused):
            return experiment
        session = self._session
        archive, editable = session.archive, session.lab.editable
        before, proposed = archive.files(experiment.proposal.base), archive.files(experiment.commit)
        after = applied(proposed, {path: _or_none(path, text, editable) for path, text in command.files.items()})
        problem = file_checks.check(before, after, editable, lambda: archive.paths(experiment.proposal.base))
        if problem is None:
            problem = preflight.check(before, after, python_path=session.python_path)
        if problem is not None:
            return ev.CommandRefused("revise", problem, experiment.number)
        change = change_between(before, after)
        revised = session.commits.revised(experiment, change, command.description, session.now())
        return replace(revised, approved_by=f"{HUMAN}, edited")

    def _attend(self, command: cmd.Attend) -> ev.Event | None:
        """None if it no longer waits: the answer itself will be refused with a reason."""
        experiment = self._experiment(command.number)
        if experiment is None or experiment.stage not in WAITING or experiment.commit != command.commit:
            return None
        if command.over:
            return self._release(experiment, command.why)
        return gate.hold(experiment, command.why, datetime.now(UTC))

    def _release(self, experiment: Experiment, why: str = "") -> ev.Event | None:
        """The human has left: the policy's clock runs again. A hold only ends by its own command."""
        held = experiment.held_at(datetime.now(UTC))
        return gate.release(experiment, datetime.now(UTC)) if held and (held == HOLD) == (why == HOLD) else None

    def _resume(self) -> ev.Event:
        if self._session.state.stopping == "now":
            # Its run is being stopped and requeued; without the stop that would count as a crash.
            return ev.CommandRefused("resume", "the session is ending; start it again to resume")
        if spent := looks.budget_spent(self._session.state):
            return ev.CommandRefused("resume", f"{spent}; renew it to continue")
        return ev.Resumed(HUMAN)

    def _renew(self) -> ev.Event:
        state = self._session.state
        if looks.left(state) is None:
            return ev.CommandRefused("renew", "there is no testing budget: set `metric.testing_budget`")
        if state.renewed == looks.spent(state):
            return ev.CommandRedundant("renew", "nothing of the testing budget is spent")
        return ev.BudgetRenewed(HUMAN, looks.spent(state))

    def _stop_run(self, command: cmd.StopRun) -> ev.Event:
        number, experiment = command.number, self._experiment(command.number)
        if experiment is None or experiment.stage is not Stage.RUNNING:
            return ev.CommandRefused("stop_run", f"#{number}: it is not in training")
        if experiment.stop is not None:
            return ev.CommandRedundant("stop_run", f"the run of #{number} is being stopped already")
        if experiment.given_up is not None:
            return ev.CommandRedundant("stop_run", f"the run of #{number} is being given up already")
        return ev.RunStopAsked(number, HUMAN, _reason(command.reason))

    def _undo(self, command: cmd.Undo) -> ev.Event:
        state = self._session.state
        if not state.judgements or state.judgements[-1].seq != command.seq:
            return ev.CommandRefused("undo", "that was taken back already, or isn't your last decision")
        if why := undo.too_late(state):
            return ev.CommandRefused("undo", why)
        last = state.judgements[-1]
        return ev.JudgementUndone(last.seq, last.number, HUMAN)

    def _withdraw_note(self, command: cmd.WithdrawNote) -> ev.Event:
        if any(note.seq == command.seq for note in self._session.state.waiting_notes):
            return ev.NoteWithdrawn(command.seq, HUMAN)
        return ev.CommandRefused("withdraw_note", "the researcher has that note already, or it was taken back")

    def _cancel_stop(self) -> ev.Event:
        if self._session.state.stopping == "after":
            return ev.StopCancelled(HUMAN)
        if self._session.state.stopping:
            return ev.CommandRefused("cancel_stop", "the session is ending; start it again to resume")
        return ev.CommandRedundant("cancel_stop", "no stop is asked for")

    def _asked_about(self, number: int, commit: str, what: str) -> Experiment | ev.CommandRefused:
        """The proposal on the screen, if it still waits and has the same commit; else a refusal."""
        experiment = self._experiment(number)
        if experiment is None:
            why = "there is no such experiment"
        elif experiment.stage not in WAITING:
            why = _PAST_THE_GATE.get(experiment.stage, "it is not waiting any more")
        elif experiment.commit != commit:
            why = "it changed meanwhile; look at the new diff"
        else:
            return experiment
        return ev.CommandRefused(what, f"#{number}: {why}")

    def _experiment(self, number: int) -> Experiment | None:
        return _experiment(self._session, number)


def _experiment(session: Session, number: int) -> Experiment | None:
    experiments = session.state.experiments
    return experiments[number] if 0 <= number < len(experiments) else None


_PAST_THE_GATE = {
    **dict.fromkeys(IN_FLIGHT, "it is in training already; s stops it"),
    Stage.CONFIRMING: "it has run and is being confirmed; overrule keeps it now",
}


def _or_none(path: str, text: str | None, editable: Editable) -> str | None:
    """None for an empty text, if the file may be removed."""
    keeps = text is None or text.strip() or not editable.covers(path) or path.endswith("__init__.py")
    return text if keeps else None


def _reason(text: str) -> str:
    """One line; empty if no reason was given."""
    return describe(text) if text.strip() else ""


def second_thought(session: Session, command: cmd.Repeat | cmd.Transfer | cmd.Overrule | cmd.ContinueFrom) -> ev.Event:
    """The event of a human's second thoughts about a verdict. A repeated command changes nothing."""
    experiment = _experiment(session, command.number)
    what = type(command).__name__.lower()
    if experiment is None or not (experiment.outcome in JUDGED or _can_be_decided(experiment, command)):
        return ev.CommandRefused(what, f"#{command.number}: it has no verdict")
    match command:
        case cmd.Repeat():
            return _repeat(session, experiment)
        case cmd.Transfer():
            return _transfer(session, experiment)
        case cmd.Overrule():
            return _overrule(session, experiment, command.verdict, command.reason)
        case cmd.ContinueFrom():
            return _continue_from(session, experiment)


def _can_be_decided(experiment: Experiment, command: cmd.Command) -> bool:
    """Whether its verdict waits for other runs, and the command would decide it."""
    return experiment.stage is Stage.CONFIRMING and not isinstance(command, cmd.Repeat | cmd.Transfer)


def _repeat(session: Session, first: Experiment) -> ev.Event:
    same = (e for e in session.state.experiments if e.commit == first.commit and not e.proposal.scale)
    if waiting := next((e for e in same if e.proposal.author == REPEAT and e.stage is not Stage.DONE), None):
        return ev.CommandRedundant("repeat", f"#{first.number} is repeated already, as #{waiting.number}")
    return repeat(session, first)


def _transfer(session: Session, experiment: Experiment) -> ev.Event:
    scale = transferring.scale(session.lab.settings)
    if experiment.value is None:
        return ev.CommandRefused("transfer", f"#{experiment.number}: it has no score")
    run = transfer.run_of(session.state, experiment.commit, scale, after=len(session.state.experiments))
    if run is not None:
        does = "has run" if run.stage is Stage.DONE else "runs"
        why = f"#{experiment.number} {does} at {scale.name} already, as #{run.number}"
        return ev.CommandRedundant("transfer", why)
    return transferring.made(session, experiment)


def repeat(session: Session, first: Experiment, confirms: Experiment | None = None) -> ev.ProposalMade:
    """Propose one more run of its commit, under a new seed. Raises OSError, GitError.

    `confirms`: the experiment whose verdict waits for the run.
    """
    state = session.state
    seed = 1 + max(e.proposal.seed for e in state.experiments if e.commit == first.commit)
    made = session.commits.repeat(len(state.experiments), first, state.program, seed)
    if confirms is None:
        return made
    run = 1 + len(confirmation.of(state, confirms.number))
    description = f"confirms #{confirms.number}, {run} of {confirmation.MOST}: {made.description}"
    why = f"Is the gain of #{confirms.number} more than chance?"
    return replace(made, description=describe(description), hypothesis=why, confirms=confirms.number)


def _overrule(session: Session, experiment: Experiment, verdict: Outcome, reason: str) -> ev.Event:
    if verdict == (experiment.outcome or (experiment.decided and experiment.decided.verdict)):
        return ev.CommandRedundant("overrule", f"#{experiment.number} is {verdict} already")
    if problem := _why_not(session, experiment, verdict):
        return ev.CommandRefused("overrule", f"#{experiment.number}: {problem}")
    return ev.VerdictOverruled(experiment.number, verdict, HUMAN, describe(reason))


def _continue_from(session: Session, experiment: Experiment) -> ev.Event:
    if experiment.outcome != Outcome.KEEP:
        return _overrule(session, experiment, Outcome.KEEP, "the search continues from here")
    if session.state.frontier_number == experiment.number:
        return ev.CommandRedundant("continue", f"the search continues from #{experiment.number} already")
    return ev.FrontierMoved(experiment.number, HUMAN)


def _why_not(session: Session, experiment: Experiment, verdict: Outcome) -> str:
    """Why a verdict cannot be replaced by `verdict`; empty if it can."""
    score = experiment.score
    if verdict not in SCORED:
        return f"{verdict} is not a verdict that can be given; keep or discard is"
    if verdict == Outcome.KEEP and (score is None or score.value is None):
        return "it has no score, so nothing could be measured against it"
    if verdict == Outcome.DISCARD and experiment.outcome not in (Outcome.KEEP, None):
        return f"it is not kept, it is {experiment.outcome}"
    if experiment.outcome is None:
        return ""  # its verdict waits for other runs
    if verdict == Outcome.DISCARD and sum(1 for e in session.state.experiments if e.outcome == Outcome.KEEP) == 1:
        return "it is the only one that is kept; keep another first"
    return ""
