"""What the main screen's keys do. Each method is a row of the table in `actions.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from textual import on
from textual.screen import Screen

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.actions import Situation
from autoresearch_tui.cockpit.bridge import Bridge
from autoresearch_tui.cockpit.screens import judge
from autoresearch_tui.cockpit.status import title
from autoresearch_tui.cockpit.widgets.branch_tree import BranchTree
from autoresearch_tui.cockpit.widgets.results_table import ResultsTable
from autoresearch_tui.cockpit.widgets.run_log import RunLog
from autoresearch_tui.cockpit.widgets.status_bar import KeyBar
from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine.state import Experiment

if TYPE_CHECKING:
    from textual.widgets import Input

    from autoresearch_tui.cockpit.screens.review import Answer


class MainActions(Screen[None]):
    """The main screen without its picture."""

    _in_results = False
    _line: Input | None = None
    bridge: Bridge
    log_pane: RunLog
    results: ResultsTable
    key_bar: KeyBar

    @property
    def situation(self) -> Situation:
        """What decides which actions make sense now."""
        raise NotImplementedError

    @property
    def diff_seen(self) -> bool:
        """Whether the proposal's diff is on the screen, for long enough that a key was meant for it."""
        raise NotImplementedError

    @property
    def target(self) -> tuple[int, str] | None:
        """Number and commit of the diff on the screen."""
        raise NotImplementedError

    def bring(self, number: int) -> None:
        """Pane `number` to the front, and the keys to it."""
        raise NotImplementedError

    def toggle_zoom(self) -> None:
        """The pane with the focus alone, or all again."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Letters typed into a line of text are text."""
        return self._line is None or actions.find(action, parameters) is None

    def _may(self, action: str) -> bool:
        """Whether an action makes sense now; says why where it does not."""
        now, found = self.situation, actions.find(action)
        if found is None or found.enabled(now):
            return True
        self.say(self.bridge.read_only or f"{found.title}: {found.why}", warn=True)
        return False

    def say(self, text: str, *, warn: bool = False) -> None:
        """A short notice."""
        self.notify(text, severity="warning" if warn else "information", timeout=4, markup=False)

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
        if not self._may("approve"):
            return
        proposal = self._on_screen()
        if proposal is not None:
            self.bridge.send(cmd.Approve(proposal.number, proposal.commit))
            self.say(f"approved #{proposal.number}")

    def action_veto(self) -> None:
        """Ask for the reason; the answer is about the proposal of this moment."""
        if not self._may("veto"):
            return
        proposal = self._on_screen()
        if proposal is None:
            return
        from autoresearch_tui.cockpit.screens.veto import VetoScreen

        self.app.push_screen(VetoScreen(title(proposal, 40)), partial(self._vetoed, proposal))

    def _vetoed(self, proposal: Experiment, reason: str | None) -> None:
        if reason is not None:
            self.bridge.send(cmd.Veto(proposal.number, proposal.commit, reason))
            self.say(f"vetoed #{proposal.number}")

    def action_note(self) -> None:
        """A line to the researcher."""
        if not self._may("note"):
            return
        from autoresearch_tui.cockpit.screens.note import NoteScreen

        self.app.push_screen(NoteScreen(), self._noted)

    def _noted(self, text: str | None) -> None:
        if text:
            self.bridge.send(cmd.Note(text))
            self.say("the note goes out with the next request")

    def action_review(self) -> None:
        """The proposal on a screen of its own; what it answers are commands."""
        proposal = self.situation.proposal
        if not self._may("review") or proposal is None:
            return
        from autoresearch_tui.cockpit.screens.review import ReviewScreen

        files = self.bridge.editable_files(proposal.number) if self.bridge.host is not None else None
        read = None if files is None else lambda: files
        diff = self.bridge.read_diff(proposal.number)
        self.app.push_screen(ReviewScreen(proposal, diff, self.situation.state, read), self._reviewed)

    def _reviewed(self, answer: Answer | None) -> None:
        if answer is None:
            return
        for command in answer.commands:
            if not self.bridge.send(command):
                self.say(self.bridge.read_only, warn=True)
                return

    # -- the loop --------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Pause, or go on from whatever holds the loop up."""
        if not self._may("pause"):
            return
        held = self.situation.held
        self.bridge.send(cmd.Resume() if held else cmd.Pause())
        self.say("going on" if held else "pausing: nothing new is launched")

    def action_pause_run(self) -> None:
        """Pause at once; the run's proposal is put back."""
        if self._may("pause_run"):
            self.bridge.send(cmd.Pause(stop_run=True))
            self.say("pausing: the present run is stopped and put back")

    def action_stop_run(self) -> None:
        """Ask, because the run's time is lost."""
        if not self._may("stop_run"):
            return
        running = self.bridge.shown_run()
        assert running is not None
        from autoresearch_tui.cockpit.screens.choose import ChooseScreen

        question = f"Stop {title(running, 40)}? It counts as a crash with the reason «stopped»."
        screen = ChooseScreen("stop the run", question, [("y", "stop it"), ("n", "let it go on")])
        self.app.push_screen(screen, partial(self._stop_run, running.number))

    def _stop_run(self, number: int, answer: str | None) -> None:
        if answer == "y":
            self.bridge.send(cmd.StopRun(number))

    def action_stop(self) -> None:
        """Ask when."""
        if not self._may("stop"):
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
        if self._may("program"):
            from autoresearch_tui.cockpit.screens.program import ProgramScreen

            self.app.push_screen(ProgramScreen(self.bridge.lab, self.situation.state))

    def action_editor(self) -> None:
        """`program.md` in the human's editor; the engine reads the file itself."""
        if self._may("editor"):
            from autoresearch_tui.cockpit.screens.external_editor import suspended

            problem = suspended(self.app)([self.bridge.lab.program])
            if problem:
                self.say(problem, warn=True)

    # -- judge -----------------------------------------------------------------------------------------------

    @property
    def chosen(self) -> int | None:
        """The experiment under the cursor of the table or the tree, where one of them has the keys."""
        focused = self.focused
        return focused.selected if isinstance(focused, (ResultsTable, BranchTree)) else None

    def action_repeat(self) -> None:
        """The chosen experiment once more."""
        self._judge("repeat", judge.repeat)

    def action_overrule(self) -> None:
        """Another verdict for the chosen experiment."""
        self._judge("overrule", judge.overrule)

    def action_continue_from(self) -> None:
        """The chosen experiment as the frontier."""
        self._judge("continue_from", judge.continue_from)

    def _judge(self, action: str, do: Callable[[Screen[Any], Bridge, Experiment], None]) -> None:
        selected = self.situation.selected
        if self._may(action) and selected is not None:
            do(self, self.bridge, selected)

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
        if self._may("next_run"):
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
            self.say(f"{found} lines · > and < go to the others" if found else "not in the kept lines of this log")

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
