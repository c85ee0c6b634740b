"""The review of one proposal, with everything that a decision needs; every answer names the commit on screen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar

from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.external_editor import edit_texts, suspended
from autoresearch_tui.cockpit.screens.dialogs import Dialog, veto_dialog
from autoresearch_tui.cockpit.screens.edit import EditScreen, first_changes
from autoresearch_tui.cockpit.screens.finding import FindingScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.cockpit.widgets.bars import KeyBar
from autoresearch_tui.cockpit.widgets.diff import DiffPane
from autoresearch_tui.cockpit.widgets.painted import tones
from autoresearch_tui.session import opinions, statistics, undo
from autoresearch_tui.session.commands import Approve, Command, Note, Revise, Undo, Veto
from autoresearch_tui.session.ends import TO_EXPLAIN
from autoresearch_tui.session.format import FRONTIER, MARKS, clock
from autoresearch_tui.session.state import WAITING, Experiment, Stage, State
from autoresearch_tui.session.status import approval, holding
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.text import clean_line

# Keys typed for the screen before must not decide anything on this one.
GRACE_SECONDS = 0.5
# A key renews the hold after this long.
RENEW_SECONDS = 60.0


class ReviewDiff(DiffPane, inherit_bindings=False):
    """The diff, with `n` left to the screen: here the next hunk is `]`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *ScrollableContainer.BINDINGS,
        *(
            Binding("right_square_bracket", "next_hunk", "Next hunk", id="diff.next")
            if isinstance(one, Binding) and one.id == "diff.next"
            else one
            for one in DiffPane.BINDINGS
        ),
    ]


class ReviewScreen(FindingScreen):
    """Shows one waiting proposal after the other. The policy's clock is held while one is read."""

    DEFAULT_CSS = """
    ReviewScreen {
        & > #review-facts { height: auto; max-height: 40%; padding: 0 1; scrollbar-size-vertical: 1; }
        & > DiffPane { height: 1fr; min-height: 5; }
        & > #review-keys { height: 1; background: $panel; }
        & > #review-gate { height: auto; max-height: 3; padding: 0 1; text-style: bold; }
        & > #review-gate { background: $primary-banner; color: $on-primary-banner; }
        &.-outdated > #review-gate { background: $warning-banner; color: $on-warning-banner; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("review")]
    AUTO_FOCUS = "DiffPane"

    def __init__(self, view: Bridge, number: int) -> None:
        super().__init__(view)
        self._shown = view.state.experiments[number]
        self._diff = ""
        self._appeared = self._renewed = view.monotonic()
        self._decided: set[tuple[int, str]] = set()
        self._opinion: tuple[object, object] = (None, None)
        # The result of the last key, shown until the next one.
        self._message = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="review-facts"):
            yield Static("", id="review-what")
        yield ReviewDiff()
        yield Static("", id="review-gate")
        yield KeyBar(id="review-keys")

    def on_mount(self) -> None:
        self._open(self._shown.number)
        self.set_interval(1, self._draw_gate)

    def _open(self, number: int) -> None:
        """Shows a proposal's current state and holds its clock."""
        self._shown = self.bridge.state.experiments[number]
        self._diff = self.bridge.read_diff(number)
        self._message = ""
        self._appeared = self.bridge.monotonic()
        self._hold_while_read()
        self._draw_facts()
        self.query_one(DiffPane).show(self._diff, flags=self._shown.proposal.flags)
        self._draw_gate()

    def _draw_facts(self) -> None:
        what = facts(self._shown, self.bridge.state, self._diff, tones(self.app))
        self.query_one("#review-what", Static).update(what)

    def _hold_while_read(self) -> None:
        self._renewed = self.bridge.monotonic()
        self.bridge.attend(self._shown, "read")

    def on_unmount(self) -> None:
        """Records a diff that was read, so that the main screen need not show it again before a key counts."""
        if self.bridge.monotonic() - self._appeared >= GRACE_SECONDS:
            self.bridge.reviewed = (self._shown.number, self._shown.commit)

    def on_screen_resume(self) -> None:
        """Restarts the grace period, for keys typed for the screen that just closed."""
        self._appeared = self.bridge.monotonic()

    def refresh_state(self, state: State) -> None:
        """Redraws the gate, and the facts if the critic has answered."""
        if not self.is_mounted:
            return
        self._draw_gate()
        current = self._current()
        if current.commit == self._shown.commit and (current.critic, state.critic_asked) != self._opinion:
            self._shown, self._opinion = current, (current.critic, state.critic_asked)
            self._draw_facts()

    def on_key(self, _: events.Key) -> None:
        """A key shows that the user is still reading: renews the hold unless they released it."""
        if self._message:
            self._show_message("")
        if self._held() == "read" and self.bridge.monotonic() - self._renewed > RENEW_SECONDS:
            self._hold_while_read()

    @property
    def keys_row(self) -> KeyBar:
        return self.query_one(KeyBar)

    def text_to_search(self) -> DiffPane:
        return self.query_one(DiffPane)

    # -- which answers count ---------------------------------------------------------------------------------

    def outdated(self) -> str:
        """Why an answer would not count (proposal changed or decided, or a read-only screen), or empty."""
        why = outdated(self._shown, self.bridge.state)
        reason = self.bridge.read_only
        return why or (f"read only: {reason}" if reason else "")

    def _waiting(self) -> list[Experiment]:
        """The proposals at the gate that were not answered here."""
        found = (e for e in self.bridge.state.waiting if e.stage is Stage.REVIEW)
        return [e for e in found if (e.number, e.commit) not in self._decided or e.edit_refused]

    def _next(self) -> Experiment | None:
        """The proposal to read after this one: the next higher number, or the first."""
        others = [e for e in self._waiting() if e.number != self._shown.number]
        return next((e for e in others if e.number > self._shown.number), others[0] if others else None)

    def _onward(self) -> Experiment | None:
        """What Enter shows if an answer would not count: the new diff, or the next waiting proposal."""
        if not outdated(self._shown, self.bridge.state):
            return None
        known, number = self.bridge.state.experiments, self._shown.number
        changed = number < len(known) and known[number].stage in WAITING
        return known[number] if changed else self._next()

    def _held(self) -> str:
        return self._current().held_at(self._now())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.bridge.clock(), UTC)

    def _current(self) -> Experiment:
        known = self.bridge.state.experiments
        return known[self._shown.number] if self._shown.number < len(known) else self._shown

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that cannot do anything are not shown."""
        if not super().check_action(action, parameters):
            return False
        if action in ("approve", "veto", "edit", "external", "another", "hold") and self.outdated():
            return None
        if action == "approve" and self._current().stage is Stage.APPROVED:
            return None
        if action == "hold" and not (self._current().deadline or self._current().stage is Stage.APPROVED):
            return None
        if action == "onward":
            return True if self._onward() is not None else None
        if action == "next":
            return True if self._next() is not None else None
        if action == "undo":
            return True if undo.last(self.bridge.state) is not None and not self.bridge.read_only else None
        return True

    def _may_decide(self) -> bool:
        return self.bridge.monotonic() - self._appeared >= GRACE_SECONDS and not self.outdated()

    def _may_ask(self) -> bool:
        if self._may_decide():
            return True
        self.ignore_words()
        return False

    # -- keys ------------------------------------------------------------------------------------------------

    def action_approve(self) -> None:
        """Approves the commit that is on the screen."""
        if self._may_decide():
            self._decide(Approve(self._shown.number, self._shown.commit))

    def action_veto(self) -> None:
        if self._may_ask():
            self.bridge.attend(self._shown)
            self.app.push_screen(veto_dialog(f"#{self._shown.number}"), self._vetoed)

    def _vetoed(self, reason: str | None) -> None:
        if reason is None:
            self._hold_while_read()
        else:
            self._decide(Veto(self._shown.number, self._shown.commit, reason))

    def action_another(self) -> None:
        """Vetoes, with a note for the researcher's next request."""
        if self._may_ask():
            title = f"Ask for another instead of #{self._shown.number}"
            self.bridge.attend(self._shown)
            dialog = Dialog(title, line="what it should be instead", enter="veto this one and send the note")
            self.app.push_screen(dialog, self._veto_with_note)

    def _veto_with_note(self, text: str | None) -> None:
        if text is None:
            self._hold_while_read()
        else:
            veto = Veto(self._shown.number, self._shown.commit, f"asked for another: {text}")
            self._decide(veto, Note(text))

    def action_edit(self) -> None:
        if files := self._files():
            self.bridge.attend(self._shown)
            self.app.push_screen(
                EditScreen(self.bridge, self._shown, files, first_changes(self._diff)), self._ask_description
            )

    def action_external(self) -> None:
        files = self._files()
        if not files:
            return
        self.bridge.attend(self._shown)
        edited, problem = edit_texts(self.bridge.edits.get(self._key, files), suspended(self.app))
        self._appeared = self.bridge.monotonic()
        nothing = bool(problem) or edited == files
        self._ask_description(None if nothing else edited)
        if nothing:
            self._show_message(problem or "nothing changed, nothing sent")

    def _files(self) -> dict[str, str]:
        if not self._may_decide():
            return {}
        files = self.bridge.editable_files(self._shown.number)
        if files is None:
            self._show_message("the proposal's files cannot be read")
        return files or {}

    def _ask_description(self, files: dict[str, str] | None) -> None:
        if files is None:
            self._hold_while_read()
        else:
            self.bridge.edits[self._key] = files
            dialog = Dialog(
                "What does it change now?",
                line="one line for the table, the report and the researcher",
                value=self._shown.description,
                enter="run your version",
            )
            self.app.push_screen(dialog, partial(self._send_edit, files))

    def _send_edit(self, files: dict[str, str], description: str | None) -> None:
        """Sends the edit under its own description, which table, report and brief will show."""
        if description is None:
            self._hold_while_read()
            self._show_message("not sent; e reopens your version")
        else:
            self._decide(Revise(self._shown.number, self._shown.commit, files, description))

    def action_hold(self) -> None:
        """Holds the proposal until it is released, or lets the policy's clock run."""
        self.bridge.toggle_hold(self._current())

    def action_undo(self) -> None:
        """Takes the last decision back; the proposal may wait here again."""
        if (last := undo.last(self.bridge.state)) is not None and self.bridge.send(Undo(last.seq)):
            self._decided = {key for key in self._decided if key[0] != last.number}
            self._show_message(f"#{last.number} is no longer {last.what}")

    def action_onward(self) -> None:
        """Shows the new diff, or the next waiting proposal."""
        if (onward := self._onward()) is not None:
            self._open(onward.number)

    def action_next(self) -> None:
        """Shows the next waiting proposal; this one keeps waiting."""
        if (other := self._next()) is not None:
            self.bridge.attend(self._shown, "read", over=True)
            self._open(other.number)

    def action_leave(self) -> None:
        """Leaves a search first, then the screen; the proposal stays at the gate."""
        if self.leave_search():
            return
        self.bridge.attend(self._shown, "read", over=True)
        self.dismiss(None)

    def _decide(self, *commands: Command) -> None:
        """Sends the answer unless the proposal has been decided or changed since; then shows the next one."""
        if self.outdated() or not all(self.bridge.send(command) for command in commands):
            self._show_message(f"not sent: {self.outdated()}")
            return
        self._decided.add(self._key)
        other = self._next()
        if other is None:
            self.dismiss(None)
        else:
            self._open(other.number)

    @property
    def _key(self) -> tuple[int, str]:
        return self._shown.number, self._shown.commit

    # -- the rows below --------------------------------------------------------------------------------------

    def _show_message(self, words: str) -> None:
        self._message = words
        self._draw_gate()

    def _draw_gate(self) -> None:
        why = self.outdated()
        self.set_class(bool(why), "-outdated")
        self.query_one("#review-gate", Static).update(Content(clean_line(self._message or self._gate(why))))
        shown = [a for a in actions.bar(Situation(self.bridge.state), ("review",)) if self.check_action(a.call, ())]
        words = {"review.hold": "release" if self._held() else "hold"}
        self.query_one(KeyBar).show(shown, ("review.approve", "review.veto", "review.onward"), words)

    def _gate(self, why: str) -> str:
        if not why:
            waiting = [e.number for e in self._waiting()]
            several = len(waiting) > 1 and self._shown.number in waiting
            place = f"{waiting.index(self._shown.number) + 1} of {len(waiting)} " if several else ""
            return gate(self._current(), self._now(), place)
        onward = self._onward()
        if onward is None:
            return f"! {why}; Esc goes back"
        where = "the new diff" if onward.number == self._shown.number else f"#{onward.number}, which waits"
        return f"! {why}; Enter shows {where}"


def facts(experiment: Experiment, state: State, diff: str, tones: Mapping[str, Style]) -> Table:
    """Description, hypothesis, author, base, risk and earlier attempts, as label and text."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(style=tones["dim"], no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    what = Text(clean_line(experiment.description), style="bold")
    made = experiment.proposal
    what.append(f"  +{made.added} −{made.removed}", style=Style(bold=False) + tones["dim"])
    grid.add_row(f"#{experiment.number}", what)
    grid.add_row("risk", _risk(experiment, tones["warn-strong"]))
    opinion, tone = opinions.in_words(experiment, state.critic_asked)
    if opinion:
        grid.add_row("critic", Text(opinion, style=tones.get(tone, "")))
    if made.hypothesis:
        grid.add_row("why", Text(clean_line(made.hypothesis)))
    identifiers = statistics.changed_names(diff)
    for place, one in enumerate(statistics.similar(experiment, state.experiments, identifiers)):
        grid.add_row("" if place else "like", Text(earlier(one.experiment, state)))
    grid.add_row("from", Text(origin(experiment, state)))
    return grid


def origin(experiment: Experiment, state: State) -> str:
    """Author, base, cost and program version."""
    made = experiment.proposal
    parts = [clean_line(made.author or "unknown"), f"on {_base(experiment, state)}"]
    if made.tokens:
        parts.append(f"{made.tokens:,} tokens")
    if made.usd:
        parts.append(f"${made.usd:.2f}")
    parts.append(f"program {made.program or '-'}")
    parts.append(f"commit {made.commit[:7]}")
    return " · ".join(parts)


def _base(experiment: Experiment, state: State) -> str:
    commit = experiment.proposal.base
    base = next((e for e in state.experiments if e.commit == commit and e.number < experiment.number), None)
    if base is None:
        return commit[:7]
    mark = "★ " if base is state.best else f"{FRONTIER} " if base is state.frontier else ""
    return f"{mark}#{base.number} {_value(base)}".rstrip()


def _risk(experiment: Experiment, warn: Style) -> Text:
    flags, low_risk = experiment.proposal.flags, experiment.proposal.low_risk
    if not flags:
        return Text("✓ none found in the diff" if low_risk else "⚑ not low for this kind of change")
    text = Text(f"⚑ {len(flags)}: ", style=warn)
    text.append(" · ".join(clean_line(flag) for flag in flags))
    return text


def earlier(experiment: Experiment, state: State) -> str:
    """One earlier attempt with its result."""
    outcome = experiment.status
    parts = [MARKS.get(outcome, ("·", ""))[0], f"#{experiment.number}", outcome]
    gain = statistics.gains(state).get(experiment.number)
    if experiment.value is not None:
        parts.append(_value(experiment))
    if gain is not None:
        parts.append(f"({'better' if gain > 0 else 'worse'} by {abs(gain):.6f})")
    parts.append(clean_line(experiment.description))
    if experiment.reason and outcome in TO_EXPLAIN:
        parts.append(f"— {clean_line(experiment.reason)}")
    return " ".join(parts)


def _value(experiment: Experiment) -> str:
    return "" if experiment.value is None else f"{experiment.value:.6f}"


_STAGE_NOW = {
    Stage.PROPOSED: "is being checked",
    Stage.RUNNING: "is already running",
    Stage.ENDED: "has already finished",
    Stage.SCORED: "has already finished",
}


def outdated(shown: Experiment, state: State) -> str:
    """Why an answer about `shown` would not count; empty if it would."""
    if shown.number >= len(state.experiments):
        return "this proposal is no longer in the session"
    current = state.experiments[shown.number]
    if current.outcome:
        reason = f": {clean_line(current.reason)}" if current.reason else ""
        return f"#{current.number} is decided ({current.status}{reason})"
    if current.stage not in WAITING:
        return f"#{current.number} {_STAGE_NOW[current.stage]}"
    if current.commit != shown.commit:
        return f"#{current.number} changed to {current.commit[:7]} after this diff was shown"
    return ""


def gate(experiment: Experiment, now: datetime, place: str = "") -> str:
    """What happens, and when, without an answer; `place` is the proposal's place among those that wait."""
    held = holding(experiment, now.timestamp())
    if experiment.stage is Stage.APPROVED:
        return f"✓ {approval(experiment.approved_by)}; {held or 'you can veto or edit it until it starts'}"
    then = held or (_automatic(experiment, now) if experiment.deadline else "it does not run without an answer")
    if experiment.edit_refused:
        return f"● {place}your edit was refused: {clean_line(experiment.edit_refused)}; e reopens it · {then}"
    return f"● {place}waits for you; {then}"


def _automatic(experiment: Experiment, now: datetime) -> str:
    """What the policy will do with it, and when."""
    left = (timestamps.parse(experiment.deadline) - now).total_seconds()
    when = f"in {clock(math.ceil(left))}" if left > 0 else "now"
    policy = experiment.review.policy if experiment.review else ""
    if experiment.auto_approves:
        return f"auto-approves {when} ({'low risk' if policy == 'approve-low-risk' else 'the critic agrees'})"
    if not experiment.auto_vetoes:
        return opinions.waits(experiment)
    if experiment.goes_back:
        return f"auto-vetoes {when} (the critic does not agree)"
    why = "it carries risk" if policy == "approve-low-risk" else f"policy {clean_line(policy)}"
    return f"auto-vetoes {when} ({why})"
