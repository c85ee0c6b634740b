"""Proposals by expected gain, seen from outside: after a handful of scores, several constants at once."""

from __future__ import annotations

import functools
import itertools
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from autoresearch_tui.researchers.base import Proposal
from autoresearch_tui.researchers.search.researcher import Search
from tests.conftest import THOROUGH
from tests.researchers.search.test_researcher import BOWL, Night, asker, bowl, changed, constants, random_edits

FORMED = BOWL + "\n\ndef feed(x):\n    return down(F.relu(up(x)).square())\n"


def scored(night: Night, count: int, seed: int = 0) -> None:
    """So many runs of random settings, all of them worse than the baseline."""
    night.history[0] = replace(night.history[0], value=1.0)
    dice = random.Random(seed)
    for _ in range(count):
        lr = f"LR = {0.01 * 2 ** dice.uniform(-1, 1):.3g}"
        decay = f"WEIGHT_DECAY = {0.1 * 2 ** dice.uniform(-1, 1):.3g}"
        text = night.text.replace("LR = 0.01", lr).replace("WEIGHT_DECAY = 0.1", decay)
        night.record({"train.py": text}, "discard", 1 + dice.uniform(0.001, 0.05))


def proposed(night: Night, complaint: str = "") -> Proposal:
    found = Search().propose(night.brief(complaint), lambda _: None, threading.Event())
    assert found is not None
    return found


def test_several_constants_move_at_once_and_none_far() -> None:
    night = Night(BOWL)
    scored(night, 12)
    several = 0
    for _ in range(20):
        found = proposed(night)
        change = changed(BOWL, found.files["train.py"])
        several += len(change) > 1
        assert 1 <= len(change) <= 6
        assert all(0.2 <= new / old <= 5 for name, (old, new) in change.items() if name in ("LR", "INIT_STD", "WIDTH"))
        assert all(0 < new < 1 for name, (_, new) in change.items() if name in ("MOMENTUM", "WARMDOWN_RATIO"))
        night.record(found.files, "discard", 1.02)
    assert several >= 10


def test_it_says_what_the_scores_promise() -> None:
    night = Night(BOWL)
    scored(night, 12)
    assert "13 scores taken together" in proposed(night).hypothesis


def test_a_new_process_proposes_the_same() -> None:
    night, search = Night(FORMED), Search()
    scored(night, 6)
    for _ in range(6):
        found = search.propose(night.brief(), lambda _: None, threading.Event())
        assert found == proposed(night)
        night.record(found.files, "discard", 1.01)


def test_a_veto_and_a_crash_hold_for_moves_of_several() -> None:
    night = Night(BOWL)
    scored(night, 12)
    night.edit("DEPTH = 6", "DEPTH = 7", "crash")
    night.edit("WIDTH = 256", "WIDTH = 384", "vetoed")
    for _ in range(15):
        found = proposed(night)
        values = constants(found.files["train.py"])
        assert values["DEPTH"] < 7
        assert values["WIDTH"] <= 256
        night.record(found.files, "discard", 1.02)


def test_a_complaint_brings_another_move() -> None:
    night = Night(BOWL)
    scored(night, 12)
    assert proposed(night).files != proposed(night, "does not fit into memory").files


def test_without_scores_the_usual_steps_go_on() -> None:
    night = Night(BOWL)
    for _ in range(8):
        found = proposed(night)
        assert len(changed(BOWL, found.files["train.py"])) <= 2
        night.record(found.files, "crash")


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(["discard", "crash", "given up"]))
def test_nothing_is_proposed_twice(seed: int, outcome: str) -> None:
    night = Night(BOWL)
    scored(night, 8, seed)
    dice, seen = random.Random(seed), {night.text}
    for _ in range(6):
        text = proposed(night).files["train.py"]
        assert text not in seen
        seen.add(text)
        lost = dice.random() < 0.5
        night.record(
            {"train.py": text}, outcome if lost else "discard", None if lost and outcome != "discard" else 1.01
        )


@functools.cache
def searched(seed: int) -> tuple[str, ...]:
    """The best text after each of 40 runs on a noisy bowl."""
    night = Night(BOWL)
    night.run(asker(seed), bowl(seed, 0.002), 40)
    kept = (night.commits[a.commit]["train.py"] if a.outcome == "keep" else "" for a in night.history)
    return tuple(itertools.accumulate(kept, lambda best, text: text or best))


@pytest.mark.parametrize("first", [0, 10])
def test_it_comes_much_closer_than_half_way(first: int) -> None:
    left = []
    for seed in range(first, first + 5):
        exact = bowl(seed, 0.0)
        left.append((exact(searched(seed)[40]) - 1) / (exact(BOWL) - 1))
    assert sum(left) / len(left) < 0.25


def test_it_beats_random_edits_on_a_noisy_bowl_with_interactions() -> None:
    seeds = range(20) if THOROUGH else (*range(5), *range(10, 15))
    lost = 0
    for seed in seeds:
        exact = bowl(seed, 0.0)
        edited = Night(BOWL).run(random_edits(seed), bowl(seed, 0.002), 30)
        lost += exact(searched(seed)[30]) >= exact(edited)
    assert lost <= len(seeds) // 10
