"""What happened while no cockpit was open."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from autoresearch_tui.cockpit.widgets.bars import KeyLine
from autoresearch_tui.session import statistics
from autoresearch_tui.session.cost import cost
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.errors import in_line
from autoresearch_tui.util.text import clean_line

_SHOWN = 8


class SinceScreen(ModalScreen[None]):
    """A few lines; any key closes it, and does nothing else."""

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
    SCROLLING: ClassVar[frozenset[str]] = frozenset({"up", "down", "pageup", "pagedown", "home", "end"})

    def __init__(self, before: State, after: State) -> None:
        super().__init__()
        self._lines = digest(before, after)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content("Since you left")
            with VerticalScroll():
                yield Static(self._grid())
        yield KeyLine("Enter: continue")

    def on_key(self, event: events.Key) -> None:
        """Any other key closes the screen, without acting on the one behind it."""
        if event.key not in self.SCROLLING:
            event.stop()
            self.dismiss(None)

    def _grid(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True, width=1)
        grid.add_column(ratio=1, overflow="fold")
        for line in self._lines:
            mark, blank, rest = line.partition(" ")
            marked = len(mark) == 1 and not mark.isdigit()
            grid.add_row(Text(mark if marked else ""), Text(rest if marked and blank else line))
        return grid


def digest(before: State, after: State) -> tuple[str, ...]:
    """What changed between two states of a session, as clean text; first what waits for the human."""
    lines = [_span(before, after), _best(before, after), _counts(before, after)]
    lines += [f"! {warning}" if (warning := statistics.overfitting(after)) else "", _noise(before, after)]
    lines += [_program(before, after), _cost(before, after)]
    return tuple(clean_line(line) for line in [*_needs(after), *lines, *_now(after)] if line)


def _span(before: State, after: State) -> str:
    seconds = timestamps.seconds(after.time) - timestamps.seconds(before.time)
    if not before.time or seconds <= 0:
        return "nothing happened while you were away" if before.seq == after.seq else ""
    minutes = round(seconds / 60)
    span = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    return f"{span} of work while you were away"


def _best(before: State, after: State) -> str:
    best, was, frontier = after.best, before.best, after.frontier
    if best is None or best.value is None:
        return "no score yet"
    now = f"{best.value:.6f} by #{best.number}, {best.description}"
    if frontier is not None and frontier.number != best.number:
        now += f"; the search continues from #{frontier.number}"
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
        return "no experiment finished"
    count = Counter(e.status for e in new)
    counts = ", ".join(f"{count[outcome]} {outcome.participle}" for outcome in Outcome if count[outcome])
    return f"{len(new)} {'experiment' if len(new) == 1 else 'experiments'} finished: {counts}"


def _noise(before: State, after: State) -> str:
    new = {e.number for e in _new(before, after)}
    doubtful = [f"#{number}" for number in statistics.near_noise(after) if number in new]
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
    total = cost(after).usd
    spent = total - cost(before).usd
    return f"spent ${spent:.2f}, ${total:.2f} in all" if spent > 0 else ""


def _needs(state: State) -> list[str]:
    """What waits for a human or blocks the loop."""
    paused, lines = state.paused, []
    if paused is not None and paused.by != "human":
        lines.append(f"! paused by the {paused.by}: {paused.reason}")
    for experiment in state.waiting:
        if experiment.stage is Stage.REVIEW:
            flags, review = experiment.proposal.flags, experiment.review
            risk = f", ⚑ {len(flags)}" if flags else ""
            by = f", {review.policy} at {_clock(review.deadline)}" if review and review.deadline else ""
            lines.append(f"● #{experiment.number} waits for you{risk}{by}: {experiment.description}")
    if state.trouble is not None:
        lines.append(f"! since {_clock(state.trouble_at)}: {in_line(state.trouble.what, state.trouble.remedy)}")
    if state.failed is not None:
        times = "" if state.failures < 2 else f", {state.failures} times"
        lines.append(f"! no proposal{times}: {state.failed.error}")
    if paused is not None and paused.by == "human":
        lines.append("! paused by you")
    if state.stopped is not None and state.stopped.why == "failed":
        lines.append(f"! the engine failed: {state.stopped.detail}")
    return lines


def _now(state: State) -> list[str]:
    running = state.running
    if running is None:
        return []
    return [f"▶ #{running.number} running since {_clock(running.started_at)}: {running.description}"]


def _clock(time: str) -> str:
    return timestamps.parse(time).astimezone().strftime("%H:%M") if time else "?"
