"""Pure: a critic's opinion of a proposal, as text."""

from __future__ import annotations

from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Opinion
from autoresearch_tui.session.state import Experiment
from autoresearch_tui.util.text import clean_line

_WORDS = {
    Opinion.AGREE: ("✓", "agrees", "good"),
    Opinion.DISAGREE: ("✗", "disagrees", "warn-strong"),
    Opinion.UNSURE: ("?", "is unsure", "warn"),
    Opinion.NONE: ("!", "gave no answer", "warn"),
}


def in_short(experiment: Experiment, asked: ev.CriticAsked | None) -> str:
    """`critic disagrees`, `critic reads it`; empty if no critic was asked."""
    if experiment.critic is not None:
        return f"critic {_WORDS[experiment.critic.opinion][1]}"
    return "critic reads it" if asked is not None and asked.number == experiment.number else ""


def in_words(experiment: Experiment, asked: ev.CriticAsked | None = None) -> tuple[str, str]:
    """`✗ disagrees: it was tried (sent back to the researcher)`, and its tone; empty if no critic was asked."""
    answer = experiment.critic
    if answer is None:
        reads = asked is not None and asked.number == experiment.number
        return ("… reads the proposal", "dim") if reads else ("", "")
    glyph, word, tone = _WORDS[answer.opinion]
    back = " (sent back to the researcher)" if answer.goes_back else ""
    return f"{glyph} {word}: {clean_line(answer.reasons)}{back}", tone


def waits(experiment: Experiment) -> str:
    """Why the policy that follows the critic decides nothing yet."""
    answer = experiment.critic
    if answer is None:
        return "waits for the critic"
    if answer.opinion == Opinion.NONE:
        again = ", and is asked again" if answer.retry_seconds is not None else ""
        return f"held: the critic gave no answer{again}"
    return "held: the critic did not agree so often in a row that you decide"
