"""Pure: one experiment in words: how it went, who decided, what it cost, what speaks against it."""

from __future__ import annotations

from textual.content import Content

from autoresearch_tui.cockpit.marks import Marking
from autoresearch_tui.cockpit.widgets.canvas import Cells
from autoresearch_tui.cockpit.words import MARKS, at_best, clock, count, delta
from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.findings import gaps
from autoresearch_tui.text import clean_line

_STYLES = {
    "text": "$foreground",
    "strong": "bold",
    "dim": "$quiet",
    "good": "$success",
    "warn": "$warning",
    "bad": "$error",
    "accent": "$primary",
}


def facts(experiment: Experiment, state: State, marking: Marking) -> Content:
    """The experiment in words."""
    lines = [_headline(experiment, state), [(clean_line(experiment.description), "strong")]]
    if experiment.hypothesis:
        lines.append([(clean_line(experiment.hypothesis), "text")])
    lines.append(_origin(experiment))
    if experiment.run is not None:
        lines.append(_run(experiment))
    if experiment.reason:
        lines.append([("because: ", "dim"), (clean_line(experiment.reason), "text")])
    lines += [*_chance(experiment, state, marking), *_sealed(experiment, state, marking)]
    if experiment.flags:
        lines.append([("risks: ", "warn"), (clean_line(" · ".join(experiment.flags)), "warn")])
    if experiment.score is not None and experiment.score.doubts:
        lines.append([("doubts: ", "warn"), (clean_line(" · ".join(experiment.score.doubts)), "warn")])
    if experiment.score is not None and experiment.score.summary:
        pairs = (f"{clean_line(k)} {clean_line(v)}" for k, v in experiment.score.summary.items())
        lines.append([(" · ".join(pairs), "dim")])
    return Content("\n").join([Content.assemble(*((text, _STYLES[tone]) for text, tone in line)) for line in lines])


def _headline(experiment: Experiment, state: State) -> list[Cells]:
    glyph, tone = MARKS[experiment.outcome or experiment.stage.value]
    word = experiment.outcome or experiment.stage.value
    if experiment.number == state.frontier:
        glyph, tone, word = "★", "good", "best" if at_best(state) else "kept, and the search goes on from here"
    line: list[Cells] = [(f"{glyph} #{experiment.number} {word}", tone if tone in _STYLES else "text")]
    if experiment.value is None or state.session is None:
        return line
    line += [(f"  {clean_line(state.session.metric)} ", "dim"), (f"{experiment.value:.6f}", "strong")]
    parent = next((e for e in state.experiments if e.commit == experiment.base), None)
    for name, other in (("its base", parent), ("the best" if at_best(state) else "the frontier", state.best)):
        if other is not None and other.value is not None and other.number != experiment.number:
            text, tone = delta(experiment.value, other.value, state.session.goal, 6)
            line += [(f"  {text}", tone), (f" to {name} #{other.number}", "dim")]
    return line


def _chance(experiment: Experiment, state: State, marking: Marking) -> list[list[Cells]]:
    """How much of the score is chance, as far as that is known, and the repeats of it."""
    words = []
    if experiment.stderr is not None:
        words.append(f"the difference to the frontier is known to ±{experiment.stderr:.6f}")
    if experiment.spread is not None:
        words.append(f"equal runs lie {experiment.spread:.6f} apart")
    again = [e for e in state.experiments if e.repeat_of == experiment.number]
    if again:
        scores = (f"#{e.number} {'' if e.value is None else f'{e.value:.6f}'}".rstrip() for e in again)
        words.append(f"repeated: {', '.join(scores)}")
    line: list[Cells] = [("chance: " + " · ".join(words), "dim")] if words else []
    if experiment.number in marking.noise:
        line.append((f"{'  ' if line else ''}≈ no more than chance explains; R repeats it", "warn"))
    return [line] if line else []


def _sealed(experiment: Experiment, state: State, marking: Marking) -> list[list[Cells]]:
    """The score on the split that the loop never sees, for the human alone."""
    score = experiment.score
    if score is None or score.sealed is None or score.value is None:
        return []
    apart = score.sealed - score.value
    line: list[Cells] = [("sealed split: ", "dim"), (f"{score.sealed:.6f}", "strong"), (f"  gap {apart:+.6f}", "dim")]
    known = gaps(state)
    if known and known[0].number != experiment.number:
        line.append((f", {known[0].apart:+.6f} at #{known[0].number}", "dim"))
    if experiment.number in marking.apart:
        line.append(("  Δ much of its gain is missing there", "warn"))
    return [line]


def _origin(experiment: Experiment) -> list[Cells]:
    words = [f"commit {experiment.commit[:7]} on {experiment.base[:7]}", f"by {clean_line(experiment.author)}"]
    words += [f"program {experiment.program}", f"+{experiment.added} −{experiment.removed}"]
    if experiment.approved_by:
        words.append(f"approved by {clean_line(experiment.approved_by)}")
    if experiment.side:
        words.append("side branch")
    if experiment.mends is not None:
        words.append(f"mends #{experiment.mends}")
    if experiment.repeats is not None:
        words.append(f"nearly the same as #{experiment.repeats}")
    if experiment.repeat_of is not None:
        words.append(f"a repeat of #{experiment.repeat_of} under seed {experiment.seed}")
    if experiment.tokens:
        words.append(f"{count(experiment.tokens)} tokens")
    if experiment.usd is not None:
        words.append(f"${experiment.usd:.2f}")
    return [(" · ".join(words), "dim")]


def _run(experiment: Experiment) -> list[Cells]:
    run = experiment.run
    assert run is not None
    words = [f"{run.reason} after {clock(run.seconds)}"]
    if run.exit_code is not None:
        words.append(f"exit code {run.exit_code}")
    if experiment.memory_gb:
        words.append(f"{experiment.memory_gb:.1f} GiB")
    line: list[Cells] = [("run: " + " · ".join(words), "dim")]
    if run.cause:
        line.append((f"  {clean_line(run.cause[-1])}", "bad"))
    return line
