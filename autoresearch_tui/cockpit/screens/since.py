"""What happened while nobody was looking."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from autoresearch_tui import findings
from autoresearch_tui.cockpit.words import seconds_of
from autoresearch_tui.engine.state import Experiment, Stage, State
from autoresearch_tui.text import clean_line

_SHOWN = 8
_ORDER = ("keep", "discard", "crash", "invalid", "vetoed", "withdrawn")
_WORDS = {"keep": "kept", "discard": "discarded", "crash": "crashed"}


class SinceScreen(ModalScreen[None]):
    """A few lines; any of the usual keys closes it."""

    DEFAULT_CSS = """
    SinceScreen {
        align: center middle;
        & > Vertical {
            width: 90; max-width: 100%; height: auto; max-height: 100%; padding: 0 1;
            background: $surface; border: round $primary;
        }
        & VerticalScroll { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,space", "dismiss(None)", "Close")]

    def __init__(self, before: State, after: State) -> None:
        super().__init__()
        self._lines = digest(before, after)

    def compose(self) -> ComposeResult:
        """What waits for the human stands out by its mark."""
        with Vertical() as box:
            box.border_title = Content("since you left")
            box.border_subtitle = Content("Enter: on to the cockpit")
            with VerticalScroll():
                yield Static(self._grid())

    def _grid(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True, width=1)
        grid.add_column(ratio=1)
        for line in self._lines:
            mark, blank, rest = line.partition(" ")
            marked = len(mark) == 1 and not mark.isdigit()
            grid.add_row(Text(mark if marked else ""), Text(rest if marked and blank else line))
        return grid


def digest(before: State, after: State) -> tuple[str, ...]:
    """What changed between two states of a session, what waits for the human first; clean text."""
    lines = [_span(before, after), _best(before, after), _counts(before, after)]
    lines += [f"! {warning}" if (warning := findings.overfitting(after)) else "", _noise(before, after)]
    lines += [_program(before, after), _cost(before, after)]
    return tuple(clean_line(line) for line in [*_needs(after), *lines, *_now(after)] if line)


def _span(before: State, after: State) -> str:
    seconds = seconds_of(after.time) - seconds_of(before.time)
    if not before.time or seconds <= 0:
        return "nothing happened meanwhile" if before.seq == after.seq else ""
    minutes = round(seconds / 60)
    span = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    return f"{span} of work since then"


def _best(before: State, after: State) -> str:
    best, was = after.best, before.best
    if best is None or best.value is None:
        return "no score yet"
    now = f"{best.value:.6f} by #{best.number}, {best.description}"
    if was is None or was.value is None:
        return f"★ best {now}"
    if was.number == best.number:
        return f"= best unchanged: {now}"
    return f"★ best {was.value:.6f} → {now} (better by {abs(best.value - was.value):.6f})"


def _done(state: State) -> dict[int, Experiment]:
    return {e.number: e for e in state.experiments if e.outcome}


def _new(before: State, after: State) -> list[Experiment]:
    known = _done(before)
    return [e for number, e in _done(after).items() if number not in known]


def _counts(before: State, after: State) -> str:
    new = _new(before, after)
    if not new:
        return "no experiment ended"
    count = Counter(e.outcome for e in new)
    said = ", ".join(f"{count[outcome]} {_WORDS.get(outcome, outcome)}" for outcome in _ORDER if count[outcome])
    return f"{len(new)} {'experiment' if len(new) == 1 else 'experiments'} ended: {said}"


def _noise(before: State, after: State) -> str:
    new = {e.number for e in _new(before, after)}
    doubtful = [f"#{e.number}" for e in findings.near_noise(after) if e.number in new]
    if not doubtful:
        return ""
    names = ", ".join(doubtful[:_SHOWN]) + (", …" if len(doubtful) > _SHOWN else "")
    one = len(doubtful) == 1
    return f"≈ {len(doubtful)} of the kept {'is' if one else 'are'} within the noise of equal runs: {names}"


def _program(before: State, after: State) -> str:
    if not before.program or before.program == after.program:
        return ""
    return f"program.md: {before.program} → {after.program}"


def _cost(before: State, after: State) -> str:
    spent = after.usd - before.usd
    return f"spent ${spent:.2f}, ${after.usd:.2f} in all" if spent > 0 else ""


def _needs(state: State) -> list[str]:
    """What waits for a human, or stands in the way."""
    lines = []
    for experiment in state.waiting:
        if experiment.stage is Stage.REVIEW:
            risk = f", ⚑ {len(experiment.flags)}" if experiment.flags else ""
            by = f", {experiment.policy} at {_clock(experiment.deadline)}" if experiment.deadline else ""
            lines.append(f"● #{experiment.number} waits for you{risk}{by}: {experiment.description}")
    if state.trouble is not None:
        lines.append(f"! since {_clock(state.trouble_at)}: {state.trouble.what}; {state.trouble.remedy}")
    if state.failed is not None:
        times = "" if state.failures < 2 else f", {state.failures} times"
        lines.append(f"! no proposal{times}: {state.failed.error}")
    if state.paused is not None:
        why = f": {state.paused.reason}" if state.paused.reason else ""
        lines.append(f"! paused by {state.paused.by}{why}")
    if state.stopped is not None and state.stopped.why == "failed":
        lines.append(f"! the engine failed: {state.stopped.detail}")
    return lines


def _now(state: State) -> list[str]:
    running = state.running
    if running is None:
        return []
    return [f"▶ #{running.number} runs since {_clock(running.started_at)}: {running.description}"]


def _clock(time: str) -> str:
    return datetime.fromisoformat(time).astimezone().strftime("%H:%M") if time else "?"
