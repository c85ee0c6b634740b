"""What the main screen's keys do. Each method is a row of the table in `actions.py`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import BindingType

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.screens.main_view import MainView
from autoresearch_tui.cockpit.status import title
from autoresearch_tui.cockpit.widgets.branch_tree import BranchTree
from autoresearch_tui.cockpit.widgets.results_table import ResultsTable
from autoresearch_tui.cockpit.widgets.run_log import RunLog
from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine.state import WAITING, Experiment

if TYPE_CHECKING:
    from textual.widgets import Input

    from autoresearch_tui.cockpit.bridge import Bridge
    from autoresearch_tui.cockpit.screens.review import Answer


class MainScreen(MainView):
    """The main screen."""

    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings()]
    _in_results = False
    _line: Input | None = None

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(bridge)
        # What a human made of a proposal last, for where it was refused: by number and commit.
        self._edits: dict[tuple[int, str], dict[str, str]] = {}

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Letters typed into a line of text are text."""
        return self._line is None or actions.find(action, parameters) is None

    # -- decide ----------------------------------------------------------------------------------------------

    def _on_screen(self) -> Experiment | None:
        """The proposal, if its diff is what the reader has before the eyes; else it is brought there."""
        proposal = self.situation.proposal
        if proposal is None or self.target != (proposal.number, proposal.commit):
            return None
        if not self.diff_seen:
            self.bring(3)
            self.say(f"#{proposal.number} has just come to the screen; once more when you have read it")
            return None
        return proposal

    def action_approve(self) -> None:
        """Train exactly what is on the screen."""
        if not self.may("approve"):
            return
        proposal = self._on_screen()
        if proposal is not None:
            self.bridge.send(cmd.Approve(proposal.number, proposal.commit))
            self.say(f"approving #{proposal.number}")

    def action_veto(self) -> None:
        """Ask for the reason; the answer is about the proposal of this moment."""
        if not self.may("veto"):
            return
        proposal = self._on_screen()
        if proposal is None:
            return
        from autoresearch_tui.cockpit.screens.veto import VetoScreen

        self.bridge.attend(proposal)
        self.app.push_screen(VetoScreen(title(proposal, 40)), partial(self._vetoed, proposal))

    def _vetoed(self, proposal: Experiment, reason: str | None) -> None:
        if reason is None:
            self.bridge.attend(proposal, over=True)
        elif self.bridge.send(cmd.Veto(proposal.number, proposal.commit, reason)):
            self.say(f"vetoing #{proposal.number}")
        else:
            self.say(self.refusal, warn=True)

    def action_note(self) -> None:
        """A line to the researcher."""
        if not self.may("note"):
            return
        from autoresearch_tui.cockpit.screens.note import NoteScreen

        self.app.push_screen(NoteScreen(), self._noted)

    def _noted(self, text: str | None) -> None:
        if text:
            self.bridge.send(cmd.Note(text))
            self.say("the note goes out with the next request")

    def action_review(self) -> None:
        """The proposal on a screen of its own; what it answers are commands."""
        proposal = self.situation.selected
        if proposal is None or proposal.stage not in WAITING:
            proposal = self.situation.proposal
        if not self.may("review") or proposal is None:
            return
        from autoresearch_tui.cockpit.screens.review import ReviewScreen

        files = self.bridge.editable_files(proposal.number) if self.bridge.host is not None else None
        read = None if files is None else lambda: files
        diff = self.bridge.read_diff(proposal.number)
        attend = partial(self._attend, proposal.number)
        screen = ReviewScreen(
            proposal, diff, self.situation.state, read, attend, read_only=lambda: self.refusal, edits=self._edits
        )
        self.app.push_screen(screen, self._reviewed)

    def _attend(self, number: int, *, over: bool) -> None:
        self.bridge.attend(self.bridge.state.experiments[number], over=over)

    def _reviewed(self, answer: Answer | None) -> None:
        if answer is None:
            return
        for command in answer.commands:
            if not self.bridge.send(command):
                self.say(self.refusal, warn=True)
                return
        match answer.commands[0]:
            case cmd.Veto(number=number):
                self.say(f"vetoing #{number}")
            case cmd.Revise(number=number):
                self.say(f"checking your version of #{number}")
            case cmd.Approve(number=number):
                self.say(f"approving #{number}")

    # -- the loop --------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Pause, or go on from whatever holds the loop up."""
        if not self.may("pause"):
            return
        held = self.situation.held
        self.bridge.send(cmd.Resume() if held else cmd.Pause())
        self.say("going on" if held else "pausing: nothing new is launched")

    def action_pause_run(self) -> None:
        """Pause at once; the run's proposal is put back."""
        if self.may("pause_run"):
            self.bridge.send(cmd.Pause(stop_run=True))
            self.say("pausing: the present run is stopped and put back")

    def action_stop_run(self) -> None:
        """Ask, because the run's time is lost."""
        if not self.may("stop_run"):
            return
        running = self.bridge.shown_run()
        assert running is not None
        from autoresearch_tui.cockpit.screens.choose import ChooseScreen

        question = f"Stop {title(running, 40)}? It counts as a crash, «stopped on request»."
        screen = ChooseScreen("stop the run", question, [("y", "stop it"), ("n", "let it go on")])
        self.app.push_screen(screen, partial(self._stop_run, running.number))

    def _stop_run(self, number: int, answer: str | None) -> None:
        if answer == "y":
            self.bridge.send(cmd.StopRun(number))

    def action_stop(self) -> None:
        """Ask when."""
        if not self.may("stop"):
            return
        from autoresearch_tui.cockpit.screens.choose import ChooseScreen

        answers = [("a", "after the present run"), ("x", "now: its proposal is put back"), ("n", "not at all")]
        if self.situation.state.running is None:
            answers = [("x", "now"), ("n", "not at all")]
        question = "Ends the engine of this session. The same command starts it again from its journal."
        self.app.push_screen(ChooseScreen("stop for good", question, answers), self._stop)

    def _stop(self, answer: str | None) -> None:
        if answer in {"a", "x"}:
            self.bridge.send(cmd.Stop(now=answer == "x"))
            self.say("stopping" if answer == "x" else "stopping after this run")

    def action_program(self) -> None:
        """`program.md` in an editor of our own, beside its history."""
        if self.may("program"):
            from autoresearch_tui.cockpit.screens.program import ProgramScreen

            self.app.push_screen(ProgramScreen(self.bridge.lab, self.situation.state))

    def action_editor(self) -> None:
        """`program.md` in the human's editor; the engine reads the file itself."""
        if self.may("editor"):
            from autoresearch_tui.cockpit.screens.external_editor import suspended

            problem = suspended(self.app)([self.bridge.lab.program])
            if problem:
                self.say(problem, warn=True)

    # -- look ------------------------------------------------------------------------------------------------

    def action_details(self) -> None:
        """The experiment under the cursor of the pane with the focus."""
        selected = self.chosen
        if selected is None:
            shown = self.bridge.shown_run() if isinstance(self.focused, RunLog) else self.situation.proposal
            selected = shown.number if shown else None
        if selected is not None:
            self.open_details(selected)

    def open_details(self, number: int) -> None:
        """One experiment on a screen of its own."""
        from autoresearch_tui.cockpit.screens.experiment import ExperimentScreen

        self.app.push_screen(ExperimentScreen(self.bridge, number))

    @on(ResultsTable.Opened)
    @on(BranchTree.Selected)
    def _opened(self, message: ResultsTable.Opened | BranchTree.Selected) -> None:
        self.open_details(message.number)

    @on(ResultsTable.Compared)
    def _compare(self, message: ResultsTable.Compared) -> None:
        from autoresearch_tui.cockpit.screens.compare import CompareScreen

        self.app.push_screen(CompareScreen(self.bridge, self.situation.state, message.numbers))

    def action_pane(self, number: int) -> None:
        """To a pane by its number."""
        self.bring(number)

    def action_zoom(self) -> None:
        """The pane with the focus alone."""
        self.toggle_zoom()

    def action_follow(self) -> None:
        """Follow the log, or stand still."""
        self.log_pane.toggle_follow()

    def action_next_run(self) -> None:
        """The log and the curve of another run."""
        if self.may("next_run"):
            self.bridge.choose_next_run()

    def action_first_error(self) -> None:
        """To the log's first error."""
        self.bring(1)
        if not self.log_pane.first_error():
            self.say("no line of the log looks like an error")

    def action_find(self) -> None:
        """Open the line for what to look for: in the results where they have the keys, else in the log."""
        from textual.widgets import Input

        if self._line is not None:
            return
        self._in_results = self.focused is self.results
        if not self._in_results:
            self.bring(1)
        hint = "rows that have all these words" if self._in_results else "search in the log"
        words = self.results.words if self._in_results else ""
        self._line = Input(words, placeholder=hint, id="find", compact=True, select_on_focus=False)
        self.mount(self._line, before="#keys")
        self.key_bar.tell("Enter keeps these rows · Esc shows all" if self._in_results else "Enter searches · Esc back")
        self._line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The rows follow what is typed."""
        if self._in_results and self._line is not None:
            self.results.narrow(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The log is searched when the line is whole."""
        self.close_find()
        if self._in_results:
            return
        found = self.log_pane.find(event.value)
        if event.value:
            self.say(
                f"{found} line{'s · > and < go to the others' if found > 1 else ''}"
                if found
                else "not in the kept lines of this log"
            )

    def close_find(self) -> None:
        """The keys back to where they were."""
        if self._line is not None:
            self._line.remove()
            self._line = None
            self.key_bar.tell("")
        (self.results if self._in_results else self.log_pane).focus()

    def key_escape(self) -> None:
        """Out of the search line, and with it of the rows' filter; then out of the search in the log."""
        if self._line is not None:
            self.close_find()
            if self._in_results:
                self.results.narrow("")
        elif self.focused is self.results and self.results.words:
            self.results.narrow("")
        elif self.log_pane.query_text:
            self.log_pane.find("")

    def action_find_next(self) -> None:
        """The next occurrence."""
        self.log_pane.find_step(1)

    def action_find_previous(self) -> None:
        """The occurrence before."""
        self.log_pane.find_step(-1)
