"""Curves and points in braille dots: each cell has two columns and four rows of dots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from rich.cells import cell_len
from textual.geometry import Size

from autoresearch_tui.cockpit.all_sessions import Others, Part, beside, names
from autoresearch_tui.cockpit.log_follower import Curve, curve_name
from autoresearch_tui.cockpit.widgets.painted import Canvas, Cells, Row, clip, cut, length
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import State
from autoresearch_tui.session.statistics import frontier_line, gaps
from autoresearch_tui.util.frozen import Frozen

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Dots:
    """A grid of cells. If two curves meet in one cell, the layer drawn last sets the tone."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._bits = [[0] * width for _ in range(height)]
        self._tones = [[""] * width for _ in range(height)]

    def dot(self, x: int, y: int, tone: str) -> None:
        """One dot, counted in dots from the upper left."""
        column, row = x // 2, y // 4
        if 0 <= column < self.width and 0 <= row < self.height:
            if self._tones[row][column] != tone:
                # The other layer's dots in this cell would get this tone, which would be wrong.
                self._bits[row][column] = 0
                self._tones[row][column] = tone
            self._bits[row][column] |= _DOTS[y % 4][x % 2]

    def line(self, points: Iterable[tuple[int, int]], tone: str) -> None:
        before: tuple[int, int] | None = None
        for x, y in points:
            if before is None:
                self.dot(x, y, tone)
            else:
                self._segment(before, (x, y), tone)
            before = (x, y)

    def _segment(self, start: tuple[int, int], end: tuple[int, int], tone: str) -> None:
        (x0, y0), (x1, y1) = start, end
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(1, steps + 1):
            self.dot(x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps), tone)

    def rows(self) -> list[list[tuple[str, str]]]:
        """The cells of each row as runs of one tone."""
        return [_runs(bits, tones) for bits, tones in zip(self._bits, self._tones, strict=True)]


def _runs(bits: Sequence[int], tones: Sequence[str]) -> list[tuple[str, str]]:
    runs: list[tuple[str, str]] = []
    for bit, tone in zip(bits, tones, strict=True):
        char = chr(0x2800 + bit) if bit else " "
        if runs and (runs[-1][1] == tone or not bit):
            runs[-1] = (runs[-1][0] + char, runs[-1][1])
        else:
            runs.append((char, tone))
    return runs


# A chart of positive values has a logarithmic axis from this ratio of its ends.
_DECADES = 30


class Scale:
    """Maps values to dots and rows, `high` at the top, for the curves and for the labels beside them."""

    def __init__(self, low: float, high: float, rows: int) -> None:
        self.log = low > 0 and high / low >= _DECADES
        self._ends = low, high
        self._low, self._high = self._place(low), self._place(high)
        self._rows = rows

    @property
    def key(self) -> tuple[float, float, int]:
        """Equal for equal scales."""
        return (*self._ends, self._rows)

    def _place(self, value: float) -> float:
        return math.log10(max(value, self._ends[0] / 10)) if self.log else value

    def dot(self, value: float) -> int:
        """The dot's place from the top; a value off the scale is on its edge."""
        last = self._rows * 4 - 1
        return min(last, max(0, round((self._high - self._place(value)) / (self._high - self._low) * last)))

    def off(self, value: float) -> bool:
        return not self._ends[0] <= value <= self._ends[1]

    def labels(self) -> dict[int, str]:
        """Round values, by the row of cells of their dots."""
        most = max(2, self._rows // 2)
        values = decades(*self._ends, most) if self.log else ticks(*self._ends, most)
        texts = [f"{value:g}" for value in values] if self.log else axis_texts(values)
        return {self.dot(value) // 4: text for value, text in zip(values, texts, strict=True)}


_MOST_DECIMALS = 6
# From this value on: the unit, and its suffix.
_UNITS = ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e5, 1e3, "k"))


def axis_texts(values: Sequence[float]) -> list[str]:
    """The values of an axis, with as many decimals as tell them apart."""
    largest = max(map(abs, values))
    step = min((b - a for a, b in pairwise(values)), default=largest / 1000)
    power = math.floor(math.log10(largest)) if largest else 0
    usual = next(((unit, suffix) for least, unit, suffix in _UNITS if largest >= least), (1.0, ""))
    for unit, suffix in (usual, (10.0**power, f"e{power}")):
        for decimals in range(_MOST_DECIMALS + 1):
            rounded = [round(value / unit, decimals) for value in values]
            if all(abs(one * unit - value) <= step / 8 for one, value in zip(rounded, values, strict=True)):
                return [f"{one:.{decimals}f}{suffix}" for one in rounded]
    return [f"{value:g}" for value in values]


def decades(low: float, high: float, count: int) -> list[float]:
    """At most `count` powers of ten between `low` and `high`, with 2 and 5 times those where there is room."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps, stride in (((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 4)):
        values = [step * 10.0**power for power in range(first, last + 1, stride) for step in steps]
        values = [value for value in values if low <= value <= high]
        if len(values) <= count:
            return values
    return values[:count]


def ticks(low: float, high: float, count: int) -> list[float]:
    """At most `count` round values between `low` and `high`."""
    span = high - low
    if span <= 0 or count < 1:
        return [low]
    unit = 10.0**-12
    while unit * 10 < span:
        unit *= 10
    for step in (unit / 10, unit / 5, unit / 2, unit, unit * 2, unit * 5, unit * 10):
        first = -(-low // step)
        values = [(first + i) * step for i in range(int((high - first * step) / step + 1e-9) + 1)]
        if len(values) <= count:
            return values or [low]
    return [low]


def _axis_width(labels: Mapping[int, str]) -> int:
    """The columns for the labels and the axis; at least 7, so that the chart seldom moves when labels grow."""
    return max(7, *(len(label) + 3 for label in labels.values()))


def beside_axis(labels: Mapping[int, str], axis: int, dots: Dots) -> list[Row]:
    return [
        [(f"{labels.get(y, ''):>{axis - 2}} ", "dim"), ("┤" if y in labels else "│", "faint"), *cells]
        for y, cells in enumerate(dots.rows())
    ]


class Series(Frozen):
    """A curve with its name and its tone."""

    name: str
    tone: str
    curve: Curve


class LossPlot(Canvas):
    """Curves over the share of the budget, so that runs of different speed are comparable."""

    def __init__(self) -> None:
        super().__init__(id="plot")
        self._series: tuple[Series, ...] = ()
        self.smooth = False
        self.key = "loss"

    def show(self, *series: Series) -> None:
        """Shows these curves, the first in front."""
        self._series = tuple(one for one in series if len(one.curve))
        self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:
        width, height = size
        if not self._series:
            text = "The loss curve appears here with the first progress line."
            if self.key != "loss":
                text = f"This log has no {curve_name(self.key)}."
            return [[]] * (height // 2 - 1) + [[(text.center(width), "dim")]]
        plot_height = max(1, height - 2)
        scale = Scale(*self._range(), plot_height)
        labels = scale.labels()
        axis = _axis_width(labels)
        dots = Dots(max(1, width - axis), plot_height)
        for one in reversed(self._series):
            _draw(dots, self._points(one), scale, one.tone)
        return [self._legend(width), *beside_axis(labels, axis, dots), _x_axis(axis, dots.width)]

    def _points(self, series: Series) -> list[tuple[float, float]]:
        points = series.curve.points
        return smoothed(points) if self.smooth else points

    def _range(self) -> tuple[float, float]:
        """Leaves out the first steep fall, so that the rest of the curve is visible."""
        points = [point for one in self._series for point in self._points(one)]
        newest = self._series[0].curve.last
        from_ = min(0.08, newest[0] / 4 if newest else 0.08)
        settled = [value for at, value in points if at >= from_] or [value for _, value in points]
        low, high = min(settled), max(settled)
        room = 0.04 * (high - low) if high - low > 0.001 * abs(high) else 0.02 * abs(high) + 1e-9
        return low - room, high + room

    def _legend(self, width: int) -> Row:
        first, others = self._series[0], self._series[1:]
        row: list[Cells] = [(" ━ ", first.tone), (first.name, "text")]
        if what := " ".join(filter(None, ("" if self.key == "loss" else curve_name(self.key), "smooth" * self.smooth))):
            row.append((f" {cut(what, width // 2)}", "second"))
        newest = first.curve.last if self.key == "loss" else None
        # The loss itself is in the row above, from the newest line, so only the difference is shown.
        there = others[0].curve.value_at(newest[0]) if newest and len(others) == 1 else None
        if newest is not None and there is not None:
            apart = newest[1] - there
            glyph, word, tone = ("▼", "ahead", "good") if apart < 0 else ("▲", "behind", "warn")
            level = abs(apart) < 0.00005
            row.append(("  = level", "dim") if level else (f"  {glyph} {abs(apart):.4f} {word}", tone))
        right: list[Cells] = []
        for one in others:
            cells: list[Cells] = [(" ━ ", one.tone), (one.name, "dim")]
            if length(row) + length(right) + length(cells) + 2 > width:
                break
            right += cells
        return [*row, (" " * (width - length(row) - length(right) - 1), ""), *right]


def _draw(dots: Dots, points: list[tuple[float, float]], scale: Scale, tone: str) -> None:
    """Leaves out the part above the scale, which would look flat along the edge."""
    wide = dots.width * 2 - 1
    comes = next((i for i, (_, value) in enumerate(points) if not scale.off(value)), 0)
    points = points[max(0, comes - 1) :]
    dots.line([(round(at * wide), scale.dot(value)) for at, value in points], tone)


# The weight of the mean so far at each point of a smooth curve.
_KEPT = 0.9


def smoothed(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """An exponential running mean, without the bias towards its first value."""
    mean = weight = 0.0
    made = []
    for at, value in points:
        mean, weight = _KEPT * mean + (1 - _KEPT) * value, _KEPT * weight + 1 - _KEPT
        made.append((at, mean / weight))
    return made


def _x_axis(axis: int, width: int) -> Row:
    marks = [0, 25, 50, 75, 100] if width >= 32 else [0, 100]
    line = [" "] * width
    for mark in marks:
        text = f"{mark}%"
        start = min(max(0, round(mark / 100 * (width - 1)) - len(text) // 2), width - len(text))
        line[start : start + len(text)] = text
    return [(" " * axis + "".join(line), "dim")]


class ProgressChart(Canvas):
    """Scores over experiments, and the frontier. Points far off it are drawn on the chart's edge and counted there.

    The line of the sealed split is moved to begin where the frontier does, so that it shows where the two part. With
    all sessions of the lab, each has its own frontier from its beginning to its end.
    """

    def __init__(self) -> None:
        super().__init__(id="chart", classes="pane")
        self._state = State()
        self._others: Others | None = None

    def show(self, state: State) -> None:
        if (
            state.experiments is not self._state.experiments
            or state.frontier_history is not self._state.frontier_history
        ):
            self._state = state
            self.repaint()

    def show_all(self, others: Others | None) -> None:
        """Shows all sessions; None: this one alone."""
        self._others = others
        self.repaint()

    def _parts(self) -> tuple[Part, ...]:
        tag = self._state.session.tag if self._state.session is not None else ""
        return beside(self._others, tag, self._state) if self._others is not None else (Part(tag, self._state, 0),)

    def paint(self, size: Size) -> Sequence[Row]:
        width, height = size
        parts = self._parts()
        spans = [span for part in parts if (span := part.state.experiments.known(_span, _widest)) is not None]
        if not spans:
            return [[(" The session's progress appears here with the first score.", "dim")]]
        last = max(1, sum(len(part.state.experiments) for part in parts) - 1)
        scale = Scale(*_range(spans, self._state.goal), max(1, height - 1))
        labels = scale.labels()
        axis = _axis_width(labels)
        dots = Dots(max(1, width - axis), max(1, height - 1))
        moved = [_draw_part(dots, part, scale, last) for part in parts]
        rows = beside_axis(labels, axis, dots)
        chunks = (chunk for part in parts for chunk in part.state.experiments.chunks)
        if off := sum(chunk.last_known(_off, scale.key) for chunk in chunks):
            # In the corner where those points are: above the frontier, or below it.
            edge = 0 if self._state.goal is Goal.MINIMIZE else len(rows) - 1
            rows[edge] = _marked(rows[edge], f"{'▲' if not edge else '▼'} {off} off the chart", width)
        if len(parts) > 1:
            return [*rows, [(" " * axis + names(parts, dots.width, last), "dim")]]
        legend = self._legend(dots.width, last, "" if moved[0] is None else f"{moved[0]:+.4f}", scale.log)
        return [*rows, [(" " * axis, ""), *legend]]

    def _legend(self, width: int, last: int, moved: str, log: bool) -> Row:
        """Experiment numbers at the ends; between them the names of the lines."""
        legend: list[Cells] = [("━", "good"), (" frontier  ", "dim"), ("·", "dim"), (" not kept", "dim")]
        if moved:
            legend += [("  ━", "second"), (f" sealed split, less {moved}", "dim")]
        if log:
            legend.append(("  log", "dim"))
        if length(legend) + 7 + len(str(last)) > width and moved:
            legend[5] = (" sealed", "dim")
        room = width - 3 - len(str(last)) - length(legend)
        if room < 4:
            return [(f"#0{'':{max(0, width - 3 - len(str(last)))}}#{last}", "dim")]
        return [(f"#0{'':{room // 2}}", "dim"), *legend, (f"{'':{room - room // 2}}#{last}", "dim")]


def _draw_part(dots: Dots, part: Part, scale: Scale, last: int) -> float | None:
    """Draws one session's points and lines; returns by how much its sealed line is moved, or None without one."""
    wide, state = dots.width * 2 - 1, part.state

    def place(number: float, value: float) -> tuple[int, int]:
        return round(min((part.first + number) / last, 1) * wide), scale.dot(value)

    end, _ = place(len(state.experiments) - 1 if part.first + len(state.experiments) <= last else math.inf, 0.0)
    if part.first:
        begins, _ = place(0, 0.0)
        for y in range(0, dots.height * 4, 2):
            dots.dot(begins, y, "faint")
    # Of neighbours that may share a dot, one of each height is drawn.
    neighbours = 1 << max(0, math.frexp(last / wide)[1] - 1)
    for chunk in state.experiments.chunks:
        for number, y, tone in chunk.last_known(_dots, scale.key, neighbours):
            dots.dot(place(number, 0.0)[0], y, tone)
    frontier = frontier_line(state)
    known = gaps(state)
    moved = known[0].gap if known else 0.0
    sealed = [place(at, e.sealed - moved) for at, e in frontier if e.sealed is not None]
    if sealed:
        dots.line(_steps(sealed, end), "second")
    if frontier:
        dots.line(_steps([place(at, e.value or 0.0) for at, e in frontier], end), "good")
    return moved if sealed else None


def _dots(chunk: Chunk, ends: tuple[float, float, int], neighbours: int) -> list[tuple[int, int, str]]:
    """Number, height and tone of a chunk's visible points."""
    scale, found = Scale(*ends), {}
    for number, value, outcome in zip(*map(chunk.column, ("number", "value", "outcome")), strict=True):
        if value is not None:
            y, at = scale.dot(value), number // neighbours
            if outcome == Outcome.KEEP or (at, y) not in found:
                found[at, y] = number, y, "good" if outcome == Outcome.KEEP else "dim"
    return list(found.values())


def _off(chunk: Chunk, ends: tuple[float, float, int]) -> int:
    scale = Scale(*ends)
    return sum(scale.off(value) for value in chunk.column("value") if value is not None)


Span = tuple[float, float, float, float]
"""The lowest and the highest score of all, then of those kept, or of all if none was kept."""


def _span(chunk: Chunk) -> tuple[list[float], list[float]]:
    column = chunk.column("value")
    values = [value for value in column if value is not None]
    kept = [value for place in chunk.places("outcome", Outcome.KEEP) if (value := column[place]) is not None]
    return ([min(values), max(values)] if values else []), ([min(kept), max(kept)] if kept else [])


def _widest(parts: Sequence[tuple[list[float], list[float]]]) -> Span | None:
    values = [value for part in parts for value in part[0]]
    kept = [value for part in parts for value in part[1]] or values
    return (min(values), max(values), min(kept), max(kept)) if values else None


def _steps(points: list[tuple[int, int]], wide: int) -> list[tuple[int, int]]:
    """The points as stairs, up to dot column `wide`."""
    stairs: list[tuple[int, int]] = []
    for x, y in points:
        stairs += [(x, stairs[-1][1])] if stairs else []
        stairs.append((x, y))
    return [*stairs, (wide, stairs[-1][1])]


def _marked(row: Row, text: str, width: int) -> Row:
    """The row with `text` over its right end."""
    room = width - cell_len(text) - 1
    return [*clip(row, room), (f" {text}", "warn")] if room > width // 3 else row


def _range(spans: Sequence[Span], goal: Goal) -> tuple[float, float]:
    """The span of the frontier, and as much again on the worse side, where points matter less."""
    values = [value for span in spans for value in span[:2]]
    low, high = min(span[2] for span in spans), max(span[3] for span in spans)
    if low > 0 and high / low >= _DECADES:
        return low / 1.5, high * 1.5
    span = max(high - low, abs(high) * 0.002, 1e-9)
    if goal is Goal.MINIMIZE:
        high = max(high, min(max(values), high + span))
    else:
        low = min(low, max(min(values), low - span))
    if high == low:
        # One value, in the middle.
        return low - span / 2, high + span / 2
    room = 0.06 * (high - low)
    return low - room, high + room
