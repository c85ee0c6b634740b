"""What is worth a bell, what is told after an absence, what a human may set."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_tui.cockpit.app import THEME
from autoresearch_tui.cockpit.preferences import Preferences, load
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.fold import fold_all
from autoresearch_tui.session.journal import read
from autoresearch_tui.session.notifications import news
from autoresearch_tui.session.state import State
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, night


def state(session: FakeSession) -> State:
    return fold_all(read(session.files.journal))


def test_a_best_that_beat_a_mean_is_not_called_better_than_a_lucky_score(session: FakeSession) -> None:
    night(session)
    before = state(session)
    session.end(7, 0.99, "keep")  # the best has 0.9868, and fared worse when it ran again
    (item,) = news(before, state(session))
    assert item.text == "new best: val_bpb 0.9900, better than the mean of the last one's runs · #7 MATRIX_LR 0.03→0.02"


def test_what_is_worth_a_bell(session: FakeSession) -> None:
    night(session)
    before = state(session)
    assert news(before, before) == ()
    session.end(7, 0.98, "keep")
    (item,) = news(before, state(session))
    assert (item.kind, item.text) == ("best", "new best: val_bpb 0.9800, better by 0.0068 · #7 MATRIX_LR 0.03→0.02")
    before = state(session)
    session.review(session.propose("DEPTH 8→9"))
    (item,) = news(before, state(session))
    assert (item.kind, item.text, item.urgent) == ("waits", "decision: #9 DEPTH 8→9 waits for you", True)
    before = state(session)
    session.start(9)
    session.end(9, None, "crash", "CUDA out of memory")
    session.add(ev.PauseAsked("engine", "three crashes"), ev.EngineStopped("failed", "no disk"))
    assert [(item.kind, item.urgent) for item in news(before, state(session))] == [
        ("crash", False),
        ("stopped", True),
        ("stopped", True),
    ]


def test_a_cluster_whose_last_device_goes(session: FakeSession) -> None:
    session.begin()
    states = []
    for event in (
        ev.DeviceJoined("a:0", "a", ""),
        ev.DeviceJoined("b:0", "b", ""),
        ev.DeviceLeft("a:0", "its node is gone"),
        ev.DeviceSetAside("b:0", "its baseline has no score"),
        ev.DeviceLeft("b:0", "its node is gone"),
    ):
        before = session.state
        session.add(event)
        states.append([(each.kind, each.text, each.urgent) for each in news(before, session.state)])
    said = "no device can train: b:0: set aside, its baseline has no score; a:0: its node is gone"
    assert states == [[], [], [], [("stopped", said, True)], []]


def test_a_notice_and_a_bell_while_the_screen_is_open(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        assert driver.said() == ""
        session.end(7, 0.98, "keep")
        await driver.tick(1)
        assert "new best: val_bpb 0.9800" in driver.said()

    drive(session, host, story)


def test_a_fast_replay_tells_no_news(session: FakeSession) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        session.end(7, 0.98, "keep")
        await driver.tick(1)
        assert "0.9800" in driver.text()
        assert driver.said() == ""

    drive(session, None, story, reason="replay, 100 times as fast", silent=True)


def test_since_you_left(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def leave(driver: Driver) -> None:
        await driver.press("q")

    drive(session, host, leave)
    session.end(7, 0.98, "keep")

    async def come_back(driver: Driver) -> None:
        assert "Since you left" in driver.text()
        assert "1 experiment finished: 1 kept" in driver.text()
        await driver.press("enter")
        assert driver.app.screen is driver.app.main

    drive(session, host, come_back)

    async def again(driver: Driver) -> None:
        assert driver.app.screen is driver.app.main

    drive(session, host, again)


def test_keys_of_ones_own(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("p")
        assert host.sent == []
        await driver.press("f9")

    drive(session, host, story, settings=Preferences(keys={"pause": "f9"}))
    assert host.sent == [cmd.Pause()]


def test_a_mistake_in_the_file_is_told(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        assert "unknown action" in driver.said()

    drive(session, host, story, settings=Preferences(problems=("cockpit.toml: unknown action `aprove`",)))


def test_our_own_colours_from_the_first_picture(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        assert driver.app.screen.styles.background.hex.lower() == THEME.background
        assert driver.app.theme_variables["primary"].lower() == THEME.primary

    drive(session, host, story)


@pytest.mark.parametrize("theme", ["textual-light", "nord", "textual-ansi", "no such theme"])
def test_themes(session: FakeSession, host: FakeHost, theme: str) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        assert "#8 waits for you" in driver.text()
        assert ("unknown theme" in driver.said()) == (theme not in driver.app.available_themes)

    drive(session, host, story, settings=Preferences(theme=theme))


def test_preferences(tmp_path: Path) -> None:
    file = tmp_path / "cockpit.toml"
    assert load(file) == Preferences()
    file.write_text('theme = "nord"\nbell = false\n[keys]\napprove = "y"\naprove = "x"\nveto = 3\n')
    found = load(file)
    assert (found.theme, found.bell, dict(found.keys)) == ("nord", False, {"approve": "y"})
    assert [problem.partition(": ")[2] for problem in found.problems] == [
        "unknown action `aprove`; did you mean `approve`?",
        '`keys.veto` must be a key, such as "a" or "ctrl+a"',
    ]
    file.write_text("bell = 1\nbel = true\n")
    assert len(load(file).problems) == 2
    file.write_text("not toml")
    assert len(load(file).problems) == 1


@pytest.mark.parametrize(
    ("theme", "said"),
    [("nrd", "unknown theme `nrd`; did you mean `nord`?"), ("Gruvbox", "did you mean `gruvbox`?")],
)
def test_a_misspelt_theme_is_said(session: FakeSession, host: FakeHost, theme: str, said: str) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        assert said in driver.said()
        assert driver.app.theme == THEME.name

    drive(session, host, story, settings=Preferences(theme=theme))


@pytest.mark.parametrize(
    ("keys", "kept", "said"),
    [
        ('veto = "q"', {}, "`keys.veto`: `q` is the key of `detach`; `veto` keeps `v`"),
        ('approve = "1"', {}, "`keys.approve`: `1` is the key of `pane(1)`; `approve` keeps `a`"),
        ('note = "x,?"', {}, "`keys.note`: `?` is the key of `help`; `note` keeps `n`"),
        ('"review.edit" = "question_mark"', {}, "`?` is the key of `help`"),
        ('repeat = "c"', {}, "`c` is the key of `details.compare`"),
        ('"diff.next" = "n"', {"diff.next": "n"}, ""),
        # Exchanged: no conflict.
        ('veto = "q"\ndetach = "v"', {"veto": "q", "detach": "v"}, ""),
        # In another place the key is free.
        ('"results.mark" = "a"', {"results.mark": "a"}, ""),
        ('veto = "w"\napprove = "w"', {"approve": "w"}, "`keys.veto`: `w` is the key of `approve`"),
    ],
)
def test_a_key_that_another_action_has_is_said_in_one_line(
    tmp_path: Path, keys: str, kept: dict[str, str], said: str
) -> None:
    file = tmp_path / "cockpit.toml"
    file.write_text(f"[keys]\n{keys}\n")
    found = load(file)
    assert dict(found.keys) == kept
    assert len(found.problems) == bool(said)
    assert said in "".join(found.problems)
