"""kill -9 while gains are tried at a larger scale: what was asked for is done once, and stays apart from the rest."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from autoresearch_tui.session.ends import Outcome
from tests.conftest import SETTINGS, THOROUGH, make_lab
from tests.faults.engines import Engines
from tests.faults.test_kill import Killer, finish, kill_and_check, killed
from tests.history import state_of, survivors

EVERY = f"{SETTINGS}\n[transfer]\nevery = 1\n"
ROWS = 4


def scaled(lab: Path) -> Counter[str]:
    """How often each commit was run at the larger scale."""
    return Counter(e.commit for e in state_of(lab, "t").experiments if e.outcome == Outcome.SCALED)


def test_killed_at_a_journal_transition(engines: Engines, in_memory: Path) -> None:
    lab = make_lab(in_memory / "lab", EVERY)
    killed(engines, lab, "before:proposal_made:3", "after:proposal_made:1", "after:verdict_given:1", rows=ROWS)
    finish(engines, lab, ROWS)
    found = scaled(lab)
    assert found
    assert set(found.values()) == {1}


@pytest.mark.timeout(1800)
def test_killed_at_random_moments(engines: Engines, in_memory: Path) -> None:
    seed = int(os.environ.get("AUTORESEARCH_TEST_SEED") or time.time_ns() % 1_000_000)
    print(f"AUTORESEARCH_TEST_SEED={seed}")
    kills = 100 if THOROUGH else 8
    killer, lab = Killer(seed, engines), make_lab(in_memory / "lab", EVERY)
    for number in range(kills):
        kill_and_check(killer, lab, number, last=number + 1 == kills)
    print(killer.counts)
    assert survivors(in_memory) == []
