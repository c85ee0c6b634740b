"""Going somewhere at once: a letter on each pane, `:` for an experiment, a kind or a session; themes that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_tui.cockpit import preferences
from autoresearch_tui.cockpit.actions import ACTIONS
from autoresearch_tui.cockpit.layout import LETTERS, NAMES, PANES, layout, signposts
from autoresearch_tui.cockpit.screens.main import MainScreen
from autoresearch_tui.cockpit.screens.visit import VisitScreen
from autoresearch_tui.session import events as ev
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, night
from tests.cockpit.test_typing import send

SIZES = [(60, 20), (80, 24), (120, 30), (200, 50)]


def focused_pane(driver: Driver) -> str:
    focused = driver.app.main.focused
    assert focused is not None
    return next(name for node in focused.ancestors_with_self if (name := node.id) in PANES.values())


@pytest.mark.parametrize("size", SIZES)
def test_a_letter_on_each_pane_moves_the_focus_there(
    session: FakeSession, host: FakeHost, size: tuple[int, int]
) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        for number, letter in LETTERS.items():
            await driver.press("J")
            shown = driver.text()
            assert all(f" {LETTERS[n]}  {NAMES[n]} " in shown for n in PANES), shown
            await driver.press(letter)
            assert driver.app.screen is driver.app.main
            pane = driver.app.main.query_one(f"#{PANES[number]}")
            assert pane.display and (focused_pane(driver) == PANES[number] if number != 7 else True), letter

    drive(session, host, story, size=size)
    assert host.sent == []


def test_jump_mode_is_left_by_escape_and_takes_no_other_key(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("2", "J", "p", "v", "Q", "colon", "enter")
        assert "a letter or a click: that pane" in driver.text()
        await driver.press("escape")
        assert driver.app.screen is driver.app.main and focused_pane(driver) == "load"
        await driver.press("J", "5")
        assert focused_pane(driver) == "tree", "the digits in the titles count as well"
        await driver.press("J")
        await driver.pilot.resize_terminal(80, 24)
        await driver.pilot.pause()
        assert driver.app.screen is driver.app.main, "the panes are elsewhere now"

    drive(session, host, story)
    assert host.sent == []


def test_keys_in_one_packet(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await send(driver.app, ["Jj:#3\rJa"])
        assert focused_pane(driver) == "run" and driver.app.main.results.selected == 3
        await send(driver.app, ["4:cra\t\r"])
        assert driver.app.main.results.selected == 2
        await send(driver.app, [":4\r:6\r"])
        assert driver.app.main.results.selected == 6

    drive(session, host, story)
    assert host.sent == []


@pytest.mark.parametrize("size", SIZES)
def test_every_pane_has_its_letter_in_every_layout(size: tuple[int, int]) -> None:
    for current in PANES:
        shown = layout(*size, current, frozenset()).panes
        posts = signposts(shown)
        assert set(posts) == set(shown)
        assert sorted(number for numbers in posts.values() for number in numbers) == list(PANES)


@pytest.mark.parametrize("size", SIZES)
def test_to_the_next_of_a_kind(session: FakeSession, host: FakeHost, size: tuple[int, int]) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        results, seen = driver.app.main.results, []
        for _ in range(5):
            await driver.press("colon", *"keep", "enter")
            seen.append(results.selected)
        assert seen == [6, 4, 1, 0, 6] and results.has_focus
        await driver.press("t", "colon", *"crash", "enter")
        assert results.selected == 2, "a filter that hides it is lifted"
        await driver.press("colon", *"crash", "enter")
        assert "#2 is the only experiment that is `crash`" in driver.said()
        await driver.press("5", "colon", *"vet", "enter")
        assert driver.app.main.tree_pane.has_focus and driver.app.main.tree_pane.selected == 5

    drive(session, host, story, size=size)


def test_what_is_possible_is_shown_and_completed(session: FakeSession, host: FakeHost) -> None:
    night(session)
    FakeSession(session.lab.root, "crow7").begin()

    async def story(driver: Driver) -> None:
        await driver.press("3", "colon")
        assert "#0 to #8 · keep 4 · discard 1 · crash 1 · vetoed 1 · review 1" in driver.row(-1)
        await driver.press("c", "r")
        assert driver.row(-1).strip() == "crash 1 · crow7"
        await driver.press("enter")
        assert "`cr` can be crash or crow7" in driver.said()
        await driver.press("colon", *"cro", "tab")
        assert driver.row(-1).strip() == "crow7"
        await driver.press("escape")
        await driver.press("colon", *"nov21", "enter")
        assert "nov21 is this session" in driver.said()
        await driver.press("colon", "6")
        assert "keep: #6 WARMDOWN_RATIO 0.5→0.7" in driver.row(-1)
        await driver.press("escape")
        assert focused_pane(driver) == "proposal", "back to where it began"

    drive(session, host, story, size=(80, 24))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("99", "there is no experiment #99: they are #0 to #8"),
        ("#x", "there is no experiment #x: they are #0 to #8"),
        ("9" * 40, f"there is no experiment #{'9' * 40}: they are #0 to #8"),
        ("craash", "there is no experiment, kind or session `craash`; did you mean `crash`?"),
        ("[red]/", "there is no experiment, kind or session `[red]/`"),
        ("invalid", "no experiment is `invalid`"),
        ("-1", "there is no experiment, kind or session `-1`"),
    ],
)
def test_what_does_not_exist(session: FakeSession, host: FakeHost, typed: str, said: str) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("colon", *typed)
        assert said[:50] in driver.row(-1)
        await driver.press("enter")
        assert driver.said() == said
        await driver.press("colon", "enter")
        assert driver.said() == "", "nothing typed, nowhere to go"

    drive(session, host, story, size=(80, 24))


def test_before_anything_has_run(session: FakeSession, host: FakeHost) -> None:
    async def story(driver: Driver) -> None:
        await driver.press("colon", "1", "enter")
        assert driver.said() == "there is no experiment #1 yet"
        await driver.press("colon", *"keep", "enter")
        assert driver.said() == "no experiment is `keep`"

    drive(session, host, story, size=(60, 20))


def test_a_filter_of_a_hundred_sessions_fits_the_row(session: FakeSession, host: FakeHost) -> None:
    night(session)
    for day in range(100):
        session.lab.session(f"night{day}").folder.mkdir(parents=True)
        session.lab.session(f"night{day}").journal.write_text("")

    async def story(driver: Driver) -> None:
        await driver.press("colon", "n")
        assert driver.row(-1).endswith("…")

    drive(session, host, story, size=(60, 20))


def test_titles_tabs_and_help_have_one_name_for_each_pane(session: FakeSession, host: FakeHost) -> None:
    night(session)
    in_help = {int(a.key): a.title.lower() for a in ACTIONS if a.id.startswith("pane(")}
    assert in_help == NAMES

    async def story(driver: Driver) -> None:
        for number, name in NAMES.items():
            await driver.press(str(number))
            assert f"{number} {name}" in driver.row(4), "its tab"
            assert f"{number} {name}" in driver.row(5), "its title"

    drive(session, host, story, size=(80, 24))


def test_the_palette_shows_keys_and_keeps_the_theme(
    session: FakeSession, host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(session)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    async def choose(driver: Driver, words: str) -> None:
        await driver.pilot.press(*words)
        await driver.app.workers.wait_for_complete()
        await driver.pilot.pause()
        shown.append(driver.text())
        await driver.press("enter")
        await driver.app.workers.wait_for_complete()
        await driver.pilot.pause()

    async def story(driver: Driver) -> None:
        await driver.press("ctrl+p")
        await choose(driver, "theme")
        await choose(driver, "nord")
        assert driver.app.theme == "nord" and "nord is your theme from now on" in driver.said()
        await driver.press("ctrl+p")
        await choose(driver, "pause or res")

    shown: list[str] = []
    drive(session, host, story)
    assert "Pause or resume · p" in shown[-1]
    assert preferences.load(preferences.path()).theme == "nord"


def test_a_theme_is_kept_beside_what_stands_in_the_file(tmp_path: Path) -> None:
    mine = '# mine\nbell = false  # quiet\n\n[keys]\nveto = "ctrl+v"\n'
    real, file = tmp_path / "dotfiles.toml", tmp_path / "cockpit.toml"
    real.write_text(mine)
    file.symlink_to(real)
    assert preferences.keep_theme(file, "nord") == "" and preferences.keep_theme(file, "dracula") == ""
    kept = preferences.load(file)
    assert (kept.theme, kept.bell, dict(kept.keys)) == ("dracula", False, {"veto": "ctrl+v"})
    assert file.is_symlink() and [line for line in real.read_text().split("\n") if "theme" not in line and line] == [
        line for line in mine.split("\n") if line
    ]


@pytest.mark.parametrize("broken", ["theme = ", "bell = true\nbell = false\n", "\x00"])
def test_a_broken_preferences_file_is_left_as_it_is(tmp_path: Path, broken: str) -> None:
    file = tmp_path / "cockpit.toml"
    file.write_text(broken)
    problem = preferences.keep_theme(file, "nord")
    assert problem.startswith(f"{file}: the theme is not kept: ") and "\n" not in problem
    assert file.read_text() == broken


def test_no_folder_for_preferences(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("")
    assert "the theme is not kept" in preferences.keep_theme(tmp_path / "file" / "cockpit.toml", "nord")


@pytest.mark.parametrize("size", SIZES)
def test_to_another_session_and_back(session: FakeSession, host: FakeHost, size: tuple[int, int]) -> None:
    night(session)
    other = FakeSession(session.lab.root, "crow7")
    other.begin()
    other.whole("baseline of that night", 1.25, "keep")

    async def story(driver: Driver) -> None:
        app, main = driver.app, driver.app.main
        await driver.press("4", "down", "colon", *"crow7", "enter")
        assert isinstance(app.screen, VisitScreen)
        assert "crow7" in driver.row(0) and "1.25" in driver.row(0)
        assert "read only: keys count in nov21; Esc goes back" in driver.text()
        assert "run autoresearch-tui --tag crow7 to resume" in driver.text()
        await driver.press("4", "p")
        assert driver.said() == "read only: keys count in nov21; Esc goes back"
        await driver.press("a", "v", "n", "Q", "R")
        # Both are followed.
        other.whole("wider", 1.125, "keep")
        session.add(ev.NoteGiven("for later"))
        await driver.tick()
        assert "1.125" in driver.row(0) and main.bridge.state.waiting_notes
        await driver.press("end", "enter")
        await driver.tick()
        assert "baseline of that night" in driver.text()
        await driver.press("escape", "slash", *"no", "escape")
        assert isinstance(app.screen, VisitScreen), "Escape leaves the search first"
        await driver.press("escape")
        assert app.screen is main and main.results.has_focus and main.results.selected == 7
        await driver.press("colon", *"crow", "enter", "q")
        assert app.screen is main

    drive(session, host, story, size=size)
    assert host.sent == []


def test_what_waits_is_told_while_another_session_is_shown(session: FakeSession, host: FakeHost) -> None:
    night(session)
    for tag in ("crow7", "sept1"):
        FakeSession(session.lab.root, tag).begin()

    async def story(driver: Driver) -> None:
        await driver.press("colon", *"crow7", "enter")
        number = session.propose("DEPTH 8→9")
        session.review(number)
        await driver.tick()
        assert f"nov21: decision: #{number} DEPTH 8→9 waits for you" in driver.said()
        await driver.press("colon", *"sept", "enter")
        assert "sept1" in driver.row(0)
        assert [type(screen) for screen in driver.app.screen_stack] == [MainScreen, VisitScreen], "one at a time"
        await driver.press("colon", *"nov21", "enter")
        assert driver.app.screen is driver.app.main, "by its name as well"

    drive(session, host, story)
