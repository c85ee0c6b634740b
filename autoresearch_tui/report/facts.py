"""Pure: everything about one experiment, in words, for its screen in the cockpit and for a terminal."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from autoresearch_tui.session import columns, draws, looks, opinions
from autoresearch_tui.session.badges import Marking, marking
from autoresearch_tui.session.confirmation import progress
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.format import FRONTIER, MARKS, at_best, clock, count, delta, front
from autoresearch_tui.session.journal import to_fields
from autoresearch_tui.session.prior_results import verified
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.statistics import gaps
from autoresearch_tui.session.status import COMMANDS, KEYS, Words, approval
from autoresearch_tui.session.transfer import scale_of, transfer
from autoresearch_tui.util.columns import wrap
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

Cell = tuple[str, str]
"""A text and its tone: text, strong, dim, good, warn, bad or accent."""
Line = list[Cell]


def facts(experiment: Experiment, state: State, words: Words = KEYS) -> list[Line]:
    """The experiment in words, one line for each topic."""
    badges = marking(state)
    lines = [_headline(experiment, state), [(clean_line(experiment.description), "strong")]]
    if experiment.proposal.hypothesis:
        lines.append([(clean_line(experiment.proposal.hypothesis), "text")])
    if result := verified(experiment):
        lines.append([("shared: ", "dim"), (clean_line(result), "accent")])
    lines.append(_origin(experiment))
    if experiment.run is not None:
        lines.append(_run(experiment))
    if experiment.reason:
        lines.append([("reason: ", "dim"), (clean_line(experiment.reason), "text")])
    if waits := progress(experiment, state):
        assert experiment.deferred is not None
        lines.append([(f"{waits}: ", "accent"), (clean_line(experiment.deferred.reason), "text")])
    if its := transfer(state, experiment):
        lines.append([("transfer: ", "dim"), (clean_line(its.words), "good" if its.holds else "warn")])
    if beside := _columns(experiment, state):
        lines.append(beside)
    lines += [*_chance(experiment, state, badges, words), *_sealed(experiment, state, badges)]
    lines += _evaluation(experiment, state)
    if experiment.proposal.flags:
        lines.append([("risks: ", "warn"), (clean_line(" · ".join(experiment.proposal.flags)), "warn")])
    opinion, tone = opinions.in_words(experiment, state.critic_asked)
    if opinion:
        lines.append([("critic: ", "dim"), (opinion, tone)])
    if experiment.score is not None and experiment.score.doubts:
        lines.append([("doubts: ", "warn"), (clean_line(" · ".join(experiment.score.doubts)), "warn")])
    if experiment.score is not None and experiment.score.summary:
        pairs = (f"{clean_line(k)} {clean_line(v)}" for k, v in experiment.score.summary.items())
        lines.append([(" · ".join(pairs), "dim")])
    return lines


def _headline(experiment: Experiment, state: State) -> Line:
    glyph, tone = MARKS[experiment.status]
    word = str(experiment.status)
    if experiment is state.best:
        glyph, tone, word = "★", "good", "best"
    elif experiment is state.frontier:
        glyph, tone, word = FRONTIER, "good", "kept, and the search continues from here"
    line: Line = [(f"{glyph} #{experiment.number} {word}", tone)]
    if experiment.value is None or state.session is None:
        return line
    line += [(f"  {clean_line(state.session.metric)} ", "dim"), (f"{experiment.value:.6f}", "strong")]
    parent = next((e for e in state.experiments if e.commit == experiment.proposal.base), None)
    others = [("its base", parent), ("the best", state.best)]
    if not at_best(state) and parent is not state.frontier:
        others.append(("the frontier", state.frontier))
    for name, other in others:
        there = draws.beside(experiment, other)
        if other is not None and there is not None and other.number != experiment.number:
            text, tone = delta(experiment.value, there, state.goal, 6)
            line += [(f"  {text}", tone), (f" vs {name} #{other.number}", "dim")]
    return line


def _columns(experiment: Experiment, state: State) -> Line:
    """The lab's further numbers, and their differences to the frontier's."""
    line: Line = []
    for column in columns.columns(state):
        value = column.of(experiment)
        if value is None:
            continue
        line.append((f"{'  ' if line else ''}{clean_line(column.name)} ", "dim"))
        line.append((f"{value:g}", "strong"))
        other = column.of(state.frontier) if state.frontier is not None and state.frontier is not experiment else None
        if other is not None and other != value:
            gain = column.goal.gain(other, value)
            line.append((f" {'▼' if value < other else '▲'} {abs(gain):.4g}", "good" if gain > 0 else "warn"))
    return line


def _chance(experiment: Experiment, state: State, badges: Marking, words: Words) -> list[Line]:
    """How much of the score is chance, as far as known, and the experiment's repeats."""
    known = []
    verdict = experiment.verdict
    if verdict is not None and verdict.runs > 1 and experiment.measured is not None:
        known.append(f"mean of {verdict.runs} runs, its own {experiment.measured:.6f}")
    if verdict is not None and verdict.error is not None:
        known.append(f"difference of the means from the frontier known to ±{verdict.error:.6f}")
    elif verdict is not None and verdict.stderr is not None:
        known.append(f"difference from the frontier known to ±{verdict.stderr:.6f}")
    if verdict is not None and verdict.spread is not None:
        known.append(f"equal runs lie {verdict.spread:.6f} apart")
    again = [e for e in state.experiments if e.proposal.repeat_of == experiment.number and not e.proposal.scale]
    if again:
        scores = (f"#{e.number} {'' if e.value is None else f'{e.value:.6f}'}".rstrip() for e in again)
        known.append(f"repeated: {', '.join(scores)}")
    line: Line = [("chance: " + " · ".join(known), "dim")] if known else []
    if experiment.number in badges.noise:
        line.append(
            (f"{'  ' if line else ''}≈ no more than chance explains; {words.repeats.format(experiment.number)}", "warn")
        )
    return [line] if line else []


def _evaluation(experiment: Experiment, state: State) -> list[Line]:
    """For the best and the baseline: the looks at the evaluation, and the holdout's result once it is open."""
    lines: list[Line] = []
    if experiment is state.best and (wear := looks.in_words(looks.wear(state))):
        lines.append([("evaluation: ", "dim"), (wear, "text")])
    asked = state.holdout_asked
    if asked is not None and state.holdout is not None and experiment.number in (asked.best, asked.baseline):
        after = looks.after(state)
        lines.append([("holdout: ", "dim"), (clean_line(looks.result(state)), "strong"), (f"  {after}", "dim")])
    return lines


def _sealed(experiment: Experiment, state: State, badges: Marking) -> list[Line]:
    """The score on the split that the loop never sees, for the human alone."""
    score = experiment.score
    if score is None or score.sealed is None or score.value is None:
        return []
    apart = score.sealed - score.value
    line: Line = [("sealed split: ", "dim"), (f"{score.sealed:.6f}", "strong"), (f"  gap {apart:+.6f}", "dim")]
    known = gaps(state)
    if known and known[0].number != experiment.number:
        line.append((f", {known[0].gap:+.6f} at #{known[0].number}", "dim"))
    if experiment.number in badges.gap:
        line.append(("  Δ much of its gain is missing there", "warn"))
    return [line]


def _origin(experiment: Experiment) -> Line:
    words = [
        f"commit {experiment.commit[:7]} on {experiment.proposal.base[:7]}",
        f"by {clean_line(experiment.proposal.author)}",
    ]
    words += [f"program {experiment.proposal.program}", f"+{experiment.proposal.added} −{experiment.proposal.removed}"]
    if experiment.approved_by:
        words.append(approval(experiment.approved_by))
    if experiment.proposal.exploratory:
        words.append("exploratory")
    if experiment.proposal.front:
        words.append(front(experiment.proposal.front))
    if experiment.proposal.fixes is not None:
        words.append(f"fixes #{experiment.proposal.fixes}")
    if experiment.proposal.duplicate_of is not None:
        words.append(f"nearly the same as #{experiment.proposal.duplicate_of}")
    if scale := scale_of(experiment):
        words.append(f"#{experiment.proposal.repeat_of} at {clean_line(scale.name)}")
    elif experiment.proposal.repeat_of is not None:
        words.append(f"repeat of #{experiment.proposal.repeat_of} with seed {experiment.proposal.seed}")
    if experiment.proposal.confirms is not None:
        words.append(f"confirms #{experiment.proposal.confirms}")
    if experiment.proposal.tokens:
        words.append(f"{count(experiment.proposal.tokens)} tokens")
    if experiment.proposal.usd is not None:
        words.append(f"${experiment.proposal.usd:.2f}")
    return [(" · ".join(words), "dim")]


def _run(experiment: Experiment) -> Line:
    run = experiment.run
    assert run is not None
    given_up = experiment.status == Outcome.GIVEN_UP
    words = [f"{experiment.status if given_up else run.reason} after {clock(run.seconds)}"]
    if run.exit_code is not None:
        words.append(f"exit code {run.exit_code}")
    if experiment.memory_gb:
        words.append(f"{experiment.memory_gb:.1f} GiB")
    if experiment.device:
        words.append(f"on {clean_line(experiment.device)}")
    line: Line = [("run: " + " · ".join(words), "dim")]
    if run.cause and not given_up:
        line.append((f"  {clean_line(run.cause[-1])}", "bad"))
    return line


def as_object(experiment: Experiment, state: State) -> dict[str, Any]:
    """The experiment as JSON values: the fields of the journal, and its place in the session.

    Its proposal's fields are its own; the other events are objects under their names.
    """
    values = asdict(experiment.whole)
    proposal = to_fields(values.pop("proposal"))
    events = {name: to_fields(value) for name, value in values.items() if isinstance(value, Frozen)}  # type: ignore[arg-type]
    derived = {name: getattr(experiment, name) for name in ("outcome", "value", "memory_gb", "reason")}
    session = state.session
    return {
        **proposal,
        **values,
        **events,
        **derived,
        "tag": session.tag if session else None,
        "metric": session.metric if session else None,
        "is_best": experiment is state.best,
        "is_frontier": experiment is state.frontier,
        "repeats": [e.number for e in state.experiments if e.proposal.repeat_of == experiment.number],
        "transfer": its.words if (its := transfer(state, experiment)) else None,
    }


def as_lines(experiment: Experiment, state: State, width: int) -> list[str]:
    """:func:`facts` for a terminal of `width` columns, without tones."""
    words = ("".join(text for text, _ in line) for line in facts(experiment, state, COMMANDS))
    return [piece for line in words for piece in wrap(line, width, "  ")]
