"""Pure: a theme's colours as text. Many a light theme's warning is a fine background, and cannot be read on its own."""

from __future__ import annotations

from collections.abc import Mapping

from textual.color import BLACK, WHITE, Color

# What WCAG asks of text.
RATIO = 4.5
_NAMES = ("primary", "secondary", "accent", "success", "warning", "error")
_STEPS = 20


def contrast(one: Color, other: Color) -> float:
    """From 1 (the same) to 21 (black and white), as WCAG counts it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: Color) -> float:
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def legible(color: Color, ground: Color) -> Color:
    """The colour itself where it can be read on `ground`; else as little darker, or lighter, as it takes."""
    end = max(BLACK, WHITE, key=lambda pole: contrast(pole, ground))
    shades = (color.blend(end, step / _STEPS, 1.0) for step in range(_STEPS))
    return next((shade for shade in shades if contrast(shade, ground) >= RATIO), end)


def variables(named: Mapping[str, str]) -> dict[str, str]:
    """A theme's variables, their colours legible on its background; `words`: for text, `quiet`: for less of it."""
    if any(named[name].startswith("ansi_") for name in ("background", "foreground", *_NAMES)):
        # The terminal's own colours, of which nobody knows what they look like.
        return {**named, "words": named["foreground"], "quiet": "ansi_bright_black"}
    ground, ink = Color.parse(named["background"]), Color.parse(named["foreground"])
    found = {name: legible(Color.parse(named[name]), ground).hex6 for name in _NAMES}
    for name, strength in {"words": 0.86, "quiet": 0.55}.items():
        found[name] = legible(ground.blend(ink, strength, 1.0), ground).hex6
    # Of what is not typed yet: «auto 38%» of Textual's own.
    return {**named, **found, "text-disabled": named["text-muted"]}
