"""Pure: the words of the review screen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from rich.style import Style
from rich.table import Table
from rich.text import Text

from autoresearch_tui import findings
from autoresearch_tui.cockpit.words import MARKS, clock
from autoresearch_tui.engine.state import WAITING, Experiment, Stage, State
from autoresearch_tui.text import clean_line


def facts(experiment: Experiment, state: State, diff: str, tones: Mapping[str, Style]) -> Table:
    """Description, hypothesis, author, base, risk and earlier attempts, as label and text."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(style=tones["dim"], no_wrap=True)
    grid.add_column(ratio=1)
    what = Text(clean_line(experiment.description), style="bold")
    what.append(f"  +{experiment.added} −{experiment.removed}", style=Style(bold=False) + tones["dim"])
    grid.add_row(f"#{experiment.number}", what)
    grid.add_row("risk", _risk(experiment, tones["warn-strong"]))
    if experiment.hypothesis:
        grid.add_row("why", Text(clean_line(experiment.hypothesis)))
    identifiers = findings.changed_names(diff)
    for place, one in enumerate(findings.similar(experiment, state.experiments, identifiers)):
        grid.add_row("" if place else "like", Text(earlier(one.experiment, state)))
    grid.add_row("from", Text(origin(experiment, state)))
    return grid


def origin(experiment: Experiment, state: State) -> str:
    """Who proposed it, on what, at what cost, under which program."""
    parts = [clean_line(experiment.author or "nobody"), f"on {_base(experiment, state)}"]
    if experiment.tokens:
        parts.append(f"{experiment.tokens:,} tokens")
    if experiment.usd:
        parts.append(f"${experiment.usd:.2f}")
    parts.append(f"program {experiment.program or '-'}")
    parts.append(f"commit {experiment.commit[:7]}")
    return " · ".join(parts)


def _base(experiment: Experiment, state: State) -> str:
    base = next((e for e in state.experiments if e.commit == experiment.base and e.number < experiment.number), None)
    if base is None:
        return experiment.base[:7]
    best = "★ " if state.frontier == base.number else ""
    return f"{best}#{base.number} {_value(base)}".rstrip()


def _risk(experiment: Experiment, warn: Style) -> Text:
    if not experiment.flags:
        word = "none seen in the diff" if experiment.low_risk else "not low, by its kind"
        return Text(f"✓ {word}" if experiment.low_risk else f"⚑ {word}")
    text = Text(f"⚑ {len(experiment.flags)}: ", style=warn)
    text.append(" · ".join(clean_line(flag) for flag in experiment.flags))
    return text


def earlier(experiment: Experiment, state: State) -> str:
    """One earlier attempt with its result."""
    outcome = experiment.outcome or experiment.stage.value
    parts = [MARKS.get(outcome, ("·", ""))[0], f"#{experiment.number}", outcome]
    gain = findings.gains(state).get(experiment.number)
    if experiment.value is not None:
        parts.append(_value(experiment))
    if gain is not None:
        parts.append(f"({'better' if gain > 0 else 'worse'} by {abs(gain):.6f})")
    parts.append(clean_line(experiment.description))
    if experiment.reason and outcome in ("vetoed", "crash", "invalid", "withdrawn"):
        parts.append(f"— {clean_line(experiment.reason)}")
    return " ".join(parts)


def _value(experiment: Experiment) -> str:
    return "" if experiment.value is None else f"{experiment.value:.6f}"


def outdated(shown: Experiment, state: State) -> str:
    """Why an answer about `shown` would be about something that is no longer there; empty while it counts."""
    if shown.number >= len(state.experiments):
        return "this proposal is not in the session any more; Esc goes back"
    current = state.experiments[shown.number]
    if current.outcome:
        reason = f": {clean_line(current.reason)}" if current.reason else ""
        return f"#{current.number} is settled ({current.outcome}{reason}); Esc goes back"
    if current.stage not in WAITING:
        return f"#{current.number} is {current.stage.value} already; Esc goes back"
    if current.commit != shown.commit:
        return (
            f"#{current.number} changed: it is {current.commit[:7]} now, not the diff shown here; Esc, then look again"
        )
    return ""


def gate(experiment: Experiment, now: datetime) -> str:
    """What happens to it, and when, if nobody answers."""
    if experiment.stage is Stage.APPROVED:
        return f"✓ approved by {clean_line(experiment.approved_by)}; it can be vetoed or edited until it starts"
    if not experiment.deadline:
        return "● waits for you; without an answer it is not run"
    left = (datetime.fromisoformat(experiment.deadline) - now).total_seconds()
    when = f"in {clock(math.ceil(left))}" if left > 0 else "now"
    if experiment.policy == "approve-low-risk" and experiment.low_risk:
        return f"● waits for you; approved by itself {when} (low risk)"
    why = "it carries risk" if experiment.policy == "approve-low-risk" else f"policy {clean_line(experiment.policy)}"
    return f"● waits for you; vetoed by itself {when} ({why})"
