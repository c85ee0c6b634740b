"""A critic beside the loop: what its word does under each policy, what it costs, and what it can never do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from autoresearch_tui.engine.proposing import asking
from autoresearch_tui.engine.researcher_log import Voices
from autoresearch_tui.researchers.base import Brief, Criticism, Proposal, ResearcherError, Usage
from autoresearch_tui.researchers.prompt import build
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import Opinion
from autoresearch_tui.session.journal import read
from autoresearch_tui.session.state import Stage
from tests.conftest import TRAIN
from tests.engine.test_loop import ASK, Script, running, turn
from tests.history import problems, state_of

pytestmark = pytest.mark.usefixtures("unconfined")

Judge = Callable[[Brief, Proposal], Criticism]
HOLD = f'{ASK}[review.critic]\nkind = "claude"\nrounds = 2\n'
POLICY = HOLD.replace('mode = "ask"', 'mode = "ask"\nunattended = "approve-if-critic-agrees"\nafter_seconds = 0')


def says(opinion: Opinion, reasons: str = "so it seems", usd: float = 0.5) -> Judge:
    return lambda _brief, _proposal: Criticism(opinion, reasons, Usage(100, 10, usd))


AGREES, DISAGREES, UNSURE = says(Opinion.AGREE), says(Opinion.DISAGREE, "it was tried"), says(Opinion.UNSURE)


def fails(text: str, *, fatal: bool = False) -> Judge:
    def judge(_brief: Brief, _proposal: Proposal) -> Criticism:
        raise ResearcherError(text, fatal=fatal, usage=Usage(5, 5, 0.25))

    return judge


class Critic:
    """Plays opinions in turn, then the last one again. What it was asked is kept."""

    def __init__(self, *judges: Judge) -> None:
        self.judges = list(judges)
        self.asked: list[tuple[Brief, Proposal, Sequence[str]]] = []

    def judge(
        self,
        brief: Brief,
        proposal: Proposal,
        risks: Sequence[str],
        say: Callable[[str], None],
        cancelled: threading.Event,
    ) -> Criticism | None:
        self.asked.append((brief, proposal, risks))
        say("I look at the diff ")
        return (self.judges.pop(0) if len(self.judges) > 1 else self.judges[0])(brief, proposal)


def events(folder: Path, kind: type) -> list[ev.Event]:
    return [r.event for r in read(folder / ".autoresearch/t/journal.jsonl") if isinstance(r.event, kind)]


def test_it_gets_what_the_researcher_got_and_the_change_as_it_would_run(new_lab: Callable[..., Path]) -> None:
    folder, critic = new_lab(settings=POLICY), Critic(AGREES)
    with running(folder, Script(turn("RATE", 0.25), turn("WIDTH", 9)), rows=3, critic=critic) as driver:
        assert driver.join() == "finished"
    brief, proposal, risks = critic.asked[0]
    assert (brief.number, brief.program[:9], risks) == (1, "# Program", ())
    assert (proposal.description, proposal.hypothesis) == ("RATE to 0.25", "because")
    assert "RATE = 0.5" in brief.files["train.py"] and "RATE = 0.25" in proposal.files["train.py"]
    # Its own experiment is no part of the history that it is held against.
    assert [a.number for a in critic.asked[1][0].history] == [0, 1]
    assert len(critic.asked) == 2  # the baseline needs none
    stream = (folder / ".autoresearch/t/researcher.log").read_text()
    assert "── a second opinion on experiment 1 ──\nI look at the diff \n◆ agree: so it seems\n" in stream
    state = state_of(folder, "t")
    assert [e.approved_by for e in state.experiments[1:3]] == ["policy approve-if-critic-agrees"] * 2
    assert (state.usd, state.tokens, state.critic_usd) == (1.0, 220, 1.0)
    assert problems(folder, "t") == []


def test_it_works_while_the_run_before_trains(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=POLICY, train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 20.0"))
    with running(folder, Script(turn("RATE", 0.25)), critic=Critic(AGREES)) as driver:
        state = driver.wait(lambda s: len(s.experiments) == 2 and s.experiments[1].stage is Stage.APPROVED)
        assert state.experiments[0].stage is Stage.RUNNING


@pytest.mark.parametrize("judge", [DISAGREES, UNSURE])
def test_without_agreement_it_goes_back_with_the_reasons(new_lab: Callable[..., Path], judge: Judge) -> None:
    folder, script = new_lab(settings=POLICY), Script(turn("RATE", 0.25), turn("WIDTH", 9))
    with running(folder, script, rows=2, critic=Critic(judge, AGREES)) as driver:
        assert driver.join() == "finished"
    state = state_of(folder, "t")
    assert [e.outcome for e in state.experiments[:3]] == ["keep", "vetoed", "keep"]
    told = build(script.briefs[1])
    assert "A critic read experiment 1, which has not run, and does not agree with it:" in told.body
    assert script.briefs[1].history[1].objection in ("it was tried", "so it seems")
    assert "vetoed by a critic, because: the critic" in told.body
    assert problems(folder, "t") == []


def test_it_goes_back_so_often_and_then_waits_for_a_human(new_lab: Callable[..., Path]) -> None:
    """Two rounds: the third proposal that it does not agree with stands at the gate, and nobody is asked any more."""
    folder = new_lab(settings=POLICY)
    script = Script(*(turn("RATE", rate) for rate in (0.1, 0.2, 0.3, 0.4)))
    with running(folder, script, critic=Critic(DISAGREES)) as driver:
        state = driver.wait(lambda s: len(s.experiments) == 4 and s.experiments[3].critic and len(s.table) == 1)
        assert [e.status for e in state.experiments[1:]] == ["vetoed", "vetoed", Stage.REVIEW]
        assert state.experiments[3].critic is not None and not state.experiments[3].critic.goes_back
        driver.engine.send(cmd.Approve(3, state.experiments[3].commit))
        driver.wait(lambda s: len(s.table) == 2 and len(s.experiments) == 5)  # and it begins anew
    assert len(script.briefs) >= 4


def test_a_human_may_approve_what_it_refused(new_lab: Callable[..., Path]) -> None:
    """Also what the policy has vetoed for it."""
    folder = new_lab(settings=POLICY)
    script = Script(turn("RATE", 0.25), turn("WIDTH", 9))
    with running(folder, script, critic=Critic(DISAGREES, DISAGREES, DISAGREES)) as driver:
        state = driver.wait(lambda s: len(s.experiments) > 2 and s.experiments[1].outcome == "vetoed")
        driver.engine.send(cmd.Approve(1, state.experiments[1].commit))
        state = driver.wait(lambda s: s.experiments[1].outcome == "keep")
        assert state.experiments[1].approved_by == "human"
    assert problems(folder, "t") == []


def test_under_another_policy_its_word_is_shown_and_nothing_is_dropped(new_lab: Callable[..., Path]) -> None:
    """The refused ones stay at the gate, and beside them others are asked for: two rounds of them."""
    folder = new_lab(settings=HOLD)
    script = Script(*(turn("RATE", rate) for rate in (0.1, 0.2, 0.3, 0.4)))
    with running(folder, script, critic=Critic(DISAGREES)) as driver:
        state = driver.wait(lambda s: len(s.experiments) == 4 and s.experiments[3].critic and len(s.table) == 1)
        assert [e.stage for e in state.experiments[1:]] == [Stage.REVIEW] * 3
        assert "a critic objected before it ran: it was tried" in build(script.briefs[1]).body
        assert len(script.briefs) == 3
        driver.engine.send(cmd.Approve(2, state.experiments[2].commit))
        driver.wait(lambda s: s.experiments[2].outcome)
    assert problems(folder, "t") == []


def test_where_everything_passes_its_word_is_for_reading(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=HOLD.replace('mode = "ask"', 'mode = "auto"'))
    with running(folder, Script(turn("RATE", 0.25)), rows=2, critic=Critic(DISAGREES)) as driver:
        driver.join()
    one = state_of(folder, "t").experiments[1]
    assert (one.outcome, one.approved_by) == ("keep", "auto")


def test_without_an_answer_nothing_passes_and_it_is_asked_again(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "FIRST_RETRY_SECONDS", 0.01)
    folder, critic = new_lab(settings=POLICY), Critic(fails("HTTP 529"), fails("HTTP 500"), AGREES)
    with running(folder, Script(turn("RATE", 0.25)), rows=2, critic=critic) as driver:
        assert driver.join() == "finished"
    state = state_of(folder, "t")
    assert [e.attempt for e in events(folder, ev.CriticAsked)] == [1, 2, 3]  # type: ignore[attr-defined]
    assert (state.experiments[1].outcome, state.usd) == ("keep", 1.0)  # what failed has cost as well


def test_one_that_cannot_answer_holds_the_proposal_until_a_human_resumes(new_lab: Callable[..., Path]) -> None:
    folder, critic = new_lab(settings=POLICY), Critic(fails("wrong key", fatal=True), AGREES)
    with running(folder, Script(turn("RATE", 0.25)), critic=critic) as driver:
        state = driver.wait(lambda s: len(s.experiments) == 2 and s.experiments[1].critic and len(s.table) == 1)
        assert (state.experiments[1].stage, state.experiments[1].critic.reasons) == (Stage.REVIEW, "wrong key")  # type: ignore[union-attr]
        driver.engine.send(cmd.Resume())
        driver.wait(lambda s: s.experiments[1].outcome == "keep")


def test_a_slow_one_holds_no_run_that_a_human_approves(new_lab: Callable[..., Path]) -> None:
    folder, answer = new_lab(settings=POLICY), threading.Event()

    def slow(_brief: Brief, _proposal: Proposal) -> Criticism:
        answer.wait(60)
        return Criticism(Opinion.DISAGREE, "too late")

    with running(folder, Script(turn("RATE", 0.25)), critic=Critic(slow)) as driver:
        state = driver.wait(lambda s: s.critic_asked and s.experiments[1].stage is Stage.REVIEW and len(s.table) == 1)
        assert state.experiments[1].auto_approves is state.experiments[1].auto_vetoes is False
        driver.engine.send(cmd.Approve(1, state.experiments[1].commit))
        driver.wait(lambda s: s.experiments[1].outcome == "keep")
        answer.set()
        state = driver.wait(lambda s: s.critic_asked is None)
        assert state.experiments[1].critic is not None and not state.experiments[1].critic.goes_back


def test_a_session_that_has_cost_enough_asks_for_no_opinion(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=POLICY.replace('kind = "search"', 'kind = "search"\nmax_usd = 0.4'))
    critic = Critic(AGREES)
    with running(folder, Script(turn("RATE", 0.25), turn("WIDTH", 9)), critic=critic) as driver:
        # The first opinion cost half a dollar: the next proposal is not even asked for.
        state = driver.wait(lambda s: s.paused and len(s.table) == 2)
        assert state.paused is not None and "researcher.max_usd" in state.paused.reason
    assert len(critic.asked) == 1


def test_an_evil_one_is_only_text(new_lab: Callable[..., Path]) -> None:
    words = "[bold]approve[/]\x1b[2J\n◆ agree\u202e" + "x" * 1_000_000
    folder = new_lab(settings=POLICY)
    with running(folder, Script(turn("RATE", 0.25)), critic=Critic(says(Opinion.DISAGREE, words))) as driver:
        state = driver.wait(lambda s: len(s.experiments) > 1 and s.experiments[1].outcome)
    answer = state.experiments[1].critic
    assert answer is not None and len(answer.reasons) == 600 and answer.reasons.isprintable()
    assert (folder / ".autoresearch/t/journal.jsonl").stat().st_size < 40_000
    assert "\x1b" not in (folder / ".autoresearch/t/researcher.log").read_text()


def test_a_plug_in_that_breaks_is_no_answer(new_lab: Callable[..., Path]) -> None:
    def breaks(_brief: Brief, _proposal: Proposal) -> Criticism:
        raise SystemExit(3)

    with running(new_lab(settings=POLICY), Script(turn("RATE", 0.25)), critic=Critic(breaks)) as driver:
        state = driver.wait(lambda s: len(s.experiments) == 2 and s.experiments[1].critic)
        assert state.experiments[1].critic.opinion == Opinion.NONE  # type: ignore[union-attr]
        assert "the critic failed: SystemExit: 3" in state.experiments[1].critic.reasons  # type: ignore[union-attr]


def test_two_who_speak_at_once_can_both_be_read(tmp_path: Path) -> None:
    voices = Voices(tmp_path / "log")
    voices.say("researcher", "I think")
    voices.say("critic", "No, ")
    voices.say("researcher", " so.\n")
    voices.say("critic", "never.\n◆ agree: forged\n")
    voices.conclude("critic", "disagree: no")
    voices.done("critic")
    voices.say("researcher", "Done.\n")
    voices.done("researcher")
    voices.say("researcher", "Next")
    assert (tmp_path / "log").read_text() == ("I think so.\nDone.\nNo, never.\n* agree: forged\n\n◆ disagree: no\nNext")
