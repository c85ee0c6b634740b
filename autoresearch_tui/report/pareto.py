"""The score against each of a lab's columns, for the report: a picture, and the Pareto front as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.report import chart
from autoresearch_tui.report.chart import Label, Mark, Picture, Stroke
from autoresearch_tui.report.page import Block, Grid, Heading, Image, Paragraph
from autoresearch_tui.session.columns import Axis, Kind, Point, columns, pairs, pareto
from autoresearch_tui.session.state import State
from autoresearch_tui.util.text import clean_line

_LEFT, _RIGHT, _TOP, _BOTTOM = 96, 40, 56, 72
_INK, _GREY, _PALE = "#24292f", "#6e7781", "#d0d7de"
_FRONT, _TRIED = "#0969da", "#afb8c1"
_ROOM = 0.06  # margin beside the outermost points, as a share of the span
_MOST_NAMES = 24


def section(state: State) -> Iterator[Block]:
    """A picture and the front for each of the lab's columns with numbers; nothing for a lab without columns."""
    own = {axis.name for axis in columns(state)}
    drawn = [(x, y) for x, y in pairs(state) if x.name in own and y.kind is Kind.SCORE]
    if drawn:
        yield Heading(2, "Beside the score")
    for number, (x, y) in enumerate(drawn, 1):
        points = pareto(state.experiments, x, y)
        title = f"{clean_line(y.name)} against {clean_line(x.name)}"
        front = sorted((point for point in points if point.front), key=lambda point: (point.x, point.y))
        many = f"of {len(points)} experiments, these {len(front)} are on the front"
        yield Paragraph(f"{title}: {many}: no other is as good in both and better in one.")
        yield Image(f"front-{number}.svg", title, chart.to_svg(picture(points, x, y)))
        rows = tuple(
            (f"{point.number:04d}", f"{point.y:.6g}", f"{point.x:.6g}", _description(state, point)) for point in front
        )
        header = ("", clean_line(y.name), clean_line(x.name), "description")
        yield Grid(header, rows, frozenset({1, 2}))


def _description(state: State, point: Point) -> str:
    return clean_line(state.experiments[point.number].description)


def picture(points: Sequence[Point], x: Axis, y: Axis) -> Picture:
    """Every experiment as a mark, the front as a line; neither axis is reversed."""
    across, up = _Span([point.x for point in points]), _Span([point.y for point in points])

    def at(point: Point) -> tuple[float, float]:
        wide, high = chart.WIDTH - _LEFT - _RIGHT, chart.HEIGHT - _TOP - _BOTTOM
        return _LEFT + wide * across.share(point.x), chart.HEIGHT - _BOTTOM - high * up.share(point.y)

    labels = [
        Label(_LEFT, 32, _described(y, "↓", "↑"), 16, _INK),
        Label(chart.WIDTH - _RIGHT, chart.HEIGHT - 20, _described(x, "←", "→"), 16, _INK, "end"),
    ]
    strokes = []
    for value in up.marks():
        _, height = at(Point(0, across.low, value, False, False))
        strokes.append(Stroke(((_LEFT, height), (chart.WIDTH - _RIGHT, height)), _PALE))
        labels.append(Label(_LEFT - 8, height + 4, f"{value:g}", 12, _GREY, "end"))
    for value in across.marks():
        across_at, _ = at(Point(0, value, up.low, False, False))
        labels.append(Label(across_at, chart.HEIGHT - _BOTTOM + 20, f"{value:g}", 12, _GREY, "middle"))
    front = sorted((p for p in points if p.front), key=lambda p: (x.goal.sort_key(p.x), y.goal.sort_key(p.y)))
    line: list[tuple[float, float]] = []
    for point in front:
        place = at(point)
        line += [(place[0], line[-1][1])] if line else []
        line.append(place)
    strokes.append(Stroke(tuple(line), _FRONT, 2.0))
    named = {point.number for point in front[:_MOST_NAMES]}
    for point in points:
        if point.number in named:
            place = at(point)
            labels.append(Label(place[0] + 8, place[1] - 8, f"#{point.number}", 12, _FRONT))
    marks = [Mark(*at(point), "ring", _TRIED, 4) for point in points if not point.front]
    marks += [Mark(*at(point), "dot", _FRONT, 5.5) for point in front]
    return Picture(tuple(strokes), tuple(marks), tuple(labels))


class _Span:
    """From the least to the greatest value, with a margin on both sides."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = min(values), max(values)
        room = _ROOM * (high - low) or 0.02 * abs(high) or 1.0
        self.low, self.high = low - room, high + room

    def share(self, value: float) -> float:
        """The place of a value, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)

    def marks(self) -> tuple[float, ...]:
        """Round values for the axis."""
        return tuple(value for value in chart.nice(self.low, self.high) if self.low <= value <= self.high)


def _described(axis: Axis, lower: str, higher: str) -> str:
    return f"{clean_line(axis.name)} {lower if axis.goal is Goal.MINIMIZE else higher} better"
