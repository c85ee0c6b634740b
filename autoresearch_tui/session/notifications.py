"""Pure: what a human who is not looking is notified of, by a bell or a hook."""

from __future__ import annotations

from autoresearch_tui.session import draws
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.session.statistics import overfitting
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

_DESCRIPTION = 60


class News(Frozen):
    """`kind`: best, overfits, crash, waits, stopped or ended. `urgent`: nothing continues without the human.

    `text` begins with a word of ours, whatever a description contains, so that it is a safe argument for any command.
    """

    kind: str
    text: str
    urgent: bool = False
    number: int | None = None
    value: float | None = None
    commit: str = ""
    """The commit of a waiting proposal, for answers from elsewhere."""
    reason: str = ""
    """Why a session ended, in a word: until, max_usd, experiments, stopped or failed."""


def news(before: State, after: State) -> tuple[News, ...]:
    """The notifications between two states."""
    return (*_verdicts(before, after), *_overfits(before, after), *_waits(before, after), *_halts(before, after))


def ended(event: ev.EngineStopped) -> News:
    """The session has ended, rather than changed hands."""
    detail = f": {clean_line(event.detail)}" if event.detail else ""
    reason = event.limit or {"finished": "experiments"}.get(event.why, event.why)
    words = "was stopped" if event.why == "stopped" else event.why
    return News("ended", f"the session {words}{detail}", urgent=event.why == "failed", reason=reason)


def _verdicts(before: State, after: State) -> list[News]:
    found = []
    for experiment in after.experiments.changed(before.experiments):
        number = experiment.number
        old = before.experiments[number] if number < len(before.experiments) else None
        if experiment is old or not experiment.outcome or (old is not None and old.outcome):
            continue
        if experiment.status == Outcome.CRASH:
            found.append(News("crash", f"crash: {_name(experiment)}: {clean_line(experiment.reason)}", number=number))
        elif experiment.outcome == Outcome.KEEP and number and after.best is experiment:
            found.append(_best(experiment, before, after))
    return found


def _best(experiment: Experiment, before: State, after: State) -> News:
    metric = clean_line(after.session.metric) if after.session else "score"
    value, was = experiment.value, draws.beside(experiment, before.best)
    words = "new best" if value is None else f"new best: {metric} {value:.4f}"
    if value is not None and was is not None:
        ahead = after.goal.better(value, was)
        # It beat the mean of the last best's runs, which may be worse than that one's own score.
        words += f", better by {abs(value - was):.4f}" if ahead else ", better than the mean of the last one's runs"
    return News("best", f"{words} · {_name(experiment)}", number=experiment.number, value=value)


def _overfits(before: State, after: State) -> list[News]:
    """The sealed split no longer follows the score: reported once, when that begins."""
    if before.frontier_number == after.frontier_number:
        return []
    warning = overfitting(after)
    return [News("overfits", clean_line(warning))] if warning and not overfitting(before) else []


def _waits(before: State, after: State) -> list[News]:
    known = {(e.number, e.commit) for e in before.waiting if e.stage is Stage.REVIEW}
    return [
        News(
            "waits",
            f"decision: {_name(e)} waits for you",
            urgent=after.running is None,
            number=e.number,
            commit=e.commit[:7],
        )
        for e in after.waiting
        if e.stage is Stage.REVIEW and (e.number, e.commit) not in known
    ]


def _halts(before: State, after: State) -> list[News]:
    """What holds up the night."""
    found = []
    paused, trouble, failed, stopped = after.paused, after.trouble, after.failed, after.stopped
    if trouble is not None and trouble is not before.trouble:
        found.append(News("stopped", clean_line(f"trouble: {trouble.what}: {trouble.remedy}"), urgent=True))
    if paused is not None and paused is not before.paused and paused.by != "human":
        found.append(News("stopped", clean_line(f"paused by the {paused.by}: {paused.reason}"), urgent=True))
    lacking = after.fleet.why_none_usable if after.fleet is not before.fleet else ""
    if lacking and before.fleet.usable:
        found.append(News("stopped", clean_line(f"no device can train: {lacking}"), urgent=True))
    # If several requests fail for good together, only the first is reported.
    known = before.failed is not None and before.failed.retry_seconds is None
    if failed is not None and not known and failed.retry_seconds is None:
        found.append(News("stopped", clean_line(f"no more proposals: {failed.error}"), urgent=True))
    if stopped is not None and stopped is not before.stopped and stopped.why in {"finished", "failed"}:
        detail = f": {clean_line(stopped.detail)}" if stopped.detail else ""
        found.append(News("stopped", f"the session {stopped.why}{detail}", urgent=stopped.why == "failed"))
    return found


def _name(experiment: Experiment) -> str:
    """`#7 MATRIX_LR 0.04→0.02`."""
    text = clean_line(experiment.description) or "no description"
    if len(text) > _DESCRIPTION:
        text = text[: _DESCRIPTION - 1].rstrip() + "…"
    return f"#{experiment.number} {text}"
