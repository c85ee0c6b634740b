"""All sessions of a lab in one report: one curve, one table, each row with its session's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.report import chart, report
from autoresearch_tui.report.page import Block, Bullets, Grid, Heading, Image, Paragraph
from autoresearch_tui.report.sessions import Session, read_sessions
from autoresearch_tui.session.cost import cost
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.text import clean_line

Rows = Callable[[State], tuple[tuple[str, ...], ...]]


def write_overview(lab: Lab, tags: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Writes the report of these sessions into `folder` and returns its files. Raises UserError."""
    sessions = read_sessions(lab, tags)
    if not sessions:
        raise UserError(f"{lab.root}: nothing has happened in any session yet")
    alike = _alike(sessions)
    picture = chart.of_sessions([session.state for session in alike], clean_line(lab.root.name))
    title = _headline(lab, alike)
    return report.write_files(folder, title, _story(title, sessions, alike, chart.to_svg(picture)), picture)


def _alike(sessions: Sequence[Session]) -> list[Session]:
    """The sessions with the metric and goal of the latest, because other scores do not compare."""
    return [each for each in sessions if _measure(each.state) == _measure(sessions[-1].state)]


def _measure(state: State) -> tuple[str, str]:
    return (state.session.metric, state.session.goal) if state.session else ("", "")


def _headline(lab: Lab, sessions: Sequence[Session]) -> str:
    first = next((each for session in sessions if (each := report.baseline(session.state))), None)
    name, best = clean_line(lab.root.name), _best(sessions)
    if first is None or best is None:
        return f"{name}: no score yet"
    return f"{name}: {report.score(first.value)} → {report.score(best[1].value)}"


def _best(sessions: Sequence[Session]) -> tuple[Session, Experiment] | None:
    """The best experiment of all, and its session; of equal ones the earlier."""
    found = [(each, best) for each in sessions if (best := each.state.best) is not None and best.value is not None]
    return min(found, key=lambda each: each[0].state.goal.sort_key(each[1].value or 0.0), default=None)


def _story(title: str, sessions: Sequence[Session], alike: Sequence[Session], svg: str) -> tuple[Block, ...]:
    latest = sessions[-1].state
    blocks: list[Block] = [Heading(1, title), Paragraph(_summary(sessions, alike))]
    first = [f"{clean_line(each.tag)}: {item}" for each in sessions for item in report.look_at_first(each.state)]
    if first:
        blocks += [Heading(2, "What to look at first"), Bullets(tuple(first))]
    blocks += [Heading(2, "Progress"), Image("progress.svg", title, svg)]
    if left_out := [clean_line(each.tag) for each in sessions if each not in alike]:
        blocks.append(Paragraph(f"Not in the curve, for their metric is another one: {', '.join(left_out)}."))
    blocks += [Heading(2, "Sessions"), _sessions(sessions)]
    blocks += [
        Heading(2, "What was kept"),
        _together(sessions, report.kept_header(latest), report.kept_rows, report.KEPT_FIGURES),
    ]
    blocks += [
        Heading(2, "Everything that was tried"),
        _together(sessions, report.tried_header(latest), report.tried_rows, report.TRIED_FIGURES),
    ]
    return tuple(blocks)


def _summary(sessions: Sequence[Session], alike: Sequence[Session]) -> str:
    began, ended = sessions[0].records[0].time, max(each.records[-1].time for each in sessions)
    count = sum(len(each.state.experiments) for each in sessions)
    within = f"{len(sessions)} session{'s' * (len(sessions) != 1)}"
    text = f"{report.clock(began)} to {report.clock(ended)} UTC: {count} experiments in {within}."
    if (best := _best(alike)) is not None:
        session, experiment = best
        text += (
            f" The best is {experiment.name} of {clean_line(session.tag)}, {clean_line(experiment.description)}: "
            f"{report.score(experiment.value)}."
        )
    return text


def _sessions(sessions: Sequence[Session]) -> Block:
    rows = []
    for each in sessions:
        state, time = each.state, report.spent(each.records)
        first, best = report.baseline(state), state.best
        known = cost(state).usd
        rows.append(
            (
                clean_line(each.tag),
                report.clock(each.records[0].time),
                report.span(timestamps.between(each.records[0].time, each.records[-1].time)),
                report.span(time.device) + (f" on {time.devices}" if time.devices > 1 else ""),
                str(len(state.experiments)),
                str(sum(e.outcome == Outcome.KEEP for e in state.experiments if e.number)),
                clean_line(_measure(state)[0]),
                report.score(first.value if first else None),
                report.score(best.value if best else None),
                f"${known:.2f}" if known else "",
            )
        )
    header = ("session", "began", "took", "device time", "experiments", "kept", "metric", "baseline", "best", "cost")
    return Grid(header, tuple(rows), frozenset({4, 5, 7, 8, 9}))


def _together(sessions: Sequence[Session], header: tuple[str, ...], rows: Rows, figures: frozenset[int]) -> Block:
    found = tuple((clean_line(each.tag), *row) for each in sessions for row in rows(each.state))
    if not found:
        return Paragraph("Nothing yet.")
    return Grid(("session", *header), found, frozenset(place + 1 for place in figures))
