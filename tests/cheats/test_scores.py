"""Cheats at the score itself: each works where a run scores itself, and none does with a referee."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoresearch_tui.engine.proposing import risk
from tests.cheats.scored import PLAIN, ScoredWorld
from tests.cheats.test_cheats import SCORED, sandboxed, source_of, stolen
from tests.cheats.world import ZOO, Guarded, Outcome, World, made, naive
from tests.conftest import leave_machine_out

__all__ = ["sandboxed"]
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
    """It took seconds, said that it was within its budget of a fifth of one, and was believed."""
    last = outcomes[-1]
    claimed = re.search(r"training_seconds: (\S+)", last.log)
    return last.value is not None and last.seconds > 2.5 and claimed is not None and float(claimed[1]) < 0.4


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


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The score of the unmodified train.py, by itself."""
    with made(tmp_path_factory.mktemp("honest"), ScoredWorld) as world:
        value = naive(world, PLAIN).value
    assert value is not None
    return value


def guarded(world: World, honest: float, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    monkeypatch.setenv("HOME", str(world.home))
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(world.cache))
    leave_machine_out(monkeypatch)
    return Guarded(world, honest, (1.0, 1.3, 0.5))


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_it_works_where_a_run_scores_itself(tmp_path: Path, cheat: Cheat, honest: float) -> None:
    with made(tmp_path, ScoredWorld) as world:
        outcomes = [naive(world, source_of(cheat.name))]
        assert cheat.worked(world, outcomes, honest), outcomes[-1].log[-2000:]


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_it_does_not_work_here(
    tmp_path: Path, cheat: Cheat, honest: float, sandboxed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made(tmp_path, ScoredWorld) as world:
        run = guarded(world, honest, monkeypatch)
        outcomes = []
        for _ in range(cheat.runs):
            outcomes.append(run(world, source_of(cheat.name)))
            if re.match(cheat.ends, f"{outcomes[-1].verdict}: {outcomes[-1].reason}"):
                break
        last = outcomes[-1]
        assert not cheat.worked(world, outcomes, honest), last.log[-2000:]
        assert re.match(cheat.ends, f"{last.verdict}: {last.reason}"), (last.verdict, last.reason, last.log[-2000:])


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_is_left_in_peace(
    tmp_path: Path, name: str, honest: float, sandboxed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made(tmp_path, ScoredWorld) as world:
        run = guarded(world, honest, monkeypatch)
        for _ in range(2):
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
