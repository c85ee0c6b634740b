"""Which actions make sense now."""

from __future__ import annotations

from autoresearch_tui.session import looks
from autoresearch_tui.session.ends import JUDGED
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.util.frozen import Frozen


class Situation(Frozen):
    """The facts that decide which actions are available.

    `proposal` is the one on screen, `selected` the experiment under the cursor of the focused pane; `commands`: this
    screen may send commands; `elsewhere`: to an engine in another process. `replay`: a recorded session is played.
    `visit`: another session of the lab is shown. `no_row`: the focused list has no experiment. `follows`: the runs of
    one device are shown, not always the newest one.
    """

    state: State
    proposal: Experiment | None = None
    commands: bool = False
    elsewhere: bool = False
    selected: Experiment | None = None
    replay: bool = False
    visit: bool = False
    no_row: bool = False
    follows: bool = False

    @property
    def open_gate(self) -> bool:
        """Whether the proposal on the screen waits for an answer."""
        return self.commands and self.proposal is not None and self.proposal.stage is Stage.REVIEW

    @property
    def sent_back(self) -> bool:
        """Whether the selected experiment was vetoed because of the critic alone."""
        return self.commands and self.selected is not None and self.selected.sent_back

    @property
    def unlaunched(self) -> bool:
        """Whether the proposal on the screen can still be vetoed."""
        stages = (Stage.REVIEW, Stage.APPROVED)
        return self.commands and self.proposal is not None and self.proposal.stage in stages

    @property
    def judged(self) -> bool:
        """Whether the experiment under the cursor has a verdict."""
        return self.commands and self.selected is not None and self.selected.outcome in JUDGED

    @property
    def held(self) -> bool:
        """Whether the loop is blocked by something that `p` lifts."""
        state = self.state
        stuck = state.failed is not None and state.running is None
        return state.paused is not None or state.trouble is not None or state.stopping == "after" or stuck

    @property
    def only_stopping(self) -> bool:
        """Whether the session ends after the current run and nothing else blocks the loop."""
        state = self.state
        return state.stopping == "after" and state.paused is None and state.trouble is None

    @property
    def holdable(self) -> bool:
        """Whether the proposal on the screen will be decided or launched without an answer."""
        return (
            self.unlaunched
            and self.proposal is not None
            and (bool(self.proposal.deadline) or self.proposal.stage is Stage.APPROVED)
        )


def always(_: Situation) -> bool:
    return True


def commands(now: Situation) -> bool:
    return now.commands


def training(now: Situation) -> bool:
    return now.commands and any(run.stage is Stage.RUNNING for run in now.state.in_flight)


def several_runs(now: Situation) -> bool:
    return len(now.state.in_flight) > 1 or (now.follows and now.state.running is not None)


def replay(now: Situation) -> bool:
    return now.replay


def has_experiments(now: Situation) -> bool:
    return bool(now.state.experiments)


def has_row(now: Situation) -> bool:
    return has_experiments(now) and not now.no_row


def judged(now: Situation) -> bool:
    return now.judged


def scored(now: Situation) -> bool:
    selected = now.selected
    decidable = now.judged or (now.commands and selected is not None and selected.stage is Stage.CONFIRMING)
    return decidable and selected is not None and selected.score is not None and selected.score.value is not None


def holdout(now: Situation) -> bool:
    state = now.state
    held_out = now.commands and state.session is not None and state.session.holdout
    return held_out and state.best is not None and not looks.once(state)


def has_budget(now: Situation) -> bool:
    return now.commands and looks.left(now.state) is not None and now.state.renewed < looks.spent(now.state)


def pausable(now: Situation) -> bool:
    return now.commands and not (now.state.paused is not None and now.state.paused.limit and looks.left(now.state) == 0)


def elsewhere(now: Situation) -> bool:
    return scored(now) and now.selected is not None and now.selected.number != now.state.frontier_number
