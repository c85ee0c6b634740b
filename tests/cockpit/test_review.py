"""The gate: what a decision needs, what counts as an answer, and what does not."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from textual.pilot import Pilot

from autoresearch_tui.cockpit import external_editor
from autoresearch_tui.cockpit.screens import review
from autoresearch_tui.cockpit.screens.dialogs import REASONS
from autoresearch_tui.cockpit.screens.edit import EditScreen, first_changes, syntax_problem
from autoresearch_tui.cockpit.screens.review import ReviewScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.widgets import cells
from autoresearch_tui.cockpit.widgets.editor import TextEditor
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import statistics
from autoresearch_tui.session.commands import Approve, Attend, Command, Note, Revise, Undo, Veto
from autoresearch_tui.session.ends import Opinion
from autoresearch_tui.util import timestamps
from tests.cockpit.coloured import Coloured
from tests.cockpit.fakes import FakeHost
from tests.cockpit.nights import Night, pilot_test

DIFF = "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n-LR = 1\n+LR = 2\n x = 1\n"
FILES = {"train.py": "LR = 2\nx = 1\n"}


def at_gate(policy: str = "", seconds: float = 0) -> tuple[Night, int]:
    night = Night()
    frontier = night.commit(night.experiment("keep", 0.9979))
    night.experiment("discard", 0.9990, frontier, "raise MATRIX_LR to 0.05")
    night.experiment("vetoed", None, frontier, "swap the seed")
    number = night.propose(frontier, "raise MATRIX_LR to 0.035", flags=("train.py:1 constant LR is odd",))
    deadline = (night.moment + timedelta(seconds=seconds)).isoformat() if seconds else ""
    night.review(number, policy, deadline)
    return night, number


class Gate(Coloured):
    """The review of a night's proposal, on a host that notes what it is sent.

    A second passes with each look at the clock, so that every key counts, unless `monotonic` says otherwise.
    """

    def __init__(
        self, night: Night, number: int, *, watching: str = "", monotonic: Callable[[], float] | None = None
    ) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.host, seconds = FakeHost(), itertools.count()
        lab = labs.Lab(Path(self.folder.name), Settings())
        self.view = Bridge(
            lab,
            "nov21",
            None if watching else self.host,
            watching,
            clock=night.moment.timestamp,
            monotonic=monotonic or (lambda: float(next(seconds))),
        )
        for experiment in night.state.experiments:
            run = self.view.files.run(experiment.number)
            run.folder.mkdir(parents=True)
            run.diff.write_text(DIFF)
            for name, text in FILES.items():
                (run.folder / name).write_text(text)
        self.view.state = night.state
        self.shown = ReviewScreen(self.view, number)

    @property
    def answers(self) -> list[Command]:
        """What was decided."""
        return [command for command in self.host.sent if not isinstance(command, Attend)]

    @property
    def attended(self) -> list[str]:
        """Why the human was said to be at it; with a minus: no longer."""
        found = [command for command in self.host.sent if isinstance(command, Attend)]
        return [f"-{command.why}" if command.over else command.why for command in found]

    def on_mount(self) -> None:
        self.push_screen(self.shown)

    async def follow(self, pilot: Pilot[None], night: Night) -> None:
        """What an engine did arrives on the screen."""
        self.view.state = night.state
        self.shown.refresh_state(night.state)
        await pilot.pause()

    def picture(self) -> str:
        strips = self.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@pilot_test
async def test_everything_for_the_decision_is_on_a_small_screen() -> None:
    app = Gate(*at_gate("approve-low-risk", 272))
    async with app.run_test(size=(80, 24)):
        picture = app.picture()
        for text in ("raise MATRIX_LR to 0.035", "converges sooner", "★ #0 0.997900", "constant LR is odd"):
            assert text in picture
        assert "#1 discard 0.999000 (worse by 0.001100) raise MATRIX_LR to 0.05" in picture
        assert "swap the seed" not in picture
        assert "auto-vetoes in 4:30 (it carries risk)" in picture


@pilot_test
async def test_approve_sends_the_exact_commit_that_is_shown() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a")
    assert app.answers == [Approve(number, night.commit(number))]


@pilot_test
async def test_veto_with_a_reason_and_a_veto_thought_better_of() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("v", "escape")
        assert app.answers == []
        await pilot.press("v", "1")
    assert app.answers == [Veto(number, night.commit(number), REASONS[0])]


@pilot_test
async def test_asking_for_another_is_a_veto_and_a_note() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n", *"smaller", "enter")
    veto = Veto(number, night.commit(number), "asked for another: smaller")
    assert app.answers == [veto, Note("smaller")]


@pilot_test
async def test_a_reader_without_an_engine_decides_nothing() -> None:
    app = Gate(*at_gate(), watching="watching only")
    async with app.run_test(size=(80, 24)) as pilot:
        assert "read only: watching only" in app.picture()
        await pilot.press("a", "v", "n", "e")
        assert app.answers == [] and app.screen is app.shown


@pilot_test
async def test_a_human_at_an_answer_says_so() -> None:
    app = Gate(*at_gate("veto", 5))
    async with app.run_test(size=(80, 24)) as pilot:
        assert app.attended == ["read"]
        await pilot.press("v", "escape")
        assert app.attended == ["read", "answer", "read"]
        await pilot.press("e", "escape", "n", "escape")
        assert app.attended == ["read", *["answer", "read"] * 3]
        await pilot.press("v", "1")
        assert app.attended == ["read", *["answer", "read"] * 3, "answer"], "the answer itself ends it"


@pilot_test
async def test_leaving_lets_the_clock_run_again() -> None:
    app = Gate(*at_gate("veto", 5))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("escape")
        assert app.attended == ["read", "-read"] and app.answers == [] and app.screen is not app.shown


@pilot_test
async def test_a_reader_who_presses_keys_is_waited_for_longer() -> None:
    moment = [100.0]
    night, number = at_gate("veto", 5)
    app = Gate(night, number, monotonic=lambda: moment[0])
    until = timestamps.stamp(night.moment + timedelta(seconds=600))
    async with app.run_test(size=(80, 24)) as pilot:
        night.add(ev.ProposalHeld(number, night.commit(number), "read", until))
        await app.follow(pilot, night)
        assert "held while you read, " in app.picture()
        await pilot.press("down")
        assert app.attended == ["read"]
        moment[0] += 61
        await pilot.press("down", "down")
        assert app.attended == ["read", "read"]


@pilot_test
async def test_holding_and_releasing() -> None:
    night, number = at_gate("veto", 5)
    app = Gate(night, number)
    commit = night.commit(number)
    async with app.run_test(size=(80, 24)) as pilot:
        night.add(ev.ProposalHeld(number, commit, "read", timestamps.stamp(night.moment + timedelta(seconds=600))))
        await app.follow(pilot, night)
        assert "h release" in app.picture()
        await pilot.press("h")
        night.add(ev.ProposalHeld(number, commit, ""))
        await app.follow(pilot, night)
        assert "auto-vetoes in" in app.picture()
        assert "h hold" in app.picture()
        await pilot.press("h")
        night.add(ev.ProposalHeld(number, commit, "hold"))
        await app.follow(pilot, night)
        assert "held by you, h releases it" in app.picture()
        await pilot.press("h")
    assert app.attended == ["read", "-read", "hold", "-hold"]


@pilot_test
async def test_a_proposal_that_is_only_being_checked_is_held_as_well() -> None:
    """It may be approved by the policy at once, and launched."""
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    app = Gate(night, night.propose(base, "raise MATRIX_LR to 0.035"))
    async with app.run_test(size=(80, 24)):
        assert app.attended == ["read"]


@pilot_test
async def test_a_proposal_that_nothing_happens_to_by_itself_is_not_held() -> None:
    app = Gate(*at_gate())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("h", "escape")
    assert app.host.sent == []


def several(policy: str = "") -> tuple[Night, list[int]]:
    """Three proposals at the gate."""
    night, first = at_gate(policy, 272 if policy else 0)
    numbers = [first]
    for idea in ("raise EMBEDDING_LR to 0.7", "halve WEIGHT_DECAY"):
        numbers.append(night.propose(night.commit(0), idea))
        night.review(numbers[-1])
    return night, numbers


@pilot_test
async def test_after_a_decision_comes_the_next_proposal_that_waits() -> None:
    night, (first, second, third) = several()
    app = Gate(night, second)
    async with app.run_test(size=(80, 24)) as pilot:
        assert "2 of 3 waits for you" in app.picture()
        await pilot.press("a")
        assert "halve WEIGHT_DECAY" in app.picture() and "2 of 2 waits for you" in app.picture()
        await pilot.press("v", "enter")
        assert "raise MATRIX_LR to 0.035" in app.picture() and " of " not in app.shown._gate("")
        await pilot.press("a")
        assert app.screen is not app.shown
    assert app.answers == [
        Approve(second, night.commit(second)),
        Veto(third, night.commit(third), ""),
        Approve(first, night.commit(first)),
    ]


@pilot_test
async def test_tab_leads_to_the_next_and_leaves_this_one_waiting() -> None:
    night, numbers = several("veto")
    app = Gate(night, numbers[0])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("tab")
        assert "2 of 3" in app.picture()
        await pilot.press("tab", "tab")
        assert "1 of 3" in app.picture()
    assert app.attended == ["read", "-read", "read"] and app.answers == []


@pilot_test
async def test_where_it_was_decided_meanwhile_enter_leads_to_the_next() -> None:
    night, numbers = several()
    app = Gate(night, numbers[0])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        assert "raise MATRIX_LR" in app.picture(), "nothing to go on to"
        night.veto(numbers[0], "seen elsewhere")
        await app.follow(pilot, night)
        assert f"Enter shows #{numbers[1]}, which waits" in app.picture()
        await pilot.press("enter")
        assert "raise EMBEDDING_LR" in app.picture()
        night.approve(numbers[1])
        night.approve(numbers[2])
        night.launch(numbers[1])
        await app.follow(pilot, night)
        assert "is already running; Esc goes back" in app.picture()


@pilot_test
async def test_where_it_changed_enter_shows_the_new_diff() -> None:
    night, number = at_gate("veto", 272)
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        night.add(ev.ProposalRebased(number, "f" * 40, night.commit(0), True, 1, 1))
        app.view.files.run(number).diff.write_text(DIFF.replace("LR = 2", "LR = 3"))
        await app.follow(pilot, night)
        assert "Enter shows the new diff" in app.picture() and "LR = 3" not in app.picture()
        await pilot.press("enter")
        night.review(number)
        await app.follow(pilot, night)
        assert "LR = 3" in app.picture() and "waits for you" in app.picture()
        await pilot.press("a")
    assert app.answers == [Approve(number, "f" * 40)]


@pilot_test
async def test_the_last_decision_is_taken_back_while_the_next_is_read() -> None:
    night, numbers = several()
    app = Gate(night, numbers[0])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("z", "a")
        night.approve(numbers[0])
        await app.follow(pilot, night)
        seq = night.state.judgements[-1].seq
        await pilot.press("z")
        assert f"#{numbers[0]} is no longer approved" in app.picture()
        night.add(ev.JudgementUndone(seq, numbers[0], "human"))
        night.review(numbers[0])
        await app.follow(pilot, night)
        await pilot.press("down")
        assert "2 of 3" in app.picture(), "the first one waits again"
    assert app.answers == [Approve(numbers[0], night.commit(numbers[0])), Undo(seq)]


@pilot_test
async def test_no_reason_is_claimed_that_nobody_gave() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("v")
        assert "Enter: no reason" in app.picture()
        await pilot.press("down", "up", "down")
        assert "Enter: choose" in app.picture()
        await pilot.press("enter")
    assert app.answers == [Veto(number, night.commit(number), REASONS[0])]


@pilot_test
async def test_an_edit_begins_at_the_change_and_is_there_again_where_it_was_refused() -> None:
    diff = "--- a/train.py\n+++ b/train.py\n@@ -3,3 +3,2 @@\n x = 1\n-LR = 1\n y = 2\n"
    assert first_changes(DIFF) == {"train.py": 0}
    assert first_changes(diff) == {"train.py": 3}
    night, number = at_gate()
    edits: dict[tuple[int, str], dict[str, str]] = {}
    for keys, text in (("z", "zLR = 2\nx = 1\n"), ("y", "yzLR = 2\nx = 1\n")):
        app = Gate(night, number)
        app.view.edits = edits
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("e", keys, "ctrl+s", "ctrl+s", "enter")
            await pilot.pause()
        assert app.answers == [revised(night, number, {"train.py": text})]


@pilot_test
async def test_escape_leaves_it_at_the_gate() -> None:
    app = Gate(*at_gate())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("escape")
        assert app.screen is not app.shown and app.answers == []


@pilot_test
async def test_keys_for_the_screen_before_do_not_count() -> None:
    moment = [100.0]
    night, number = at_gate()
    app = Gate(night, number, monotonic=lambda: moment[0])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", "v", "e", "n")
        assert app.screen is app.shown and app.answers == []
        moment[0] += 0.6
        await pilot.press("v", "escape", "a")
        assert app.answers == [], "the screen has only just come back"
        moment[0] += 0.6
        await pilot.press("a")
    assert app.answers == [Approve(number, night.commit(number))]


@pilot_test
async def test_nothing_is_approved_that_is_not_on_the_screen() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        night.add(ev.ProposalRebased(number, "f" * 40, night.commit(0), True, 1, 1))
        await app.follow(pilot, night)
        await pilot.press("a", "v", "n", "e")
        assert app.answers == [] and app.screen is app.shown
        assert "changed to fffffff after this diff was shown" in app.shown.outdated()
        assert "changed to fffffff after" in app.picture()


@pilot_test
async def test_an_answer_that_comes_too_late_under_a_dialogue_is_not_sent() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("v")
        night.veto(number, "nobody answered in time")
        await app.follow(pilot, night)
        await pilot.press("1")
        assert app.answers == []
        assert "is decided (vetoed: nobody answered in time)" in app.shown.outdated()


@pilot_test
async def test_what_a_policy_approved_can_still_be_vetoed_but_not_approved_again() -> None:
    night, number = at_gate()
    night.approve(number, "auto")
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        assert "auto-approved" in app.picture()
        await pilot.press("a")
        assert app.answers == []
        await pilot.press("v", "2")
    assert app.answers == [Veto(number, night.commit(number), REASONS[1])]


def revised(night: Night, number: int, files: dict[str, str], description: str = "") -> Revise:
    """An edit under the description that it had, or another."""
    words = description or night.state.experiments[number].description
    return Revise(number, night.commit(number), files, words)


@pilot_test
async def test_an_edit_is_asked_for_its_description_which_is_there_to_be_changed() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", "end", *"0", "ctrl+s")
        assert night.state.experiments[number].description in app.picture()
        await pilot.press("escape")
        assert app.answers == [] and app.view.edits, "nothing is lost"
        assert "not sent; e reopens your version" in app.picture()
        await pilot.press("e", "ctrl+s", "ctrl+u", *"LR to 20", "enter")
    assert app.answers == [revised(night, number, {"train.py": "LR = 20\nx = 1\n"}, "LR to 20")]


@pilot_test
async def test_editing_in_place_runs_the_edited_version() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", "ctrl+s")
        assert isinstance(app.screen, EditScreen), "nothing changed, nothing sent"
        await pilot.press("end", *"0", "ctrl+s", "enter")
    assert app.answers == [revised(night, number, {"train.py": "LR = 20\nx = 1\n"})]


@pilot_test
async def test_a_file_comes_and_another_goes_where_the_lab_allows_it() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    files = Settings().lab
    app.view.lab = labs.Lab(
        app.view.lab.root, replace(Settings(), lab=replace(files, editable=("train.py", "skills/*.md")))
    )
    skill = app.view.files.run(number).found / "skills" / "wash.md"
    skill.parent.mkdir(parents=True)
    skill.write_text("# wash")
    async with app.run_test(size=(100, 24)) as pilot:
        await pilot.press("e")
        assert "skills/wash.md" in app.picture() and "ctrl+n: a new file" in app.picture()
        await pilot.press("ctrl+n", *"skills/Wash.md", "enter")
        assert "differs from it only in how it is written" in app.picture()
        await pilot.press("ctrl+n", *"skills/dry.md", "enter", *"# dry")
        app.screen.query(TextEditor)[1].clear()
        await pilot.press("ctrl+s", "enter")
    assert app.answers == [
        revised(night, number, {"train.py": FILES["train.py"], "skills/wash.md": "", "skills/dry.md": "# dry"})
    ]


@pilot_test
async def test_a_mistake_in_the_syntax_is_shown_before_it_is_sent() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", "end", *"(", "ctrl+s")
        assert "train.py:1:" in app.picture()
        await pilot.press("ctrl+s", "enter")
    assert isinstance(app.answers[0], Revise)


@pilot_test
async def test_leaving_an_edit_asks_once_and_keeps_it() -> None:
    app = Gate(*at_gate())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", *"x", "escape")
        assert isinstance(app.screen, EditScreen)
        await pilot.press("escape")
        assert app.screen is app.shown and app.answers == []
        await pilot.press("e")
        assert app.screen.query_one(TextEditor).text == "xLR = 2\nx = 1\n"
        assert "your earlier edit" in app.picture()
        await pilot.press("ctrl+z")
        assert app.screen.query_one(TextEditor).text == FILES["train.py"]
        await pilot.press("escape", "e")
        assert "your earlier edit" not in app.picture()


@pilot_test
async def test_a_warning_about_the_syntax_is_no_answer_to_leaving() -> None:
    app = Gate(*at_gate())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", "end", *"(", "ctrl+s", "escape")
        assert isinstance(app.screen, EditScreen), "asked, not thrown away"
        assert "not sent yet" in app.picture()
        await pilot.press("escape", "e")
        assert app.screen.query_one(TextEditor).text == "LR = 2(\nx = 1\n"


@pilot_test
async def test_the_question_about_leaving_is_no_answer_to_the_syntax() -> None:
    night, number = at_gate()
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", "end", *"(", "escape", "ctrl+s")
        assert "train.py:1:" in app.picture() and app.answers == []
        await pilot.press("ctrl+s", "enter")
    assert app.answers == [revised(night, number, {"train.py": "LR = 2(\nx = 1\n"})]


@pilot_test
async def test_python_is_coloured_in_the_editor() -> None:
    app = Gate(*at_gate())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e")
        line = app.screen.query_one(TextEditor).get_line(0)
        assert [line.plain[span.start : span.end] for span in line.spans] == ["2"]


@pilot_test
async def test_the_external_editor_gets_a_copy_and_its_result_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def edit(paths: Sequence[Path]) -> str:
        seen.extend(paths)
        paths[0].write_text(paths[0].read_text() + "y = 3\n")
        return ""

    night, number = at_gate()
    monkeypatch.setattr(review, "suspended", lambda app: edit)
    app = Gate(night, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("E", "enter")
    assert app.answers == [revised(night, number, {"train.py": "LR = 2\nx = 1\ny = 3\n"})]
    assert seen[0].name == "train.py" and not seen[0].exists()


@pilot_test
async def test_an_editor_that_fails_or_changes_nothing_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for result in ("", "vi ended with exit code 1"):
        monkeypatch.setattr(review, "suspended", lambda app, result=result: lambda paths: result)
        app = Gate(*at_gate())
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("E")
            assert app.answers == [] and app.screen is app.shown
            assert (result or "nothing changed, nothing sent") in app.picture()


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
    assert "it does not run without an answer" in review.gate(experiment, now)
    night.review(number, "veto", soon)
    assert "auto-vetoes in 1:02 (policy veto)" in review.gate(night.state.experiments[number], now)
    safe = night.propose(night.commit(0))
    night.review(safe, "approve-low-risk", soon)
    assert "auto-approves in 1:02 (low risk)" in review.gate(night.state.experiments[safe], now)
    assert "auto-approves now" in review.gate(night.state.experiments[safe], now + timedelta(hours=1))


@pytest.mark.parametrize(
    ("opinion", "back", "shown", "gate"),
    [
        (Opinion.AGREE, False, "✓ agrees: [red]so[/] it is", "(the critic agrees)"),
        (
            Opinion.DISAGREE,
            True,
            "✗ disagrees: [red]so[/] it is (sent back",
            "(the critic does not agree)",
        ),
        (Opinion.UNSURE, False, "? is unsure: [red]so[/] it is", "so often in a row that you decide"),
        (Opinion.NONE, False, "! gave no answer: [red]so[/] it is", "held: the critic gave no answer"),
    ],
)
@pilot_test
async def test_a_second_opinion_arrives_while_it_is_read(opinion: Opinion, back: bool, shown: str, gate: str) -> None:
    night, number = at_gate("approve-if-critic-agrees", 61.5)
    night.add(ev.CriticAsked(number, night.commit(number)))
    app = Gate(night, number)
    async with app.run_test(size=(100, 30)) as pilot:
        await app.follow(pilot, night)
        assert "critic … reads the proposal" in app.picture() and "waits for the critic" in app.picture()
        night.add(ev.CriticAnswered(number, night.commit(number), opinion, "[red]so[/] it is", back))
        await app.follow(pilot, night)
        assert f"critic {shown}" in app.picture()
        assert gate in review.gate(night.state.experiments[number], night.moment)


def test_similar_attempts_by_words_and_by_names() -> None:
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    for idea in ("raise MATRIX_LR to 0.05", "swap the seed", "tune EMBEDDING_LR", "Raise matrix_lr  to 0.05!"):
        night.experiment("discard", 0.999, base, idea)
    number = night.propose(base, "raise MATRIX_LR to 0.05")
    state = night.state
    found = statistics.similar(state.experiments[number], state.experiments)
    assert [one.experiment.number for one in found] == [4, 1]
    assert found[0].likeness == found[1].likeness == 1.0
    another = night.propose(base, "learn faster at the input")
    state = night.state
    assert statistics.similar(state.experiments[another], state.experiments) == ()
    names = statistics.changed_names(
        "-EMBEDDING_LR = 0.6\n+EMBEDDING_LR = 0.8\n+        self.scale: Tensor = x\n+if a == b:\n"
    )
    assert names == {"EMBEDDING_LR", "scale"}
    assert [
        one.experiment.number for one in statistics.similar(state.experiments[another], state.experiments, names)
    ] == [3]


def test_a_gain_smaller_than_the_spread_is_near_noise() -> None:
    night = Night()
    base = night.commit(night.experiment("keep", 1.0))
    small = night.experiment("keep", 0.9999, base)
    night.experiment("keep", 0.99, night.commit(small))
    assert statistics.near_noise(night.state) == (small,)
    assert statistics.spread(night.state) is None


def test_files_that_do_not_parse_are_named() -> None:
    assert syntax_problem({"a.md": "((", "b.py": "x = 1\n"}) == ""
    assert syntax_problem({"b.py": "x = (\n"}).startswith("b.py:1:")
    assert syntax_problem({"b.py": "x = '\0'"}).startswith("b.py")


@pytest.mark.parametrize("width", [40, 60, 79, 80, 81, 120])
def test_the_facts_lose_no_letter_to_the_width(width: int) -> None:
    night, number = at_gate()
    state = night.state
    what = (
        "🚀 学習率 raise the rate of the matrices [bold]not markup[/bold] and a very long description " + "wide幅" * 60
    )
    experiment = state.experiments[number]
    experiment = replace(experiment, proposal=replace(experiment.proposal, description=what))
    console = Console(width=width, color_system=None)
    styles = {name: Style() for name in ("dim", "warn-strong")}
    with console.capture() as capture:
        console.print(review.facts(experiment, state, DIFF, styles))
    assert "".join(what.split()) in "".join(capture.get().split()) and "…" not in capture.get()


@pytest.mark.parametrize("text", ["plain", "学習率 🚀", "cafe\u0301", "a\u200db", "👩‍🔬 ok"])
def test_every_pane_counts_columns_alike(text: str) -> None:
    assert cells.cells(text) == cell_len(text)
    assert cell_len(cells.cut(text * 9, 20)) <= 20
