"""Every key of the main screen: what the engine is told, and what the human is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual._compositor import Compositor, LayoutUpdate

from autoresearch_tui.cockpit.actions import ACTIONS, REPLAY, bar, find
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.engine import results_table as results
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.badges import WORDS
from autoresearch_tui.session.fold import fold_all
from autoresearch_tui.session.journal import read
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import DIFF, FakeHost, FakeSession, commit_of, night, progress_line


def test_approve_the_proposal_on_the_screen(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("a")
        assert driver.said() == "", "the status line says it"

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
        assert "was not on screen. Press a again" in driver.said()
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


def test_what_was_read_in_the_review_is_decided_without_a_second_look(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("r")
        driver.later(0.6)
        await driver.press("escape")
        await driver.tick()
        assert "MATRIX_LR = 0.02" not in driver.text()
        driver.later(0.6)
        await driver.press("a")

    drive(session, host, story, size=(80, 24))
    assert host.sent[-1] == cmd.Approve(8, commit_of(8))


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
    assert host.sent == [cmd.Attend(8, commit_of(8), why="read"), cmd.Attend(8, commit_of(8), over=True, why="read")]


def test_a_proposal_is_held_and_released(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        assert " h hold" in driver.text()
        await driver.press("h")
        session.add(ev.ProposalHeld(8, commit_of(8), "hold"))
        await driver.tick()
        assert "held by you, h releases it" in driver.row(2)
        assert " h release" in driver.text()
        await driver.press("h")

    drive(session, host, story)
    assert host.sent == [cmd.Attend(8, commit_of(8), why="hold"), cmd.Attend(8, commit_of(8), over=True, why="hold")]


def test_nothing_is_held_that_nothing_happens_to(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    session.whole("baseline", 0.9979, "keep")

    async def story(driver: Driver) -> None:
        await driver.press("h")
        assert "nothing happens to a proposal by itself" in driver.said()

    drive(session, host, story)
    assert host.sent == []


def test_the_last_decision_is_taken_back(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.add(ev.ProposalVetoed(8, commit_of(8), "human", ""))
    seq = session.state.judgements[-1].seq

    async def story(driver: Driver) -> None:
        assert "z undoes: #8 vetoed" in driver.text()
        await driver.press("z")
        assert "#8 is no longer vetoed" in driver.said()
        session.propose("another")
        await driver.tick()
        assert "z undoes" not in driver.text()
        await driver.press("z")
        assert "nothing to take back: #9 was proposed in place of #8" in driver.said()

    drive(session, host, story)
    assert host.sent == [cmd.Undo(seq)]


def test_any_key_dismisses_a_message_and_does_its_work(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        session.add(ev.CommandRefused("approve", "the proposal is gone"))
        await driver.tick(1)
        last = driver.text().splitlines()[-1]
        assert "approve: the proposal is gone" in last, "over the keys, and nothing else"
        await driver.press("4")
        assert driver.said() == ""
        assert driver.app.focused is driver.app.main.results

    drive(session, host, story)


def test_a_dialog_has_keys_of_its_own(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        assert " q leave" in driver.text()
        for key in ("v", "s", "n", "Q", "question_mark", "ctrl+p"):
            await driver.press(key)
            last = driver.text().splitlines()[-1]
            assert "Esc: back" in last and "leave" not in last, key
            await driver.press("escape")

    drive(session, host, story)


def test_nobody_is_told_over_a_question_or_what_the_status_says(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    session.whole("baseline", 0.9979, "keep")

    async def story(driver: Driver) -> None:
        number = session.propose("MATRIX_LR 0.04→0.03")
        session.review(number)
        await driver.tick()
        assert driver.said() == "", "the status line says it"
        await driver.press("n")
        session.whole("DEPTH 8→12", None, "crash")
        await driver.tick()
        assert driver.said() == "", "a question is open"
        await driver.press("escape")
        session.whole("DEPTH 8→10", None, "crash")
        await driver.tick()
        assert "crash: #3" in driver.said()

    drive(session, host, story)


@pytest.mark.parametrize(
    ("event", "command"),
    [
        (None, cmd.Pause()),
        (ev.PauseAsked("human"), cmd.Resume()),
        (ev.TroubleMet("the disk is full", "free some space", 60.0), cmd.Resume()),
        (ev.StopAsked("after"), cmd.CancelStop()),
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


def test_what_has_run_out_is_renewed_and_not_resumed() -> None:
    records = read(Path(__file__).parents[1] / "session/data/testing-budget-and-holdout.jsonl")
    paused = next(n for n, r in enumerate(records, 1) if isinstance(r.event, ev.PauseAsked) and r.event.limit)
    now = Situation(fold_all(records[:paused]), commands=True)
    pause, renew = find("pause"), find("renew")
    assert pause is not None and renew is not None
    assert (pause.enabled(now), renew.enabled(now)) == (False, True)
    assert "pause" not in [each.id for each in bar(now)]
    renewed = next(n for n, r in enumerate(records, 1) if isinstance(r.event, ev.BudgetRenewed))
    assert pause.enabled(Situation(fold_all(records[:renewed]), commands=True))


def test_pause_and_stop_the_run(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("P")

    drive(session, host, story)
    assert host.sent == [cmd.Pause(stop_run=True)]


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (("2",), [cmd.StopRun(7, "too slow: it will see too little data")]),
        (("tab", *"my GPU", "enter"), [cmd.StopRun(7, "my GPU")]),
        (("enter",), [cmd.StopRun(7)]),
        (("escape",), []),
        (("s",), []),
    ],
)
def test_stop_the_run_asks_why(
    session: FakeSession, host: FakeHost, answer: tuple[str, ...], sent: list[cmd.Command]
) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("s")
        assert "the researcher gets your reason" in driver.text()
        await driver.press(*answer)

    drive(session, host, story)
    assert host.sent == sent


@pytest.mark.parametrize(("answer", "sent"), [("a", [cmd.Stop()]), ("x", [cmd.Stop(now=True)]), ("n", [])])
def test_stop_for_good_asks_when(session: FakeSession, host: FakeHost, answer: str, sent: list[cmd.Command]) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("Q", answer)

    drive(session, host, story)
    assert host.sent == sent


def test_the_end_after_this_run_is_taken_back_where_it_is_shown(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.add(ev.StopAsked("after"))

    async def story(driver: Driver) -> None:
        assert "the session ends after this run · p keeps it going" in driver.text()
        await driver.press("p", "Q", "k")

    drive(session, host, story)
    assert host.sent == [cmd.CancelStop()] * 2


def test_a_run_that_was_stopped_is_marked_as_one(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.add(ev.RunStopAsked(7, "human", "too slow"))

    async def story(driver: Driver) -> None:
        assert "stopping #7" in driver.row(1)
        session.end(7, None, "crash", "too slow")
        await driver.press("4", "Z")
        await driver.tick()
        assert "■  stopped" in driver.text() and "— too slow" in driver.text()
        assert driver.said() == "", "who stopped it knows of it"

    drive(session, host, story, size=(200, 50))


def test_a_run_that_was_given_up_says_why(session: FakeSession, host: FakeHost) -> None:
    night(session)
    session.add(ev.RunGivenUp(7, 40, 3.91, 3.42, 2, 0.1, 0.2))
    why = "given up at 40 %: 3.91 against 3.42 (#2)"

    async def story(driver: Driver) -> None:
        assert "giving up #7" in driver.row(1)
        session.add(
            ev.RunEnded(7, "killed", None, 120.0, ("stopped on request",)),
            ev.VerdictGiven(7, "discard", None, 0.0, why),
        )
        await driver.press("4", "Z")
        await driver.tick()
        assert "↓  given up" in driver.text() and f"— {why}" in driver.text()
        assert driver.said() == "", "nothing that calls for a human"
        await driver.press("enter", "left")
        assert "↓ #7 given up" in driver.text() and f"reason: {why}" in driver.text()
        assert "run: given up after 2:00" in driver.text() and "on request" not in driver.text()

    drive(session, host, story, size=(200, 50))


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


def test_a_stop_that_was_taken_back_ends_nothing(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("Q", "a")
        assert host.sent == [cmd.Stop()]
        session.add(ev.StopAsked("after"))
        await driver.tick(1)
        await driver.press("p")
        session.add(ev.StopCancelled("human"))
        await driver.tick(1)
        host.alive = False  # taken over, say
        await driver.tick(1)
        assert driver.app.is_running
        await driver.press("q")

    assert drive(session, host, story).outcome != ""


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
        assert "the session has finished" in driver.text()
        for key in ("p", "R", "n"):
            await driver.press(key)
            assert driver.said() == "the session has ended; leave, and run autoresearch-tui to resume it"
        assert host.sent == []
        await driver.press("down")  # letters right after a refused `n` are taken as words of the note
        await driver.press("q")

    assert drive(session, host, story).outcome == "stopped"


def test_note(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("n", *"try depth", "enter")

    drive(session, host, story)
    assert host.sent == [cmd.Note("try depth")]


def test_notes_that_wait_are_listed_and_taken_back(session: FakeSession, host: FakeHost) -> None:
    night(session)
    for text in ("try depth", "mind the loader"):
        session.add(ev.NoteGiven(text))
    first = session.state.waiting_notes[0].seq

    async def story(driver: Driver) -> None:
        await driver.press("n")
        assert "try depth" in driver.text()
        assert "mind the loader" in driver.text()
        await driver.press("escape", "N")
        assert driver.text().index("mind the loader") < driver.text().index("try depth")
        await driver.press("2")
        session.add(ev.ProposalAsked(9, "0a3f106", 1))
        await driver.tick()
        await driver.press("N")
        assert "no note waits to be sent" in driver.text()

    drive(session, host, story)
    assert host.sent == [cmd.WithdrawNote(first)]


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
        assert "no proposal waits for your review" in driver.said()
        await driver.press("s")
        assert "nothing is training" in driver.said()

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
        assert [action.title for action in ACTIONS if action.title not in shown] == [action.title for action in REPLAY]
        beginnings = [words[:30] for words in WORDS.values()]  # a long one has a second row
        assert [words for words in beginnings if words not in shown] == []

    drive(session, host, story, size=(120, 260))


def test_the_help_runs_an_action(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("question_mark", *"pause or", "enter")
        assert driver.app.screen is driver.app.main
        await driver.press("question_mark", *"run this version", "enter")
        assert "not from this screen" in driver.said()

    drive(session, host, story)
    assert host.sent == [cmd.Pause()]


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
            "4": "vs best",
            "5": "autoresearch/nov21",
            "6": "Seven attempts so far",
            "7": "1.000",
        }.items():
            await driver.press(key)
            assert words in driver.text(), key

    drive(session, host, story, size=(80, 24))


def test_zoom_and_back(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", "Z")
        assert "vs best" in driver.text()
        assert "vram" not in driver.text()
        await driver.press("Z")
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
        assert "reason: seed or noise, not an idea" in driver.text()
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
        assert driver.text().count("+ MATRIX_LR = 0.02") == 2
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


def test_what_is_copied_is_the_row_of_the_table(session: FakeSession, host: FakeHost) -> None:
    """Of every outcome, also where a crash or an invalid run had a score or held memory."""
    night(session)
    number = session.propose("swap the tokenizer")
    session.start(number)
    session.end(number, 0.5, "invalid", "the referee refused")
    state = fold_all(read(session.files.journal))
    table = results.render(state).splitlines()[1:]
    outcomes = {e.number: e.outcome for e in state.table}
    assert {"crash", "invalid", "discard"} <= set(outcomes.values())

    async def story(driver: Driver) -> None:
        await driver.press("4", "home")
        copied = set()
        for _ in state.experiments:
            await driver.press("y", "down")
            copied.add(driver.app.clipboard)
        assert copied >= set(table)

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
        await driver.press("s", "1")
        await driver.press("right_square_bracket")
        await driver.tick()
        assert "the log of 2" in driver.text()

    drive(session, host, story)
    assert host.sent == [cmd.StopRun(1, "the loss diverges or does not fall")]


@pytest.mark.parametrize("before", [(), ("right",) * 5], ids=["from the left", "from the right"])
@pytest.mark.parametrize("text", ["needle", "nadel幅"])
def test_what_was_found_is_brought_into_sight_and_there_is_a_way_back(
    session: FakeSession, host: FakeHost, text: str, before: tuple[str, ...]
) -> None:
    session.begin()
    number = session.propose("baseline")
    session.approve(number)
    session.start(number)
    session.log(number, f"beginning {'幅x' * 150} {text} {'y' * 80} the end\n" + "short line\n" * 3 + "Error: oops\n")

    async def story(driver: Driver) -> None:
        await driver.tick()
        await driver.press("1", *before)
        await driver.press("slash", *text, "enter")
        assert f"{text} yyy" in driver.text() and "▶" in driver.text()
        assert "beginning" not in driver.text()
        await driver.press("f")
        assert "beginning" in driver.text() and "short line" in driver.text()
        await driver.press("right", "right")
        assert "short line" not in driver.text() and "‹" in driver.text()
        await driver.press("exclamation_mark")
        assert "▶Error: oops" in driver.text() and "beginning" in driver.text()
        await driver.press("slash", *"short", "enter")
        assert "▶short line" in driver.text()
        # The text ends somewhere: so does the way to the right.
        await driver.press(*["right"] * 40)
        assert "the end" in driver.text()
        await driver.press("home")
        assert "beginning" in driver.text()

    drive(session, host, story)


def test_a_run_that_prints_progress_only_is_no_run_that_prints_nothing(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    number = session.propose("baseline")
    session.approve(number)
    session.start(number)

    async def story(driver: Driver) -> None:
        await driver.tick()
        assert "Output of the training command" in driver.text()
        session.log(number, "\r" + progress_line(7, 0.1, 3.0))
        await driver.tick()
        assert "Only progress lines so far" in driver.text()

    drive(session, host, story)


def test_a_change_of_focus_does_not_draw_the_whole_screen(
    session: FakeSession, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(session)
    whole: list[Compositor] = []
    drawn = Compositor.render_full_update

    def counted(self: Compositor, simplify: bool = False) -> LayoutUpdate:
        whole.append(self)
        return drawn(self, simplify)

    async def story(driver: Driver) -> None:
        await driver.press("4")
        monkeypatch.setattr(Compositor, "render_full_update", counted)
        await driver.press("5", "4", "6")
        assert driver.app.main.stream.has_focus and not whole

    drive(session, host, story, size=(120, 40))
