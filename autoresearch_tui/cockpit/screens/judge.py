"""Keys about one experiment's verdict: repeat, overrule, continue from it; in results, tree and details."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.screens.session_screen import CurveScreen
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import looks
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment
from autoresearch_tui.session.status import title

_NO_EXPERIMENT = "there is no experiment of this session here"


class JudgeScreen(CurveScreen):
    """A screen with an experiment under its cursor, and the actions that judge it."""

    @property
    @abstractmethod
    def situation(self) -> Situation:
        """Decides which actions make sense now."""

    def may(self, action: str) -> bool:
        """Whether an action makes sense now; shows the reason if not."""
        now, found = self.situation, actions.find(action)
        if found is None or found.enabled(now):
            return True
        ended = (
            "the session has ended; leave, and run autoresearch-tui to resume it" if not self.bridge.commands else ""
        )
        self.say(self.read_only or ended or f"{found.title}: {found.why}", warn=True)
        if found.asks:
            self.ignore_words()
        return False

    @property
    def read_only(self) -> str:
        """Why no decision can be made here, as a message; empty if one can."""
        return f"read only: {self.bridge.read_only}" if self.bridge.read_only else ""

    @property
    def shown(self) -> Experiment | None:
        """The experiment that the focused pane is about."""
        return self.situation.selected or self.situation.proposal

    def action_copy_menu(self) -> None:
        from autoresearch_tui.cockpit.screens import files

        if (experiment := self.shown) is not None:
            files.copy(self, experiment)
        else:
            self.say(_NO_EXPERIMENT, warn=True)

    def action_view(self) -> None:
        """Asks which of the experiment's files to read, in `$PAGER` or `$EDITOR`."""
        from autoresearch_tui.cockpit.screens import files

        if (experiment := self.shown) is not None:
            files.view(self, experiment)
        else:
            self.say(_NO_EXPERIMENT, warn=True)

    def action_repeat(self) -> None:
        """Requests another run of the same commit. The request approves it; a veto takes it back."""
        experiment = self.situation.selected
        if self.may("repeat") and experiment is not None:
            self.bridge.send(cmd.Repeat(experiment.number))
            self.say(f"#{experiment.number} will run again with another seed, after what is already approved")

    def action_transfer(self) -> None:
        """Requests a run at the lab's larger scale, and one of the baseline unless it has run there."""
        experiment = self.situation.selected
        if self.may("transfer") and experiment is not None:
            self.bridge.send(cmd.Transfer(experiment.number))
            self.say(f"#{experiment.number} and the baseline will run at a larger scale; the details say how it went")

    def action_overrule(self) -> None:
        """Asks for a reason, because it stays in the journal."""
        experiment = self.situation.selected
        if not self.may("overrule") or experiment is None:
            return
        from autoresearch_tui.cockpit.screens.dialogs import NOT_WORTH_KEEPING, WORTH_KEEPING, Dialog

        kept = experiment.outcome == Outcome.KEEP
        verdict = Outcome.DISCARD if kept else Outcome.KEEP
        if kept and experiment.number == self.bridge.state.frontier_number:
            then = "The search continues from the best of the other kept experiments."
        elif kept:
            then = "What was built on it stays as it is."
        else:
            then = "The search continues from here."
        text = f"{title(experiment, 40)} {_given(experiment)}. {then}"
        heading = f"Overrule #{experiment.number}: {verdict} it, because"
        reasons = NOT_WORTH_KEEPING if kept else WORTH_KEEPING
        dialog = Dialog(heading, text, reasons=reasons, line="or in your own words")
        self.app.push_screen(dialog, partial(self._overrule, experiment.number, verdict))

    def _overrule(self, number: int, verdict: Outcome, reason: str | None) -> None:
        if reason is not None:
            self.bridge.send(cmd.Overrule(number, verdict, reason))
            self.say(f"overruling #{number}: {verdict}")

    def action_continue_from(self) -> None:
        """Asks for confirmation, because later proposals are measured against another score."""
        experiment = self.situation.selected
        if not self.may("continue_from") or experiment is None:
            return
        from autoresearch_tui.cockpit.screens.dialogs import Dialog

        answers = [("y", "continue from here"), ("n", "cancel")]
        dialog = Dialog("Continue from here", self._consequences(experiment), answers)
        self.app.push_screen(dialog, partial(self._continue_from, experiment.number))

    def _consequences(self, experiment: Experiment) -> str:
        state = self.bridge.state
        value = "" if experiment.value is None else f" {experiment.value:.6f}"
        lines = [f"The next proposals start from {title(experiment, 40)}, and are measured against its score{value}."]
        if experiment.outcome != Outcome.KEEP:
            lines.append(f"It {_given(experiment)}; continuing from it keeps it.")
        if state.frontier is not None:
            lines.append(f"#{state.frontier.number} stays kept; its commit stays reachable.")
        if state.waiting:
            lines.append("Waiting proposals are merged onto it; one whose diff changes needs your review again.")
        return " ".join(lines)

    def _continue_from(self, number: int, answer: str | None) -> None:
        if answer == "y":
            self.bridge.send(cmd.ContinueFrom(number))
            self.say(f"the search continues from #{number}")

    def action_holdout(self) -> None:
        """Asks for confirmation, because the holdout opens only once."""
        if not self.may("holdout"):
            return
        from autoresearch_tui.cockpit.screens.dialogs import Dialog

        answers = [("y", "open it, for good"), ("n", "leave it closed")]
        self.app.push_screen(Dialog("Open the holdout", self._holdout_question(), answers), self._open_holdout)

    def _holdout_question(self) -> str:
        state = self.bridge.state
        best, first = state.best, looks.baseline(state)
        assert best is not None and first is not None
        return (
            f"The referee scores #{best.number}, the best, and #{first.number}, the baseline, on data that has decided "
            "nothing so far. It opens once for this session: the journal keeps when, and after how many looks "
            f"({looks.spent(state)} by now). Each decision that you base on its scores makes it worth less."
        )

    def _open_holdout(self, answer: str | None) -> None:
        if answer == "y":
            self.bridge.send(cmd.OpenHoldout())
            self.say("the holdout is being opened; the details of the best say how it went")

    def action_renew(self) -> None:
        """Allows as many looks again; only a human can."""
        if self.may("renew") and self.bridge.send(cmd.RenewBudget()):
            self.say(f"the testing budget is renewed, after {looks.counted(looks.spent(self.bridge.state))}")


def _given(experiment: Experiment) -> str:
    return f'was given "{experiment.outcome}"' if experiment.outcome else "waits for runs that confirm it"
