"""Every key of the main screen: what the engine is told, and what the human is told."""

from __future__ import annotations

import pytest

from autoresearch_tui.cockpit.actions import ACTIONS
from autoresearch_tui.cockpit.marks import WORDS
from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine import events as ev
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import DIFF, FakeHost, FakeSession, commit_of, night


def test_approve_the_proposal_on_the_screen(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("a")
        assert "approving #8" in driver.said()

    drive(session, host, story)
    assert host.sent == [cmd.Approve(8, commit_of(8))]


def test_a_key_for_the_screen_before_does_not_approve(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    session.whole("baseline", 1.0, "keep")

    async def story(driver: Driver) -> None:
        session.propose("DEPTH 8→9")
        session.review(1)
        await driver.tick()
        await driver.press("a")
        assert host.sent == []
        assert "has just come" in driver.said()
        driver.later(0.6)
        await driver.press("a")

    drive(session, host, story)
    assert host.sent == [cmd.Approve(1, commit_of(1))]


def test_a_rebased_proposal_is_a_new_one(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        session.add(ev.ProposalRebased(8, "d" * 40, "e" * 40, True, 1, 1), ev.ReviewOpened(8, "d" * 40, "hold"))
        await driver.tick()
        await driver.press("a")
        assert host.sent == []
        driver.later(0.6)
        await driver.press("a")

    drive(session, host, story)
    assert host.sent == [cmd.Approve(8, "d" * 40)]


def test_where_the_diff_is_not_in_sight_the_key_brings_it(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        assert "MATRIX_LR = 0.02" not in driver.text()
        await driver.press("a")
        assert host.sent == []
        assert "MATRIX_LR = 0.02" in driver.text()
        driver.later(0.6)
        await driver.press("a")

    drive(session, host, story, size=(80, 24))
    assert host.sent == [cmd.Approve(8, commit_of(8))]


def test_veto_with_a_reason(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("v")
        assert "tried before" in driver.text()
        await driver.press("tab", *"too slow", "enter")

    drive(session, host, story)
    at_it = cmd.Attend(8, commit_of(8))
    assert host.sent == [at_it, cmd.Veto(8, commit_of(8), "too slow")]


def test_a_veto_thought_better_of(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("v", "escape")

    drive(session, host, story)
    assert host.sent == [cmd.Attend(8, commit_of(8)), cmd.Attend(8, commit_of(8), over=True)]


def test_review_of_the_one_under_the_cursor(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.propose("SCALAR_LR 0.5→0.3")
    session.approve(9)

    async def story(driver: Driver) -> None:
        await driver.press("4", "r")
        assert "SCALAR_LR" in driver.row(0)
        await driver.press("escape", "down", "down", "r")
        assert "ADAM_BETAS" in driver.row(0), "of what is not waiting there is nothing to review"

    drive(session, host, story)


def test_review_on_its_own_screen(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("r")
        assert type(driver.app.screen).__name__ == "ReviewScreen"
        await driver.press("escape")
        assert driver.app.screen is driver.app.main

    drive(session, host, story)
    assert host.sent == []


@pytest.mark.parametrize(
    ("event", "command"),
    [
        (None, cmd.Pause()),
        (ev.PauseAsked("human"), cmd.Resume()),
        (ev.TroubleMet("the disk is full", "free some space", 60.0), cmd.Resume()),
        (ev.StopAsked("after this run"), cmd.Resume()),
    ],
)
def test_pause_and_resume(session: FakeSession, host: FakeHost, event: ev.Event | None, command: cmd.Command) -> None:
    night(session)
    if event is not None:
        session.add(event)

    async def story(driver: Driver) -> None:
        await driver.press("p")

    drive(session, host, story)
    assert host.sent == [command]


def test_pause_and_stop_the_run(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("P")

    drive(session, host, story)
    assert host.sent == [cmd.Pause(stop_run=True)]


@pytest.mark.parametrize(("answer", "sent"), [("y", [cmd.StopRun(7)]), ("n", []), ("escape", []), ("s", [])])
def test_stop_the_run_asks_first(session: FakeSession, host: FakeHost, answer: str, sent: list[cmd.Command]) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("s")
        assert "counts as a crash" in driver.text()
        await driver.press(answer)

    drive(session, host, story)
    assert host.sent == sent


@pytest.mark.parametrize(("answer", "sent"), [("a", [cmd.Stop()]), ("x", [cmd.Stop(now=True)]), ("n", [])])
def test_stop_for_good_asks_when(session: FakeSession, host: FakeHost, answer: str, sent: list[cmd.Command]) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("Q", answer)

    drive(session, host, story)
    assert host.sent == sent


def test_after_a_stop_the_screen_goes_with_the_engine(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        session.add(ev.StopAsked("now"))
        await driver.tick(1)
        assert driver.app.is_running
        session.add(ev.EngineStopped("stopped"))
        host.alive = False
        await driver.tick(1)

    app = drive(session, host, story)
    assert (app.outcome, app.return_value) == ("stopped", 0)


def test_leave(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("q")

    app = drive(session, host, story)
    assert (app.outcome, app.return_value, host.sent) == ("detached", 0, [])


def test_leave_after_a_failure(session: FakeSession, host: FakeHost) -> None:
    night(session)
    host.failure, host.alive = "the journal is damaged [bold]", False

    async def story(driver: Driver) -> None:
        assert "the engine failed: the journal is damaged [bold]" in driver.text()
        await driver.press("q")

    app = drive(session, host, story)
    assert (app.outcome, app.return_value) == ("failed", 1)


def test_leave_a_session_that_is_finished(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    session.whole("baseline", 1.0, "keep")
    session.add(ev.EngineStopped("finished"))
    host.alive = False

    async def story(driver: Driver) -> None:
        assert "the session is finished" in driver.text()
        await driver.press("q")

    assert drive(session, host, story).outcome == "stopped"


def test_note(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("n", *"try depth", "enter")

    drive(session, host, story)
    assert host.sent == [cmd.Note("try depth")]


@pytest.mark.parametrize("key", ["a", "v", "p", "P", "s", "n", "Q"])
def test_a_screen_that_only_watches_sends_nothing(session: FakeSession, key: str) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press(key)
        assert driver.app.screen is driver.app.main
        assert "another cockpit has it" in driver.row(2)

    drive(session, None, story, reason="another cockpit has it")


def test_a_key_that_makes_no_sense_says_why(session: FakeSession, host: FakeHost) -> None:
    session.begin()

    async def story(driver: Driver) -> None:
        await driver.press("a")
        assert "no proposal waits for an answer" in driver.said()
        await driver.press("s")
        assert "nothing is in training" in driver.said()

    drive(session, host, story)
    assert host.sent == []


def test_a_refused_command_is_told(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        session.add(ev.CommandRefused("approve", "the proposal is gone"))
        await driver.tick(1)
        assert "approve: the proposal is gone" in driver.said()

    drive(session, host, story)


def test_help_lists_every_action(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("question_mark")
        shown = driver.text()
        assert [action.title for action in ACTIONS if action.title not in shown] == []
        assert [words for words in WORDS.values() if words not in shown] == []

    drive(session, host, story, size=(120, 140))


def test_the_palette_runs_an_action(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("ctrl+p", *"pause or res")
        await driver.pilot.app.workers.wait_for_complete()
        await driver.pilot.pause()
        await driver.press("enter")
        await driver.press("enter")

    drive(session, host, story)
    assert host.sent == [cmd.Pause()]


def test_panes_by_number(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        for key, words in {
            "1": "best so far, #6",
            "2": "vram",
            "3": "MATRIX_LR = 0.02",
            "4": "to best",
            "5": "autoresearch/nov21",
            "6": "Seven attempts so far",
            "7": "1.0000",
        }.items():
            await driver.press(key)
            assert words in driver.text(), key

    drive(session, host, story, size=(80, 24))


def test_zoom_and_back(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", "z")
        assert "to best" in driver.text()
        assert "vram" not in driver.text()
        await driver.press("z")
        assert "vram" in driver.text()

    drive(session, host, story)


def test_details_of_the_selected_experiment(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", "down", "down", "enter")
        assert "★ #6 best  val_bpb 0.986800" in driver.text()
        assert "▼ 0.0111 to its base" not in driver.text()
        await driver.press("left")
        assert "⊘ #5 vetoed" in driver.text()
        assert "because: seed or noise, not an idea" in driver.text()
        await driver.press("escape")
        assert driver.app.screen is driver.app.main

    drive(session, host, story)


def test_sort_and_filter(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        results = driver.app.main.results
        await driver.press("4", "o", "o", "home")
        assert results.selected == 6
        await driver.press("t")
        assert [e.number for e in results.experiments] == [6, 4, 1, 0]
        await driver.press("t", "t")
        assert [e.number for e in results.experiments] == [2]

    drive(session, host, story)


def test_compare_the_marked(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", "down", "down", "x", "down", "x", "c")
        shown = driver.text()
        assert "✓ #6     0.986800" in shown
        assert "✓ #4     0.989300  ▲ 0.0025" in shown
        assert shown.count("MATRIX_LR = 0.02") == 2
        await driver.press("escape")
        assert "2 marked: c compares" in driver.text()

    drive(session, host, story)


def test_one_is_compared_with_the_best(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", "end", "c")
        assert "✓ #0     0.997900" in driver.text()
        assert "✓ #6     0.986800  ▼ 0.0111" in driver.text()

    drive(session, host, story)


def test_a_small_comparison_has_its_rows_for_the_diffs(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    session.whole("baseline", 0.9979, "keep")
    for value in (0.9941, 0.9893):
        number = session.propose(f"MATRIX_LR for {value}", hypothesis="Muon overshoots at this batch size.")
        session.approve(number)
        session.start(number)
        session.end(number, value, "keep")

    async def story(driver: Driver) -> None:
        await driver.press("4", "home", "x", "x", "c")
        assert driver.text().count("WINDOW_PATTERN") == 2
        assert "Muon overshoots" not in driver.text()

    drive(session, host, story, size=(60, 20))

    async def with_room(driver: Driver) -> None:
        await driver.press("4", "home", "x", "x", "c")
        assert driver.text().count("Muon overshoots") == 2

    drive(session, host, with_room)


def test_copy_to_the_clipboard(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", "end", "y")
        assert driver.app.clipboard == "0a3f100\t0.997900\t44.0\tkeep\tbaseline"
        await driver.press("up", "enter", "d")
        assert driver.app.clipboard == DIFF

    drive(session, host, story)


def test_search_and_first_error(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.log(7, "\n".join(["", *(f"line {n}" for n in range(100)), "RuntimeError: boom", *"abcdefghij"] * 2) + "\n")

    async def story(driver: Driver) -> None:
        log = driver.app.main.log_pane
        await driver.press("slash", *"line 42", "enter")
        assert "2 lines" in driver.said()
        assert "▶line 42" in driver.text()
        assert not log.following
        below = log.top
        await driver.press("less_than_sign")
        assert log.top < below
        await driver.press("greater_than_sign")
        assert log.top == below
        await driver.press("exclamation_mark")
        assert "▶RuntimeError: boom" in driver.text()
        session.log(7, "more\n" * 5)
        await driver.tick()
        assert "5 new lines" in driver.text()
        await driver.press("f")
        assert log.following
        assert "new lines" not in driver.text()
        await driver.press("slash", *"qQ1", "escape")
        assert host.sent == []

    drive(session, host, story)


def test_the_runs_on_several_devices_are_shown_in_turn(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    session.whole("baseline", 0.9979, "keep", log=False)
    for number, device in ((1, "0"), (2, "1")):
        session.propose(f"idea {number}")
        session.approve(number)
        session.start(number, device)
        session.log(number, f"the log of {number}\n")

    async def story(driver: Driver) -> None:
        assert "the log of 2" in driver.text()
        await driver.press("right_square_bracket")
        await driver.tick()
        assert "the log of 1" in driver.text()
        assert "the log of 2" not in driver.text()
        await driver.press("s", "y")
        await driver.press("right_square_bracket")
        await driver.tick()
        assert "the log of 2" in driver.text()

    drive(session, host, story)
    assert host.sent == [cmd.StopRun(1)]
