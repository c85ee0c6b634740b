"""What a human makes of a verdict: repeat it, overrule it, go on from it; in the table, the tree and the details."""

from __future__ import annotations

from functools import partial

from textual.screen import Screen

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.actions import Situation
from autoresearch_tui.cockpit.bridge import Bridge
from autoresearch_tui.cockpit.status import title
from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine.state import Experiment


class JudgeScreen(Screen[None]):
    """A screen with an experiment under its cursor, and the keys that judge it."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self.bridge = bridge

    @property
    def situation(self) -> Situation:
        """What decides which actions make sense now."""
        raise NotImplementedError

    def say(self, text: str, *, warn: bool = False) -> None:
        """A short notice."""
        self.notify(text, severity="warning" if warn else "information", timeout=4, markup=False)

    def may(self, action: str) -> bool:
        """Whether an action makes sense now; says why where it does not."""
        now, found = self.situation, actions.find(action)
        if found is None or found.enabled(now):
            return True
        self.say(self.refusal or f"{found.title}: {found.why}", warn=True)
        return False

    @property
    def refusal(self) -> str:
        """Why this screen commands nothing, and what would change that; empty where it does."""
        why = self.bridge.read_only
        return f"{why}; T takes over" if why and self.bridge.takeable else why

    def action_repeat(self) -> None:
        """One run more of the same commit. It is approved by being asked for; a veto takes it back."""
        experiment = self.situation.selected
        if self.may("repeat") and experiment is not None:
            self.bridge.send(cmd.Repeat(experiment.number))
            self.say(f"#{experiment.number} runs once more under another seed, after what is approved already")

    def action_overrule(self) -> None:
        """Ask for the reason, for it is in the session's story for good."""
        experiment = self.situation.selected
        if not self.may("overrule") or experiment is None:
            return
        from autoresearch_tui.cockpit.screens.veto import NOT_WORTH_KEEPING, WORTH_KEEPING, ReasonScreen

        kept = experiment.outcome == "keep"
        verdict = "discard" if kept else "keep"
        if kept and experiment.number == self.bridge.state.frontier:
            then = "The search goes on from the best of the other kept ones."
        elif kept:
            then = "What was built on it stays as it is."
        else:
            then = "The search goes on from here."
        text = f"{title(experiment, 40)} was given «{experiment.outcome}». {then}"
        heading = f"overrule #{experiment.number}: {verdict} it, because"
        self.app.push_screen(
            ReasonScreen(heading, NOT_WORTH_KEEPING if kept else WORTH_KEEPING, text),
            partial(self._overrule, experiment.number, verdict),
        )

    def _overrule(self, number: int, verdict: str, reason: str | None) -> None:
        if reason is not None:
            self.bridge.send(cmd.Overrule(number, verdict, reason))
            self.say(f"#{number}: {verdict}, by you")

    def action_continue_from(self) -> None:
        """Ask, because what is measured from then on is measured against another score."""
        experiment = self.situation.selected
        if not self.may("continue_from") or experiment is None:
            return
        from autoresearch_tui.cockpit.screens.choose import ChooseScreen

        self.app.push_screen(
            ChooseScreen(
                "continue from here", self._consequences(experiment), [("y", "continue from here"), ("n", "stay")]
            ),
            partial(self._continue_from, experiment.number),
        )

    def _consequences(self, experiment: Experiment) -> str:
        state = self.bridge.state
        value = "" if experiment.value is None else f" {experiment.value:.6f}"
        lines = [f"The next proposals start from {title(experiment, 40)}, and are measured against its score{value}."]
        if experiment.outcome != "keep":
            lines.append(f"It was given «{experiment.outcome}»: it is kept thereby.")
        if state.best is not None:
            lines.append(f"#{state.best.number} stays kept; its commit stays reachable.")
        if state.waiting:
            lines.append("What waits is merged onto it; where that changes a diff, it comes to the gate again.")
        return " ".join(lines)

    def _continue_from(self, number: int, answer: str | None) -> None:
        if answer == "y":
            self.bridge.send(cmd.ContinueFrom(number))
            self.say(f"the search goes on from #{number}")
