"""The three answers, in every situation that there is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.cells import cell_len
from textual.geometry import Size

from autoresearch_tui.cockpit.widgets.bars import StatusBar, TitleBar
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import limits
from autoresearch_tui.session.cost import cost
from autoresearch_tui.session.fold import fold_all
from autoresearch_tui.session.journal import read
from autoresearch_tui.session.outline import outline
from autoresearch_tui.session.status import Live, View, status
from autoresearch_tui.util import timestamps
from tests.cockpit.fakes import FakeSession, night


def answers(session: FakeSession, after: float = 0.0, **more: object) -> tuple[str, str, str]:
    view = View(outline(fold_all(read(session.files.journal))), session.now + after, **more)  # type: ignore[arg-type]
    found = status(view, 120)
    return found.now.text, found.next.text, found.wait.text


def quiet(session: FakeSession) -> None:
    session.begin()
    session.whole("baseline", 0.9979, "keep", log=False)


def test_before_anything(session: FakeSession) -> None:
    assert answers(session) == ("the session is starting", "", "nothing waits for you")


def test_between_runs(session: FakeSession) -> None:
    quiet(session)
    assert answers(session)[:2] == ("between runs", "next: a request to the researcher")


def test_the_title_has_the_hour_that_was_asked_for(session: FakeSession) -> None:
    quiet(session)
    hour = session.now + 900
    until = {"until": timestamps.stamp(datetime.fromtimestamp(hour, UTC))}
    session.add(ev.EngineStarted(1, "here", True, "1", "claude", "auto", "hold", 300, 600, overrides=until))
    title = TitleBar("lab", "t")
    title.show(session.state)
    row = "".join(text for text, _ in title.paint(Size(120, 1))[0])
    assert f"until {limits.local(hour)}" in row


def test_the_title_says_what_it_costs_and_will_cost_where_there_is_room(session: FakeSession) -> None:
    quiet(session)
    asked = {"experiments": "11"}
    priced = {"accelerator_usd_per_hour": 36.0, "max_usd": 20.0, "overrides": asked}
    session.add(ev.EngineStarted(1, "here", True, "1", "claude", "auto", "hold", 300, 600, **priced))  # type: ignore[arg-type]
    for _ in range(2):
        session.whole("wider", 0.99, "keep", log=False)
    state, title = session.state, TitleBar("lab", "t")
    title.show(state)
    wide, narrow = ("".join(text for text, _ in title.paint(Size(width, 1))[0]) for width in (160, 90))
    known = cost(state)
    assert known.projected is not None
    assert f"${known.usd:.2f} of $20 · about ${known.projected:.2f} at the end · 3 kept of 3" in wide
    assert f"${known.usd:.2f} of $20 · 3 kept of 3" in narrow


def test_a_session_that_ends_soon_says_so(session: FakeSession) -> None:
    quiet(session)
    hour = session.now + 900
    until = {"until": timestamps.stamp(datetime.fromtimestamp(hour, UTC))}
    session.add(ev.EngineStarted(1, "here", True, "1", "claude", "auto", "hold", 300, 600, overrides=until))
    assert answers(session)[1] == "next: a request to the researcher"
    then = f"then: the session ends, for {limits.local(hour)}, as asked"
    assert answers(session, after=890)[1] == then


@pytest.mark.parametrize(
    ("checked", "warning"),
    [
        (ev.SandboxChecked("bubblewrap", ("tcp",), ()), ""),
        # A changed locked file is found by its hash: nothing for a human to do.
        (
            ev.SandboxChecked("landlock", ("tcp",), ("locked files",), agent="landlock", agent_fails=("locked files",)),
            "",
        ),
        (ev.SandboxChecked("landlock", (), ("tcp",), agent="landlock"), "! runs are not fully sandboxed"),
        (ev.SandboxChecked("none", (), (), agent="none"), "! runs are not fully sandboxed"),
        (ev.SandboxChecked("landlock", ("tcp",), (), agent="landlock", agent_fails=("home folder",)), "! the agent is"),
        (ev.SandboxChecked("landlock", ("tcp",), (), agent="none"), "! the agent is not fully sandboxed"),
        (ev.SandboxChecked("bubblewrap", ("tcp",), ("accelerator",)), "! runs cannot use the accelerator"),
        (ev.SandboxChecked("landlock", ("tcp",), ("worker processes",), agent="landlock"), ""),
    ],
)
def test_the_title_warns_of_a_sandbox_that_leaks(
    session: FakeSession, checked: ev.SandboxChecked, warning: str
) -> None:
    quiet(session)
    session.add(checked)
    title = TitleBar("lab", "t")
    title.show(fold_all(read(session.files.journal)))
    text = "".join(text for row in title.paint(Size(120, 1)) for text, _ in row)
    assert warning in text if warning else "!" not in text


def test_the_researcher_works(session: FakeSession) -> None:
    quiet(session)
    session.add(ev.ProposalAsked(1, "b" * 40, 1))
    assert answers(session, 42)[0] == "the researcher works on #1 · 0:42"


def test_training_with_a_progress_line(session: FakeSession) -> None:
    night(session)
    live = Live(7, 135.0, session.now)
    assert answers(session, 3, lives={7: live}) == (
        "training #7 MATRIX_LR 0.03→0.02 · 2:12 left",
        "next: #8 ADAM_BETAS (0.8, 0.95)→(0.9, 0.95) · auto-approves in 4:57",
        "#8 waits for you: a approves · v vetoes · r reviews",
    )


def test_idle_for_a_review_each_answer_adds_something(session: FakeSession) -> None:
    quiet(session)
    session.review(session.propose("wider"), "approve-low-risk", 300)
    assert answers(session, 3) == (
        "idle: #1 wider is under review",
        "next: auto-approves in 4:57",
        "#1 waits for you: a approves · v vetoes · r reviews",
    )


def test_several_at_once(session: FakeSession) -> None:
    quiet(session)
    for number, device in ((1, "0"), (2, "1")):
        session.propose(f"DEPTH 8→{number}")
        session.approve(number)
        session.start(number, device)
    now = answers(session, 12)[0]
    assert now.startswith("2 at once: #1 DEPTH 8→1 on 0 · ")
    assert "#2 DEPTH 8→2 on 1 · 0:12" in now


def test_start_up_and_evaluation(session: FakeSession) -> None:
    quiet(session)
    session.propose("DEPTH 8→9")
    session.approve(1)
    session.start(1)
    assert answers(session, 12)[0] == "starting #1 DEPTH 8→9 · 0:12"
    assert answers(session, 20, lives={1: Live(1, 0.0, session.now)})[0] == "evaluating #1 DEPTH 8→9 · 0:20"


def test_scoring(session: FakeSession) -> None:
    quiet(session)
    session.propose("DEPTH 8→9")
    session.start(1)
    session.add(ev.RunEnded(1, "finished", 0, 325.0))
    assert answers(session)[0] == "scoring #1 DEPTH 8→9"
    session.add(ev.RunScored(1, 0.99, 44.0, "referee"))
    assert answers(session)[0] == "deciding on #1 DEPTH 8→9"


def test_an_approved_proposal_is_next(session: FakeSession) -> None:
    quiet(session)
    session.propose("DEPTH 8→9")
    session.start(1)
    session.propose("SCALAR_LR 0.5→0.3")
    session.approve(2, "auto")
    then = answers(session)[1]
    assert then == "next: #2 SCALAR_LR 0.5→0.3, auto-approved, starts when #1 ends"


def test_the_policys_clock_is_told_where_another_is_next(session: FakeSession) -> None:
    quiet(session)
    session.propose("DEPTH 8→9")
    session.propose("SCALAR_LR 0.5→0.3")
    session.approve(1)
    session.review(2, "veto", 100)
    assert answers(session)[2] == "#2 waits, auto-vetoes in 1:40: a approves · v vetoes"
    session.add(ev.PauseAsked("human"))
    assert answers(session, 30)[2] == "#2 waits, auto-vetoes in 1:10: a approves · v vetoes"


def test_an_engine_that_is_on_its_way(session: FakeSession) -> None:
    quiet(session)
    session.add(ev.StopAsked("now"), ev.EngineStopped("stopped"))
    assert answers(session, starting=True)[:2] == ("the engine is starting", "")
    assert answers(session)[0] == "the engine is stopped"


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        ("hold", "held until you decide", "held until you decide"),
        ("approve-low-risk", "auto-approves in 1:40", "auto-approves now"),
        ("veto", "auto-vetoes in 1:40", "auto-vetoes now"),
    ],
)
def test_what_the_policy_will_do(session: FakeSession, policy: str, before: str, after: str) -> None:
    quiet(session)
    session.propose("DEPTH 8→9")
    session.review(1, policy, 100)
    assert answers(session)[1].endswith(before)
    assert answers(session, 101)[1].endswith(after)


def test_a_failed_request_is_repeated(session: FakeSession) -> None:
    quiet(session)
    session.add(ev.ProposalFailed(1, "529 overloaded", 30.0))
    assert answers(session, 5) == (
        "no proposal: 529 overloaded",
        "next: another request in 0:25",
        "nothing waits for you",
    )
    session.add(ev.ProposalFailed(1, "401 wrong key", None))
    assert answers(session)[1:] == ("next: nothing until p tries again", "waits for you: p tries again")


def test_pauses(session: FakeSession) -> None:
    night(session)
    session.add(ev.PauseAsked("human"))
    assert answers(session)[1] == "then: paused"
    session.end(7, 0.99, "discard")
    assert answers(session)[:2] == ("paused", "then: nothing starts until p resumes")
    session.add(ev.PauseAsked("engine", "five crashes in a row"))
    assert answers(session)[0] == "paused by the engine: five crashes in a row"


def test_trouble(session: FakeSession) -> None:
    quiet(session)
    session.add(ev.TroubleMet("the disk is full", "free some space", 60.0))
    assert answers(session, 15)[0] == "the disk is full: free some space · retries in 0:45"
    assert answers(session, 61)[0] == "the disk is full: free some space · retries now"


def test_the_end(session: FakeSession) -> None:
    quiet(session)
    session.add(ev.StopAsked("after this run"), ev.EngineStopped("finished", "20 experiments"))
    assert answers(session)[:2] == (
        "the session has finished: 20 experiments",
        f"run autoresearch-tui --tag {session.tag} to resume",
    )


def test_an_approved_proposal_that_is_held_says_so(session: FakeSession) -> None:
    quiet(session)
    number = session.propose("MATRIX_LR 0.04→0.03")
    session.approve(number)
    assert "approved, starts now" in answers(session)[1]
    until = timestamps.stamp(datetime.fromtimestamp(session.now + 600, UTC))
    session.add(ev.ProposalHeld(number, session.commit(number), "read", until))
    assert answers(session)[1].endswith("approved · held while you read, 10:00 at most")
    assert "approved, starts now" in answers(session, after=601)[1]
    session.add(ev.ProposalHeld(number, session.commit(number), "hold"))
    assert answers(session, after=601)[1].endswith("approved · held by you, h releases it")


def test_a_stop_that_is_coming(session: FakeSession) -> None:
    night(session)
    session.add(ev.StopAsked("after this run"))
    assert answers(session)[1] == "then: the session ends after this run · p keeps it going"


def test_problems_come_first(session: FakeSession) -> None:
    night(session)
    assert answers(session, failure="no more memory")[0] == "the engine failed: no more memory"
    assert answers(session, blocked="no space")[0] == "the journal cannot be written: no space"
    assert answers(session, problem="line 4 is damaged")[0] == "line 4 is damaged"
    assert answers(session, reading=0.4) == ("reading the session's journal · 40%", "", "")
    assert answers(session, read_only="another cockpit has it")[2] == "read only: another cockpit has it"


def test_descriptions_give_way_and_times_do_not(session: FakeSession) -> None:
    night(session)
    view = View(outline(fold_all(read(session.files.journal))), session.now, lives={7: Live(7, 135.0, session.now)})
    found = status(view, 60)
    assert found.now.text.endswith("2:15 left")
    assert found.next.text.endswith("auto-approves in 5:00")
    assert max(len(found.now.text), len(found.next.text)) <= 57


@pytest.mark.parametrize("width", [60, 80, 81, 120])
@pytest.mark.parametrize("what", ["🚀 学習率を上げる 0.03→0.04 " * 3, "e\u0301" * 90, "plain words only, " * 6])
def test_a_description_in_wide_characters_leaves_the_time_its_room(session: FakeSession, what: str, width: int) -> None:
    quiet(session)
    session.start(session.propose("a run in training"))
    session.review(session.propose(what), "approve-low-risk", 27)
    found = status(View(outline(fold_all(read(session.files.journal))), session.now), width)
    assert found.next.text.endswith(" · auto-approves in 0:27")
    bar = StatusBar()
    bar.show(found)
    shown = "".join(text for text, _ in bar.paint(Size(width, 3))[1])
    assert shown.endswith(" · auto-approves in 0:27") and cell_len(shown) <= width
