"""Pure: what a human who looks elsewhere wants to be told of."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch_tui.cockpit.status import title
from autoresearch_tui.cockpit.words import delta
from autoresearch_tui.engine.state import Stage, State
from autoresearch_tui.text import clean_line


@dataclass(frozen=True, slots=True)
class News:
    """`kind`: best, crash, waits, paused or finished. `urgent` where nothing goes on without the human."""

    kind: str
    text: str
    urgent: bool = False


def news(before: State, after: State) -> tuple[News, ...]:
    """What happened between two states that is worth a bell."""
    return (*_verdicts(before, after), *_waits(before, after), *_pause(before, after), *_end(before, after))


def _verdicts(before: State, after: State) -> list[News]:
    found = []
    for experiment in after.experiments:
        number = experiment.number
        old = before.experiments[number] if number < len(before.experiments) else None
        if experiment is old or not experiment.outcome or (old is not None and old.outcome):
            continue
        if experiment.outcome == "crash":
            found.append(News("crash", f"{title(experiment, 60)} crashed: {clean_line(experiment.reason)}"))
        elif experiment.outcome == "keep" and number and after.session is not None and experiment.value is not None:
            gain, _ = delta(experiment.value, before.best.value if before.best else None, after.session.goal)
            metric = clean_line(after.session.metric)
            found.append(News("best", f"new best: {metric} {experiment.value:.4f} {gain} · {title(experiment, 60)}"))
    return found


def _waits(before: State, after: State) -> list[News]:
    known = {(e.number, e.commit) for e in before.waiting if e.stage is Stage.REVIEW}
    return [
        News("waits", f"{title(e, 60)} waits for you", urgent=after.running is None)
        for e in after.waiting
        if e.stage is Stage.REVIEW and (e.number, e.commit) not in known
    ]


def _pause(before: State, after: State) -> list[News]:
    paused = after.paused
    if paused is None or paused is before.paused or paused.by == "human":
        return []
    return [News("paused", f"paused by the {clean_line(paused.by)}: {clean_line(paused.reason)}", urgent=True)]


def _end(before: State, after: State) -> list[News]:
    stopped = after.stopped
    if stopped is None or stopped is before.stopped or stopped.why not in {"finished", "failed"}:
        return []
    detail = f": {clean_line(stopped.detail)}" if stopped.detail else ""
    return [News("finished", f"the session {stopped.why}{detail}", urgent=stopped.why == "failed")]
