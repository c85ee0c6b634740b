"""The gate: what a decision needs, what counts as an answer, and what does not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autoresearch_tui import findings
from autoresearch_tui.cockpit.screens import external_editor, review_text
from autoresearch_tui.cockpit.screens.edit import EditScreen, first_changes, syntax_problem
from autoresearch_tui.cockpit.screens.review import Answer, ReviewScreen
from autoresearch_tui.cockpit.screens.veto import REASONS
from autoresearch_tui.cockpit.widgets.text_editor import TextEditor
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import noise
from autoresearch_tui.engine.commands import Approve, Note, Revise, Veto
from tests.cockpit.coloured import Coloured
from tests.cockpit.nights import Night, pilot_test

DIFF = "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n-LR = 1\n+LR = 2\n x = 1\n"
FILES = {"train.py": "LR = 2\nx = 1\n"}


def at_gate(policy: str = "", seconds: float = 0) -> tuple[Night, int]:
    night = Night()
    frontier = night.commit(night.experiment("keep", 0.9979))
    night.experiment("discard", 0.9990, frontier, "raise MATRIX_LR to 0.05")
    night.experiment("vetoed", None, frontier, "swap the seed")
    number = night.propose(frontier, "raise MATRIX_LR to 0.035", flags=("train.py:1 constant LR is odd",))
    deadline = (night.now + timedelta(seconds=seconds)).isoformat() if seconds else ""
    night.review(number, policy, deadline)
    return night, number


class Gate(Coloured):
    def __init__(self, night: Night, number: int, **options: Any) -> None:
        super().__init__()
        self.answers: list[Answer | None] = []
        state = night.state
        self.shown = ReviewScreen(
            state.experiments[number], DIFF, state, lambda: FILES, **{"grace": 0.0, "now": lambda: night.now} | options
        )

    def on_mount(self) -> None:
        self.push_screen(self.shown, self.answers.append)

    def picture(self) -> str:
        return self.export_screenshot().replace("&#160;", " ")


@pilot_test
async def test_everything_for_the_decision_is_on_a_small_screen() -> None:
    app = Gate(*at_gate("approve-low-risk", 272))
    async with app.run_test(size=(80, 24)):
        picture = app.picture()
        for text in ("raise MATRIX_LR to 0.035", "converges sooner", "★ #0 0.997900", "constant LR is odd"):
            assert text in picture
        assert "#1 discard 0.999000 (worse by 0.001100) raise MATRIX_LR to 0.05" in picture
        assert "swap the seed" not in picture
        assert "vetoed by itself in 4:30 (it carries risk)" in picture


@pilot_test
async def test_approve_sends_the_exact_commit_that_is_shown() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a")
    assert app.answers == [Answer((Approve(number, night.commit(number)),))]


@pilot_test
async def test_veto_with_a_reason_and_a_veto_thought_better_of() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("v", "escape")
        assert app.answers == []
        await pilot.press("v", "1")
    assert app.answers == [Answer((Veto(number, night.commit(number), REASONS[0]),))]


@pilot_test
async def test_asking_for_another_is_a_veto_and_a_note() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n", *"smaller", "enter")
    veto = Veto(number, night.commit(number), "another is wanted: smaller")
    assert app.answers == [Answer((veto, Note("smaller")))]


@pilot_test
async def test_a_reader_without_an_engine_decides_nothing() -> None:
    app = Gate(*at_gate(), read_only=lambda: "watching only")
    async with app.run_test(size=(80, 24)) as pilot:
        assert "read only: watching only" in app.picture()
        await pilot.press("a", "v", "n", "e")
        assert app.answers == [] and app.screen is app.shown


@pilot_test
async def test_a_reader_who_has_just_lost_the_session_is_not_asked() -> None:
    lost: list[str] = []
    app = Gate(*at_gate(), read_only=lambda: "".join(lost))
    async with app.run_test(size=(80, 24)) as pilot:
        assert "approve" in app.picture()
        lost.append("another terminal has taken over")
        app.shown.refresh_state(app.shown._session)
        await pilot.pause()
        assert "another terminal has taken over" in app.picture()
        assert "approve" not in app.picture()


@pilot_test
async def test_a_human_at_an_answer_says_so() -> None:
    said: list[bool] = []
    app = Gate(*at_gate("veto", 5), attend=lambda *, over: said.append(over))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("v", "escape")
        assert said == [False, True]
        await pilot.press("e", "escape", "n", "escape")
        assert said == [False, True] * 3
        await pilot.press("v", "1")
        assert said == [*[False, True] * 3, False]


@pilot_test
async def test_an_edit_begins_at_the_change_and_is_there_again_where_it_was_refused() -> None:
    diff = "--- a/train.py\n+++ b/train.py\n@@ -3,3 +3,2 @@\n x = 1\n-LR = 1\n y = 2\n"
    assert first_changes(DIFF) == {"train.py": 0}
    assert first_changes(diff) == {"train.py": 3}
    night, number = at_gate()
    edits: dict[tuple[int, str], dict[str, str]] = {}
    for keys, text in (("z", "zLR = 2\nx = 1\n"), ("y", "yzLR = 2\nx = 1\n")):
        app = Gate(night, number, edits=edits)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("e", keys, "ctrl+s", "ctrl+s")
            await pilot.pause()
        assert app.answers == [Answer((Revise(number, night.commit(number), {"train.py": text}),))]


@pilot_test
async def test_escape_leaves_it_at_the_gate() -> None:
    app = Gate(*at_gate())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("escape")
    assert app.answers == [None]


@pilot_test
async def test_keys_for_the_screen_before_do_not_count() -> None:
    moment = [100.0]
    night, number = at_gate()
    app = Gate(night, number, grace=0.5, clock=lambda: moment[0])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", "v", "e", "n")
        assert app.screen is app.shown and app.answers == []
        moment[0] += 0.6
        await pilot.press("v", "escape", "a")
        assert app.answers == [], "the screen has only just come back"
        moment[0] += 0.6
        await pilot.press("a")
    assert app.answers == [Answer((Approve(number, night.commit(number)),))]


@pilot_test
async def test_nothing_is_approved_that_is_not_on_the_screen() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        night.add(ev.ProposalRebased(number, "f" * 40, night.commit(0), True, 1, 1))
        app.shown.refresh_state(night.state)
        await pilot.press("a", "v", "n", "e")
        assert app.answers == [] and app.screen is app.shown
        assert "it is fffffff now, not the diff shown here" in app.shown.outdated()
        assert "changed: it is fffffff now" in app.picture()


@pilot_test
async def test_an_answer_that_comes_too_late_under_a_dialogue_is_not_sent() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("v")
        night.veto(number, "nobody answered in time")
        app.shown.refresh_state(night.state)
        await pilot.press("1")
        assert app.answers == []
        assert "is settled (vetoed: nobody answered in time)" in app.shown.outdated()


@pilot_test
async def test_what_a_policy_approved_can_still_be_vetoed_but_not_approved_again() -> None:
    night, number = at_gate()
    night.approve(number, "auto")
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        assert "approved by auto" in app.picture()
        await pilot.press("a")
        assert app.answers == []
        await pilot.press("v", "2")
    assert app.answers == [Answer((Veto(number, night.commit(number), REASONS[1]),))]


@pilot_test
async def test_editing_in_place_runs_the_edited_version() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", "ctrl+s")
        assert isinstance(app.screen, EditScreen), "nothing changed, nothing sent"
        await pilot.press("end", *"0", "ctrl+s")
    assert app.answers == [Answer((Revise(number, night.commit(number), {"train.py": "LR = 20\nx = 1\n"}),))]


@pilot_test
async def test_a_mistake_in_the_syntax_is_shown_before_it_is_sent() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", "end", *"(", "ctrl+s")
        assert "train.py:1:" in app.picture()
        await pilot.press("ctrl+s")
    answer = app.answers[0]
    assert answer is not None and isinstance(answer.commands[0], Revise)


@pilot_test
async def test_escape_in_the_editor_throws_an_edit_away_only_the_second_time() -> None:
    app = Gate(*at_gate())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", *"x", "escape")
        assert isinstance(app.screen, EditScreen)
        await pilot.press("escape")
        assert app.screen is app.shown and app.answers == []


@pilot_test
async def test_python_is_coloured_in_the_editor() -> None:
    app = Gate(*at_gate())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e")
        line = app.screen.query_one(TextEditor).get_line(0)
        assert [line.plain[span.start : span.end] for span in line.spans] == ["2"]


@pilot_test
async def test_the_external_editor_gets_a_copy_and_its_result_is_run() -> None:
    seen: list[Path] = []

    def edit(paths: Sequence[Path]) -> str:
        seen.extend(paths)
        paths[0].write_text(paths[0].read_text() + "y = 3\n")
        return ""

    night, number = at_gate()
    app = Gate(night, number, editor=edit)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("E")
    assert app.answers == [Answer((Revise(number, night.commit(number), {"train.py": "LR = 2\nx = 1\ny = 3\n"}),))]
    assert seen[0].name == "train.py" and not seen[0].exists()


@pilot_test
async def test_an_editor_that_fails_or_changes_nothing_sends_nothing() -> None:
    for result in ("", "vi ended with exit code 1"):
        app = Gate(*at_gate(), editor=lambda paths, result=result: result)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("E")
            assert app.answers == [] and app.screen is app.shown


def test_an_edited_file_that_is_not_text_is_refused() -> None:
    def spoil(paths: Sequence[Path]) -> str:
        paths[0].write_bytes(b"\xff\xfe")
        return ""

    files, problem = external_editor.edit_texts(FILES, spoil)
    assert files == FILES and "cannot be read" in problem


def test_the_editor_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "code --wait")
    assert external_editor.command() == ["code", "--wait"]
    monkeypatch.setenv("EDITOR", "")
    assert external_editor.command() == ["vi"]


def test_what_happens_without_an_answer() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    soon = (now + timedelta(seconds=61.5)).isoformat()
    night, number = at_gate()
    experiment = night.state.experiments[number]
    assert "without an answer it is not run" in review_text.gate(experiment, now)
    night.review(number, "veto", soon)
    assert "vetoed by itself in 1:02 (policy veto)" in review_text.gate(night.state.experiments[number], now)
    safe = night.propose(night.commit(0))
    night.review(safe, "approve-low-risk", soon)
    assert "approved by itself in 1:02 (low risk)" in review_text.gate(night.state.experiments[safe], now)
    assert "approved by itself now" in review_text.gate(night.state.experiments[safe], now + timedelta(hours=1))


def test_similar_attempts_by_words_and_by_names() -> None:
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    for idea in ("raise MATRIX_LR to 0.05", "swap the seed", "tune EMBEDDING_LR", "Raise matrix_lr  to 0.05!"):
        night.experiment("discard", 0.999, base, idea)
    number = night.propose(base, "raise MATRIX_LR to 0.05")
    state = night.state
    found = findings.similar(state.experiments[number], state.experiments)
    assert [one.experiment.number for one in found] == [4, 1]
    assert found[0].likeness == found[1].likeness == 1.0
    another = night.propose(base, "learn faster at the input")
    state = night.state
    assert findings.similar(state.experiments[another], state.experiments) == ()
    names = findings.changed_names(
        "-EMBEDDING_LR = 0.6\n+EMBEDDING_LR = 0.8\n+        self.scale: Tensor = x\n+if a == b:\n"
    )
    assert names == {"EMBEDDING_LR", "scale"}
    assert [
        one.experiment.number for one in findings.similar(state.experiments[another], state.experiments, names)
    ] == [3]


def test_a_gain_smaller_than_the_spread_is_near_noise() -> None:
    night = Night()
    base = night.commit(night.experiment("keep", 1.0))
    small = night.experiment("keep", 0.9999, base)
    night.experiment("keep", 0.99, night.commit(small))
    assert [e.number for e in findings.near_noise(night.state)] == [small]
    assert noise.spread(night.state) is None


def test_files_that_do_not_parse_are_named() -> None:
    assert syntax_problem({"a.md": "((", "b.py": "x = 1\n"}) == ""
    assert syntax_problem({"b.py": "x = (\n"}).startswith("b.py:1:")
    assert syntax_problem({"b.py": "x = '\0'"}).startswith("b.py")
