"""Several frontiers: who gets the next run, where a front begins, what is crossed, what a front reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.proposing import base_choice, fronts
from autoresearch_tui.engine.proposing.base_choice import RESTART_AFTER, Start
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.settings import SearchSettings, Settings
from autoresearch_tui.lab.settings_reading import from_table
from autoresearch_tui.launch.headless import make_engine
from autoresearch_tui.researchers.factory import ByFront
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.fold import fold_all
from autoresearch_tui.session.journal import decode, encode, read
from autoresearch_tui.session.sequence import Experiments
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.errors import UserError
from tests.conftest import SETTINGS
from tests.engine.making import experiment, state
from tests.engine.test_loop import Driver, Script, turn
from tests.history import state_of
from tests.night import Night

pytestmark = pytest.mark.usefixtures("unconfined")

THREE = SearchSettings(fronts=3)
OPENS = SearchSettings(plateau="fronts")
DATA = Path(__file__).parent / "data"


def ran(
    number: int, front: int, value: float, *, base: str = "c0", leads: bool = False, took: float = 300
) -> Experiment:
    made = experiment(number, "discard", value, base=base, front=front, description=f"idea{number} {number}")
    assert made.verdict is not None
    return replace(made, took_seconds=took, verdict=replace(made.verdict, leads=leads))


def shares(worth: dict[int, float], rounds: int = 60, took: dict[int, float] | None = None) -> Counter[int]:
    """How often each front was picked where every run of it gains so much."""
    now = state(experiment(0, "keep", 100.0), heads={0: 0})
    for number in range(1, rounds + 1):
        front = fronts.pick(now, sorted(worth))
        gain = worth[front]
        one = ran(number, front, 100.0 - gain, leads=gain > 0, took=(took or {}).get(front, 300))
        now = replace(now, experiments=now.experiments.with_next(one))
    return Counter(e.proposal.front for e in now.experiments[1:])


def test_one_front_is_what_the_loop_always_did() -> None:
    night = [experiment(n, "keep", 1.0 - n / 10) for n in range(4)]
    for length in range(2 * RESTART_AFTER):
        now = state(*night, *(experiment(n, "discard", 0.9) for n in range(4, 4 + length)))
        start = base_choice.choose(now, can_fix=True)
        assert start.front == 0
        assert start.exploratory == (length >= RESTART_AFTER)
        assert fronts.to_cross(now) == []


def test_nothing_of_fronts_is_written_where_there_is_one() -> None:
    asked = encode(ev.Record(1, "", ev.ProposalAsked(1, "c0", 1)))
    given = encode(ev.Record(1, "", ev.VerdictGiven(1, "keep", 1.0, 0.0, "")))  # type: ignore[arg-type]
    assert b"front" not in asked
    assert b"leads" not in given
    other = encode(ev.Record(1, "", ev.ProposalAsked(1, "c0", 1, front=2)))
    assert b'"front":2' in other
    assert decode(other[:-1]).event == ev.ProposalAsked(1, "c0", 1, front=2)


def test_every_front_runs_and_the_one_that_gains_runs_most() -> None:
    share = shares({0: 0.0, 1: 0.01, 2: 0.0})
    assert min(share.values()) >= 3
    assert share[1] > share[0] + share[2]


def test_gain_is_counted_by_the_hour() -> None:
    share = shares({0: 0.01, 1: 0.01}, took={0: 300, 1: 1200})
    assert share[0] > share[1]


def test_an_idea_that_was_tried_is_worth_less_than_a_new_one() -> None:
    known = experiment(1, "discard", 2.0, description="MATRIX_LR 0.04 → 0.02")
    again = experiment(2, "discard", 2.0, description="MATRIX_LR from 0.04 to 0.02", front=1)
    other = experiment(3, "discard", 2.0, description="MATRIX_LR 0.04 → 0.08", front=2)
    now = state(experiment(0, "keep", 1.0), known, again, other, heads={0: 0, 1: 0, 2: 0})
    assert [fronts.novel(now, e) for e in (known, again, other)] == [True, False, True]
    assert fronts.pick(now, [1, 2]) == 2


def test_a_restarted_engine_decides_the_same() -> None:
    now = state(experiment(0, "keep", 1.0), ran(1, 1, 0.99, leads=True), ran(2, 2, 1.1), heads={0: 0, 1: 1, 2: 0})
    assert len({base_choice.choose(now, can_fix=True, search=THREE) for _ in range(9)}) == 1


def test_a_front_goes_on_where_it_stands() -> None:
    now = state(experiment(0, "keep", 1.0), experiment(1, "keep", 0.8), ran(2, 1, 0.9, leads=True), heads={0: 1, 1: 2})
    assert base_choice.choose(replace(now, experiments=now.experiments), can_fix=True) == Start("c1")
    assert (now.head_commit(0), now.head_commit(1), now.head_commit(2)) == ("c1", "c2", "c1")
    # The third has not begun: at the best keep where no other stands.
    assert base_choice.choose(now, can_fix=True, search=THREE) == Start("c0", front=2)


def test_a_plateau_opens_fronts_one_after_the_other_up_to_four() -> None:
    now = state(*(experiment(n, "keep", 1.0 - n / 10) for n in range(4)), heads={0: 3})
    opened: list[tuple[int, str]] = []
    for number in range(4, 4 + 6 * RESTART_AFTER):
        start = base_choice.choose(now, can_fix=True, search=OPENS)
        assert not start.exploratory
        heads = dict(now.heads)
        if start.front not in heads:
            opened.append((number, start.base))
            heads[start.front] = int(start.base[1:])
        one = replace(ran(number, start.front, 0.95, base=start.base), judged_after=number)
        now = replace(now, experiments=now.experiments.with_next(one), heads=heads)
    assert [base for _, base in opened] == ["c2", "c1", "c0"]
    assert opened[0][0] == 4 + RESTART_AFTER
    assert all(later - before >= RESTART_AFTER for (before, _), (later, _) in pairwise(opened))


def test_what_won_elsewhere_is_crossed_once_and_now_and_then() -> None:
    small, large = ran(2, 1, 0.99, leads=True), ran(3, 1, 0.9, base="c2", leads=True)
    later = [experiment(n, "discard", 0.9) for n in range(4, 9)]
    now = state(experiment(0, "keep", 1.0), experiment(1, "keep", 0.8), small, large, *later, heads={0: 1, 1: 3})
    assert [e.number for e in fronts.to_cross(now)] == [3, 2]
    joined = experiment(9, "discard", 0.85, base="c1", combines=3)
    now = replace(now, experiments=now.experiments.with_next(joined))
    assert fronts.to_cross(now) == []  # not two in a row
    more = tuple(experiment(n, "discard", 0.9) for n in range(10, 10 + fronts.CROSS_EVERY))
    assert [e.number for e in fronts.to_cross(replace(now, experiments=Experiments.of([*now.experiments, *more])))] == [
        2
    ]


PROGRAM = """# Program
Lower val_bpb.

## Front: optimizer
Only the optimizer.
### Not
the schedule

## Front: architecture
Only the model.

## Rules
No new packages.
"""


def test_a_front_reads_its_own_section_and_what_all_read() -> None:
    assert fronts.names(PROGRAM) == ("optimizer", "architecture")
    first, second, third = (fronts.program_of(PROGRAM, front) for front in range(3))
    assert "the schedule" in first
    assert "the model" not in first
    assert "the schedule" not in second
    assert "Only the model." in second
    assert all("No new packages." in text and "Lower val_bpb" in text for text in (first, second, third))
    assert "Front:" not in third
    assert fronts.program_of("no heading", 1) == "no heading"


@pytest.mark.parametrize("table", [{"fronts": 0}, {"fronts": 9}, {"plateau": "island"}, {"front": 2}])
def test_settings_that_cannot_be(table: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"`search\.(fronts|plateau|front)`"):
        from_table({"search": table}, "autoresearch.toml")


def play(*runs: tuple[int, str, float, bool]) -> State:
    """A session whose experiments are (front, verdict, score, leads), each from where its front stands."""
    night = Night()
    night.experiment("keep", 1.0)
    for front, verdict, value, leads in runs:
        number = night.proposal(base=night.state.head_commit(front), front=front)
        night.launch(number)
        night.add(ev.RunEnded(number, "finished", 0, 300.0), ev.RunScored(number, value, 1.0, "referee"))  # type: ignore[arg-type]
        night.add(ev.VerdictGiven(number, verdict, value, 1.0, "", leads=leads))  # type: ignore[arg-type]
    return night.state


def test_a_front_has_its_own_head_and_the_best_is_the_frontier() -> None:
    now = play((0, "keep", 0.9, False), (1, "discard", 0.95, False))
    assert dict(now.heads) == {0: 1, 1: 1}  # where its first proposal began
    now = play((1, "discard", 1.2, False), (0, "keep", 0.9, False), (1, "discard", 0.95, True))
    assert dict(now.heads) == {0: 2, 1: 3}
    assert (now.frontier_number, now.best_number) == (2, 2)
    now = play((1, "discard", 1.2, False), (0, "keep", 0.9, False), (1, "keep", 0.8, False))
    assert dict(now.heads) == {0: 2, 1: 3}
    assert (now.frontier_number, now.best_number) == (3, 3)


def test_a_journal_with_three_fronts_is_read_as_it_was() -> None:
    now = fold_all(read(DATA / "three-fronts.jsonl"))
    assert sorted(now.heads) == [0, 1, 2]
    assert now.frontier_number == now.best_number
    assert any(e.verdict is not None and e.verdict.leads for e in now.experiments)
    assert any(e.proposal.combines is not None and e.outcome == "keep" for e in now.experiments)


def test_a_front_asks_its_own_researcher_and_says_who_proposed(new_lab: Callable[..., Path]) -> None:
    own = '\n[search]\nfronts = 2\n\n[search.front.B]\nkind = "command"\ncommand = ["agent"]\n'
    folder = new_lab(settings=SETTINGS + own)
    usual, other = Script(turn("RATE", 0.25), turn("RATE", 0.125)), Script(turn("WIDTH", 4), turn("WIDTH", 2))
    driver = Driver(folder, Script())
    driver.engine = Engine(Session(labs.find(folder), "t"), ByFront(usual, {1: other}), headless=False, rows=3)
    driver.start()
    assert driver.join() == "finished"
    now = state_of(folder, "t")
    who = {e.proposal.front: (e.proposal.author, e.description.split()[0]) for e in now.experiments[1:]}
    assert who == {0: ("search", "RATE"), 1: ("command", "WIDTH")}


def test_the_engine_makes_a_researcher_for_each_front_that_has_its_own(new_lab: Callable[..., Path]) -> None:
    own = '\n[search]\nfronts = 3\nfront.B = { kind = "claude", model = "other" }\n'
    lab = labs.find(new_lab(settings=SETTINGS + own))
    made: list[tuple[str, str]] = []

    def make(settings: Settings, environ: Mapping[str, str], *, wrap: object) -> Script:
        made.append((settings.researcher.kind, settings.researcher.model))
        return Script()

    make_engine(lab, "t", {}, make, headless=True)
    assert made == [("search", ""), ("claude", "other")]
