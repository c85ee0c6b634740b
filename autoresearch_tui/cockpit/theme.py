"""Pure: a theme's colours as readable text. Many light themes have a warning colour that works only as a background."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from rich._palettes import EIGHT_BIT_PALETTE, STANDARD_PALETTE
from rich.color import Color as RichColor
from rich.color import ColorSystem
from textual.color import BLACK, WHITE, Color

from autoresearch_tui.util.frozen import Frozen

# The contrast that WCAG requires for text.
RATIO = 4.5
_PALETTES = {"256": EIGHT_BIT_PALETTE, "standard": STANDARD_PALETTE}
# Below this a colour counts as grey.
_GREY = 0.08
_GROUNDS = ("background", "surface", "panel")
_INKS = {"words": 0.86, "quiet": 0.55}
_DARK_DIFF = ("#005f00", "#5f0000", "#008700", "#870000", "#ffffff", "#303030", "#5f5f00")
_LIGHT_DIFF = ("#d7ffd7", "#ffd7d7", "#afffaf", "#ffafaf", "#000000", "#ffffff", "#ffffd7")
# Sixteen colours are chosen by meaning, since they have no finer hues.
_SIXTEEN = {
    "success": (2, 10),
    "error": (1, 9),
    "warning": (3, 11),
    "primary": (4, 12, 6, 14),
    "accent": (4, 12, 6, 14),
    "secondary": (5, 13),
}
# The share of its hue in a banner's background, with enough colours.
_BANNERS = {"primary": 0.2, "warning": 0.3, "error": 0.3}
_TROUGHS = tuple(
    f"scrollbar-{part}" for part in ("background", "background-hover", "background-active", "corner-color")
)
_NAMES = ("primary", "secondary", "accent", "success", "warning", "error")
_STEPS = 20


def contrast(one: Color, other: Color) -> float:
    """The WCAG contrast, from 1 (the same) to 21 (black and white)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: Color) -> float:
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def legible(color: Color, ground: Color, ratio: float = RATIO) -> Color:
    """The colour, darkened or lightened as little as it takes to reach `ratio` on `ground`."""
    end = max(BLACK, WHITE, key=lambda pole: contrast(pole, ground))
    shades = (color.blend(end, step / _STEPS, 1.0) for step in range(_STEPS))
    return next((shade for shade in shades if contrast(shade, ground) >= ratio), end)


@lru_cache(maxsize=256)
def shown(color: Color, depth: str, grounds: tuple[Color, ...] = (), ratio: float = RATIO) -> Color:
    """What a terminal of this depth shows for a colour: the palette's closest hue that is readable on `grounds`.

    Otherwise Rich takes the closest brightness, and a soft green becomes grey.
    """
    if depth not in _PALETTES:
        return color
    palette = _palette(depth)
    on = [drawn(ground, depth) for ground in grounds]
    fit = [one for one in palette if all(contrast(one, ground) >= ratio for ground in on)]
    return palette[min(fit or palette, key=lambda one: _unlike(color, one))]


def drawn(color: Color, depth: str) -> Color:
    """The colour that Rich draws on a terminal of this depth."""
    if depth not in _PALETTES:
        return color
    system = ColorSystem.STANDARD if depth == "standard" else ColorSystem.EIGHT_BIT
    return Color(*_PALETTES[depth][RichColor.from_rgb(*color.rgb).downgrade(system).number or 0])


@lru_cache(maxsize=2)
def _palette(depth: str) -> dict[Color, Color]:
    """The terminal's colours, each with one that Rich draws as it, since it draws some greys as their neighbours."""
    # The first 16 of the 256 depend on the user's terminal.
    numbers = range(16) if depth == "standard" else range(16, 256)
    asked = [Color(*_PALETTES[depth][number]) for number in numbers]
    greys = [] if depth == "standard" else [Color(level, level, level) for level in range(0, 256, 3)]
    return {drawn(color, depth): color for color in (*greys, *asked)}


def _unlike(one: Color, other: Color) -> float:
    """The distance between two colours. A hue weighs as much as a colour is saturated; a grey has none."""
    (hue, _, light), (its_hue, _, its_light) = one.hsl, other.hsl
    apart = abs(hue - its_hue)
    away = min(apart, 1 - apart) if _chroma(other) > _GREY else 0.25
    weight = 8 * _chroma(one) if _chroma(one) > _GREY else 0.0
    return weight * away + abs(_chroma(one) - _chroma(other)) + 2 * abs(light - its_light)


def _chroma(color: Color) -> float:
    return max(color.normalized) - min(color.normalized)


def variables(named: Mapping[str, str], depth: str = "truecolor") -> dict[str, str]:
    """A theme's variables, readable on its background and in the colours that the terminal has.

    `words` is for text, `quiet` for dimmed text, `primary-banner` the background of a row that stands out and
    `on-primary-banner` its text. `depth` is Rich's name of the colour system.
    """
    if any(named[name].startswith("ansi_") for name in ("background", "foreground", *_NAMES)):
        # The terminal's own colours: their values are unknown.
        banners = {f"{name}-banner": named["background"] for name in _BANNERS}
        banners |= {f"on-{name}-banner": named[name] for name in _BANNERS}
        return {**named, **banners, "words": named["foreground"], "quiet": "ansi_bright_black"}
    grounds = {name: _ground(Color.parse(named[name]), depth) for name in _GROUNDS if name in named}
    ground, ink = grounds["background"], Color.parse(named["foreground"])
    found = {name: Color.parse(named[name]) for name in _NAMES}
    found |= {name: ground.blend(ink, strength, 1.0) for name, strength in _INKS.items()}
    if depth == "standard":
        found["words"] = ink  # its greys are few
    readable = {name: shown(legible(color, ground), depth, (ground,)).hex6 for name, color in found.items()}
    if depth == "standard":
        readable |= {name: _of_sixteen(numbers, ground).hex6 for name, numbers in _SIXTEEN.items()}
    if depth in _PALETTES:
        readable["foreground"] = shown(ink, depth, (ground,)).hex6
        readable |= {name: color.hex6 for name, color in grounds.items()}
        # Otherwise Textual's own widgets get the closest grey, or black.
        readable |= dict.fromkeys(_TROUGHS, ground.hex6) | {"panel-darken-1": grounds.get("panel", ground).hex6}
    readable |= _banners(readable, ground, ink, depth)
    if depth in _PALETTES:
        for state in ("", "-blurred"):
            readable[f"block-cursor{state}-background"] = readable["primary-banner"]
            readable[f"block-cursor{state}-foreground"] = readable["on-primary-banner"]
    # For placeholders, where Textual has "auto 38%".
    return {**named, **readable, "text-disabled": named["text-muted"]}


def _banners(readable: Mapping[str, str], ground: Color, ink: Color, depth: str) -> dict[str, str]:
    """Backgrounds of rows that stand out, and their text: with 16 colours the hue itself, otherwise a blend."""
    found: dict[str, str] = {}
    for name, strength in _BANNERS.items():
        hue = Color.parse(readable[name])
        share = {"standard": 1.0, "256": 0.5}.get(depth, strength)
        back = shown(ground.blend(hue, share, 1.0), depth)
        on = ground if depth == "standard" else shown(legible(ink, back), depth, (back,))
        found |= {f"{name}-banner": back.hex6, f"on-{name}-banner": on.hex6}
    return found


def _ground(color: Color, depth: str) -> Color:
    """With sixteen colours black or white: the others leave too few readable colours."""
    if depth == "standard":
        return max(BLACK, WHITE, key=lambda pole: -contrast(pole, color))
    return shown(color, depth)


def _of_sixteen(numbers: tuple[int, ...], ground: Color) -> Color:
    """The first of these colours that is readable, or else the most readable one."""
    colors = [Color(*STANDARD_PALETTE[number]) for number in numbers]
    return next((c for c in colors if contrast(c, ground) >= RATIO), max(colors, key=lambda c: contrast(c, ground)))


class DiffColours(Frozen):
    """Backgrounds of a diff's lines and of the changes in them, with their text colour; None: the terminal's own."""

    added: Color | None
    removed: Color | None
    added_mark: Color | None
    removed_mark: Color | None
    ink: Color | None
    hunk: Color | None
    flag: Color | None


def diff_colours(ground: Color, depth: str) -> DiffColours | None:
    """With 256 colours clear greens and reds rather than the closest to a faint one; with 16 none; else None."""
    if depth == "standard":
        return DiffColours(None, None, None, None, None, None, None)
    if depth != "256":
        return None
    dark = contrast(WHITE, ground) > contrast(BLACK, ground)
    names = _DARK_DIFF if dark else _LIGHT_DIFF
    return DiffColours(*(Color.parse(name) for name in names))
