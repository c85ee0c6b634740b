"""The progress picture: one pure geometry, drawn as SVG and, where Pillow is installed, as PNG."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.findings import frontier_line, gains, gaps
from autoresearch_tui.text import clean_line

WIDTH, HEIGHT = 1280, 720
_LEFT, _RIGHT, _TOP, _BOTTOM = 96, 40, 72, 72
_INK, _GREY, _PALE = "#24292f", "#6e7781", "#d0d7de"
_KEPT, _TRIED, _FAILED, _PAPER = "#1a7f37", "#afb8c1", "#bc4c00", "#ffffff"
_SEALED = "#8250df"
_LABEL = 42
# No score is further away than this, whatever a log says.
_FAR = 1e300
# Labels lean to the right; closer together than this they would run into each other.
_APART = 26
_Shape = Literal["dot", "ring", "cross", "up", "down"]
_KEY: tuple[tuple[_Shape, str, str, float], ...] = (
    ("dot", _KEPT, "kept", 60),
    ("ring", _TRIED, "discarded", 92),
    ("cross", _FAILED, "crash or invalid", 124),
    ("up", _TRIED, "off the scale", 0),
)


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One experiment. The shape says what became of it, so that the colour does not have to."""

    x: float
    y: float
    shape: _Shape
    colour: str
    size: float


@dataclass(frozen=True, slots=True)
class Label:
    """A piece of text; `lean` turns it anticlockwise, in degrees."""

    x: float
    y: float
    text: str
    size: int
    colour: str
    anchor: Literal["start", "middle", "end"] = "start"
    lean: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything to be drawn, in that order."""

    strokes: tuple[Stroke, ...]
    marks: tuple[Mark, ...]
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Experiment numbers and values as points of the picture."""

    last: int
    low: float
    high: float

    def x(self, number: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * min(number / max(self.last, 1), 1), 2)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * min(max(share, 0.0), 1.0), 2)


def picture(state: State) -> Picture:
    """The chart of a session: every experiment as a mark, the frontier as a line."""
    scale = _scale(state)
    metric = state.session.metric if state.session else "score"
    labels = [*_title(state), *_ticks(scale, metric)]
    grid = [Stroke(((_LEFT, scale.y(v)), (WIDTH - _RIGHT, scale.y(v))), _PALE) for v in nice(scale.low, scale.high)]
    way = frontier_line(state)
    frontier = Stroke(_stairs([(at, e.value) for at, e in way], scale), _KEPT, 2.5)
    sealed = [(at, e.score.sealed) for at, e in way if e.score is not None and e.score.sealed is not None]
    unseen = [Stroke(_stairs(sealed, scale), _SEALED, 1.5)] if sealed else []
    marks, words = _key()
    if sealed:
        words.append(Label(_LEFT + 6, scale.y(sealed[0][1]) - 8, "on the sealed split", 12, _SEALED))
    return Picture(
        strokes=(*grid, *unseen, frontier),
        marks=(*_marks(state, scale), *marks),
        labels=(*labels, *_names(state, scale), *(_return(at, e, scale) for at, e in way if at != e.number), *words),
    )


def nice(low: float, high: float, wanted: int = 6) -> tuple[float, ...]:
    """Round values between `low` and `high` for the marks of an axis."""
    raw = (high - low) / wanted
    if not (raw > 0 and math.isfinite(raw)):
        return ()
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(float(f"{n * step:.12g}") for n in range(first, min(last, first + 2 * wanted) + 1))


def _scored(state: State) -> list[Experiment]:
    return [e for e in state.experiments if e.outcome in ("keep", "discard") and e.value is not None]


def _scale(state: State) -> _Scale:
    """From the best to a little beyond the baseline: what was worse than that is drawn at the edge."""
    kept = [*(e.value or 0.0 for e in _kept(state)), *(gap.sealed for gap in gaps(state))]
    values = [min(max(value, -_FAR), _FAR) for value in kept] or [0.0, 1.0]
    low, high = min(values), max(values)
    # Scores that are all but one: enough room that the scale is one.
    room = max((high - low) * 0.12, max(abs(low), abs(high)) * 1e-6, 1e-9)
    return _Scale(max(len(state.experiments) - 1, 1), low - room, high + room)


def _kept(state: State) -> list[Experiment]:
    return [e for e in _scored(state) if e.outcome == "keep"]


def _stairs(values: Sequence[tuple[float, float | None]], scale: _Scale) -> tuple[tuple[float, float], ...]:
    points: list[tuple[float, float]] = []
    for number, value in values:
        x, y = scale.x(number), scale.y(value or 0.0)
        if points:
            points.append((x, points[-1][1]))
        points.append((x, y))
    if points:
        points.append((scale.x(scale.last), points[-1][1]))
    return tuple(points)


def _marks(state: State, scale: _Scale) -> list[Mark]:
    found: list[Mark] = []
    for experiment in state.experiments:
        x = scale.x(experiment.number)
        value = experiment.value
        if experiment.outcome in ("crash", "invalid"):
            found.append(Mark(x, HEIGHT - _BOTTOM - 6, "cross", _FAILED, 4))
        elif value is None or experiment.outcome not in ("keep", "discard"):
            continue
        elif value > scale.high:
            found.append(Mark(x, _TOP + 5, "up", _TRIED, 5))
        elif value < scale.low:
            found.append(Mark(x, HEIGHT - _BOTTOM - 5, "down", _TRIED, 5))
        elif experiment.outcome == "keep":
            found.append(Mark(x, scale.y(value), "dot", _KEPT, 5.5))
        else:
            found.append(Mark(x, scale.y(value), "ring", _TRIED, 4))
    # What was kept is drawn last, on top.
    return sorted(found, key=lambda mark: mark.shape == "dot")


def _title(state: State) -> list[Label]:
    kept = sum(e.outcome == "keep" for e in state.experiments if e.number)
    tried = sum(bool(e.outcome) for e in state.experiments)
    name = clean_line(state.session.branch) if state.session else "no session"
    text = f"{name}: {tried} experiment{'s' * (tried != 1)}, {kept} of them kept beyond the baseline"
    labels = [Label(_LEFT, 36, text, 20, _INK)]
    first = next((e for e in _scored(state)), None)
    best = state.best
    if first is not None and best is not None and best.value is not None:
        labels.append(Label(_LEFT, 58, f"{first.value:.6f} → {best.value:.6f}", 14, _GREY))
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


def _names(state: State, scale: _Scale) -> list[Label]:
    """What was kept, by its description: the largest gains first, as long as there is room."""
    won = gains(state)
    named = [e for e in _kept(state) if e.number in won]
    taken: list[float] = []
    labels: list[Label] = []
    up = state.session is not None and state.session.goal == "maximize"
    for experiment in sorted(named, key=lambda e: (-won[e.number], e.number)):
        x = scale.x(experiment.number)
        if experiment.value is None or any(abs(x - other) < _APART for other in taken):
            continue
        taken.append(x)
        text = clean_line(experiment.description)
        text = text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
        # The steeper, the less room it takes to the right.
        lean = next((turn for turn in (30, 60) if x + len(text) * 6 * math.cos(math.radians(turn)) < WIDTH - 10), 90)
        y = scale.y(experiment.value)
        labels.append(
            Label(
                x + (12 if lean == 90 else 6), y + 16 if up else y - 8, text, 11, _KEPT, "start", -lean if up else lean
            )
        )
    return sorted(labels, key=lambda label: label.x)


def _return(at: float, experiment: Experiment, scale: _Scale) -> Label:
    """Where the search went back to an earlier experiment."""
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
    """The picture as SVG: text stays text."""
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
    way = -1 if mark.shape == "up" else 1
    x, y, r = mark.x, mark.y, mark.size
    return [(x - r, y - way * r / 2), (x + r, y - way * r / 2), (x, y + way * r)]


def _svg_label(label: Label) -> str:
    turn = f' transform="rotate({-label.lean} {label.x:g} {label.y:g})"' if label.lean else ""
    return (
        f'<text x="{label.x:g}" y="{label.y:g}" font-size="{label.size}" fill="{label.colour}" '
        f'text-anchor="{label.anchor}"{turn}>{escape(label.text)}</text>'
    )


def write_png(chart: Picture, path: Path, scale: int = 2) -> bool:
    """The picture as PNG. False, and nothing written, where Pillow is not installed."""
    try:
        image_module: Any = importlib.import_module("PIL.Image")
        draw_module: Any = importlib.import_module("PIL.ImageDraw")
        font_module: Any = importlib.import_module("PIL.ImageFont")
    except ImportError:
        return False
    # Drawn at twice the size and brought down: smooth lines without a drawing library's help.
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
        draws.Draw(image).text((x, y), text, font=font, fill=label.colour, anchor=anchor)
        return
    # The text alone, turned about its middle and laid where its beginning then meets its place.
    width, height = math.ceil(font.getlength(text)) + 4, 3 * label.size * scale
    ink = images.new("L", (width, height), 0)
    draws.Draw(ink).text((2, height / 2), text, font=font, fill=255, anchor="ls")
    ink = ink.rotate(label.lean, resample=images.Resampling.BICUBIC, expand=True)
    turn, half = math.radians(label.lean), width / 2 - 2
    corner = x + half * math.cos(turn) - ink.width / 2, y - half * math.sin(turn) - ink.height / 2
    image.paste(label.colour, (round(corner[0]), round(corner[1])), ink)
