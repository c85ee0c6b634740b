"""Words can be read in our own theme and in light ones: WCAG's contrast, measured on the segments of the screen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rich._palettes import EIGHT_BIT_PALETTE, STANDARD_PALETTE
from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.screen import ModalScreen
from textual.theme import BUILTIN_THEMES

from autoresearch_tui.cockpit.app import THEME
from autoresearch_tui.cockpit.preferences import Preferences
from autoresearch_tui.cockpit.screens.since import SinceScreen
from autoresearch_tui.cockpit.theme import contrast, drawn, legible, variables
from autoresearch_tui.cockpit.widgets.painted import tones_of
from autoresearch_tui.session.fold import fold_all
from autoresearch_tui.session.journal import read
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, judged
from tests.cockpit.look import shown

THEMES = (THEME.name, "textual-light", "solarized-light", "catppuccin-latte")
# Theme and depth of the terminal: over SSH most have 256 colours.
SEEN = [*((theme, "truecolor") for theme in THEMES), (THEME.name, "256"), (THEME.name, "standard"), ("nord", "256")]
PALETTES = {"256": EIGHT_BIT_PALETTE, "standard": STANDARD_PALETTE}
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


def rgb(color: RichColor, depth: str = "truecolor") -> Color:
    """What a terminal of this depth shows."""
    if depth in PALETTES:
        systems = {"256": ColorSystem.EIGHT_BIT, "standard": ColorSystem.STANDARD}
        return Color(*PALETTES[depth][color.downgrade(systems[depth]).number or 0])
    return Color(*color.get_truecolor())


def faint(driver: Driver) -> list[str]:
    """The words that can hardly be read, each with its colours."""
    found = []
    for segment in segments(driver):
        style = segment.style
        if style is None or not any(character.isalnum() for character in segment.text):
            continue
        assert style.color is not None and style.bgcolor is not None
        depth = driver.app.console.color_system or "truecolor"
        ratio = contrast(rgb(style.color, depth), rgb(style.bgcolor, depth))
        if ratio < LEAST:
            found.append(f"{ratio:.2f} {style.color.name} on {style.bgcolor.name}: {segment.text!r}")
    return found


@pytest.mark.parametrize(("theme", "depth"), SEEN)
def test_the_night_can_be_read(
    theme: str, depth: str, session: FakeSession, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", depth)
    shown(session)

    async def story(driver: Driver) -> None:
        assert driver.app.theme == theme
        for keys in ((), ("r",), ("escape", "e"), ("ctrl+q", "question_mark"), ("escape", "n"), ("escape", "3", "v")):
            await driver.press(*keys)
            assert faint(driver) == [], keys
            driver.later(1)

    drive(session, host, story, settings=Preferences(theme=theme))


@pytest.mark.parametrize(("theme", "depth"), SEEN)
def test_its_results_can_be_read(
    theme: str, depth: str, session: FakeSession, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", depth)
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


EVERY_THEME = {theme.name: theme for theme in (THEME, *BUILTIN_THEMES.values()) if not theme.name.startswith("ansi")}
# Lines, bars and dots: decoration. The tone of a mark lies over its line's.
DECORATION = ("faint", "-dim", "-block")


def painted(theme: str, depth: str) -> tuple[Color, dict[str, Style]]:
    named = variables(dict(EVERY_THEME[theme].to_color_system().generate()), depth)
    return Color.parse(named["background"]), dict(tones_of(named, depth))


@pytest.mark.parametrize("depth", ["truecolor", "256", "standard"])
@pytest.mark.parametrize("theme", EVERY_THEME)
def test_every_tone_of_every_theme_can_be_read(theme: str, depth: str) -> None:
    ground, tones = painted(theme, depth)
    lines = [tones[f"diff--{name}"].bgcolor for name in ("context", "added", "removed")]
    for name, style in tones.items():
        if style.color is None or name.endswith(DECORATION):
            continue
        over = [style.bgcolor] if style.bgcolor else lines if name.startswith("diff--") else [None]
        for back in over:
            ratio = contrast(rgb(style.color, depth), rgb(back, depth) if back else ground)
            assert ratio >= (LEAST if depth != "truecolor" or not name.startswith("diff--") else 2.5), (name, ratio)


@pytest.mark.parametrize("theme", EVERY_THEME)
@pytest.mark.parametrize("depth", ["256", "standard"])
def test_green_is_green_and_red_is_red(theme: str, depth: str) -> None:
    _, tones = painted(theme, depth)
    of = "bgcolor" if depth == "256" else "color"
    for added, removed in ((tones["diff--added"], tones["diff--removed"]),):
        green, red = (rgb(getattr(style, of), depth) for style in (added, removed))
        assert green.g > max(green.r, green.b) and red.r > max(red.g, red.b), (added, removed)
    good, bad, hunk = (tones[name] for name in ("good", "bad", "diff--hunk"))
    assert good.color is not None and bad.color is not None
    assert good.color != bad.color
    if depth == "256":
        quiet = rgb(hunk.bgcolor, depth) if hunk.bgcolor else None
        assert quiet is not None and max(quiet.rgb) - min(quiet.rgb) == 0


@pytest.mark.parametrize("depth", ["truecolor", "256", "standard"])
@pytest.mark.parametrize("theme", EVERY_THEME)
def test_a_row_that_stands_out_can_be_read_and_has_its_hue(theme: str, depth: str) -> None:
    named = variables(dict(EVERY_THEME[theme].to_color_system().generate()), depth)
    ground = drawn(Color.parse(named["background"]), depth)
    for name in ("primary", "warning", "error"):
        back, ink = (drawn(Color.parse(named[key]), depth) for key in (f"{name}-banner", f"on-{name}-banner"))
        assert contrast(ink, back) >= LEAST, name
        assert back != ground
        hue = drawn(Color.parse(named[name]), depth)
        for state in ("", "-blurred") if depth != "truecolor" else ():
            assert drawn(Color.parse(named[f"block-cursor{state}-background"]), depth) != ground
        if depth != "truecolor" and max(hue.rgb) - min(hue.rgb) > 40:
            assert max(back.rgb) - min(back.rgb) > 0, (name, back)


def test_a_terminal_without_colours_gets_the_same_words(
    session: FakeSession, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(session)
    found: list[str] = []

    async def story(driver: Driver) -> None:
        found.append(driver.text())

    for depth in ("truecolor", "256", "standard", None):
        monkeypatch.setattr("textual.constants.COLOR_SYSTEM", depth)
        drive(session, host, story)
    assert found == [found[0]] * 4
