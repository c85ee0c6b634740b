"""What a human makes of a verdict: repeat it, overrule it, go on from it; from a table, the tree or the details."""

from __future__ import annotations

from functools import partial
from typing import Any

from textual.screen import Screen

from autoresearch_tui.cockpit.bridge import Bridge
from autoresearch_tui.cockpit.status import title
from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine.state import Experiment


def repeat(screen: Screen[Any], bridge: Bridge, experiment: Experiment) -> None:
    """One run more of the same commit. It is approved by being asked for; a veto takes it back."""
    bridge.send(cmd.Repeat(experiment.number))
    text = (
        f"#{experiment.number} runs once more under another seed, after what is approved already; a veto takes it back"
    )
    screen.notify(text, timeout=6, markup=False)


def overrule(screen: Screen[Any], bridge: Bridge, experiment: Experiment) -> None:
    """Ask for the reason, for it is in the session's story for good."""
    from autoresearch_tui.cockpit.screens.veto import NOT_WORTH_KEEPING, WORTH_KEEPING, ReasonScreen

    kept = experiment.outcome == "keep"
    verdict = "discard" if kept else "keep"
    state = bridge.state
    if kept and experiment.number == state.frontier:
        then = "The search goes on from the best of the other kept ones."
    elif kept:
        then = "What was built on it stays as it is."
    else:
        then = "The search goes on from here."
    text = f"{title(experiment, 40)} was given «{experiment.outcome}». {then}"
    heading = f"overrule #{experiment.number}: {verdict} it, because"
    screen.app.push_screen(
        ReasonScreen(heading, NOT_WORTH_KEEPING if kept else WORTH_KEEPING, text),
        partial(_overruled, screen, bridge, experiment.number, verdict),
    )


def _overruled(screen: Screen[Any], bridge: Bridge, number: int, verdict: str, reason: str | None) -> None:
    if reason is not None:
        bridge.send(cmd.Overrule(number, verdict, reason))
        screen.notify(f"#{number}: {verdict}, by you", timeout=4, markup=False)


def continue_from(screen: Screen[Any], bridge: Bridge, experiment: Experiment) -> None:
    """Ask, because what is measured from then on is measured against another score."""
    from autoresearch_tui.cockpit.screens.choose import ChooseScreen

    value = "" if experiment.value is None else f" {experiment.value:.6f}"
    lines = [f"The next proposals start from {title(experiment, 40)}, and are measured against its score{value}."]
    if experiment.outcome != "keep":
        lines.append(f"It was given «{experiment.outcome}»: it is kept thereby.")
    best = bridge.state.best
    if best is not None:
        lines.append(f"#{best.number} stays kept; its commit stays reachable.")
    if bridge.state.waiting:
        lines.append("What waits for its run is merged onto it; where that changes a diff, it comes to the gate again.")
    screen.app.push_screen(
        ChooseScreen("continue from here", " ".join(lines), [("y", "continue from here"), ("n", "stay")]),
        partial(_continued, screen, bridge, experiment.number),
    )


def _continued(screen: Screen[Any], bridge: Bridge, number: int, answer: str | None) -> None:
    if answer == "y":
        bridge.send(cmd.ContinueFrom(number))
        screen.notify(f"the search goes on from #{number}", timeout=4, markup=False)
