"""Pure: how long a run took compared with its budget and the baseline, and what that means for its verdict."""

from __future__ import annotations

from autoresearch_tui.lab.settings import RunSettings
from autoresearch_tui.logs.trace import Trace
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.questions import COMMIT
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.frozen import Frozen

# Allowed beyond the budget and the baseline's own excess: this much, or this share of the budget.
SLACK_SECONDS, SLACK_OF_BUDGET = 2.0, 0.05
# From this excess on the verdict mentions it.
MARK_SECONDS, MARK_OF_BUDGET = 0.5, 0.02
# A model may answer so many times more slowly than the baseline, as a larger one does.
ANSWERS = 3.0
# Compiling is free, but meanwhile a run could learn text from elsewhere on the machine.
PREPARED_SECONDS, PREPARED_OF_BUDGET = 75.0, 0.5


class Taken(Frozen):
    """Seconds beyond the budget. `handed_over`: counted from when it got its training data, else from its start."""

    trained: float
    late: float
    answered: float
    handed_over: bool

    @property
    def total(self) -> float:
        return self.trained + self.late + self.answered


def taken(run: ev.RunEnded, late: float, answers: float, usual_answers: float, settings: RunSettings) -> Taken | None:
    """`late`: the seconds of single answers beyond the usual; `answers`: of all answers. None for a run without a
    clock: its budget is in tokens, or it asked no referee."""
    if settings.budget_tokens or run.asked_seconds is None:
        return None
    trained = run.asked_seconds - (run.ready_seconds or 0.0) - settings.budget_seconds
    beyond = answers - late - ANSWERS * usual_answers if usual_answers else 0.0
    return Taken(trained, late, max(0.0, beyond), run.ready_seconds is not None)


def over_budget(experiment: Experiment, state: State, settings: RunSettings) -> str:
    """Why a run is over its budget of seconds; else empty. The baseline sets the measure and never is."""
    own, measure = _wall_compared(experiment, state, settings)
    if own is None or own.total <= measure + max(SLACK_SECONDS, SLACK_OF_BUDGET * settings.budget_seconds):
        return ""
    return f"over budget: {_in_words(own, measure, settings)}"


def clock_mark(experiment: Experiment, state: State, settings: RunSettings) -> str:
    """How much of the slack a run took, if that is worth mentioning; else empty."""
    own, measure = _wall_compared(experiment, state, settings)
    if own is None or own.total <= measure + max(MARK_SECONDS, MARK_OF_BUDGET * settings.budget_seconds):
        return ""
    return f"clock: {_in_words(own, measure, settings)}"


def prepared_long(experiment: Experiment, state: State, settings: RunSettings) -> str:
    """A doubt about a run that took its training data much later than the baseline did; else empty."""
    usual = state.experiments[0].run if state.experiments else None
    run = experiment.run
    if run is None or usual is None or run.ready_seconds is None or usual.ready_seconds is None:
        return ""
    more = run.ready_seconds - usual.ready_seconds
    if more <= max(PREPARED_SECONDS, PREPARED_OF_BUDGET * settings.budget_seconds):
        return ""
    return (
        f"clock: {run.ready_seconds:.0f} s before it took its training data, the baseline {usual.ready_seconds:.0f} s; "
        "compiling is free, learning text from elsewhere is not"
    )


def explain(experiment: Experiment, trace: Trace) -> str:
    """The run's own account of its time, for a human who wonders where it went; may be empty."""
    found = []
    claimed = experiment.score.summary.get("training_seconds") if experiment.score is not None else None
    if claimed is not None:
        found.append(f"by its own count it trained for {claimed[:12]} s")
    if trace.slowest is not None and (trace.slowest.dt_ms or 0.0) >= 1000:
        found.append(f"its slowest step, number {trace.slowest.step}, took {(trace.slowest.dt_ms or 0.0) / 1000:.1f} s")
    return "".join(f"; {each}" for each in found)


def _wall_compared(experiment: Experiment, state: State, settings: RunSettings) -> tuple[Taken | None, float]:
    """What a run took beyond its budget, and the same of the fastest baseline run."""
    if not state.experiments:
        return None, 0.0
    first = state.experiments[0].commit
    usual = [each for each in state.experiments.having(COMMIT, first) if each.value is not None]
    if experiment.commit == first or not usual:
        return None, 0.0
    answers = max((each.score.answer_seconds for each in usual if each.score is not None), default=0.0)
    found = [each for one in usual if (each := _own(one, 0.0, settings)) is not None]
    if not found:
        return None, 0.0
    measure = max(0.0, min(each.total for each in found))  # the first may have filled caches for the others
    return _own(experiment, answers, settings), measure


def _own(experiment: Experiment, usual_answers: float, settings: RunSettings) -> Taken | None:
    run, scored = experiment.run, experiment.score
    if run is None or scored is None:
        return None
    return taken(run, scored.late_seconds, scored.answer_seconds, usual_answers, settings)


def _in_words(own: Taken, measure: float, settings: RunSettings) -> str:
    """What took the time, the largest part first."""
    budget = settings.budget_seconds
    begun = "its training data" if own.handed_over else "its start, with imports and compilation,"
    parts = [
        (own.trained, f"{budget + own.trained:.1f} s from {begun} to its request to be scored"),
        (own.late, f"{own.late:.1f} s in single answers to the referee"),
        (own.answered, f"{own.answered:.1f} s of answering beyond {ANSWERS:g} times the baseline's"),
    ]
    text = ", ".join(words for seconds, words in sorted(parts, reverse=True) if seconds >= MARK_SECONDS)
    return f"{text or f'{own.total:.1f} s'}; the budget is {budget:g} s, the baseline took {budget + measure:.1f} s"
