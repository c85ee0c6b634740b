"""Several researchers at once, through the real loop: what each is told, what comes of repeats, faults and limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.researchers.base import Brief, Proposal, ResearcherError, Usage
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from tests.conftest import SETTINGS, TRAIN
from tests.engine.test_loop import Driver
from tests.history import problems, state_of
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("unconfined")

# While the baselines train, nothing is known of how long a run takes, and each device has one in the making.
FOUR = SETTINGS.replace('kind = "search"', 'kind = "claude"\nqueue = 8').replace(
    "[run]\n", '[run]\ndevices = ["0", "1", "2", "3"]\n'
)
SLOW = TRAIN.replace("PAUSE = 0.0", "PAUSE = 25.0")


@dataclass
class Thought:
    """One question on its way, which the test answers."""

    brief: Brief
    say: Callable[[str], None]
    cancelled: threading.Event
    researcher: object
    answer: Proposal | ResearcherError | None = None
    answered: threading.Event = field(default_factory=threading.Event)
    over: bool = False

    def give(self, answer: Proposal | ResearcherError) -> None:
        self.answer = answer
        self.answered.set()

    def turn(self, value: float, description: str = "", of: str = "RATE = 0.5") -> None:
        """A proposal that gives RATE, or another constant, another value."""
        name = of.partition(" ")[0]
        text = self.brief.files["train.py"].replace(of, f"{name} = {value}")
        self.give(Proposal(description or f"{name} to {value}", "because", {"train.py": text}, Usage(90, 10, 0.5)))


class Lab:
    """An engine on a lab with four devices, and every question that it asks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.thoughts: list[Thought] = []
        engine = Engine(Session(labs.find(folder), "t"), self.researcher(), another=self.researcher, headless=False)
        self.driver = Driver.hosting(engine)

    def researcher(self) -> _Asks:
        return _Asks(self)

    @property
    def open(self) -> list[Thought]:
        """Without an answer yet, in the order of asking."""
        return [each for each in self.thoughts if not each.answered.is_set() and not each.over]

    def thinks(self, count: int) -> list[Thought]:
        """When so many are in the making."""
        wait_for(lambda: len(self.open) == count and len(self.driver.state.asks) == count, 60)
        return sorted(self.open, key=lambda each: each.brief.number)

    def records(self, kind: type[ev.Event]) -> list[ev.Event]:
        found = [record.event for record in read(self.folder / ".autoresearch/t/journal.jsonl")]
        return [event for event in found if isinstance(event, kind)]


class _Asks:
    """Puts each question on the lab's list, and waits for the test to answer it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        thought = Thought(brief, say, cancelled, self)
        say(f"I think about {brief.number}\n")
        self._lab.thoughts.append(thought)
        while not thought.answered.wait(0.02):
            if cancelled.is_set():
                thought.over = True
                return None
        if isinstance(thought.answer, ResearcherError):
            raise thought.answer
        return thought.answer


@contextmanager
def four(new_lab: Callable[..., Path], settings: str = FOUR, train: str = SLOW) -> Iterator[Lab]:
    lab = Lab(new_lab(settings=settings, train=train))
    lab.driver.start()
    try:
        yield lab
    finally:
        if lab.driver.outcome == "":
            lab.driver.engine.send(cmd.Stop(now=True))
            lab.driver.join()


def test_each_device_has_one_in_the_making_and_each_is_told_of_the_others(new_lab: Callable[..., Path]) -> None:
    with four(new_lab) as lab:
        thoughts = lab.thinks(4)
        asks = lab.driver.state.asks
        assert [ask.stream for ask in asks] == [0, 1, 2, 3]
        assert [ask.number for ask in asks] == [each.brief.number for each in thoughts]
        assert len({id(each.researcher) for each in thoughts}) == 4, "what one remembers is no other's"
        directions = [each.brief.direction for each in thoughts]
        assert len(set(directions)) == 4
        last = thoughts[3].brief
        assert last.making == tuple(f"#{ask.number}: {ask.event.direction}" for ask in asks[:3])
        # The newest is answered first: it is the next experiment, and its stream is free for the next question.
        number = len(lab.driver.state.experiments)
        thoughts[3].turn(0.4)
        state = lab.driver.wait(lambda s: len(s.experiments) > number)
        assert state.experiments[number].description == "RATE to 0.4"
        again = lab.thinks(4)[-1]
        assert lab.driver.state.asks[-1].stream == 3
        assert ("RATE to 0.4", "waiting") in [(each.description, each.outcome) for each in again.brief.history]
        said = lab.driver.engine._session.files.streams
        assert [path.name for path in said] == ["researcher.log", *(f"researcher-{n}.log" for n in (2, 3, 4))]
        assert f"it is experiment {number} now" in said[3].read_text()
        assert "think about" in said[1].read_text()
    assert problems(lab.folder, "t") == []


def test_two_that_think_the_same_are_one_and_the_second_is_told(new_lab: Callable[..., Path]) -> None:
    with four(new_lab) as lab:
        first, second, third, _ = lab.thinks(4)
        for each in (first, second):
            each.turn(0.4)
        lab.driver.wait(lambda s: any(e.description == "RATE to 0.4" for e in s.experiments))
        third.turn(0.3, "RATE to 0.4")  # the same words for another value
        wait_for(lambda: sum(bool(each.brief.complaint) for each in lab.thoughts) == 2, 60)
        told = [each for each in lab.thoughts if each.brief.complaint]
        assert sum(each.brief.complaint.startswith("the same code as experiment") for each in told) == 1
        assert sum(each.brief.complaint.startswith("nearly the same idea as experiment") for each in told) == 1
        for place, each in enumerate(told):
            each.turn(0.2 - place / 20)
        state = lab.driver.wait(lambda s: sum(e.number > 3 for e in s.experiments) == 3)
        codes = {(lab.folder / f".autoresearch/t/runs/{e.name}/diff.patch").read_text() for e in state.experiments[4:]}
        assert len(codes) == 3
        assert lab.records(ev.ProposalFailed) == []
    assert problems(lab.folder, "t") == []


def test_an_outage_is_met_by_all_waited_out_by_all_and_tried_again_by_one(new_lab: Callable[..., Path]) -> None:
    with four(new_lab) as lab:
        first, second, third, fourth = lab.thinks(4)
        for each in (first, second, third):
            each.give(ResearcherError("529 overloaded", outage=True, retry_after=1.0))
        wait_for(lambda: len(lab.records(ev.ProposalFailed)) == 3)
        assert lab.driver.state.failures == 1, "they were sent together"
        fourth.turn(0.4)  # it was sent before the outage, and says nothing about it
        lab.driver.wait(lambda s: any(e.description == "RATE to 0.4" for e in s.experiments))
        alone = lab.thinks(1)[0]
        assert [ask.event.attempt for ask in lab.driver.state.asks] == [2]
        assert len(lab.thoughts) == 5
        alone.turn(0.3)
        lab.thinks(4)
        assert lab.driver.state.failures == 0
        assert {event.retry_seconds for event in lab.records(ev.ProposalFailed)} == {1.0}  # type: ignore[attr-defined]


def test_a_short_wait_of_one_does_not_end_the_long_one_of_another(new_lab: Callable[..., Path]) -> None:
    with four(new_lab) as lab:
        first, second, *_ = lab.thinks(4)
        first.give(ResearcherError("429 too many requests", outage=True, retry_after=600.0))
        lab.driver.wait(lambda s: s.failed)
        second.give(ResearcherError("no answer", retry_after=1.0))
        lab.thinks(2)
        failed = lab.driver.state.failed
        assert failed is not None and failed.error == "no answer"
        assert failed.retry_seconds is not None and 500 < failed.retry_seconds <= 600


def test_a_fatal_fault_of_all_of_them_pauses_once(new_lab: Callable[..., Path]) -> None:
    with four(new_lab) as lab:
        for each in lab.thinks(4):
            each.give(ResearcherError("401 wrong key", fatal=True))
        lab.driver.wait(lambda s: not s.asks and s.paused)
        assert len(lab.records(ev.ProposalFailed)) == 4
        assert len(lab.records(ev.PauseAsked)) == 1


@pytest.mark.parametrize("limit", ["max_usd = 1.2", "max_tokens = 220"])
def test_what_is_in_the_making_counts_for_the_limits_of_cost(new_lab: Callable[..., Path], limit: str) -> None:
    settings = FOUR.replace('kind = "claude"', f'kind = "claude"\n{limit}')
    with four(new_lab, settings) as lab:
        # Nothing is known of what one costs, so the first goes alone; then two more fit, and not four.
        lab.thinks(1)[0].turn(0.4)
        for rate, each in zip((0.3, 0.2), lab.thinks(2), strict=True):
            each.turn(rate)
        state = lab.driver.wait(lambda s: s.paused)
        assert state.usd == 1.5
        assert len(lab.thoughts) == 3


def test_as_many_are_asked_for_as_the_table_has_room(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=FOUR, train=TRAIN)
    lab = Lab(folder)
    lab.driver.engine._rows = 6
    lab.driver.start()
    first, second = lab.thinks(2)
    first.turn(0.4)
    # On another line: it still applies if the first is kept before it starts.
    second.turn(9, of="WIDTH = 8")
    assert lab.driver.join() == "finished"
    assert len(lab.thoughts) == 2
    assert len(state_of(folder, "t").table) == 6


def test_notes_reach_those_that_are_asked_next_and_are_seen_in_each_stream(new_lab: Callable[..., Path]) -> None:
    with four(new_lab) as lab:
        first = lab.thinks(4)[0]
        lab.driver.engine.send(cmd.Note("mind the width"))
        lab.driver.wait(lambda s: s.waiting_notes)
        first.turn(0.4)
        state = lab.driver.wait(lambda s: not s.waiting_notes)
        assert state.sent_notes == ("mind the width",)
        wait_for(lambda: len(lab.thoughts) == 5, 60)
        assert lab.thoughts[4].brief.notes == ("mind the width",)
        for path in lab.driver.engine._session.files.streams:
            assert "❯ note: mind the width" in path.read_text()


def test_a_detach_ends_them_all_and_the_next_engine_asks_anew(new_lab: Callable[..., Path]) -> None:
    with four(new_lab) as lab:
        thoughts = lab.thinks(4)
        assert lab.driver.detach() == "detached"
        wait_for(lambda: all(each.over for each in thoughts), 10)
    assert state_of(lab.folder, "t").asks == ()
    again = Lab(lab.folder)
    again.driver.start()
    assert [each.brief.number for each in again.thinks(4)] == [4, 5, 6, 7]
    again.driver.engine.send(cmd.Stop(now=True))
    again.driver.join()
    assert problems(lab.folder, "t") == []


def test_one_at_a_time_is_written_as_it_always_was(new_lab: Callable[..., Path]) -> None:
    settings = FOUR.replace('kind = "claude"', 'kind = "claude"\nparallel = 1')
    with four(new_lab, settings) as lab:
        for rate in (0.4, 0.3):
            thought = lab.thinks(1)[0]
            assert (thought.brief.direction, thought.brief.making) == ("", ())
            thought.turn(rate)
        lab.driver.wait(lambda s: any(e.description == "RATE to 0.3" for e in s.experiments))
    lines = (lab.folder / ".autoresearch/t/journal.jsonl").read_text()
    assert '"stream"' not in lines
    assert '"direction"' not in lines
    assert not (lab.folder / ".autoresearch/t/researcher-2.log").exists()


def test_the_offline_search_is_asked_one_after_the_other(new_lab: Callable[..., Path]) -> None:
    with four(new_lab, FOUR.replace('kind = "claude"', 'kind = "search"')) as lab:
        for number, rate in ((4, 0.4), (5, 0.3), (6, 0.2)):
            thought = lab.thinks(1)[0]
            assert len(thought.brief.history) == number, "it knows what was proposed before"
            thought.turn(rate)
        lab.thinks(1)
    assert {event.stream for event in lab.records(ev.ProposalAsked)} == {0}  # type: ignore[attr-defined]


def test_fronts_are_spread_over(new_lab: Callable[..., Path]) -> None:
    with four(new_lab, FOUR + "\n[search]\nfronts = 3\n", TRAIN) as lab:
        lab.driver.wait(lambda s: s.frontier is not None)
        asked = {ask.event.front for ask in lab.driver.state.asks}
        wait_for(lambda: lab.open)
        for each in lab.open:
            each.turn(0.6 + each.brief.number / 100)
        wait_for(lambda: asked | {ask.event.front for ask in lab.driver.state.asks} == {0, 1, 2}, 60)
