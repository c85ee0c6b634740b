"""Words can be read in our own theme and in light ones: WCAG's contrast, measured on the segments of the screen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rich.color import Color as RichColor
from rich.segment import Segment
from textual.color import Color
from textual.screen import ModalScreen

from autoresearch_tui.cockpit.app import THEME
from autoresearch_tui.cockpit.legible import contrast, legible, variables
from autoresearch_tui.cockpit.preferences import Preferences
from autoresearch_tui.cockpit.screens.since import SinceScreen
from autoresearch_tui.engine.fold import fold_all
from autoresearch_tui.engine.journal import read
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, judged
from tests.cockpit.look import shown

THEMES = (THEME.name, "textual-light", "solarized-light", "catppuccin-latte")
# What WCAG asks of large text; most of ours is well above its 4.5. Lines, bars and dots are decoration: not measured.
LEAST = 3.0


def segments(driver: Driver) -> Iterator[Segment]:
    """What the screen in front shows; what lies dimmed behind a dialogue is not meant to be read."""
    screen = driver.app.screen
    regions = [child.region for child in screen.children] if isinstance(screen, ModalScreen) else [screen.region]
    for y, strip in enumerate(screen._compositor.render_strips()):
        for region in regions:
            if region.y <= y < region.bottom:
                yield from strip.crop(region.x, region.right)


def rgb(color: RichColor) -> Color:
    return Color(*color.get_truecolor())


def faint(driver: Driver) -> list[str]:
    """The words that can hardly be read, each with its colours."""
    found = []
    for segment in segments(driver):
        style = segment.style
        if style is None or not any(character.isalnum() for character in segment.text):
            continue
        assert style.color is not None and style.bgcolor is not None
        ratio = contrast(rgb(style.color), rgb(style.bgcolor))
        if ratio < LEAST:
            found.append(f"{ratio:.2f} {style.color.name} on {style.bgcolor.name}: {segment.text!r}")
    return found


@pytest.mark.parametrize("theme", THEMES)
def test_the_night_can_be_read(theme: str, session: FakeSession, host: FakeHost) -> None:
    shown(session)

    async def story(driver: Driver) -> None:
        assert driver.app.theme == theme
        for keys in ((), ("r",), ("escape", "e"), ("ctrl+q", "question_mark"), ("escape", "n"), ("escape", "3", "v")):
            await driver.press(*keys)
            assert faint(driver) == [], keys
            driver.later(1)

    drive(session, host, story, settings=Preferences(theme=theme))


@pytest.mark.parametrize("theme", THEMES)
def test_its_results_can_be_read(theme: str, session: FakeSession, host: FakeHost) -> None:
    session.begin()
    before = fold_all(read(session.files.journal))
    judged(session)
    after = fold_all(read(session.files.journal))

    async def story(driver: Driver) -> None:
        for keys in ((), ("4", "down", "enter"), ("escape", "x", "down", "down", "x", "c"), ("escape", "5", "7")):
            await driver.press(*keys)
            assert faint(driver) == [], keys
        driver.app.push_screen(SinceScreen(before, after))
        await driver.pilot.pause()
        assert faint(driver) == []

    drive(session, host, story, settings=Preferences(theme=theme))


def test_a_colour_is_changed_as_little_as_it_takes() -> None:
    paper, amber, ink = Color.parse("#e0e0e0"), Color.parse("#ffa62b"), Color.parse("#14171c")
    assert legible(amber, ink) == amber
    on_paper = legible(amber, paper)
    assert 4.5 <= contrast(on_paper, paper) < 6
    assert on_paper.hsl.h == pytest.approx(amber.hsl.h, abs=0.02)
    assert contrast(Color.parse("#000"), Color.parse("#fff")) == pytest.approx(21)


def test_colours_of_the_terminal_s_own_are_left_to_it() -> None:
    names = ("background", "foreground", "primary", "secondary", "accent", "success", "warning", "error")
    theirs = dict.fromkeys((*names, "text-muted"), "ansi_default")
    assert variables(theirs).items() >= theirs.items()
