"""Pure: the status line's three answers: what is happening, what happens next, what waits for the human."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import field
from msgspec.structs import replace

from autoresearch_tui.lab import devices
from autoresearch_tui.logs.lines import Progress
from autoresearch_tui.session import devices_now, limits, opinions
from autoresearch_tui.session.ends import EngineEnd
from autoresearch_tui.session.format import clock, count
from autoresearch_tui.session.outline import Outline
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.columns import cells, cut
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

# More runs at once than this are counted, not named.
FEW = 3


class Live(Frozen):
    """A run's progress in its log: `remaining` seconds of training at the time `seen`."""

    number: int
    remaining: float | None = None
    seen: float = 0.0


class Words(Frozen):
    """How a human does what the answers mention: with a key, or a command."""

    resumes: str
    tries_again: str
    cancels: str
    fixed: str
    answers: str
    answers_soon: str
    reopens: str
    releases: str
    repeats: str
    renews: str
    undoes: str = ""


KEYS = Words(
    resumes="p resumes",
    tries_again="p tries again",
    cancels="p keeps it going",
    fixed="press p",
    answers="a approves · v vetoes · r reviews",
    answers_soon="a approves · v vetoes",
    reopens="r, then e reopens it",
    releases="h releases it",
    repeats="R repeats it",
    renews="B renews it",
    undoes="z undoes",
)
COMMANDS = Words(
    resumes="`resume` continues",
    tries_again="`resume` tries again",
    cancels="`resume` cancels",
    fixed="`resume`",
    answers="approve {0} · veto {0} -m WHY · experiment {0} --diff",
    answers_soon="approve {0} · veto {0} -m WHY",
    reopens="`edit {0} FILE` tries again",
    releases="the cockpit releases it",
    repeats="`repeat {0}` repeats it",
    renews="`renew` renews it",
)


def live(number: int, progress: Progress, budget: float | None, seen: float) -> Live:
    """From a progress line read at the time `seen`; `budget` is in seconds."""
    remaining = progress.remaining_seconds
    if remaining is None and progress.percent is not None and budget:
        remaining = (1 - min(1.0, progress.percent / 100)) * budget
    return Live(number, remaining, seen)


class View(Frozen):
    """The status line's input. `now` is in seconds since 1970; `reading` is the share of the journal read so far.

    `lives`: the progress of the runs in flight, by number. `beside`: what the journal does not have of devices.
    `orphaned`: the journal's engine died, and no other has started.
    """

    state: Outline
    now: float
    lives: Mapping[int, Live] = field(default_factory=dict)
    beside: devices_now.Now = devices_now.Now()
    failure: str = ""
    blocked: str = ""
    problem: str = ""
    read_only: str = ""
    reading: float | None = None
    starting: bool = False
    orphaned: bool = False
    words: Words = KEYS

    def live(self, number: int) -> Live | None:
        """The progress in this experiment's log; None if unknown."""
        return self.lives.get(number)

    @property
    def devices(self) -> tuple[devices_now.Row, ...]:
        """What each device is doing; empty if there is only one."""
        return devices_now.rows(self.state, self.beside, self.now) if devices_now.several(self.state) else ()


class Part(Frozen):
    """One answer: a glyph, a tone, and words."""

    glyph: str
    tone: str
    text: str


class Status(Frozen):
    now: Part
    next: Part
    wait: Part


def status(view: View, width: int = 240, rows: int = 3) -> Status:
    """The status line for `rows` rows of `width` cells. Descriptions are cut to fit; times never are."""
    wait = _wait(view)
    beside = width - cells(wait.text) - 8
    now, then = {1: (beside // 2, beside // 2), 2: (width, beside)}.get(rows, (width, width))
    return Status(_now(view, max(10, now - 32)), _next(view, then - 4), wait)


# So long after an engine has detached, the next one may still be starting.
_TAKE_OVER_SECONDS = 15.0


class Condition(StrEnum):
    """The state of a session, in a word for scripts."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    STOPPING = "stopping"
    TROUBLE = "trouble"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"


def condition(view: View) -> tuple[Condition, str]:
    """The condition, and its reason, which may be empty. `waiting`: idle until a human answers.

    With a run in progress a session is `running`, unless it is in trouble, pausing or stopping.
    """
    state = view.state
    if state.session is None:
        return Condition.STARTING, ""
    if view.orphaned or state.engine is None:
        ends = {"finished": Condition.FINISHED, "failed": Condition.FAILED}
        stopped = None if view.orphaned else state.stopped
        recent = view.now - timestamps.seconds(state.time) < _TAKE_OVER_SECONDS
        if recent and stopped and stopped.why == EngineEnd.DETACHED:
            return Condition.STARTING, "another engine takes over"
        known = ends.get(stopped.why, Condition.STOPPED) if stopped else Condition.STOPPED
        return known, stopped.detail if stopped and stopped.detail else _now(view, 80).text
    if state.trouble is not None:
        return Condition.TROUBLE, f"{state.trouble.what}: {state.trouble.remedy}"
    if state.stopping:
        return Condition.STOPPING, _next(view, 80).text
    if state.paused is not None:
        return Condition.PAUSED, _paused(state)
    if state.failed is not None and state.running is None:
        given_up = state.failed.retry_seconds is None
        return Condition.WAITING if given_up else Condition.RUNNING, state.failed.error
    thinking = bool(state.asks) or state.critic_asked is not None
    if state.running is None and not thinking and any(e.stage is Stage.REVIEW for e in state.waiting):
        return Condition.WAITING, _now(view, 80).text
    return Condition.RUNNING, ""


def title(experiment: Experiment, limit: int = 0) -> str:
    """`#7 MATRIX_LR 0.04→0.02`; `limit` is in columns, for the text after the number."""
    text = clean_line(experiment.description) or "no description"
    return f"#{experiment.number} {cut(text, limit) if limit else text}"


def approval(by: str) -> str:
    """Who approved a proposal: `auto-approved`, `auto-approved (low risk)`, `approved by human, edited`."""
    if by == "auto":
        return "auto-approved"
    if by == "policy approve-if-critic-agrees":
        return "auto-approved (the critic agrees)"
    return "auto-approved (low risk)" if by.startswith("policy ") else f"approved by {clean_line(by)}"


def time_left(view: View, experiment: Experiment) -> tuple[str, float]:
    """A word and seconds: `left` of training, or `starting` or `evaluating` so far."""
    elapsed = max(0.0, view.now - timestamps.seconds(experiment.started_at))
    live = view.live(experiment.number)
    if live is not None and live.remaining is not None:
        left = live.remaining - max(0.0, view.now - live.seen)
        if left > 0.5:
            return "left", left
        return "evaluating", max(0.0, view.now - live.seen - live.remaining)
    return "starting", elapsed


def spending(state: State | Outline, limit: float = 0) -> str:
    """`214.0k tokens · $1.32 of $20`: the cost of the session's proposals so far; empty if unknown."""
    words = []
    if state.tokens:
        words.append(f"{count(state.tokens)} tokens")
    if state.usd or (limit and state.tokens):
        words.append(f"${state.usd:.2f}" + (f" of ${limit:g}" if limit else ""))
    return " · ".join(words)


def holding(experiment: Experiment, now: float, words: Words = KEYS) -> str:
    """`held while you read, 9:41 at most`: why nothing happens to it; empty if it is not held."""
    why = experiment.held_at(datetime.fromtimestamp(now, UTC))
    if why == "hold":
        return f"held by you, {words.releases}"
    if not why:
        return ""
    left = clock(timestamps.seconds(experiment.held_until) - now)
    return f"held while you {why}, {left} at most"


def countdown(view: View, experiment: Experiment) -> str:
    """`auto-vetoes in 4:12`: what the policy will do with a proposal under review; or why it is held."""
    if held := holding(experiment, view.now, view.words):
        return held
    if not experiment.deadline:
        return "held until you decide"
    if not (experiment.auto_approves or experiment.auto_vetoes):
        return opinions.waits(experiment)
    left = timestamps.seconds(experiment.deadline) - view.now
    return f"{'auto-approves' if experiment.auto_approves else 'auto-vetoes'} {_in(left)}"


def _wrong(view: View) -> Part | None:
    """A problem that matters more than anything in the journal."""
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
        return Part("○", "dim", "the session is starting")
    if view.orphaned:
        flying = state.in_flight
        cut_off = f"; {_names(flying) if len(flying) <= FEW else f'{len(flying)} runs'} had not ended" if flying else ""
        return Part("■", "bad", f"no engine is running: the last one died{cut_off}")
    if len(state.in_flight) > 1 or (state.in_flight and state.fleet.devices):
        return _runs_part(view, limit)
    if state.running is not None:
        return _run_part(view, state.running, limit)
    if state.engine is None:
        return Part("○", "dim", "the engine is starting") if view.starting else _ended(state)
    if held_up := _held_up(view):
        return held_up
    if thinking := _thinking(view):
        return thinking
    if state.failed is not None:
        return Part("!", "warn", f"no proposal: {clean_line(state.failed.error)}")
    review = _idle_for(state)
    if review is not None:
        return Part("●", "warn", f"idle: {title(review, limit)} is under review")
    return Part("○", "dim", "between runs")


def _held_up(view: View) -> Part | None:
    """Why nothing runs, if there is trouble or a pause."""
    state, cluster = view.state, view.beside.cluster
    if state.trouble is not None:
        return _trouble_part(view)
    if state.paused is not None:
        return Part("‖", "warn", _paused(state))
    if cluster is not None and cluster.problem:
        return Part("!", "warn", f"{devices_now.unreachable(cluster)}: {clean_line(cluster.problem)}")
    if lacking := state.fleet.why_none_usable:
        return Part("!", "warn", f"no device can train: {clean_line(lacking)}")
    return None


def _idle_for(state: Outline) -> Experiment | None:
    """The proposal under review, if nothing else is happening."""
    busy = (state.running, state.trouble, state.paused, state.critic_asked, state.failed)
    if state.asks or any(each is not None for each in busy):
        return None
    return next((e for e in state.waiting if e.stage is Stage.REVIEW), None)


def _thinking(view: View) -> Part | None:
    """The researcher or the critic, if one is at work."""
    state = view.state
    if state.asks:
        first = state.asks[0]
        spent = clock(view.now - timestamps.seconds(first.at))
        attempt = state.asks[-1].event.attempt
        again = f", attempt {attempt}" if attempt > 1 else ""
        what = f"#{first.number}" if len(state.asks) == 1 else f"{len(state.asks)} proposals"
        return Part("✎", "second", f"the researcher works on {what}{again} · {spent}")
    if state.critic_asked is not None:
        spent = clock(view.now - timestamps.seconds(state.critic_asked_at))
        return Part("✎", "second", f"the critic reads #{state.critic_asked.number} · {spent}")
    return None


def _ended(state: Outline) -> Part:
    why = state.stopped
    words = {"detached": "detached: another engine takes over", "finished": "the session has finished"}
    text = words.get(why.why, f"the engine is {why.why}") if why else "no engine is running"
    detail = f": {clean_line(why.detail)}" if why and why.detail else ""
    return Part("■", "bad" if why and why.why == "failed" else "dim", text + detail)


def _run_part(view: View, experiment: Experiment, limit: int) -> Part:
    name = title(experiment, limit)
    if experiment.stage is Stage.ENDED:
        return Part("▶", "accent", f"scoring {name}")
    if experiment.stage is Stage.SCORED:
        return Part("▶", "accent", f"deciding on {name}")
    if experiment.stop is not None:
        return Part("■", "warn", f"stopping {name}")
    if experiment.given_up is not None:
        return Part("↓", "dim", f"giving up {name}")
    what, seconds = time_left(view, experiment)
    again = f" (attempt {experiment.attempt})" if experiment.attempt > 1 else ""
    if what == "left":
        return Part("▶", "accent", f"training {name}{again} · {clock(seconds)} left")
    return Part("▶", "accent", f"{what} {name}{again} · {clock(seconds)}")


def _runs_part(view: View, limit: int) -> Part:
    runs = view.state.in_flight
    if len(runs) > FEW or view.state.fleet.devices:
        return _fleet_part(view, limit)
    share = max(12, limit // len(runs) - 15)
    texts = (f"{title(e, share)} on {devices.short(clean_line(e.device))} · {_so_far(view, e)}" for e in runs)
    return Part("▶", "accent", f"{len(runs)} at once: {', '.join(texts)}")


def _so_far(view: View, experiment: Experiment) -> str:
    """`1:20 left`, or how long it has been running."""
    what, seconds = time_left(view, experiment)
    if what == "left":
        return f"{clock(seconds)} left"
    return clock(view.now - timestamps.seconds(experiment.started_at))


def _fleet_part(view: View, limit: int) -> Part:
    """How many devices train, whether the cluster is reachable, and which run ends next."""
    width = limit + 29
    found = [row for row in view.devices if row.doing not in devices_now.OF_NODES]
    text, lost = devices_now.in_one_line(found, view.beside.cluster, width)
    text += f"; {lost}" if lost else ""
    if (soon := next_to_end(view)) is not None:
        experiment, seconds = soon
        end = f" · next to end: #{experiment.number} {_in(seconds)}"
        room = width - cells(text) - cells(end) - 1
        if room >= 8:
            end = f" · next to end: {title(experiment, room)} {_in(seconds)}"
        text += end if room >= -1 else ""
    return Part("!" if lost else "▶", "warn" if lost else "accent", text)


def next_to_end(view: View) -> tuple[Experiment, float] | None:
    """The run with the least training time left, and the seconds; None if unknown."""
    left = [(time_left(view, e), e) for e in view.state.in_flight if e.stage is Stage.RUNNING]
    known = [(seconds, e.number, e) for (what, seconds), e in left if what == "left"]
    return (min(known)[2], min(known)[0]) if known else None


def _trouble_part(view: View) -> Part:
    trouble = view.state.trouble
    assert trouble is not None
    text = f"{clean_line(trouble.what)}: {clean_line(trouble.remedy)}"
    if trouble.retry_seconds is not None:
        text += f" · retries {_in(timestamps.seconds(view.state.trouble_at) + trouble.retry_seconds - view.now)}"
    return Part("!", "bad", text)


def _names(experiments: Iterable[Experiment]) -> str:
    return ", ".join(f"#{each.number}" for each in experiments)


def _paused(state: Outline) -> str:
    paused = state.paused
    assert paused is not None
    who = "paused" if paused.by == "human" else f"paused by the {clean_line(paused.by)}"
    return f"{who}: {clean_line(paused.reason)}" if paused.reason else who


def _ends_pause(view: View) -> str:
    """How a human ends the pause: a limit that is used up must be renewed first."""
    paused = view.state.paused
    return view.words.renews if paused is not None and paused.limit else view.words.resumes


def _in(seconds: float) -> str:
    return f"in {clock(seconds)}" if seconds > 0.5 else "now"


def _next(view: View, room: int) -> Part:
    state = view.state
    if view.failure or view.problem or state.session is None or view.reading is not None:
        return Part("", "dim", "")
    if view.orphaned or (state.engine is None and state.running is None):
        # Without the tag the lab's latest session would be resumed.
        tag = clean_line(state.session.tag)
        return Part("", "dim", "" if view.starting else f"run autoresearch-tui --tag {tag} to resume")
    if state.stopping:
        if state.running is None or state.stopping == "now":
            return Part("■", "warn", "then: the session ends now")
        runs = "these runs" if len(state.in_flight) > 1 else "this run"
        return Part("■", "warn", f"then: the session ends after {runs} · {view.words.cancels}")
    limit = state.limit
    if limit is not None and not state.fits(view.now):
        why = f"for {limits.local(limit.at)}, as asked" if limit.kind == "until" else "for its money is spent"
        return Part("■", "warn", f"then: the session ends, {why}")
    if state.paused is not None:
        then = _paused(state) if state.running else f"nothing starts until {_ends_pause(view)}"
        return Part("‖", "warn", f"then: {then}")
    if state.waiting:
        return _next_proposal(view, room)
    if state.asks and state.running is not None:
        spent = clock(view.now - timestamps.seconds(state.asks[0].at))
        one = len(state.asks) == 1
        what = f"#{state.asks[0].number} is" if one else f"{len(state.asks)} proposals are"
        return Part("✎", "second", f"next: {what} being {'proposed' if one else 'made'} · {spent}")
    if state.asks:
        return Part("○", "dim", "next: preflight, review, run")
    if state.failed is not None:
        retry = state.failed.retry_seconds
        if retry is None:
            return Part("!", "bad", f"next: nothing until {view.words.tries_again}")
        left = timestamps.seconds(state.failed_at) + retry - view.now
        return Part("↻", "warn", f"next: another request {_in(left)}")
    return Part("○", "dim", "next: a request to the researcher")


def _next_proposal(view: View, room: int) -> Part:
    state = view.state
    experiment = _next_up(state)
    if experiment.stage is Stage.APPROVED:
        by = approval(experiment.approved_by).partition(",")[0].partition(" (")[0].removesuffix(" by human")
        after = _when_free(state)
        glyph, tone, end = "◉", "accent", f", {by}"
        if held := holding(experiment, view.now, view.words):
            end += f" · {held}"
        elif room >= 72:
            end += f", starts {after}"
    elif experiment.stage is Stage.REVIEW:
        opinion = opinions.in_short(experiment, state.critic_asked)
        text = f"{opinion} · {countdown(view, experiment)}" if opinion else countdown(view, experiment)
        if experiment is _idle_for(state):
            # The line above names it.
            return Part("●", "warn", f"next: {text}")
        glyph, tone, end = "●", "warn", f" · {text}"
    else:
        held = holding(experiment, view.now, view.words)
        glyph, tone, end = "○", "text", f" · {held}" if held else ", being checked"
    name = title(experiment, max(8, room - cells(f"next: #{experiment.number} {end}")))
    return Part(glyph, tone, f"next: {name}{end}")


def _when_free(state: Outline) -> str:
    """When an approved proposal starts."""
    if state.fleet.why_none_usable:
        return "when there is a device"
    if state.running is None:
        return "now"
    one = len(state.in_flight) == 1 and not state.fleet.devices
    return f"when #{state.running.number} ends" if one else "when a device is free"


def _next_up(state: Outline) -> Experiment:
    """The waiting proposal that runs first; approved ones come before all others."""
    return next((e for e in state.waiting if e.stage is Stage.APPROVED), state.waiting[0])


def _wait(view: View) -> Part:
    state = view.state
    if view.failure:
        return Part("●", "bad", "q leaves; run the same command to resume from the journal")
    if view.blocked:
        return Part("●", "bad", "waits for you: nothing is lost; the session continues once it can be written")
    if view.reading is not None:
        return Part("", "dim", "")
    if view.read_only:
        return Part("◌", "dim", f"read only: {clean_line(view.read_only)}")
    review = next((e for e in state.waiting if e.stage is Stage.REVIEW), None)
    if review is not None and not view.starting and (view.orphaned or state.engine is None):
        return Part("○", "dim", f"#{review.number} waits until the session is resumed")
    if state.trouble is not None:
        fix = Part("●", "bad", f"waits for you: fix it, then {view.words.fixed}")
        part = _trouble_part(view) if state.running else fix
        return replace(part, text=f"#{review.number} waits, and {part.text}") if review else part
    if review is not None:
        return Part("●", "warn-strong", f"#{review.number} {_asks(view, review)}")
    if state.paused is not None:
        by_engine = state.paused.by != "human"
        return Part("●", "warn-strong" if by_engine else "warn", f"waits for you: {_ends_pause(view)}")
    if state.failed is not None and state.failed.retry_seconds is None:
        return Part("●", "bad", f"waits for you: {view.words.tries_again}")
    if state.running is None and state.engine is not None and state.fleet.why_none_usable:
        return Part("●", "warn", "waits for a device: add a node, or restart one")
    if state.undoable and view.words.undoes:
        return Part("✓", "dim", f"nothing waits for you · {view.words.undoes}: {state.undoable}")
    return Part("✓", "dim", "nothing waits for you")


def _asks(view: View, review: Experiment) -> str:
    """What a proposal at the gate waits for."""
    state, words = view.state, view.words
    if review.deadline and (state.paused or state.stopping or _next_up(state) is not review):
        # The line above is about something else, while the policy's clock keeps running.
        return f"waits, {countdown(view, review)}: {words.answers_soon.format(review.number)}"
    if review.edit_refused:
        return f"waits for you: your edit was refused · {words.reopens.format(review.number)}"
    return f"waits for you: {words.answers.format(review.number)}"
