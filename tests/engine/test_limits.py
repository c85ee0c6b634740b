"""Nights with an hour, or with so much to spend: what is launched, what is left, and how they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.launch.overrides import with_overrides
from autoresearch_tui.researchers.base import Brief, Proposal, Researcher, Usage
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal, limits
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.state import Stage, State
from autoresearch_tui.util import timestamps
from tests import warm
from tests.conftest import SETTINGS
from tests.engine.test_loop import Driver, Script, turn
from tests.history import problems, state_of

BEGAN = datetime(2026, 11, 20, 22, 0, tzinfo=UTC).timestamp()
HOUR = BEGAN + 8 * 3600
WIDTHS = tuple(turn("WIDTH", width) for width in (9, 10, 11, 12))


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> float:
        return self.now


@contextmanager
def night(folder: Path, researcher: Researcher, clock: Clock, **overrides: str) -> Iterator[Driver]:
    """An engine whose session ends at HOUR, by a clock that the test holds."""
    driver = Driver(folder, researcher)
    until = {"until": timestamps.stamp(datetime.fromtimestamp(HOUR, UTC))}
    session = Session(labs.find(folder), "t", overrides={**until, **overrides})
    driver.engine = Engine(session, researcher, headless=False, now=clock)
    driver.start()
    try:
        yield driver
    finally:
        if driver.outcome == "":
            driver.engine.send(cmd.Stop(now=True))
            driver.join()


def last(folder: Path) -> ev.EngineStopped:
    stops = [r.event for r in journal.read(folder / ".autoresearch/t/journal.jsonl")]
    return next(event for event in reversed(stops) if isinstance(event, ev.EngineStopped))


def decided(count: int) -> Callable[[State], bool]:
    return lambda state: len(state.table) >= count and not state.in_flight


def test_what_is_left_of_the_night_repeats_the_best_and_then_the_session_ends(lab_folder: Path) -> None:
    clock = Clock()
    with night(lab_folder, Script(*WIDTHS[:2]), clock) as driver:
        state = driver.wait(decided(3))
        # Too little is left for anything new, and enough for another run of the best.
        assert state.best is not None
        equal, changed = limits.needed_seconds(state, state.best), limits.needed_seconds(state)
        clock.now = HOUR - (equal + changed) / 2
        state = driver.wait(lambda s: any(e.proposal.repeat_of is not None and e.outcome for e in s.experiments))
        clock.now = HOUR - 0.001
        assert driver.join() == "finished"
    repeats = [e for e in driver.state.experiments if e.proposal.author == "repeat" and e.outcome]
    assert repeats and {e.commit for e in repeats} == {state.best.commit if state.best else ""}
    assert all(e.approved_by == "auto" for e in repeats)
    end = last(lab_folder)
    assert (end.why, end.limit) == ("finished", "until")
    assert end.detail == f"no other run would end before {limits.local(HOUR)}, as asked"
    assert problems(lab_folder, "t") == []


def test_nothing_is_asked_for_that_could_not_be_run_and_what_waits_is_kept(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=SETTINGS.replace('mode = "auto"', 'mode = "ask"'))
    clock, script = Clock(), Script(*WIDTHS)
    with night(folder, script, clock) as driver:
        opened = lambda s: decided(1)(s) and any(e.stage is Stage.REVIEW for e in s.waiting)  # noqa: E731
        waiting = driver.wait(opened).waiting[0]
        clock.now = HOUR - 0.001
        assert driver.join() == "finished"
    assert len(script.briefs) == 1
    kept = state_of(folder, "t").experiments[waiting.number]
    assert (kept.stage, kept.commit) == (Stage.REVIEW, waiting.commit)
    # The next start is not held to last night's hour, and takes up what waits.
    _, given = with_overrides(labs.find(folder), "t", {}, successor=False)
    assert "until" not in given
    driver = Driver(folder, Script())
    driver.start()
    driver.engine.send(cmd.Approve(waiting.number, waiting.commit))
    driver.wait(decided(2))
    driver.engine.send(cmd.Stop())
    assert driver.join() == "stopped"
    assert problems(folder, "t") == []


def test_a_run_that_is_slower_than_all_before_it_is_put_back_at_the_hour(lab_folder: Path) -> None:
    clock = Clock()
    with night(lab_folder, Script(turn("PAUSE", 60)), clock) as driver:
        driver.wait(lambda s: s.in_flight and s.in_flight[0].number == 1)
        clock.now = HOUR
        assert driver.join() == "finished"
    (slow,) = driver.state.waiting
    assert (slow.number, slow.stage, last(lab_folder).limit) == (1, Stage.APPROVED, "until")
    assert problems(lab_folder, "t") == []


def test_before_anything_is_known_of_a_run_it_may_take_until_its_timeout(lab_folder: Path) -> None:
    clock = Clock()
    clock.now = HOUR - 29.9
    with night(lab_folder, Script(), clock) as driver:
        assert driver.join() == "finished"
    assert driver.state.table == ()
    assert last(lab_folder).detail == (
        f"no run would surely end before {limits.local(HOUR)}, as asked: one may take 30 s (`run.timeout_seconds`)"
    )


def test_a_pause_of_the_human_does_not_outlast_the_hour(lab_folder: Path) -> None:
    clock = Clock()
    with night(lab_folder, Script(*WIDTHS), clock) as driver:
        driver.wait(decided(1))
        driver.engine.send(cmd.Pause())
        driver.wait(lambda s: s.paused and not s.in_flight)
        clock.now = HOUR - 0.001
        assert driver.join() == "finished"


class Paid:
    """Each proposal costs as much."""

    def __init__(self, usd: float) -> None:
        self.script, self.usd = Script(*WIDTHS), usd

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: object) -> Proposal | None:
        made = self.script.propose(brief, say, cancelled)  # type: ignore[arg-type]
        return made and replace(made, usage=Usage(100, 10, self.usd))


def test_a_session_ends_when_its_money_is_spent_and_says_so(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=f"{SETTINGS}\n[limits]\nmax_usd = 0.5\n")
    driver = Driver(folder, Paid(0.25))
    driver.start()
    assert driver.join() == "finished"
    state = driver.state
    assert state.usd == 0.5
    waiting = [e.stage for e in state.experiments if e.proposal.author == "search"][-1]
    assert waiting in (Stage.PROPOSED, Stage.APPROVED)  # made after the run before it had ended, or beside it
    assert last(folder).limit == "max_usd"
    assert last(folder).detail == "$0.50 are spent, and another run would exceed `limits.max_usd`, $0.50"
    # Starting again changes nothing before the limit is raised.
    again = Driver(folder, Paid(0.25))
    again.start()
    assert again.join() == "finished"
    assert again.state.usd == 0.5 and len(again.state.table) == len(state.table)
    assert problems(folder, "t") == []


def test_an_accelerator_is_paid_for_as_well(new_lab: Callable[..., Path]) -> None:
    # A million dollars an hour are $278 a second; a run might take its 30 s.
    priced = "\n[limits]\naccelerator_usd_per_hour = 1_000_000\nmax_usd = 8_000\n"
    folder = new_lab(settings=f"{SETTINGS}{priced}")
    driver = Driver(folder, Script())
    driver.start()
    assert driver.join() == "finished"
    assert driver.state.table == () and last(folder).limit == "max_usd"


def test_a_whole_night_from_the_command_line(new_lab: Callable[..., Path]) -> None:
    """Scaled to seconds: the last run ends before the hour, and each had the time it could need when it began."""
    folder = new_lab(settings=SETTINGS.replace("timeout_seconds = 30", "timeout_seconds = 5"))
    began = time.time()
    code = warm.run([str(folder), "--tag", "t", "--headless", "--hours", f"{12 / 3600}"]).returncode
    state, hour = State(), 0.0
    for record in journal.read(folder / ".autoresearch/t/journal.jsonl"):
        now = timestamps.seconds(record.time)
        if isinstance(record.event, ev.EngineStarted):
            hour = timestamps.seconds(record.event.overrides["until"])
            assert hour >= began + 12
        if isinstance(record.event, ev.RunStarted):
            needed = limits.needed_seconds(state, state.experiments[record.event.number])
            # The engine has looked at the clock a moment before it wrote this down.
            assert timestamps.seconds(state.time) + needed <= hour
        if isinstance(record.event, ev.RunEnded) and record.event.reason == "finished":
            assert now <= hour + 30
        state = fold(state, record)
    end = last(folder)
    # On a machine that takes all of the time to start, nothing has run.
    assert (end.why, end.limit, code) == (("finished", "until", 0) if state.table else ("failed", "until", 1))
    assert problems(folder, "t") == []


def test_the_hour_holds_for_whatever_engine_comes_next_but_not_for_the_next_day(lab_folder: Path) -> None:
    soon = timestamps.stamp(datetime.now(UTC) + timedelta(hours=1))
    gone = timestamps.stamp(datetime.now(UTC) - timedelta(hours=1))
    lab = labs.find(lab_folder)
    for asked, successor, holds in ((soon, True, True), (soon, False, True), (gone, True, True), (gone, False, False)):
        session = Session(lab, "t", overrides={"until": asked, "experiments": "7"})
        engine = Engine(session, Script(), headless=False, now=Clock())
        engine.send(cmd.Detach())
        assert engine.run() == "detached"
        _, given = with_overrides(lab, "t", {}, successor=successor)
        assert given == {"experiments": "7"} | ({"until": asked} if holds else {})
    _, given = with_overrides(lab, "t", {"until": "never"}, successor=False)
    assert given["until"] == "never"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--until", "25:00"), "--until: must be an hour such as 07:00"),
        (("--until", "soon"), "must be an hour such as 07:00, a moment such as 2026-12-24T07:00, or never, not 'soon'"),
        (("--hours", "0"), "--hours: must be a number above 0"),
        (("--hours", "1e300"), "is too long"),
        (("--hours", "8", "--until", "07:00"), "not allowed with argument --hours"),
    ],
)
def test_nonsense_is_refused_in_one_line(lab_folder: Path, words: tuple[str, ...], said: str) -> None:
    done = warm.run([str(lab_folder), *words])
    assert done.returncode == 2
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
