"""Pure: the three answers of the status line: what is happening, what happens next, does it wait for me."""

from __future__ import annotations

import statistics
from dataclasses import replace

from rich.cells import cell_len

from autoresearch_tui.cockpit.words import clock, count, seconds_of
from autoresearch_tui.engine.state import Experiment, Stage, State
from autoresearch_tui.frozen import Frozen
from autoresearch_tui.text import clean_line


class Live(Frozen):
    """What a run's log says: `remaining` seconds of training at the time `seen`."""

    number: int
    remaining: float | None = None
    seen: float = 0.0


class View(Frozen):
    """Everything that the status line is made from. `now` is seconds since 1970."""

    state: State
    now: float
    live: Live | None = None
    failure: str = ""
    blocked: str = ""
    problem: str = ""
    read_only: str = ""
    takeable: bool = False
    reading: float | None = None
    starting: bool = False


class Part(Frozen):
    """One answer: a glyph, a tone, and words."""

    glyph: str
    tone: str
    text: str


class Status(Frozen):
    """The three answers."""

    now: Part
    next: Part
    wait: Part


def status(view: View, width: int = 240, rows: int = 3) -> Status:
    """The status line of this moment, for `rows` rows of `width` cells: descriptions give way, times do not."""
    wait = _wait(view)
    beside = width - cell_len(wait.text) - 8
    now, then = {1: (beside // 2, beside // 2), 2: (width, beside)}.get(rows, (width, width))
    return Status(_now(view, max(10, now - 32)), _next(view, then - 4), wait)


def title(experiment: Experiment, limit: int = 0) -> str:
    """`#7 MATRIX_LR 0.04→0.02`."""
    text = clean_line(experiment.description) or "no description"
    if limit and len(text) > limit:
        text = text[: limit - 1].rstrip() + "…"
    return f"#{experiment.number} {text}"


def time_left(view: View, experiment: Experiment) -> tuple[str, float]:
    """What the seconds stand for, and how many: of training left, or of a start-up or evaluation so far."""
    elapsed = max(0.0, view.now - seconds_of(experiment.started_at))
    live = view.live
    if live and live.number == experiment.number and live.remaining is not None:
        left = live.remaining - max(0.0, view.now - live.seen)
        if left > 0.5:
            return "left", left
        return "evaluating", max(0.0, view.now - live.seen - live.remaining)
    return "starting", elapsed


def run_seconds(state: State) -> float | None:
    """How long a whole run takes, start-up to exit, from the last finished ones; else the budget."""
    done = [e.run.seconds for e in state.experiments if e.run and e.run.reason == "finished"]
    if done:
        return statistics.median(done[-9:])
    return state.session.budget_seconds if state.session else None


def spending(state: State, limit: float = 0) -> str:
    """`214.0k tokens · $1.32 of $20`: what the session's proposals have taken so far; empty where nothing is known."""
    words = []
    if state.tokens:
        words.append(f"{count(state.tokens)} tokens")
    if state.usd or (limit and state.tokens):
        words.append(f"${state.usd:.2f}" + (f" of ${limit:g}" if limit else ""))
    return " · ".join(words)


def countdown(view: View, experiment: Experiment) -> str:
    """`vetoed in 4:12`: what the policy does with a proposal at the gate, and when; else that it is held."""
    if not experiment.deadline:
        return "held until you decide"
    approves = experiment.policy == "approve-low-risk" and experiment.low_risk
    left = seconds_of(experiment.deadline) - view.now
    return f"{'approved' if approves else 'vetoed'} {_in(left)}"


def _wrong(view: View) -> Part | None:
    """What stands above everything that the journal says."""
    if view.failure:
        return Part("✗", "bad-strong", f"the engine failed: {clean_line(view.failure)}")
    if view.problem:
        return Part("✗", "bad-strong", clean_line(view.problem))
    if view.blocked:
        return Part("!", "bad-strong", f"the journal cannot be written: {clean_line(view.blocked)}")
    if view.reading is not None:
        return Part("…", "dim", f"reading the session's journal · {view.reading:.0%}")
    return None


def _now(view: View, limit: int) -> Part:
    state = view.state
    if wrong := _wrong(view):
        return wrong
    if state.session is None:
        return Part("○", "dim", "the session begins")
    if len(state.in_flight) > 1:
        return _runs_part(view, limit)
    if state.running is not None:
        return _run_part(view, state.running, limit)
    if state.engine is None and view.starting:
        return Part("○", "dim", "the engine is starting")
    if state.engine is None:
        why = state.stopped
        words = {"detached": "detached; another engine takes over", "finished": "the session is finished"}
        text = words.get(why.why, f"the engine is {why.why}") if why else "no engine is at work"
        detail = f": {clean_line(why.detail)}" if why and why.detail else ""
        return Part("■", "bad" if why and why.why == "failed" else "dim", text + detail)
    if state.trouble is not None:
        return _trouble_part(view)
    if state.paused is not None:
        return Part("‖", "warn", _paused(state))
    if state.asked is not None:
        spent = clock(view.now - seconds_of(state.asked_at))
        again = f", attempt {state.asked.attempt}" if state.asked.attempt > 1 else ""
        return Part("✎", "second", f"the researcher works on #{state.asked.number}{again} · {spent}")
    if state.failed is not None:
        return Part("!", "warn", f"no proposal: {clean_line(state.failed.error)}")
    review = next((e for e in state.waiting if e.stage is Stage.REVIEW), None)
    if review is not None:
        return Part("●", "warn", f"{title(review, limit)} is at the gate")
    return Part("○", "dim", "between two runs")


def _run_part(view: View, experiment: Experiment, limit: int) -> Part:
    name = title(experiment, limit)
    if experiment.stage is Stage.ENDED:
        return Part("▶", "accent", f"scoring {name}")
    if experiment.stage is Stage.SCORED:
        return Part("▶", "accent", f"deciding on {name}")
    what, seconds = time_left(view, experiment)
    again = f" (attempt {experiment.attempt})" if experiment.attempt > 1 else ""
    if what == "left":
        return Part("▶", "accent", f"training {name}{again} · {clock(seconds)} left")
    return Part("▶", "accent", f"{what} {name}{again} · {clock(seconds)}")


def _runs_part(view: View, limit: int) -> Part:
    runs = view.state.in_flight
    share = max(12, limit // len(runs) - 10)
    told = (f"{title(e, share)} on {e.device} · {clock(view.now - seconds_of(e.started_at))}" for e in runs)
    return Part("▶", "accent", f"{len(runs)} at once: {', '.join(told)}")


def _trouble_part(view: View) -> Part:
    trouble = view.state.trouble
    assert trouble is not None
    text = f"{clean_line(trouble.what)}: {clean_line(trouble.remedy)}"
    if trouble.retry_seconds is not None:
        text += f" · tried again {_in(seconds_of(view.state.trouble_at) + trouble.retry_seconds - view.now)}"
    return Part("!", "bad", text)


def _paused(state: State) -> str:
    paused = state.paused
    assert paused is not None
    who = "paused" if paused.by == "human" else f"paused by the {clean_line(paused.by)}"
    return f"{who}: {clean_line(paused.reason)}" if paused.reason else who


def _in(seconds: float) -> str:
    return f"in {clock(seconds)}" if seconds > 0.5 else "now"


def _next(view: View, room: int) -> Part:
    state = view.state
    if view.failure or view.problem or state.session is None or view.reading is not None:
        return Part("", "dim", "")
    if state.engine is None and state.running is None:
        return Part("", "dim", "" if view.starting else "autoresearch-tui goes on with it")
    if state.stopping:
        when = "after this run" if state.running and state.stopping != "now" else "now"
        return Part("■", "warn", f"then: the session ends {when}")
    if state.paused is not None:
        return Part("‖", "warn", f"then: {_paused(state)}" if state.running else "then: nothing until p resumes")
    if state.waiting:
        return _next_proposal(view, room)
    if state.asked is not None and state.running is not None:
        spent = clock(view.now - seconds_of(state.asked_at))
        return Part("✎", "second", f"next: #{state.asked.number} is being proposed · {spent}")
    if state.asked is not None:
        return Part("○", "dim", "next: preflight, review, run")
    if state.failed is not None:
        retry = state.failed.retry_seconds
        if retry is None:
            return Part("!", "bad", "next: nothing, until p tries again")
        left = seconds_of(state.failed_at) + retry - view.now
        return Part("↻", "warn", f"next: asked again {_in(left)}")
    return Part("○", "dim", "next: the researcher is asked")


def _next_proposal(view: View, room: int) -> Part:
    state = view.state
    experiment = _next_up(state)
    if experiment.stage is Stage.APPROVED:
        by = clean_line(experiment.approved_by).partition(" ")[0]
        after = f"when #{state.running.number} ends" if state.running else "at once"
        glyph, tone, end = "◉", "accent", f", approved{f' by {by}' if by != 'human' else ''}"
        if room >= 72:
            end += f", starts {after}"
    elif experiment.stage is Stage.REVIEW:
        glyph, tone, end = "●", "warn", f" · {countdown(view, experiment)}"
    else:
        glyph, tone, end = "○", "text", ", on its way to the gate"
    name = title(experiment, max(8, room - len(f"next: #{experiment.number} {end}")))
    return Part(glyph, tone, f"next: {name}{end}")


def _next_up(state: State) -> Experiment:
    """Of what waits, what runs first: an approved one before all others."""
    return next((e for e in state.waiting if e.stage is Stage.APPROVED), state.waiting[0])


def _wait(view: View) -> Part:
    state = view.state
    if view.failure:
        return Part("●", "bad", "q leaves; the same command starts from the journal")
    if view.blocked:
        return Part("●", "bad", "waits for you: nothing is lost, and nothing goes on until it can")
    if view.read_only:
        end = " · T takes over" if view.takeable else ""
        return Part("◌", "dim", f"read only: {clean_line(view.read_only)}{end}")
    review = next((e for e in state.waiting if e.stage is Stage.REVIEW), None)
    if state.trouble is not None:
        part = _trouble_part(view) if state.running else Part("●", "bad", "waits for you: mend it, then p")
        return replace(part, text=f"#{review.number} waits, and {part.text}") if review else part
    if review is not None:
        text = "waits for you: a approves · v vetoes · r reviews"
        if review.deadline and (state.paused or state.stopping or _next_up(state) is not review):
            # The line above is about something else, and the policy's clock runs on.
            text = f"waits, {countdown(view, review)}: a approves · v vetoes"
        return Part("●", "warn-strong", f"#{review.number} {text}")
    if state.paused is not None:
        by_engine = state.paused.by != "human"
        return Part("●", "warn-strong" if by_engine else "warn", "waits for you: p resumes")
    if state.failed is not None and state.failed.retry_seconds is None:
        return Part("●", "bad", "waits for you: p tries again")
    return Part("✓", "dim", "nothing waits for you")
