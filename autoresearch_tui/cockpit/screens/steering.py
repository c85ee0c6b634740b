"""Keys for the session: notes to the researcher, pausing, stopping, undo, the program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from autoresearch_tui.cockpit.screens.judge import JudgeScreen
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import undo


class SteeringScreen(JudgeScreen):
    """Actions about the session rather than one experiment."""

    def action_note(self) -> None:
        if not self.may("note"):
            return
        from autoresearch_tui.cockpit.screens.dialogs import note_dialog

        waiting = [note.text for note in self.bridge.state.waiting_notes]
        self.app.push_screen(note_dialog(waiting), self._send_note)

    def _send_note(self, text: str | None) -> None:
        if text:
            self.bridge.send(cmd.Note(text))
            self.say("the note is sent with the next request")

    def action_notes(self) -> None:
        """Lists the notes not sent yet, newest first, to withdraw one."""
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
        """Pauses the loop, or resumes it, whatever paused it."""
        if not self.may("pause"):
            return
        now = self.situation
        self.bridge.send(cmd.CancelStop() if now.only_stopping else cmd.Resume() if now.held else cmd.Pause())

    def action_pause_run(self) -> None:
        """Pauses at once; the run's proposal is requeued."""
        if self.may("pause_run"):
            self.bridge.send(cmd.Pause(stop_run=True))

    def action_stop(self) -> None:
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
        """Takes the last decision back, or says why it stands."""
        state = self.bridge.state
        if self.read_only or (why := undo.too_late(state)):
            self.say(self.read_only or f"nothing to take back: {why}", warn=True)
            return
        last = state.judgements[-1]
        self.bridge.send(cmd.Undo(last.seq))
        self.say(f"#{last.number} is no longer {last.what}")

    # -- the program -----------------------------------------------------------------------------------------

    def action_program(self) -> None:
        """Opens `program.md` in the cockpit's editor, beside its history."""
        if self.may("program"):
            from autoresearch_tui.cockpit.screens.program import ProgramScreen

            self.app.push_screen(ProgramScreen(self.bridge))

    def action_editor(self) -> None:
        """Opens `program.md` in `$EDITOR`; the engine reads the file itself."""
        if self.may("editor"):
            from autoresearch_tui.cockpit.external_editor import suspended

            problem = suspended(self.app)([self.bridge.lab.program])
            if problem:
                self.say(problem, warn=True)
