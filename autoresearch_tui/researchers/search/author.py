"""The offline researcher's digest: the results of changes of constants, in sentences. No key, no cost."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from autoresearch_tui.python_source.constants import MODULE, Knob
from autoresearch_tui.python_source.plain_text import STATED
from autoresearch_tui.python_source.setting import reading
from autoresearch_tui.researchers.base import Attempt, Brief, Page
from autoresearch_tui.researchers.history import best, near_misses, since_keep
from autoresearch_tui.researchers.search.critic import Step, step
from autoresearch_tui.session.ends import FAILED, JUDGED, Outcome
from autoresearch_tui.util.text import describe

_MOST_LINES = 12
_MOST_NAMES = 8
_MEANT = (MODULE, STATED)  # constants that are meant to be changed


class TemplateAuthor:
    """Lists the attempts and results of each constant; of a change of code only its description."""

    def write(self, brief: Brief, _say: Callable[[str], None], _cancelled: threading.Event) -> Page | None:
        steps = dict(_steps(brief))
        parts = {
            "What was learnt": [*_kept(brief), *_failed(brief)],
            "What I believe, and why": _beliefs(brief, steps),
            "What I would do next": [*_next(brief, steps)],
        }
        return Page(
            "\n\n".join(f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in parts.items())
        )


def _kept(brief: Brief) -> Iterator[str]:
    scores = {a.commit: a for a in reversed(brief.history) if a.value is not None}
    kept = [a for a in brief.history if a.outcome == Outcome.KEEP and a.number]
    if not kept:
        yield "Nothing was better than the baseline."
    for attempt in kept[-_MOST_LINES:]:
        yield f"{_name(attempt)}: {_score(attempt)}{_gain(brief, attempt, scores.get(attempt.base))}"


def _failed(brief: Brief) -> Iterator[str]:
    failed = [a for a in brief.history if a.outcome in FAILED]
    for attempt in failed[-_MOST_LINES // 3 :]:
        yield f"{_name(attempt)}: ended as {describe(attempt.outcome, 12)}, {describe(attempt.reason, 100)}"


def _beliefs(brief: Brief, steps: Mapping[int, Step]) -> list[str]:
    """Of each constant that was changed alone: the values that were better or worse than the ones before."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    scores = {a.commit: a for a in reversed(brief.history) if a.value is not None}
    for attempt in brief.history:
        change, base = steps.get(attempt.number, {}), scores.get(attempt.base)
        if len(change) != 1 or attempt.value is None or base is None or base.value is None:
            continue
        ((key, (old, new)),) = change.items()
        gain = brief.goal.gain(_there(attempt, base.value), attempt.value)
        result = "changed nothing" if gain == 0 else f"was {'better' if gain > 0 else 'worse'} by {abs(gain):.6f}"
        found[key].append(f"{old!r} to {new!r} {result} (#{attempt.number})")
    ranked = sorted(found.items(), key=lambda each: -len(each[1]))[:_MOST_LINES]
    return [f"{describe(_short(key))}: {'; '.join(results[-4:])}." for key, results in ranked] or [
        "Too little was tried one constant at a time to believe anything."
    ]


def _next(brief: Brief, steps: Mapping[int, Step]) -> Iterator[str]:
    kept = [a for a in brief.history if a.outcome == Outcome.KEEP and steps.get(a.number)]
    for attempt in kept[-1:]:
        names = ", ".join(describe(_short(key)) for key in steps[attempt.number])
        yield f"Follow {names}, whose last step was kept (#{attempt.number})."
    tried = {key for change in steps.values() for key in change}
    untried = [describe(_short(knob.key)) for knob in _knobs(brief) if knob.key not in tried]
    if untried:
        yield f"Try what nobody has turned yet: {', '.join(untried[:_MOST_NAMES])}."
    stale = since_keep(brief.history)
    if misses := near_misses(brief.history, brief.goal).splitlines()[:1]:
        yield f"Combine near misses, first {describe(misses[0], 120)}."
    if stale:
        yield f"Runs since the last keep: {stale}. The program could name a direction that is not a constant."
    else:
        yield "The program can stay as it is: the last run was kept."


def _steps(brief: Brief) -> Iterator[tuple[int, Step]]:
    """The changes of constants of each experiment that ran."""
    for attempt in brief.history:
        if attempt.outcome in JUDGED and attempt.base and attempt.base != attempt.commit:
            try:
                found = step(brief.files_at(attempt.base), brief.files_at(attempt.commit))
            except (KeyError, OSError):
                continue
            if found:
                yield attempt.number, found


def _knobs(brief: Brief) -> Iterator[Knob]:
    for path, text in sorted(brief.files.items()):
        found = reading(path, text)
        yield from (knob for knob in found.knobs if knob.reach in _MEANT) if found else ()


def _short(key: str) -> str:
    return key.partition(":")[2]


def _name(attempt: Attempt) -> str:
    return f"#{attempt.number} {describe(attempt.description, 100)}"


def _score(attempt: Attempt) -> str:
    return "no score" if attempt.value is None else f"{attempt.value:.6f}"


def _gain(brief: Brief, attempt: Attempt, base: Attempt | None) -> str:
    if base is None or base.value is None or attempt.value is None:
        return ""
    fresh = attempt.base_there is not None  # scores of different draws have no best
    top = " and the best so far" if not fresh and attempt.value == best(brief.history, brief.goal) else ""
    gain = brief.goal.gain(_there(attempt, base.value), attempt.value)
    return f", better than #{base.number} by {abs(gain):.6f}{top}"


def _there(attempt: Attempt, base: float) -> float:
    """The base's score on the data of an attempt's score."""
    return base if attempt.base_there is None else attempt.base_there
