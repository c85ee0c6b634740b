"""The gate: everything a human needs to decide about one proposal, and the exact commit that the answer is about."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.actions import Situation
from autoresearch_tui.cockpit.screens import review_text
from autoresearch_tui.cockpit.screens.edit import EditScreen, first_changes
from autoresearch_tui.cockpit.screens.external_editor import Editor, edit_texts, suspended
from autoresearch_tui.cockpit.screens.note import NoteScreen
from autoresearch_tui.cockpit.screens.veto import VetoScreen
from autoresearch_tui.cockpit.widgets.canvas import tones
from autoresearch_tui.cockpit.widgets.diff_pane import DiffPane
from autoresearch_tui.cockpit.widgets.status_bar import KeyBar
from autoresearch_tui.engine.commands import Approve, Command, Note, Revise, Veto
from autoresearch_tui.engine.state import Experiment, Stage, State

# Keys typed for the screen before must not decide anything on this one.
INPUT_GRACE = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """What the human decided, as the commands to send, in their order."""

    commands: tuple[Command, ...]


class ReviewDiff(DiffPane, inherit_bindings=False):
    """The diff with `n` left to the screen: here the next hunk is `]`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *ScrollableContainer.BINDINGS,
        *(
            Binding("right_square_bracket", "next_hunk", "Next hunk", id="diff.next")
            if isinstance(one, Binding) and one.id == "diff.next"
            else one
            for one in DiffPane.BINDINGS
        ),
    ]


class ReviewScreen(Screen[Answer | None]):
    """Ends with the answer; None where the proposal is left at the gate."""

    DEFAULT_CSS = """
    ReviewScreen {
        & > #review-facts { height: auto; max-height: 40%; padding: 0 1; scrollbar-size-vertical: 1; }
        & > DiffPane { height: 1fr; min-height: 5; }
        & > #review-keys { height: 1; background: $panel; }
        & > #review-gate { height: auto; max-height: 3; padding: 0 1; background: $primary 20%; text-style: bold; }
        &.-outdated > #review-gate { background: $warning 30%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("review")]
    AUTO_FOCUS = "DiffPane"

    def __init__(
        self,
        experiment: Experiment,
        diff_text: str,
        state: State,
        read_files: Callable[[], Mapping[str, str]] | None,
        attend: Callable[..., None] = lambda *, over: None,  # noqa: ARG005
        *,
        edits: dict[tuple[int, str], dict[str, str]] | None = None,
        read_only: Callable[[], str] = str,
        grace: float = INPUT_GRACE,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        editor: Editor | None = None,
    ) -> None:
        super().__init__()
        self._experiment = experiment
        self._diff_text = diff_text
        self._session = state
        self._read_files = read_files
        self._attend = attend
        self._edits = {} if edits is None else edits
        self._read_only = read_only
        self._grace = grace
        self._clock = clock
        self._now = now
        self._editor = editor
        self._appeared = clock()

    @property
    def experiment(self) -> Experiment:
        """The proposal that is on the screen."""
        return self._experiment

    def compose(self) -> ComposeResult:
        """What and why above, the diff, and at the bottom what happens without an answer."""
        with VerticalScroll(id="review-facts"):
            yield Static(review_text.facts(self._experiment, self._session, self._diff_text, tones(self.app)))
        yield ReviewDiff()
        yield Static("", id="review-gate")
        yield KeyBar(id="review-keys")

    def on_mount(self) -> None:
        """What is to be read, and what becomes of it without an answer."""
        pane = self.query_one(DiffPane)
        pane.show(self._diff_text, flags=self._experiment.flags)
        self._draw_gate()
        self.set_interval(1, self._draw_gate)

    def on_screen_resume(self) -> None:
        """Whatever was in front is gone; what was typed for it does not count here."""
        self._appeared = self._clock()

    def refresh_state(self, state: State) -> None:
        """The session went on: the answer may no longer be wanted, or be about another diff."""
        self._session = state
        if self.is_mounted:
            self._draw_gate()
            self.refresh_bindings()

    def outdated(self) -> str:
        """Why an answer would not count: another diff is at the gate by now, or nobody here decides."""
        why = review_text.outdated(self._experiment, self._session)
        reason = self._read_only()
        return why or (f"read only: {reason}" if reason else "")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that cannot do anything are not shown."""
        if action in ("approve", "veto", "edit", "external", "another") and self.outdated():
            return None
        if action == "approve" and self._current().stage is Stage.APPROVED:
            return None
        if action in ("edit", "external") and self._read_files is None:
            return None
        return super().check_action(action, parameters)

    def action_approve(self) -> None:
        """Train exactly the commit that is on the screen."""
        if self._may_decide():
            self._answer(Approve(self._experiment.number, self._experiment.commit))

    def action_veto(self) -> None:
        """Asks why, then vetoes."""
        if self._may_decide():
            self._attend(over=False)
            self.app.push_screen(VetoScreen(f"#{self._experiment.number}"), self._vetoed)

    def action_another(self) -> None:
        """Vetoes with a note that reaches the researcher's next request."""
        if self._may_decide():
            title = f"instead of #{self._experiment.number}, ask for"
            hint = "Enter: veto this one and send the note · Esc: back"
            self._attend(over=False)
            self.app.push_screen(NoteScreen(title, hint), self._noted)

    def action_edit(self) -> None:
        """The proposed files, to be changed by hand here."""
        files = self._files()
        if files:
            self._attend(over=False)
            draft, lines = self._edits.get(self._key), first_changes(self._diff_text)
            screen = EditScreen(files, f"#{self._experiment.number}", draft, lines)
            self.app.push_screen(screen, self._edited)

    def action_external(self) -> None:
        """The proposed files in `$EDITOR`."""
        files = self._files()
        if not files:
            return
        self._attend(over=False)
        edited, problem = edit_texts(self._edits.get(self._key, files), self._editor or suspended(self.app))
        self._appeared = self._clock()
        if problem:
            self.notify(problem, severity="error", markup=False)
        elif edited == files:
            self.notify("nothing was changed, nothing was sent", markup=False)
        self._edited(None if problem or edited == files else edited)

    def action_leave(self) -> None:
        """Back, with the proposal left at the gate: that decides nothing, so it need not wait."""
        self.dismiss(None)

    def _vetoed(self, reason: str | None) -> None:
        if reason is None:
            self._attend(over=True)
        else:
            self._answer(Veto(self._experiment.number, self._experiment.commit, reason))

    def _noted(self, text: str | None) -> None:
        if text is None:
            self._attend(over=True)
        else:
            veto = Veto(self._experiment.number, self._experiment.commit, f"another is wanted: {text}")
            self._answer(veto, Note(text))

    def _edited(self, files: dict[str, str] | None) -> None:
        if files is None:
            self._attend(over=True)
        else:
            self._edits[self._key] = files
            self._answer(Revise(self._experiment.number, self._experiment.commit, files))

    def _answer(self, *commands: Command) -> None:
        """Only while the question still stands: it may have been settled under a dialogue."""
        why = self.outdated()
        if why:
            self.notify(f"not sent: {why}", severity="warning", markup=False)
        else:
            self.dismiss(Answer(commands))

    @property
    def _key(self) -> tuple[int, str]:
        return self._experiment.number, self._experiment.commit

    def _files(self) -> dict[str, str]:
        if not self._may_decide() or self._read_files is None:
            return {}
        try:
            files = dict(self._read_files())
        except (OSError, ValueError) as error:
            self.notify(f"the proposal's files cannot be read: {error}", severity="error", markup=False)
            return {}
        if not files:
            self.notify("the proposal's files are not there", severity="error", markup=False)
        return files

    def _may_decide(self) -> bool:
        return not self._too_early() and not self.outdated()

    def _too_early(self) -> bool:
        return self._clock() - self._appeared < self._grace

    def _current(self) -> Experiment:
        number = self._experiment.number
        known = self._session.experiments
        return known[number] if number < len(known) else self._experiment

    def _draw_gate(self) -> None:
        why = self.outdated()
        self.set_class(bool(why), "-outdated")
        text = f"! {why}" if why else review_text.gate(self._current(), self._now())
        self.query_one("#review-gate", Static).update(Content(text))
        shown = [a for a in actions.bar(Situation(self._session), ("review",)) if self.check_action(a.call, ())]
        self.query_one(KeyBar).show(shown, ("review.approve", "review.veto"))
