"""Whether a run has taken more time than its budget, by a clock that it cannot touch.

What a run does before it starts to count cannot be told from training. So its time until it asks to be scored is
held against the baseline's: start-up, compilation and uncounted first steps may cost what they cost there, and some
more. Waiting with an answer counts as well: a model could be trained on between two questions.
"""

from __future__ import annotations

from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.settings import RunSettings

SLACK_SECONDS = 10.0
SLACK_OF_BUDGET = 0.05
SLACK_OF_START = 0.5  # of what the baseline itself took beyond its budget


def over_budget(experiment: Experiment, state: State, settings: RunSettings) -> str:
    """Why a run is over its budget of seconds, or an empty string. The baseline sets the measure and never is."""
    if settings.budget_tokens or not state.experiments:
        return ""
    first = state.experiments[0].commit
    usual = [_beyond(each, settings) for each in state.experiments if each.commit == first and each.value is not None]
    known = [seconds for seconds in usual if seconds is not None]
    own = _beyond(experiment, settings)
    if own is None or not known or experiment.commit == first:
        return ""
    measure = max(0.0, *known)
    slack = max(SLACK_SECONDS, SLACK_OF_BUDGET * settings.budget_seconds, SLACK_OF_START * measure)
    if own <= measure + slack:
        return ""
    return f"over budget: it trained or prepared for {own:.0f} s beyond its budget, the baseline for {measure:.0f} s"


def _beyond(experiment: Experiment, settings: RunSettings) -> float | None:
    """Seconds beyond the budget until it was ready to answer; None where it did not ask."""
    run, scored = experiment.run, experiment.score
    if run is None or run.asked_seconds is None or scored is None:
        return None
    return run.asked_seconds + scored.late_seconds - settings.budget_seconds
