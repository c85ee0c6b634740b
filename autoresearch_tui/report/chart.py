"""The progress chart: one pure geometry, drawn as SVG and, if Pillow is installed, as PNG."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import draws
from autoresearch_tui.session.ends import FAILED, SCORED, Outcome
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.statistics import frontier_line, gains, gaps
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

WIDTH, HEIGHT = 1280, 720
_LEFT, _RIGHT, _TOP, _BOTTOM = 96, 40, 72, 72
_INK, _GREY, _PALE = "#24292f", "#6e7781", "#d0d7de"
_KEPT, _TRIED, _FAILED, _PAPER = "#1a7f37", "#afb8c1", "#bc4c00", "#ffffff"
_SEALED = "#8250df"
_LABEL = 42
# Scores are limited to this.
_FAR = 1e300
# The least distance between labels, which lean to the right.
_APART = 26
_MOST_NAMES = 16
# The width of "on from #123".
_ROOM = 84
_Shape = Literal["dot", "ring", "cross", "up", "down"]
_KEY: tuple[tuple[_Shape, str, str, float], ...] = (
    ("dot", _KEPT, "kept", 60),
    ("ring", _TRIED, "discarded", 92),
    ("cross", _FAILED, "crash or invalid", 124),
    ("up", _TRIED, "off the scale", 0),
)


class Stroke(Frozen):
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1.0


class Mark(Frozen):
    """One experiment. Its shape shows the outcome, so that colour is not needed."""

    x: float
    y: float
    shape: _Shape
    colour: str
    size: float


class Label(Frozen):
    """Text; `lean` turns it anticlockwise, in degrees."""

    x: float
    y: float
    text: str
    size: int
    colour: str
    anchor: Literal["start", "middle", "end"] = "start"
    lean: int = 0


class Picture(Frozen):
    """Everything to draw, in this order."""

    strokes: tuple[Stroke, ...]
    marks: tuple[Mark, ...]
    labels: tuple[Label, ...]


class _Scale(Frozen):
    """Maps experiment numbers and values to points of the picture."""

    last: int
    low: float
    high: float

    def x(self, number: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * min(number / max(self.last, 1), 1), 2)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * min(max(share, 0.0), 1.0), 2)


class _Part(Frozen):
    """A session, whose experiments begin at `first` on the axis."""

    state: State
    first: int = 0

    def scored(self) -> list[Experiment]:
        return [e for e in self.state.experiments if e.outcome in SCORED and e.value is not None]

    def kept(self) -> list[Experiment]:
        return [e for e in self.scored() if e.outcome == Outcome.KEEP]


def picture(state: State) -> Picture:
    """The chart of a session: every experiment as a mark, the frontier as a line."""
    name = clean_line(state.session.branch) if state.session else "no session"
    return _draw((_Part(state),), name)


def of_sessions(states: Sequence[State], name: str) -> Picture:
    """The chart of several sessions with one metric, one after the other, with the best score so far of all."""
    parts: list[_Part] = []
    for state in states:
        parts.append(_Part(state, sum(len(part.state.experiments) for part in parts)))
    chart = _draw(parts, name)
    scale = _scale(parts)
    edges = [Stroke(((scale.x(part.first), _TOP), (scale.x(part.first), HEIGHT - _BOTTOM)), _GREY) for part in parts]
    tags = _spread([(scale.x(part.first) + 4, _tag(part.state)) for part in parts])
    best = Stroke(_stairs(_best_so_far(parts), scale), _INK, 1.0)
    return Picture((*edges, *chart.strokes, best), chart.marks, (*chart.labels, *tags))


def _draw(parts: Sequence[_Part], name: str) -> Picture:
    scale = _scale(parts)
    session = parts[-1].state.session
    labels = [*_title(parts, name), *_ticks(scale, session.metric if session else "score")]
    strokes = [Stroke(((_LEFT, scale.y(v)), (WIDTH - _RIGHT, scale.y(v))), _PALE) for v in nice(scale.low, scale.high)]
    marks, words = _key()
    back: list[Label] = []
    for part in parts:
        frontier = [(part.first + at, e) for at, e in frontier_line(part.state)]
        end = part.first + max(len(part.state.experiments) - 1, 1)
        sealed = [(at, e.score.sealed) for at, e in frontier if e.score is not None and e.score.sealed is not None]
        if sealed:
            strokes.append(Stroke(_stairs(sealed, scale, end), _SEALED, 1.5))
            words.append(
                Label(scale.x(sealed[0][0]) + 6, scale.y(sealed[0][1]) - 8, "on the sealed split", 12, _SEALED)
            )
        strokes.append(Stroke(_stairs([(at, e.value) for at, e in frontier], scale, end), _KEPT, 2.5))
        back += [_return(at, e, scale) for at, e in frontier if at != part.first + e.number]
    found = sorted((mark for part in parts for mark in _marks(part, scale)), key=lambda mark: mark.shape == "dot")
    # Kept experiments are drawn last, on top.
    return Picture((*strokes,), (*found, *marks), (*labels, *_names(parts, scale), *_apart(back), *words))


def _tag(state: State) -> str:
    return clean_line(state.session.tag) if state.session else ""


def _spread(tags: Sequence[tuple[float, str]]) -> list[Label]:
    """The sessions' names along the top, in two rows; a name without room is left out."""
    labels: list[Label] = []
    free = [0.0, 0.0]
    for x, text in tags:
        row = next((row for row, room in enumerate(free) if x >= room), None)
        if row is not None:
            labels.append(Label(x, _TOP + 14 + 16 * row, text, 12, _INK))
            free[row] = x + 7.0 * len(text) + 6
    return labels


def _apart(labels: Sequence[Label]) -> list[Label]:
    """The labels that do not cover an earlier one."""
    found: list[Label] = []
    for label in labels:
        if not any(abs(label.x - other.x) < _ROOM and abs(label.y - other.y) < 14 for other in found):
            found.append(label)
    return found


def _best_so_far(parts: Sequence[_Part]) -> list[tuple[float, float | None]]:
    steps: list[tuple[float, float | None]] = []
    for part in parts:
        goal = part.state.goal
        if draws.fresh(part.state):
            continue
        for experiment in part.kept():
            before = steps[-1][1] if steps else None
            value = experiment.value or 0.0
            if before is None or goal.better(value, before):
                steps.append((part.first + experiment.number, value))
    return steps


def nice(low: float, high: float, wanted: int = 6) -> tuple[float, ...]:
    """Round values between `low` and `high`, for the ticks of an axis."""
    raw = (high - low) / wanted
    if not (raw > 0 and math.isfinite(raw)):
        return ()
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(float(f"{n * step:.12g}") for n in range(first, min(last, first + 2 * wanted) + 1))


def _scale(parts: Sequence[_Part]) -> _Scale:
    """From the best to a little beyond the baseline; worse scores are drawn at the edge."""
    kept = [e.value or 0.0 for part in parts for e in part.kept()]
    kept += [gap.sealed for part in parts for gap in gaps(part.state)]
    values = [min(max(value, -_FAR), _FAR) for value in kept] or [0.0, 1.0]
    low, high = min(values), max(values)
    # With nearly equal scores, the margin makes the scale.
    room = max((high - low) * 0.12, max(abs(low), abs(high)) * 1e-6, 1e-9)
    count = parts[-1].first + len(parts[-1].state.experiments)
    return _Scale(max(count - 1, 1), low - room, high + room)


def _stairs(
    values: Sequence[tuple[float, float | None]], scale: _Scale, end: float | None = None
) -> tuple[tuple[float, float], ...]:
    points: list[tuple[float, float]] = []
    for number, value in values:
        x, y = scale.x(number), scale.y(value or 0.0)
        if points:
            points.append((x, points[-1][1]))
        points.append((x, y))
    if points:
        points.append((scale.x(scale.last if end is None else end), points[-1][1]))
    return tuple(points)


def _marks(part: _Part, scale: _Scale) -> list[Mark]:
    found: list[Mark] = []
    for experiment in part.state.experiments:
        x = scale.x(part.first + experiment.number)
        value = experiment.value
        if experiment.outcome in FAILED:
            found.append(Mark(x, HEIGHT - _BOTTOM - 6, "cross", _FAILED, 4))
        elif value is None or experiment.outcome not in SCORED:
            continue
        elif value > scale.high:
            found.append(Mark(x, _TOP + 5, "up", _TRIED, 5))
        elif value < scale.low:
            found.append(Mark(x, HEIGHT - _BOTTOM - 5, "down", _TRIED, 5))
        elif experiment.outcome == Outcome.KEEP:
            found.append(Mark(x, scale.y(value), "dot", _KEPT, 5.5))
        else:
            found.append(Mark(x, scale.y(value), "ring", _TRIED, 4))
    return found


def _title(parts: Sequence[_Part], name: str) -> list[Label]:
    kept = sum(e.outcome == Outcome.KEEP for part in parts for e in part.state.experiments if e.number)
    tried = sum(bool(e.outcome) for part in parts for e in part.state.experiments)
    within, several = (f" in {len(parts)} sessions", "s") if len(parts) > 1 else ("", "")
    text = f"{name}: {tried} experiment{'s' * (tried != 1)}{within}, {kept} of them kept beyond the baseline{several}"
    labels = [Label(_LEFT, 36, text, 20, _INK)]
    first = next((e for part in parts for e in part.scored()), None)
    best = parts[-1].state.goal.best([e.value or 0.0 for part in parts for e in part.kept()])
    if any(draws.fresh(part.state) for part in parts):
        labels.append(Label(_LEFT, 58, "each score is on a draw of its own: heights do not compare", 14, _GREY))
    elif first is not None and best is not None:
        labels.append(Label(_LEFT, 58, f"{first.value:.6f} → {best:.6f}", 14, _GREY))
    return labels


def _ticks(scale: _Scale, metric: str) -> list[Label]:
    values = nice(scale.low, scale.high)
    step = values[1] - values[0] if len(values) > 1 and values[1] > values[0] else 1.0
    digits = min(max(0, -math.floor(math.log10(step) + 1e-9) + (1 if f"{step:e}".startswith("2.5") else 0)), 9)
    labels = [Label(_LEFT - 10, scale.y(v) + 4, f"{v:.{digits}f}", 12, _GREY, "end") for v in values]
    labels += [
        Label(scale.x(number), HEIGHT - _BOTTOM + 22, str(int(number)), 12, _GREY, "middle")
        for number in nice(0, scale.last, 10)
        if number == int(number)
    ]
    labels.append(Label((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 20, "experiment", 13, _INK, "middle"))
    labels.append(Label(_LEFT - 10, _TOP - 8, clean_line(metric), 13, _INK, "end"))
    return labels


def _names(parts: Sequence[_Part], scale: _Scale) -> list[Label]:
    """Descriptions of kept experiments: the largest gains first, as long as there is room."""
    won = {(part.first, number): gain for part in parts for number, gain in gains(part.state).items()}
    named = [(part.first, e) for part in parts for e in part.kept() if (part.first, e.number) in won]
    taken: list[float] = []
    labels: list[Label] = []
    up = parts[-1].state.goal is Goal.MAXIMIZE
    for first, experiment in sorted(named, key=lambda each: (-won[each[0], each[1].number], each[0] + each[1].number)):
        x = scale.x(first + experiment.number)
        if experiment.value is None or any(abs(x - other) < _APART for other in taken):
            continue
        if len(taken) == _MOST_NAMES:
            break
        taken.append(x)
        text = clean_line(experiment.description)
        text = text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
        # A steeper label takes less room to the right.
        lean = next((turn for turn in (30, 60) if x + len(text) * 6 * math.cos(math.radians(turn)) < WIDTH - 10), 90)
        y = scale.y(experiment.value)
        labels.append(
            Label(
                x + (12 if lean == 90 else 6), y + 16 if up else y - 8, text, 11, _KEPT, "start", -lean if up else lean
            )
        )
    return sorted(labels, key=lambda label: label.x)


def _return(at: float, experiment: Experiment, scale: _Scale) -> Label:
    """A label where the search went back to an earlier experiment."""
    anchor: Literal["start", "end"] = "start" if scale.x(at) < WIDTH / 2 else "end"
    aside = 6 if anchor == "start" else -6
    return Label(
        scale.x(at) + aside, scale.y(experiment.value or 0.0) - 8, f"on from #{experiment.number}", 11, _GREY, anchor
    )


def _key() -> tuple[list[Mark], list[Label]]:
    marks: list[Mark] = []
    labels: list[Label] = []
    x = WIDTH - _RIGHT - 350.0
    for shape, colour, word, room in _KEY:
        marks.append(Mark(x, 32, shape, colour, 4.5))
        labels.append(Label(x + 10, 36, word, 12, _GREY))
        x += room
    return marks, labels


def to_svg(chart: Picture) -> str:
    """The picture as SVG, with text as text."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" role="img">',
        f"<title>{escape(chart.labels[0].text)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{_PAPER}"/>',
    ]
    for stroke in chart.strokes:
        if stroke.points:
            points = " ".join(f"{x:g},{y:g}" for x, y in stroke.points)
            lines.append(
                f'<polyline points="{points}" fill="none" stroke="{stroke.colour}" stroke-width="{stroke.width:g}"/>'
            )
    lines += [_svg_mark(mark) for mark in chart.marks]
    lines += [_svg_label(label) for label in chart.labels]
    return "\n".join([*lines, "</svg>", ""])


def _svg_mark(mark: Mark) -> str:
    x, y, r, colour = mark.x, mark.y, mark.size, mark.colour
    if mark.shape in ("dot", "ring"):
        fill, edge = (colour, _PAPER) if mark.shape == "dot" else (_PAPER, colour)
        return f'<circle cx="{x:g}" cy="{y:g}" r="{r:g}" fill="{fill}" stroke="{edge}" stroke-width="1.5"/>'
    if mark.shape == "cross":
        path = f"M{x - r:g} {y - r:g}L{x + r:g} {y + r:g}M{x - r:g} {y + r:g}L{x + r:g} {y - r:g}"
        return f'<path d="{path}" stroke="{colour}" stroke-width="2"/>'
    points = " ".join(f"{a:g},{b:g}" for a, b in _triangle(mark))
    return f'<polygon points="{points}" fill="{colour}"/>'


def _triangle(mark: Mark) -> list[tuple[float, float]]:
    down = -1 if mark.shape == "up" else 1
    x, y, r = mark.x, mark.y, mark.size
    return [(x - r, y - down * r / 2), (x + r, y - down * r / 2), (x, y + down * r)]


# Paper around the letters, so that they can be read across lines and marks.
_HALO = f'stroke="{_PAPER}" stroke-width="3" stroke-linejoin="round" paint-order="stroke"'


def _svg_label(label: Label) -> str:
    turn = f' transform="rotate({-label.lean} {label.x:g} {label.y:g})"' if label.lean else ""
    return (
        f'<text x="{label.x:g}" y="{label.y:g}" font-size="{label.size}" fill="{label.colour}" '
        f'text-anchor="{label.anchor}"{turn} {_HALO}>{escape(label.text)}</text>'
    )


def write_png(chart: Picture, path: Path, scale: int = 2) -> bool:
    """Writes the picture as PNG. Returns False, and writes nothing, if Pillow is not installed."""
    try:
        image_module: Any = importlib.import_module("PIL.Image")
        draw_module: Any = importlib.import_module("PIL.ImageDraw")
        font_module: Any = importlib.import_module("PIL.ImageFont")
    except ImportError:
        return False
    # Drawn at twice the size and reduced, for smooth lines.
    fine = scale * 2
    image = image_module.new("RGB", (WIDTH * fine, HEIGHT * fine), _PAPER)
    draw = draw_module.Draw(image)
    for stroke in chart.strokes:
        points = [(x * fine, y * fine) for x, y in stroke.points]
        draw.line(points, fill=stroke.colour, width=max(1, round(stroke.width * fine)))
    for mark in chart.marks:
        _png_mark(draw, mark, fine)
    image = image.reduce(2)
    for label in chart.labels:
        _png_label(image, label, scale, image_module, draw_module, font_module)
    image.save(path, "PNG")
    return True


# Pillow's own font has no arrows.
_PLAIN = str.maketrans({"→": "->", "←": "<-", "−": "-", "×": "x", "≥": ">=", "≤": "<=", "≈": "~"})


def _png_mark(draw: Any, mark: Mark, fine: int) -> None:
    x, y, r = mark.x * fine, mark.y * fine, mark.size * fine
    if mark.shape in ("dot", "ring"):
        fill, edge = (mark.colour, _PAPER) if mark.shape == "dot" else (_PAPER, mark.colour)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=edge, width=round(1.5 * fine))
    elif mark.shape == "cross":
        draw.line((x - r, y - r, x + r, y + r), fill=mark.colour, width=2 * fine)
        draw.line((x - r, y + r, x + r, y - r), fill=mark.colour, width=2 * fine)
    else:
        draw.polygon([(a * fine, b * fine) for a, b in _triangle(mark)], fill=mark.colour)


def _png_label(image: Any, label: Label, scale: int, images: Any, draws: Any, fonts: Any) -> None:
    font = fonts.load_default(label.size * scale)
    text = label.text.translate(_PLAIN)
    x, y = round(label.x * scale), round(label.y * scale)
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[label.anchor]
    if not label.lean:
        paper = {"stroke_width": scale, "stroke_fill": _PAPER}
        draws.Draw(image).text((x, y), text, font=font, fill=label.colour, anchor=anchor, **paper)
        return
    # The text is drawn alone, rotated about its middle, and pasted so that its beginning is at (x, y).
    width, height = math.ceil(font.getlength(text)) + 4, 3 * label.size * scale
    inks = []
    for around in (scale, 0):
        ink = images.new("L", (width, height), 0)
        draws.Draw(ink).text((2, height / 2), text, font=font, fill=255, anchor="ls", stroke_width=around)
        inks.append(ink.rotate(label.lean, resample=images.Resampling.BICUBIC, expand=True))
    turn, half = math.radians(label.lean), width / 2 - 2
    corner = x + half * math.cos(turn) - inks[0].width / 2, y - half * math.sin(turn) - inks[0].height / 2
    for ink, colour in zip(inks, (_PAPER, label.colour), strict=True):
        image.paste(colour, (round(corner[0]), round(corner[1])), ink)
