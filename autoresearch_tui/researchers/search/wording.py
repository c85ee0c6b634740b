"""Describes the offline search's steps: one line for the table, and a sentence for the reader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autoresearch_tui.python_source.constants import written
from autoresearch_tui.python_source.plain_text import is_text
from autoresearch_tui.researchers.base import RAN
from autoresearch_tui.researchers.search.ascent import Forecast
from autoresearch_tui.researchers.search.breadth import Shaping
from autoresearch_tui.researchers.search.moves import Step, coordinate, direction, words
from autoresearch_tui.researchers.search.steering import PastTrial, expected
from autoresearch_tui.researchers.search.structure import Edit
from autoresearch_tui.session.ends import FAILED, SCORED, Outcome
from autoresearch_tui.util.text import describe

# Why a knob might matter, by a word of its name; the first match counts.
_REASONS: tuple[tuple[str, str], ...] = (
    ("warmdown", "how long the rate decays shapes the end of a short run"),
    ("warmup", "a short budget may be better spent at the full rate"),
    ("final", "a rate that does not fall to nothing keeps learning to the end"),
    ("batch", "the batch trades the number of steps in the budget against the noise of each"),
    ("depth", "depth trades capacity against steps in the budget"),
    ("aspect", "width trades capacity against steps in the budget"),
    ("dim", "width trades capacity against steps in the budget"),
    ("lr", "the rate decides how far the weights get within the budget"),
    ("rate", "the rate decides how far the weights get within the budget"),
    ("decay", "how strongly weights are pulled back matters more the longer they train"),
    ("betas", "how long the optimizer remembers should fit the number of steps"),
    ("momentum", "how long the optimizer remembers should fit the number of steps"),
    ("pattern", "which layers see the whole context trades speed against reach"),
)


def description(steps: Sequence[Step], form: str = "") -> str:
    """`MATRIX_LR 0.04 → 0.02`, as the file writes it, after another form of code."""
    changes = [f"{_place(s)} {s.knob.source} → {written(s.knob.source, s.after)}" for s in steps]
    return describe(", ".join([form, *changes] if form else changes))


def forecast(found: Forecast, metric: str) -> str:
    """The expected gain of a move, from all scores together."""
    gain, spread = found.mean * found.unit, found.spread * found.unit
    all_ = f"all {found.scores} scores taken together"
    if gain > 0:
        return f"{all_} promise a gain of {gain:.2g} in {metric}, give or take {spread:.2g}"
    return f"{all_} expect a cost of {-gain:.2g} in {metric}, give or take {spread:.2g}: no other move may gain more"


def _place(step: Step) -> str:
    """The knob's name; in a text with its path, because there the name is only a word or two."""
    return f"{step.knob.path}: {step.knob.name}" if is_text(step.knob.path) else step.knob.name


def hypothesis(steps: Sequence[Step], trials: Sequence[PastTrial], kinds: Mapping[str, str], metric: str) -> str:
    """The reason for these steps: earlier results, or that they have not been tried."""
    first = steps[0]
    if len(steps) == 1:
        return describe(_single(first, trials, kinds, metric))
    past = [(s, _latest(trials, s.knob.key)) for s in steps]
    if all(t is not None and t.after is not None for _, t in past):
        parts = [f"{s.knob.name} ({_score_change(t, metric)} in #{t.number})" for s, t in past if t]
        return describe(f"each came close or was kept on its own: {' and '.join(parts)}; together they may add up")
    if "depth" in words(first.knob.name) and first.direction != steps[1].direction:
        return "about as many parameters in another shape: depth trades against width"
    others = ", ".join(s.knob.name for s in steps[1:])
    return describe(f"{_single(first, trials, kinds, metric)}; {others} moves along, as the file requires")


def of_edit(edit: Edit, shapings: Sequence[Shaping]) -> tuple[str, str]:
    """Description and hypothesis of a structural edit: why it may help, and earlier results of its kind."""
    past = [s for s in shapings if s.edit.family == edit.family and s.outcome in RAN]
    kept = [s for s in past if s.outcome == Outcome.KEEP]
    same = [s for s in past if (s.edit.key, s.edit.after) == (edit.key, edit.after)]
    why = edit.why
    if same:
        why = f"it did not pay in #{same[-1].number}, but the rest has changed since: {why}"
    elif kept:
        why = f"another edit of this kind was kept in #{kept[-1].number}: {why}"
    elif past:
        why = f"{len(past)} of this kind did not pay, this one has not been tried: {why}"
    return describe(edit.description), describe(why)


def _single(step: Step, trials: Sequence[PastTrial], kinds: Mapping[str, str], metric: str) -> str:
    name, key = step.knob.name, step.knob.key
    mine = [t for t in trials if t.single == key and t.outcome in RAN]
    kept = [t for t in trials if t.outcome == Outcome.KEEP and key in t.changes]
    kept = [t for t in kept if direction(*t.changes[key]) == step.direction]
    same = [t for t in mine if t.outcome != Outcome.KEEP and direction(*t.changes[key]) == step.direction]
    other = [t for t in mine if t.outcome != Outcome.KEEP and direction(*t.changes[key]) != step.direction]
    failed = [t for t in mine if t.outcome != Outcome.KEEP and t.changes[key][0] == step.knob.value]
    if kept and kept[-1].changes[key][1] == step.knob.value and not any(t in failed for t in same):
        trial = kept[-1]
        others = ", ".join(other.partition(":")[2] for other in trial.changes if other != key)
        together = f" together with {others}" if others else ""
        return f"{_act(trial, key)}{together} in #{trial.number} gave {_score_change(trial, metric)}; keep going"
    if same and same[-1].outcome == Outcome.STOPPED:
        return f"{name}: {_act(same[-1], key)} was stopped by you in #{same[-1].number}; a smaller step may be better"
    if same and same[-1].outcome == Outcome.GIVEN_UP:
        return f"{name}: {_act(same[-1], key)} was given up in #{same[-1].number}; a smaller step may hold"
    if same and same[-1].outcome in FAILED:
        return f"{name}: {_act(same[-1], key)} failed in #{same[-1].number}; a smaller step may hold"
    if same and _shorter(step, same[-1], kinds):
        sides = f"both sides of {name} were worse" if other else f"a longer step of {name} was worse"
        return f"{sides} ({_numbers([*other[-1:], *same[-1:]])}); try part of the way"
    if same:
        return f"{name} did not pay in #{same[-1].number}, but the rest has changed since or the step differs"
    if other and other[-1].after is not None:
        trial = other[-1]
        return f"{_act(trial, key)} in #{trial.number} cost {_score_change(trial, metric)}; try the other way"
    if other:
        return f"{_act(other[-1], key)} failed in #{other[-1].number}; try the other way"
    return f"{name} has not been varied on its own yet: {_reason(step)}"


def _reason(step: Step) -> str:
    parts = words(step.knob.name)
    reason = next((reason for word, reason in _REASONS if word in parts), "only a run can tell which way it should go")
    outlook = expected(step.knob)
    if outlook and (outlook > 0) == (step.direction == "up"):
        return f"{reason}, and public runs gained this way"
    return reason


def _latest(trials: Sequence[PastTrial], key: str) -> PastTrial | None:
    return next((t for t in reversed(trials) if t.single == key and t.outcome in SCORED), None)


def _shorter(step: Step, trial: PastTrial, kinds: Mapping[str, str]) -> bool:
    kind = kinds.get(step.knob.key, "")
    if isinstance(step.after, str | bool):
        return False
    before, after = trial.changes[step.knob.key]
    mine = abs(coordinate(kind, step.after) - coordinate(kind, step.knob.value))
    return mine < abs(coordinate(kind, after) - coordinate(kind, before)) - 1e-9


def _numbers(trials: Sequence[PastTrial]) -> str:
    return ", ".join(f"#{trial.number}" for trial in sorted(trials, key=lambda t: t.number))


def _score_change(trial: PastTrial, metric: str) -> str:
    if trial.before is None or trial.after is None:
        return f"a {trial.outcome}"
    for digits in range(3, 7):
        old, new = f"{trial.before:.{digits}f}", f"{trial.after:.{digits}f}"
        if old != new:
            break
    return f"{metric} {old} → {new}"


def _act(trial: PastTrial, key: str) -> str:
    before, after = trial.changes[key]
    if isinstance(after, bool):
        return "switching it on" if after else "switching it off"
    if isinstance(after, str) or isinstance(before, str):
        return f"setting it to {after}"
    if before and math.isclose(after / before, 2):
        return "doubling it"
    if before and math.isclose(after / before, 0.5):
        return "halving it"
    return "raising it" if after > before else "lowering it"
