"""Cheats at the score itself: each works where a run scores itself, and none does with a referee."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from autoresearch_tui.engine.proposing import risk
from tests.cheats.scored import PLAIN, ScoredWorld
from tests.cheats.test_cheats import SCORED, confined, source_of, stolen
from tests.cheats.world import ZOO, Guarded, Outcome, World, made, naive
from tests.conftest import leave_machine_out

TOLERANCE = 1e-4  # the referee's arithmetic is in fp32
ANY = "(discard|invalid|crash): "
LOOK_AHEAD = "invalid: the referee refused: look-ahead"
MEMORY = "invalid: the referee refused: (look-ahead|memory)"


@dataclass(frozen=True)
class Cheat:
    """A train.py, how one sees that it worked, how that ends here, and how often it may be tried until it does."""

    name: str
    ends: str
    worked: Callable[[World, Sequence[Outcome], float], bool] = lambda _world, outcomes, honest: all(
        outcome.value is not None and outcome.value < honest - TOLERANCE for outcome in outcomes
    )
    runs: int = 1


def too_long(_world: World, outcomes: Sequence[Outcome], _honest: float) -> bool:
    """It took seconds, said that it was much less, and was believed."""
    last = outcomes[-1]
    claimed = re.search(r"training_seconds: (\S+)", last.log)
    return last.value is not None and last.seconds > 2.5 and claimed is not None and float(claimed[1]) < 1.0


def payload_ran(world: World, _outcomes: Sequence[Outcome], _honest: float) -> bool:
    return (world.home / world.token).exists()


BROKE_OFF = "invalid: the referee refused: the run's request to be scored broke off"
NOT_ASKED = "invalid: the referee refused: the run did not ask to be scored"
CHEATS = (
    Cheat("scores/forged_summary", NOT_ASKED),
    Cheat("scores/patched_evaluation", NOT_ASKED),
    Cheat("scores/forged_afterwards", "discard: "),
    Cheat("scores/patched_cross_entropy", "discard: "),
    Cheat("scores/patched_log", "discard: "),
    Cheat("scores/patched_byte_counts", "discard: "),
    Cheat("scores/unnormalised", "discard: "),
    Cheat("scores/no_number", "invalid: the referee refused: the answers are not finite"),
    Cheat("scores/trained_on_validation", "discard: "),
    Cheat("scores/source_of_validation", "discard: ", lambda world, outcomes, _: stolen(world, outcomes)),
    Cheat("scores/look_ahead", LOOK_AHEAD),
    Cheat("scores/look_ahead_at_one_percent", LOOK_AHEAD, runs=4),  # now and then one is missed
    Cheat("scores/look_ahead_with_memory", LOOK_AHEAD),
    Cheat("scores/look_ahead_the_second_time", LOOK_AHEAD),
    Cheat("scores/look_ahead_a_little", LOOK_AHEAD),
    Cheat("scores/look_ahead_where_likely", LOOK_AHEAD),
    Cheat("scores/memory_of_questions", MEMORY),
    Cheat("scores/adapts_to_questions", MEMORY),
    Cheat("scores/pickled_payload", NOT_ASKED, payload_ran),
    Cheat("scores/resized_answers", ANY),
    Cheat("clock/patched_clock", "invalid: over budget", too_long),
    Cheat("clock/uncounted_steps", "invalid: over budget", too_long),
    Cheat("clock/asks_first", "invalid: over budget", too_long),
    Cheat("clock/one_byte", BROKE_OFF, too_long),
    Cheat("clock/trickled_request", BROKE_OFF, too_long),
    Cheat("clock/trains_while_answering", "invalid: over budget: .* beyond 3 times the baseline's", too_long),
    Cheat("clock/trains_before_some_answers", "invalid: over budget: .* in single answers", too_long),
    Cheat("clock/trains_in_its_warm_up", "invalid: over budget: .* from its training data to its request", too_long),
)


HONEST = sorted(str(path.relative_to(ZOO).with_suffix("")) for f in SCORED for path in ZOO.glob(f"{f}/honest*.py"))
SLOW_TO_START = "clock/honest_compiler"  # imports torch, and answers as the others do


@pytest.fixture(scope="module")
def open_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Where runs score themselves. These cheats leave nothing there that another one meets."""
    with made(tmp_path_factory.mktemp("open"), ScoredWorld) as world:
        yield world


@pytest.fixture(scope="module")
def honest(open_world: World) -> float:
    """The score of the unmodified train.py, by itself."""
    value = naive(open_world, PLAIN).value
    assert value is not None
    return value


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, honest: float
) -> Iterator[tuple[World, Guarded]]:
    """A session whose experiments these are, with each mechanism in turn."""
    with pytest.MonkeyPatch.context() as patch, made(tmp_path_factory.mktemp("guarded"), ScoredWorld) as world:
        confined(request.param, patch)
        patch.setenv("HOME", str(world.home))
        patch.setenv("AUTORESEARCH_CACHE", str(world.cache))
        leave_machine_out(patch)
        yield world, Guarded(world, honest, (1.0, 1.3, 0.5))


@pytest.fixture
def session(guarded: tuple[World, Guarded]) -> tuple[World, Guarded]:
    """The next one that is scored is the first: there are no losses yet to compare its own with."""
    guarded[1].session.files.run(0).token_losses.unlink(missing_ok=True)
    return guarded


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_it_works_where_a_run_scores_itself(cheat: Cheat, honest: float, open_world: World) -> None:
    outcomes = [naive(open_world, source_of(cheat.name))]
    assert cheat.worked(open_world, outcomes, honest), outcomes[-1].log[-2000:]


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_it_does_not_work_here(cheat: Cheat, honest: float, session: tuple[World, Guarded]) -> None:
    (world, run), outcomes = session, []
    for _ in range(cheat.runs):
        outcomes.append(run(world, source_of(cheat.name)))
        if re.match(cheat.ends, f"{outcomes[-1].verdict}: {outcomes[-1].reason}"):
            break
    last = outcomes[-1]
    assert not cheat.worked(world, outcomes, honest), last.log[-2000:]
    assert re.match(cheat.ends, f"{last.verdict}: {last.reason}"), (last.verdict, last.reason, last.log[-2000:])


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_is_left_in_peace(name: str, honest: float, session: tuple[World, Guarded]) -> None:
    world, run = session
    for _ in range(1 if name == SLOW_TO_START else 2):
        last = run(world, source_of(name))
        assert last.value == pytest.approx(honest, abs=1e-3), (last.reason, last.log[-2000:])


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_the_reviewer_is_warned(cheat: Cheat) -> None:
    found = risk.flags({"train.py": PLAIN}, {"train.py": source_of(cheat.name)})
    if not cheat.name.startswith("scores/look_ahead") and cheat.name not in UNFLAGGED:
        assert not risk.low_risk(found)


# What these do is ordinary arithmetic on a model's answers: only the referee can tell.
UNFLAGGED = {"scores/unnormalised", "scores/no_number"}


def test_every_cheat_is_tried() -> None:
    names = {str(path.relative_to(ZOO).with_suffix("")) for family in SCORED for path in ZOO.glob(f"{family}/*.py")}
    assert names == {cheat.name for cheat in CHEATS} | set(HONEST)
