"""The night's story from the journal: what was tried, what came of it, what it cost, and what to look at first."""

from __future__ import annotations

import difflib
from collections import Counter
from pathlib import Path

from autoresearch_tui import findings, report_chart
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import noise
from autoresearch_tui.engine.fold import fold_all
from autoresearch_tui.engine.results import write
from autoresearch_tui.engine.state import Experiment, Stage, State
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab, SessionFiles
from autoresearch_tui.recorded import recorded
from autoresearch_tui.report_page import Block, Bullets, Code, Grid, Heading, Image, Paragraph, markdown, page
from autoresearch_tui.report_time import Spent, clock, seconds_between, span, spent
from autoresearch_tui.text import clean_line, clean_text

_WORDS = {"keep": "kept", "discard": "discarded", "crash": "crashed"}
_ORDER = ("keep", "discard", "crash", "invalid", "vetoed", "withdrawn")
# A longer diff is read better elsewhere.
_DIFF_LINES = 1500


def write_report(lab: Lab, tag: str, folder: Path) -> tuple[Path, ...]:
    """Writes the report of a session into `folder` and returns its files. Raises UserError."""
    files = lab.session(tag)
    records = recorded(files.journal)
    state = fold_all(records)
    chart = report_chart.picture(state)
    svg = report_chart.to_svg(chart)
    blocks = story(state, records, best_diff(state, files), svg)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "report.md": markdown(blocks),
            "report.html": page(headline(state), blocks),
            "progress.svg": svg,
        }
        for name, text in texts.items():
            write(folder / name, text)
        png = folder / "progress.png"
        drawn = report_chart.write_png(chart, png)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: the report cannot be written: {error.strerror}") from None
    return (*(folder / name for name in texts), *((png,) if drawn else ()))


def headline(state: State) -> str:
    """The session in one line."""
    name = state.session.branch if state.session else "no session"
    first, best = _baseline(state), state.best
    if first is None or best is None or first.value is None or best.value is None:
        return f"{name}: no score yet"
    return f"{name}: {first.value:.6f} → {best.value:.6f}"


def story(state: State, records: tuple[ev.Record, ...], diff: str, svg: str) -> tuple[Block, ...]:
    """The whole report."""
    time = spent(records)
    blocks: list[Block] = [Heading(1, headline(state)), Paragraph(_summary(state, records))]
    first = _first(state)
    if first:
        blocks += [Heading(2, "What to look at first"), Bullets(tuple(first))]
    blocks += [Heading(2, "Progress"), Image("progress.svg", headline(state), svg)]
    blocks += [Heading(2, "What was kept"), _kept(state)]
    blocks += [Heading(2, "The best against the baseline"), *_diff(state, diff)]
    blocks += [Heading(2, "Time and cost"), Bullets(tuple(_cost(state, time)))]
    if len({e.program for e in state.experiments}) > 1:
        blocks += [Heading(2, "Versions of the program"), _programs(state)]
    blocks += [Heading(2, "Everything that was tried"), _tried(state)]
    if state.earlier:
        blocks += [Heading(2, "Before this session"), *_earlier(state)]
    if state.notes:
        blocks += [Heading(2, "Notes to the researcher"), Bullets(tuple(clean_line(note) for note in state.notes))]
    return tuple(blocks)


def _baseline(state: State) -> Experiment | None:
    return next((e for e in state.experiments if e.outcome in ("keep", "discard") and e.value is not None), None)


def _summary(state: State, records: tuple[ev.Record, ...]) -> str:
    began, ended = records[0].time, records[-1].time
    count = Counter(e.outcome for e in state.experiments if e.outcome)
    total = sum(count.values())
    said = ", ".join(f"{count[outcome]} {_WORDS.get(outcome, outcome)}" for outcome in _ORDER if count[outcome])
    text = f"{clock(began)} to {clock(ended)} UTC, {span(seconds_between(began, ended))}: {total} experiments"
    text += f" ({said})." if said else "."
    first, best = _baseline(state), state.best
    if first is None or best is None or first.value is None or best.value is None:
        return text
    if best.number == first.number:
        return f"{text} The baseline, {first.value:.6f}, was not beaten."
    gain = abs(best.value - first.value)
    share = f" ({gain / abs(first.value):.2%})" if first.value else ""
    return (
        f"{text} The best is {best.name}, {clean_line(best.description)}: {best.value:.6f}, better than the baseline's "
        f"{first.value:.6f} by {gain:.6f}{share}."
    )


def _first(state: State) -> list[str]:
    """What needs a human's eye, the most urgent first."""
    items = [
        f"{e.name} waits for your answer: {clean_line(e.description)}" for e in state.waiting if e.stage is Stage.REVIEW
    ]
    if state.trouble is not None:
        items.append(
            f"Trouble since {clock(state.trouble_at)}: {clean_line(f'{state.trouble.what}; {state.trouble.remedy}')}"
        )
    if state.stopped is not None and state.stopped.why == "failed":
        items.append(f"The engine failed: {clean_line(state.stopped.detail)}")
    items += [
        f"{e.name} was refused by the referee: {clean_line(e.reason)} — {clean_line(e.description)}"
        for e in state.experiments
        if e.outcome == "invalid"
    ]
    if warning := findings.overfitting(state):
        items.append(clean_line(warning))
    items += [
        f"{e.name} was given «{e.overruled}» and is {_WORDS.get(e.outcome, e.outcome)} now: {clean_line(e.reason)}"
        for e in state.experiments
        if e.overruled
    ]
    doubtful = findings.near_noise(state)
    if doubtful:
        measured = noise.spread(state)
        by = f"{measured:.6f}, measured here" if measured is not None else "about 0.03 %, as is usual"
        names = ", ".join(e.name for e in doubtful)
        items.append(f"Kept within the noise of equal runs ({by}); worth a second run: {names}")
    items += _risky(state)
    items += [
        f"{e.name} was kept by a score that does not go with its own log: {clean_line('; '.join(e.score.doubts))}"
        for e in state.experiments
        if e.outcome == "keep" and e.score is not None and e.score.doubts
    ]
    causes = Counter(clean_line(e.reason) for e in state.experiments if e.outcome == "crash" and e.reason)
    items += [f"{count} crashes have one cause: {cause}" for cause, count in causes.most_common(3) if count > 1]
    return items


def _risky(state: State) -> list[str]:
    """What was kept with a risk in its diff that no human had approved."""
    return [
        f"{e.name} was kept with a risk in its diff, approved by {clean_line(e.approved_by)}: "
        + "; ".join(clean_line(flag) for flag in e.flags)
        for e in state.experiments
        if e.outcome == "keep" and e.flags and not e.approved_by.startswith("human")
    ]


def _kept(state: State) -> Block:
    gains = findings.gains(state)
    rows = tuple(
        (
            e.name,
            _value(e.value),
            f"{gains[e.number]:+.6f}" if e.number in gains else "",
            f"{e.memory_gb:.1f}",
            clean_line(e.description),
            e.commit[:7],
            clean_line(e.approved_by),
        )
        for e in state.experiments
        if e.outcome == "keep"
    )
    if not rows:
        return Paragraph("Nothing yet.")
    header = ("", _metric(state), "gain", "GiB", "description", "commit", "approved by")
    return Grid(header, rows, frozenset({1, 2, 3}))


def _tried(state: State) -> Block:
    rows = tuple(
        (
            e.name,
            _WORDS.get(e.outcome, e.outcome) or e.stage.value,
            _value(e.value),
            _minutes(e),
            clean_line(e.description),
            clean_line(e.reason) if e.outcome in ("crash", "invalid", "vetoed", "withdrawn") else "",
        )
        for e in state.experiments
    )
    return Grid(("", "", _metric(state), "minutes", "description", "why"), rows, frozenset({2, 3}))


def _earlier(state: State) -> list[Block]:
    """What the lab's own table and branches had when the session began; nobody has checked it."""
    flagged = sum(1 for each in state.earlier if each.flags)
    said = f"{len(state.earlier)} results from {clean_line(state.earlier_from)} and the lab's branches, as they stood"
    said += f" when the session began; {flagged} of them are flagged." if flagged else " when the session began."
    rows = tuple(
        (
            clean_line(each.name),
            clean_line(each.status),
            _value(each.value),
            clean_line(each.description),
            clean_line("; ".join(each.flags)),
        )
        for each in state.earlier
    )
    return [Paragraph(said), Grid(("", "", _metric(state), "description", "flags"), rows, frozenset({2}))]


def _programs(state: State) -> Block:
    rows = []
    for version in dict.fromkeys(e.program for e in state.experiments):
        under = [e for e in state.experiments if e.program == version]
        scores = [e.value for e in under if e.outcome in ("keep", "discard") and e.value is not None]
        best = max if state.session and state.session.goal == "maximize" else min
        rows.append(
            (
                version or "unknown",
                f"{under[0].name} to {under[-1].name}",
                str(sum(e.outcome == "keep" for e in under)),
                _value(best(scores)) if scores else "",
            )
        )
    return Grid(("version", "experiments", "kept", "best"), tuple(rows), frozenset({2, 3}))


def _cost(state: State, time: Spent) -> list[str]:
    items = [f"Training and scoring: {span(time.busy)} of {span(time.total)}, {time.share:.0%} of the time"]
    if time.runs:
        items.append(f"{time.runs} runs, {span(time.busy / time.runs)} each on average")
    if time.stopped:
        items.append(f"No engine at work: {span(time.stopped)}")
    tokens = sum(e.tokens for e in state.experiments)
    if tokens:
        items.append(f"Researcher: {tokens:,} tokens in proposals")
    if state.usd:
        gained = sum(e.outcome == "keep" for e in state.experiments if e.number)
        each = f", ${state.usd / gained:.2f} for each kept improvement" if gained else ""
        items.append(f"Researcher: ${state.usd:.2f} as far as prices are known{each}")
    return items


def best_diff(state: State, files: SessionFiles) -> str:
    """The best experiment's files against the baseline's, as they were trained."""
    first, best = _baseline(state), state.best
    if first is None or best is None or first.number == best.number or state.session is None:
        return ""
    parts: list[str] = []
    for path in state.session.editable:
        try:
            old, new = ((files.run(e.number).folder / path).read_text("utf-8") for e in (first, best))
        except (OSError, UnicodeDecodeError):
            continue
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), f"a/{path}", f"b/{path}", lineterm="")
        parts += lines
    return clean_text("\n".join(parts))


def _diff(state: State, diff: str) -> list[Block]:
    best = state.best
    if best is None or not diff:
        return [Paragraph("There is no difference to show.")]
    lines = diff.split("\n")
    first = _baseline(state)
    note = f"The files as they were trained: git diff {first.commit[:7] if first else ''} {best.commit[:7]}"
    blocks: list[Block] = [Paragraph(note), Code("\n".join(lines[:_DIFF_LINES]), "diff")]
    if len(lines) > _DIFF_LINES:
        blocks.append(Paragraph(f"{len(lines) - _DIFF_LINES} more lines are left out here."))
    return blocks


def _metric(state: State) -> str:
    return clean_line(state.session.metric) if state.session else "score"


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _minutes(experiment: Experiment) -> str:
    return "" if experiment.run is None else f"{experiment.run.seconds / 60:.1f}"
