"""What reaches the terminal: every changed cell, and hardly more."""

from __future__ import annotations

import pyte
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from autoresearch_tui.cockpit.fewer_bytes import CroppedUpdate
from autoresearch_tui.cockpit.widgets.painted import changed

WIDTH, HEIGHT = 24, 3
STYLES = [Style(color="red"), Style(color="red", bold=True), Style(bgcolor="blue")]
PIECE = st.tuples(st.text("ab 窓語⠿█é", max_size=9), st.sampled_from(STYLES))
PICTURE = st.lists(st.lists(PIECE, max_size=4), min_size=HEIGHT, max_size=HEIGHT)
CONSOLE = Console(force_terminal=True, color_system="truecolor", width=WIDTH, height=HEIGHT)


def strips(picture: list[list[tuple[str, Style]]]) -> list[Strip]:
    return [Strip([Segment(text, style) for text, style in row if text]).adjust_cell_length(WIDTH) for row in picture]


def written(new: list[Strip], spans: list[tuple[int, int, int]]) -> str:
    update = ChopsUpdate([{0: strip} for strip in new], spans, [[WIDTH]] * HEIGHT)
    return CroppedUpdate(update).render_segments(CONSOLE)


def cells(screen: pyte.Screen) -> list[list[tuple[object, ...]]]:
    return [[tuple(screen.buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT)]


@given(PICTURE, PICTURE)
def test_the_terminal_shows_the_new_picture(
    first: list[list[tuple[str, Style]]], then: list[list[tuple[str, Style]]]
) -> None:
    old, new = strips(first), strips(then)
    whole = [(y, 0, WIDTH) for y in range(HEIGHT)]
    shown, wanted = pyte.Screen(WIDTH, HEIGHT), pyte.Screen(WIDTH, HEIGHT)
    pyte.Stream(wanted).feed(written(new, whole))
    stream = pyte.Stream(shown)
    stream.feed(written(old, whole))
    stream.feed(written(new, [(region.y, region.x, region.right) for region in changed(old, new, WIDTH)]))
    assert cells(shown) == cells(wanted)


def test_a_digit_costs_a_digit() -> None:
    style = Style(color="#7e8188", bgcolor="#14171c")
    old, new = (
        [Strip([Segment(f"training #7 · {left} left".ljust(WIDTH), style)])] * HEIGHT for left in ("2:15", "2:14")
    )
    (region, *_) = changed(old, new, WIDTH)
    assert region.width == 1
    assert len(written(new, [(0, region.x, region.right)])) < 60
