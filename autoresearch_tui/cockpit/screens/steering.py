"""Steering the loop: notes to the researcher, pausing, stopping, and taking a decision back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from autoresearch_tui.cockpit.screens.judge import JudgeScreen
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import undo
from autoresearch_tui.session.state import Experiment, Stage
from autoresearch_tui.session.status import title


class SteeringScreen(JudgeScreen):
    """What the keys do that are about the session rather than one experiment."""

    def action_note(self) -> None:
        """A line to the researcher."""
        if not self.may("note"):
            return
        from autoresearch_tui.cockpit.screens.dialogs import note_dialog

        waiting = [note.text for note in self.bridge.state.waiting_notes]
        self.app.push_screen(note_dialog(waiting), self._noted)

    def _noted(self, text: str | None) -> None:
        if text:
            self.bridge.send(cmd.Note(text))
            self.say("the note is sent with the next request")

    def action_notes(self) -> None:
        """The notes that wait, the newest first, to take one back."""
        if not self.may("notes"):
            return
        from autoresearch_tui.cockpit.screens.dialogs import waiting_notes_dialog

        waiting = self.bridge.state.waiting_notes[::-1]
        chosen = partial(self._take_back_note, [note.seq for note in waiting])
        self.app.push_screen(waiting_notes_dialog([note.text for note in waiting]), chosen)

    def _take_back_note(self, waiting: Sequence[int], place: str | None) -> None:
        if place:
            self.bridge.send(cmd.WithdrawNote(waiting[int(place) - 1]))

    def action_pause(self) -> None:
        """Pause, or resume from whatever holds the loop up."""
        if not self.may("pause"):
            return
        now = self.situation
        self.bridge.send(cmd.CancelStop() if now.only_stopping else cmd.Resume() if now.held else cmd.Pause())

    def action_pause_run(self) -> None:
        """Pause at once; the run's proposal is requeued."""
        if self.may("pause_run"):
            self.bridge.send(cmd.Pause(stop_run=True))

    def action_stop_run(self) -> None:
        """Ask, because the run's time is lost."""
        if not self.may("stop_run"):
            return
        running = self.run_to_stop()
        if running is None or running.stage is not Stage.RUNNING:
            self.say("this run is not in training: choose another one with L or in 2 devices", warn=True)
            return
        from autoresearch_tui.cockpit.screens.dialogs import STOP_REASONS, Dialog

        text = "It will not run again; the researcher gets your reason."
        dialog = Dialog(
            f"Stop {title(running, 40)}",
            text,
            reasons=STOP_REASONS,
            line="or in your own words",
            blank="no reason",
        )
        self.app.push_screen(dialog, partial(self._stop_run, running.number))

    def _stop_run(self, number: int, reason: str | None) -> None:
        if reason is not None:
            self.bridge.send(cmd.StopRun(number, reason))

    def run_to_stop(self) -> Experiment | None:
        """The run that is shown."""
        return self.bridge.shown_run()

    def action_stop(self) -> None:
        """Ask when."""
        if not self.may("stop"):
            return
        from autoresearch_tui.cockpit.screens.dialogs import Dialog

        state = self.situation.state
        answers = [("a", "after the current run"), ("x", "now: its proposal is requeued"), ("n", "cancel")]
        if state.running is None:
            answers = [("x", "now"), ("n", "cancel")]
        elif state.stopping == "after":
            answers[0] = ("k", "not at all: keep going")
        question = "Stops this session's engine. You can resume the session later with the same command."
        self.app.push_screen(Dialog("End the session", question, answers), self._stop)

    def _stop(self, answer: str | None) -> None:
        if answer == "k":
            self.bridge.send(cmd.CancelStop())
        elif answer in ("a", "x"):
            self.bridge.send(cmd.Stop(now=answer == "x"))

    def action_undo(self) -> None:
        """Take back the last decision, or say why it stands."""
        state = self.bridge.state
        if self.read_only or (why := undo.too_late(state)):
            self.say(self.read_only or f"nothing to take back: {why}", warn=True)
            return
        last = state.judgements[-1]
        self.bridge.send(cmd.Undo(last.seq))
        self.say(f"#{last.number} is no longer {last.what}")

    # -- the program -----------------------------------------------------------------------------------------

    def action_program(self) -> None:
        """`program.md` in an editor of our own, beside its history."""
        if self.may("program"):
            from autoresearch_tui.cockpit.screens.program import ProgramScreen

            self.app.push_screen(ProgramScreen(self.bridge))

    def action_editor(self) -> None:
        """`program.md` in the human's editor; the engine reads the file itself."""
        if self.may("editor"):
            from autoresearch_tui.cockpit.external_editor import suspended

            problem = suspended(self.app)([self.bridge.lab.program])
            if problem:
                self.say(problem, warn=True)
