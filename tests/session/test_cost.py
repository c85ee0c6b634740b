"""What a session costs, to the second and the cent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from autoresearch_tui.session import events as ev
from autoresearch_tui.session import limits
from autoresearch_tui.session.cost import Cost, cost, in_words
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.state import State
from autoresearch_tui.util import timestamps

BEGAN = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)


class Story:
    """Events at seconds since the session began."""

    def __init__(self, devices: int = 1, rate: float = 3.6, max_usd: float = 0, **overrides: str) -> None:
        """`rate`: dollars an hour for a device; 3.6 is a dollar for 1,000 seconds."""
        self.state = State()
        self._engine = {"devices": devices, "accelerator_usd_per_hour": rate, "max_usd": max_usd}
        self._overrides = overrides
        self.at(0, ev.SessionBegan("t", "autoresearch/t", "c0", "val_bpb", "minimize", 0.0, 300, ("train.py",), {}))
        self.engine(0)

    def at(self, seconds: float, *events: ev.Event) -> None:
        for event in events:
            time = timestamps.stamp(BEGAN + timedelta(seconds=seconds))
            self.state = fold(self.state, ev.Record(self.state.seq + 1, time, event))

    def engine(self, seconds: float) -> None:
        more = {**self._engine, "overrides": self._overrides}
        self.at(seconds, ev.EngineStarted(1, "here", True, "1", "claude", "auto", "hold", 300, 600, **more))  # type: ignore[arg-type]

    def propose(self, seconds: float, usd: float | None = None) -> int:
        number = len(self.state.experiments)
        made = ev.ProposalMade(
            number, f"c{number}", "c0", f"idea {number}", "", "claude", "", 1, 1, tokens=100, usd=usd
        )
        self.at(seconds, made, ev.ProposalApproved(number, f"c{number}", "auto"))
        return number

    def launch(self, seconds: float, number: int) -> None:
        self.at(seconds, ev.RunStarted(number, f"c{number}", 1))

    def ends(self, seconds: float, number: int, took: float, verdict: str = "keep") -> None:
        """Its run ended, and its verdict a second later."""
        self.at(seconds, ev.RunEnded(number, "finished", 0, took))
        self.at(seconds + 1, ev.VerdictGiven(number, verdict, 1.0 - number / 100, 1.0, ""))

    def run(self, start: float, took: float, verdict: str = "keep", usd: float | None = None) -> int:
        number = self.propose(start, usd)
        self.launch(start, number)
        self.ends(start + took, number, took, verdict)
        return number

    @property
    def now(self) -> float:
        return timestamps.seconds(self.state.time)


def seconds(moment: float) -> float:
    """A moment of the story in seconds since 1970."""
    return (BEGAN + timedelta(seconds=moment)).timestamp()


def test_a_rented_machine_costs_also_between_runs_and_every_device_of_it() -> None:
    story = Story(devices=2)
    story.run(100, 300, "crash", usd=0.25)
    story.at(1000, ev.EngineStopped("stopped"))
    story.at(9000, ev.CommandRefused("hooks.best", "after the end"))
    assert cost(story.state) == Cost(
        0.25, pytest.approx(2.0), 100, pytest.approx(2000 / 3600), None, None, 0  # type: ignore[arg-type]
    )  # fmt: skip


def test_while_no_engine_is_there_a_run_that_goes_on_counts_until_it_ends() -> None:
    story = Story(devices=2)
    number = story.propose(0)
    story.launch(100, number)
    story.at(200, ev.EngineStopped("detached"))
    story.engine(5000)
    story.ends(5001, number, 400)
    # Two devices from 0 to 200 and from 5000 to 5002; one of them alone from 200 to 500.
    assert cost(story.state).accelerator_usd == pytest.approx((2 * 202 + 300) / 1000)


@pytest.mark.parametrize(("reason", "counts"), [("finished", 300.0), ("lost", 0.0)])
def test_a_night_without_power_is_not_paid_for(reason: str, counts: float) -> None:
    story = Story()
    number = story.propose(0)
    story.launch(100, number)
    story.engine(40_000)  # the one before was killed at 100, for all that is known
    story.at(40_000, ev.RunEnded(number, reason, None, 300 if reason == "finished" else 39_900))
    assert cost(story.state).accelerator_usd == pytest.approx((100 + counts) / 1000)


def test_a_session_without_a_price_costs_what_its_researcher_does() -> None:
    story = Story(rate=0)
    story.run(0, 300, usd=0.1)
    story.run(400, 300, usd=None)
    known = cost(story.state, story.now + 1000)
    assert (known.usd, known.accelerator_usd, known.device_hours, known.per_keep) == (0.1, 0, 0, 0.1)
    assert in_words(known) == "$0.10"


def test_a_new_price_holds_from_the_next_engine_on() -> None:
    story = Story()
    story.at(1000, ev.EngineStopped("stopped"))
    story._engine["accelerator_usd_per_hour"] = 7.2
    story.engine(2000)
    assert cost(story.state, seconds(2500)).usd == pytest.approx(1 + 1)


def test_the_end_that_was_asked_for_is_projected_from_what_a_run_took() -> None:
    story = Story(experiments="10")
    assert cost(story.state).projected is None
    story.run(0, 99, usd=0)
    story.run(100, 99, usd=0.4)
    # 8 more runs, of 100 s with their scoring, and of 20 cents for the researcher.
    assert cost(story.state).projected == pytest.approx(0.2 + 0.4 + 8 * (0.1 + 0.2))
    assert in_words(cost(story.state)) == "$0.60 · about $3.00 at the end"


def test_an_hour_that_comes_first_is_what_is_projected_to_and_no_more_than_may_be_spent() -> None:
    end = timestamps.stamp(BEGAN + timedelta(seconds=1200))
    story = Story(experiments="1000", until=end)
    story.run(0, 99, usd=0.0)
    story.run(100, 99, usd=0.4)
    assert cost(story.state).projected == pytest.approx(0.2 + 0.4 + 10 * (0.1 + 0.2))
    poor = Story(experiments="1000", until=end, max_usd=3)
    poor.run(0, 99, usd=0.0)
    poor.run(100, 99, usd=0.4)
    assert cost(poor.state).projected == 3
    assert in_words(cost(poor.state)) == "$0.60 of $3 · about $3.00 at the end"


def test_nothing_is_known_of_a_run_before_one_has_finished_but_its_timeout() -> None:
    story = Story(until=timestamps.stamp(BEGAN + timedelta(seconds=1000)))
    assert limits.fits(story.state, seconds(400)) and not limits.fits(story.state, seconds(401))
    story.run(0, 20, "crash")
    assert limits.needed_seconds(story.state) == pytest.approx(1.25 * 21)


def test_changed_code_needs_the_longest_of_the_last_nine_and_an_equal_run_what_it_took() -> None:
    story = Story(until=timestamps.stamp(BEGAN + timedelta(seconds=10_000)))
    story.run(0, 499)
    for number in range(9):
        story.run(500 + 100 * number, 99 if number else 79)
    state, fast = story.state, story.state.experiments[1]
    assert limits.needed_seconds(state) == pytest.approx(125)
    assert limits.needed_seconds(state, fast) == pytest.approx(84)
    assert not limits.fits(state, seconds(9_900)) and limits.fits(state, seconds(9_900), fast)
    assert limits.launches_left(state, seconds(9_700)) == 2


def test_changed_code_never_needs_more_than_its_timeout() -> None:
    story = Story(until=timestamps.stamp(BEGAN + timedelta(seconds=10_000)))
    story.run(0, 549)
    assert limits.needed_seconds(story.state) == 600


def test_what_runs_on_one_device_leaves_no_room_for_another_there() -> None:
    story = Story(devices=2, until=timestamps.stamp(BEGAN + timedelta(seconds=1000)))
    story.run(0, 99)
    number = story.propose(100)
    story.launch(800, number)
    # The other is free now, for one run of 125 s; this one from 900 on, and then for none.
    assert limits.launches_left(story.state, seconds(850)) == 1


def test_an_engine_that_was_away_does_not_make_a_run_long() -> None:
    story = Story(until=timestamps.stamp(BEGAN + timedelta(seconds=100_000)))
    number = story.propose(0)
    story.launch(0, number)
    story.at(100, ev.RunEnded(number, "finished", 0, 100))
    story.engine(50_000)
    story.at(50_001, ev.VerdictGiven(number, "keep", 1.0, 1.0, ""))
    assert limits.needed_seconds(story.state) == pytest.approx(125)


def test_what_may_be_spent_is_an_hour_as_well() -> None:
    story = Story(rate=3.6, max_usd=1.5)
    story.run(0, 99, usd=0.1)
    # 1.40 for the machine, which is 1,400 s; changed code needs 125 of them.
    assert limits.fits(story.state, seconds(1275)) and not limits.fits(story.state, seconds(1276))
    free = Story(rate=0, max_usd=0.1)
    assert limits.fits(free.state, seconds(50))
    free.run(0, 99, usd=0.1)
    assert not limits.fits(free.state, seconds(100))
    assert limits.reason(free.state, seconds(100)) == (
        "$0.10 are spent, and another run would exceed `limits.max_usd`, $0.10"
    )


def test_never_lifts_an_hour() -> None:
    assert limits.end(Story(until="never").state, seconds(0)) is None
