"""From a finished run to a score, and from a score to a verdict. The decision is pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from autoresearch_tui.engine.judging import clock, referee, score_file
from autoresearch_tui.engine.judging.assessment import Assessment
from autoresearch_tui.lab.evaluator import EMBARGOED
from autoresearch_tui.lab.git import GitError
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.lab.settings import MetricSettings, Settings
from autoresearch_tui.logs import encoding, lines, plausibility, score_search
from autoresearch_tui.logs.trace import read_trace
from autoresearch_tui.runs import runner
from autoresearch_tui.session import confirmation, draws, journal, looks, statistics
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Outcome, RunEnd
from autoresearch_tui.session.format import front as front_name
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.session.state import leads as leads_front
from autoresearch_tui.session.statistics import Row
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.numbers import finite
from autoresearch_tui.util.text import clean_line, describe

SELF_REPORTED = "self-reported"
REFEREE = "referee"
NOTHING: Mapping[str, Any] = MappingProxyType({})
_TAIL = 1 << 20
_REASON = 300
_LAST_WORD = 160


class ScoringTrouble(OSError):
    """Something outside kept a run from being scored."""

    def __init__(self, error: OSError | MemoryError | GitError) -> None:
        if isinstance(error, OSError):
            super().__init__(error.errno, error.strerror or str(error), error.filename)
        else:
            super().__init__(None, str(error) or "no memory is left for scoring")


def score(
    ended: ev.RunEnded,
    files: RunFiles,
    settings: Settings,
    assessed: Assessment,
    state: State,
    baseline: RunFiles,
    draw: int | None = None,
) -> ev.RunScored:
    """The score of a finished run, also written to score.json.

    `assessed`: by the machine that it ran on. `baseline`: the files of the first run, whose log others are compared
    with. `draw`: the seed of fresh data. Raises OSError.
    """
    doubts: tuple[str, ...] = ()
    result = assessed.result
    found = _printed(files.log, settings.metric) if not settings.metric.referee else score_search.Found(None)
    summary = dict(lines.parse_summary(encoding.piece(files.log, _TAIL, found.at)))
    trace = read_trace(files.log)
    if assessed.tampered:
        source = SELF_REPORTED
    elif settings.metric.referee:
        source = REFEREE
    else:
        problem = _with_last_line(found.problem, files) if found.absent else found.problem
        source, result = SELF_REPORTED, referee.RefereeResult(found.value, problem, {})
        doubts = plausibility.doubts(
            trace,
            summary,
            metric=settings.metric.name,
            value=result.value,
            wall_seconds=ended.seconds,
            budget_seconds=_budget(settings),
            scores=plausibility.count_scores(encoding.tail(files.log, _TAIL), settings.metric.name),
            usual=_usual(ended, state, baseline, settings),
        )
    if result.value is not None and (problem := impossible(result.value, settings.metric)):
        result = replace(result, value=None, problem=problem)
    doubts += tuple(_wall(ended, state, settings))
    if apart := _measured_otherwise(summary, _first(ended, state)):
        doubts += (apart,)
    if understated(summary, ended):
        held = f"{ended.device_memory_mb or 0:.0f} MB"
        doubts += (f"memory: peak_vram_mb is {summary['peak_vram_mb'][:40]}, the accelerator held {held} for the run",)
    beyond = out_of_bounds(settings.metric, summary, ended, result.details)
    embargoed = settings.metric.sealed == EMBARGOED
    scored = ev.RunScored(
        ended.number,
        result.value,
        _memory_gb(summary),
        source,
        result.problem,
        summary,
        sealed=None if embargoed else result.sealed,
        doubts=doubts,
        beyond=beyond,
        late_seconds=result.late_seconds,
        answer_seconds=result.answer_seconds,
        losses=trace.curve.tenths(),
        columns=columns(settings.metric, summary, ended, result.details),
    )
    if ended.number < len(state.experiments):
        own = replace(state.experiments[ended.number], run=ended, score=scored)
        checks = (clock.clock_mark, clock.prepared_long)
        marks = tuple(mark for check in checks if (mark := check(own, state, settings.run)))
        scored = replace(scored, doubts=scored.doubts + marks)
    details = {name: result.details[name] for name in score_file.DETAILS if name in result.details}
    details |= {"draw": draw} if draw is not None else {}
    details |= {EMBARGOED: result.sealed} if embargoed else {}
    write(files.score, json.dumps({"metric": settings.metric.name, **journal.to_fields(scored), **details}) + "\n")
    return scored


def unscorable(number: int, error: Exception) -> ev.RunScored:
    """The result if our own scoring fails: no score, and why."""
    problem = clean_line(f"its score could not be computed: {type(error).__name__}: {error}")[:_REASON]
    return ev.RunScored(number, None, 0.0, SELF_REPORTED, problem)


def _budget(settings: Settings) -> float:
    """Seconds of training; 0 if the budget is in tokens."""
    return 0 if settings.run.budget_tokens else settings.run.budget_seconds


def _first(ended: ev.RunEnded, state: State) -> Experiment | None:
    """The scored baseline, unless it is this run itself."""
    first = state.experiments[0] if state.experiments else None
    return first if first is not None and first.number != ended.number and first.value is not None else None


def _measured_otherwise(summary: Mapping[str, str], first: Experiment | None) -> str:
    if first is None or first.score is None:
        return ""
    return plausibility.measured_otherwise(summary, first.score.summary)


def _usual(ended: ev.RunEnded, state: State, baseline: RunFiles, settings: Settings) -> plausibility.Usual | None:
    if (first := _first(ended, state)) is None or not baseline.log.exists():
        return None
    scores = plausibility.count_scores(encoding.tail(baseline.log, _TAIL), settings.metric.name)
    lower = settings.metric.goal is Goal.MINIMIZE
    return plausibility.Usual(read_trace(baseline.log), first.value, scores, lower)


def _wall(ended: ev.RunEnded, state: State, settings: Settings) -> list[str]:
    """Doubts about the time of a run without a clock, compared with the baseline's."""
    first = _first(ended, state)
    if first is None or first.run is None or (ended.asked_seconds is not None and _budget(settings)):
        return []
    return plausibility.wall(_trained(ended), _trained(first.run), _budget(settings))


def _trained(run: ev.RunEnded) -> float:
    """Seconds between training data and request, as far as known."""
    return (run.asked_seconds or run.seconds) - (run.ready_seconds or 0.0)


def recorded(number: int, files: RunFiles, draw: int | None) -> ev.RunScored | None:
    """The score in a run's folder, on that draw; None if there is none."""
    written = score_file.read(files.score)
    try:
        scored = journal.from_fields("run_scored", written)
    except ValueError:
        return None
    same = isinstance(scored, ev.RunScored) and scored.number == number and written.get("draw") == draw
    return scored if same and isinstance(scored, ev.RunScored) else None


def verdict(
    experiment: Experiment,
    state: State,
    rows: Sequence[Row] = (),
    best: Sequence[Row] = (),
    late: str = "",
    *,
    confirmed: bool = False,
    ahead: bool = False,
) -> ev.VerdictGiven:
    """Keep, discard, crash or invalid, with the reason. Pure.

    `rows` and `best`: the scored rows of this run and of the frontier's, if a referee kept them. `late`: why the run
    exceeded its time. `confirmed`: compare the means of all known runs, where a gain must exceed its error;
    :func:`deferral` decides whether to run more first. `ahead`: once the noise is known, a front continues from a gain
    within it, and what is built on that is kept once the whole gain exceeds the noise.
    """
    run, scored = experiment.run, experiment.score
    assert run is not None
    number = experiment.number
    if run.reason != RunEnd.FINISHED and experiment.stop is not None:
        return ev.VerdictGiven(number, Outcome.CRASH, None, 0.0, experiment.stop.reason or "no reason given")
    if run.reason != RunEnd.FINISHED and (refused := _locked_refused(run, state)):
        return ev.VerdictGiven(number, Outcome.INVALID, None, 0.0, f"tried to change {refused}, which is locked")
    if run.reason != RunEnd.FINISHED and run.refused:
        return ev.VerdictGiven(number, Outcome.INVALID, None, 0.0, f"the referee refused: {run.refused}")
    if run.reason != RunEnd.FINISHED and experiment.given_up is not None:
        return ev.VerdictGiven(number, Outcome.DISCARD, None, 0.0, _given_up(experiment.given_up))
    if run.reason != RunEnd.FINISHED:
        why = referee.KILLED if run.referee_killed else _why_crashed(run)
        return ev.VerdictGiven(number, Outcome.CRASH, None, 0.0, why)
    assert scored is not None
    if scored.value is None:
        # It ended without an error, so whatever its log looks like, it did not crash.
        return ev.VerdictGiven(number, Outcome.INVALID, None, scored.memory_gb, scored.problem)
    if late:
        return ev.VerdictGiven(number, Outcome.INVALID, None, scored.memory_gb, late)
    if state.frontier is None or state.frontier.value is None:
        reason = f"the baseline, though {'; '.join(scored.beyond)}" if scored.beyond else "the baseline"
        return ev.VerdictGiven(number, Outcome.KEEP, scored.value, scored.memory_gb, reason)
    against, stderr = state.frontier.value, statistics.paired_error(rows, best)
    if draws.fresh(state):
        again = draws.rescored(experiment, state.frontier)
        if again is None or again.value is None:
            why = f"#{state.frontier.number} has no score on the same draw{f': {again.problem}' if again else ''}"
            return ev.VerdictGiven(number, Outcome.DISCARD, scored.value, scored.memory_gb, f"not compared: {why}")
        against, stderr = again.value, again.stderr
    decides = experiment.proposal.repeat_of is None and experiment.commit != state.frontier.commit
    if confirmed and decides and not scored.beyond:
        return _means_compared(experiment, state, stderr, ahead)
    return _compared(experiment, scored.value, against, state, stderr)


def deferral(
    verdict: ev.VerdictGiven, experiment: Experiment, state: State, *, ahead: bool = False
) -> ev.VerdictDeferred | None:
    """Pure: deferral of the verdict on a gain that chance may explain; None for any other result."""
    if verdict.error is None or experiment.stage is Stage.CONFIRMING:
        return None
    assert state.session is not None and state.frontier is not None
    known = confirmation.against_frontier(state, experiment, verdict.stderr)
    if not known.is_unsure(state.session.keep_margin) or (ahead and _knows_noise(state)):
        return None
    return ev.VerdictDeferred(experiment.number, known.in_words(state.frontier.number), verdict.stderr)


def _means_compared(experiment: Experiment, state: State, stderr: float | None, ahead: bool) -> ev.VerdictGiven:
    assert experiment.score is not None
    assert state.frontier is not None and state.session is not None
    known = confirmation.against_frontier(state, experiment, stderr)
    margin, reason = state.session.keep_margin, known.in_words(state.frontier.number)
    failed, human = confirmation.failed(state, experiment), experiment.decided
    ahead = ahead and _knows_noise(state) and experiment.stage is not Stage.CONFIRMING
    holds = _beyond(known, experiment, state) if ahead else known.holds(margin)
    kind = Outcome.KEEP if holds and failed is None else Outcome.DISCARD
    if human is not None:
        kind, reason = human.verdict, f"{human.reason} (by {human.by}, before it was confirmed: {reason})"
    elif failed is not None:
        reason = f"#{failed.number}, its run under another seed, ended as {failed.outcome}: {failed.reason} ({reason})"
    elif kind is Outcome.KEEP and (why := looks.budget_spent(state, but=experiment)):
        kind, reason = Outcome.DISCARD, f"{reason}; not kept: {why}"
    elif kind is Outcome.DISCARD and known.gain > margin:
        reason = f"{'not kept yet' if ahead else 'not confirmed'}: {reason}"
    elif 0 < known.gain <= margin:
        reason = f"{reason}: no more than `keep_margin` {_plainly(margin)}"
    elif experiment.stage is Stage.CONFIRMING and kind is Outcome.KEEP:
        again = any(run.value is not None for run in confirmation.of(state, experiment.number))
        reason = f"{'confirmed' if again else 'not run again'}: {reason}"
    if apart := _measured_otherwise(experiment.score.summary, state.experiments[0]):
        reason = f"{reason}; {apart}"
    front = experiment.proposal.front
    counts = kind != Outcome.KEEP and failed is None and human is None
    leads = counts and _leads(experiment, state, known.mean, ahead=ahead)
    if leads:
        reason = f"{reason}; {front_name(front)} stands here now"
    return ev.VerdictGiven(
        experiment.number,
        kind,
        known.mean,
        experiment.score.memory_gb,
        reason,
        stderr,
        statistics.spread(state),
        inside_noise=abs(known.gain) < statistics.SIGMAS * known.error,
        leads=leads,
        runs=known.runs,
        error=known.error,
        against=known.other if known.paired else None,
    )


def _knows_noise(state: State) -> bool:
    return statistics.repeats(state) >= confirmation.KNOWN


def _beyond(known: confirmation.Comparison, experiment: Experiment, state: State) -> bool:
    """Whether the gain is beyond the noise, and the result better than its front's head."""
    assert state.session is not None
    margin, head = state.session.keep_margin, state.head(experiment.proposal.front)
    behind = head is not state.frontier and not _leads(experiment, state, known.mean)
    return known.gain > margin and not known.is_unsure(margin) and not behind


def _compared(experiment: Experiment, value: float, best: float, state: State, stderr: float | None) -> ev.VerdictGiven:
    assert experiment.score is not None
    assert state.frontier is not None and state.session is not None
    spread = statistics.spread(state)
    fresh, gain = draws.fresh(state), state.goal.gain(best, value)
    same = " on the same draw" if fresh else ""
    reason, kind = f"{value:.6f} against {best:.6f}{same} (#{state.frontier.number})", Outcome.DISCARD
    repeat_of = experiment.proposal.repeat_of
    if repeat_of is None and experiment.commit == state.frontier.commit:
        reason = f"a repeat: {reason}"
    elif repeat_of is not None:
        first = state.experiments[repeat_of].measured
        before = f"{first:.6f} (#{repeat_of})" if first is not None else f"#{repeat_of}"
        reason = f"a repeat under seed {experiment.proposal.seed}: {value:.6f} against {before}"
    elif experiment.score.beyond:
        reason = f"{'; '.join(experiment.score.beyond)} ({reason})"
    elif gain > state.session.keep_margin and (why := looks.budget_spent(state, but=experiment)):
        reason = f"{reason}; not kept: {why}"
    elif gain > state.session.keep_margin:
        kind = Outcome.KEEP
    elif gain > 0:
        reason = (
            f"{reason}: better by {_plainly(gain)}, no more than `keep_margin` {_plainly(state.session.keep_margin)}"
        )
    if apart := _measured_otherwise(experiment.score.summary, state.experiments[0]):
        reason = f"{reason}; {apart}"
    inside_noise = statistics.inside(value - best, stderr, spread)
    memory = experiment.score.memory_gb
    front = experiment.proposal.front
    counts = kind != Outcome.KEEP and repeat_of is None and not experiment.score.beyond
    leads = counts and _leads(experiment, state, value)
    if leads:
        reason = f"{reason}; {front_name(front)} stands here now"
    return ev.VerdictGiven(
        experiment.number,
        kind,
        value,
        memory,
        reason,
        stderr,
        spread,
        inside_noise,
        leads,
        against=best if fresh else None,
    )


def _leads(experiment: Experiment, state: State, value: float, *, ahead: bool = False) -> bool:
    """Whether a result that is not kept is better than its front's head, with fresh draws on the same draw."""
    front = experiment.proposal.front
    if not draws.fresh(state):
        return leads_front(state, front, value, ahead=ahead)
    pair = draws.pair(experiment, state.head(front))
    return pair is not None and leads_front(state, front, pair.value, pair.other, ahead=ahead)


def _given_up(event: ev.RunGivenUp) -> str:
    behind = f"{event.loss:.4g} against {event.against:.4g} (#{event.frontier})"
    return (
        f"given up at {event.percent} %: {behind}; no keep was further behind there than {event.most:.3g}, "
        f"and the margin is {event.margin:.3g}"
    )


def _plainly(number: float) -> str:
    """Three significant digits without an exponent: `0.00001`."""
    return f"{Decimal(f'{number:.3g}'):f}"


def _locked_refused(run: ev.RunEnded, state: State) -> str:
    """The locked file that the run died trying to write, as the sandbox has it read-only."""
    locked = state.session.locked if state.session else {}
    refusals = [line for line in run.cause if "Read-only file" in line or "resource busy" in line]
    return next((path for path in locked for line in refusals if line.endswith(f"{path}'")), "")


def _why_crashed(run: ev.RunEnded) -> str:
    last = run.cause[-1] if run.cause else ""
    return f"{run.reason}: {last}" if last else run.reason


def _printed(log: Path, metric: MetricSettings) -> score_search.Found:
    """The score that the run itself printed, or why there is none."""
    default = metric.pattern == MetricSettings().pattern
    return score_search.find_score(log, metric.pattern, metric.name, any_form=default)


def _with_last_line(problem: str, files: RunFiles) -> str:
    """Why there is no score, with the log's last line: many evaluations print the reason and exit with code 0."""
    last = runner.last_lines(files.folder, 1)
    return f"{problem}; it ends with `{describe(last[0], _LAST_WORD)}`" if last else problem


def _memory_gb(summary: Mapping[str, str]) -> float:
    return max(0.0, (finite(summary.get("peak_vram_mb", "")) or 0.0) / 1024)


# Device memory beyond the tensors: the driver's context, and cached blocks.
_CONTEXT_MB = 2048.0
_SHARE = 0.5
# Possible values, by a word in the metric's name.
_ABOVE_ZERO = frozenset({"bpb", "bpc", "bpw", "bpt", "bits", "perplexity", "ppl"})
_NOT_BELOW_ZERO = frozenset({"mse", "rmse", "mae", "error", "seconds"})
_SHARES = frozenset({"accuracy", "acc"})


def columns(
    metric: MetricSettings, summary: Mapping[str, str], ended: ev.RunEnded, details: Mapping[str, Any]
) -> dict[str, float]:
    """The lab's further numbers by name; `details`: from the referee."""
    names = (word.removeprefix("+") for word in metric.columns)
    numbers = {name: _number(name, measured(ended), summary, details) for name in names}
    return {name: number for name, number in numbers.items() if number is not None}


def out_of_bounds(
    metric: MetricSettings, summary: Mapping[str, str], ended: ev.RunEnded, details: Mapping[str, Any] = NOTHING
) -> tuple[str, ...]:
    """The bounds that a run violates; a missing number counts as a violation."""
    ours = measured(ended)
    violations = []
    for bounds, word, sign in ((metric.at_most, "more", 1), (metric.at_least, "less", -1)):
        for key, bound in bounds.items():
            number = _number(key, ours, summary, details)
            name = key
            if key == "peak_vram_mb" and sign > 0 and understated(summary, ended):
                number = ended.device_memory_mb
                name = f"{key}, said to be {summary[key][:40]}, for which the accelerator held"
            if number is None:
                violations.append(f"{_missing(key, ours)}, which is bounded")
            elif sign * (number - bound) > 0:
                violations.append(f"{name} {number:g} is {word} than {bound:g}")
    return tuple(violations)


def _number(
    key: str, ours: Mapping[str, float | None], summary: Mapping[str, str], details: Mapping[str, Any]
) -> float | None:
    """As measured from outside, else from the referee, else from the run itself."""
    if key in ours:
        return ours[key]
    if isinstance(number := details.get(key), int | float) and not isinstance(number, bool):
        return finite(str(number))
    return finite(summary.get(key, ""))


def impossible(value: float, metric: MetricSettings) -> str:
    """Why no run can have this score; empty if one can."""
    if metric.range:
        low, high = metric.range
        outside = not low <= value <= high
        return f"{metric.name} is {value:.6g}, outside `metric.range` [{low:g}, {high:g}]" if outside else ""
    words = set(re.split(r"[^a-z0-9]+", metric.name.lower()))
    can_be = ""
    if words & _ABOVE_ZERO and value <= 0:
        can_be = "can only be more than 0"
    elif words & _NOT_BELOW_ZERO and value < 0:
        can_be = "cannot be less than 0"
    elif words & _SHARES and not 0 <= value <= 100:
        can_be = "can only be from 0 to 100"
    return (
        f"{metric.name} is {value:.6g}, and {can_be} (`metric.range` says otherwise where it is so)" if can_be else ""
    )


def measured(ended: ev.RunEnded) -> dict[str, float | None]:
    """Measurements of a run from outside; None for what this machine cannot measure."""
    return {
        "total_seconds": round(ended.seconds, 3),
        "host_memory_mb": ended.memory_mb,
        "device_memory_mb": ended.device_memory_mb,
    }


def understated(summary: Mapping[str, str], ended: ev.RunEnded) -> bool:
    """Whether a printed `peak_vram_mb` is far below the measured use of the run's accelerators."""
    claimed, held = finite(summary.get("peak_vram_mb", "")), ended.device_memory_mb
    return claimed is not None and held is not None and claimed < _SHARE * held - _CONTEXT_MB


def _missing(key: str, ours: Mapping[str, float | None]) -> str:
    return f"{key} cannot be measured here" if key in ours else f"the summary has no {key}"
