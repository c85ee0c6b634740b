"""kill -9 while a gain is confirmed: the next start continues it, and the frontier moves once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from autoresearch_tui.session.state import Stage
from tests.conftest import SETTINGS, THOROUGH, TRAIN, make_lab
from tests.faults.engines import Engines
from tests.faults.test_kill import Killer, finish, kill_and_check, killed
from tests.history import state_of, survivors

# Equal runs lie further apart than any gain, so each is run again.
NOISY = TRAIN.replace("score = 1.0", "score = (2.0, 2.5, 1.5)[int(os.environ.get('AUTORESEARCH_SEED', '0')) % 3]")
CONFIRMED = f'{SETTINGS}\n[metric]\nkeep = "confirmed"\nbaseline_runs = 3\n'
ROWS = 9


def test_killed_where_a_verdict_is_put_off(engines: Engines, in_memory: Path) -> None:
    """That of the first gain, before it is journalled and after, and that of the second."""
    lab = make_lab(in_memory / "lab", CONFIRMED, NOISY)
    killed(engines, lab, "before:verdict_deferred:1", *["after:verdict_deferred:1"] * 2, rows=ROWS)
    finish(engines, lab, ROWS)
    state = state_of(lab, "t")
    assert [e.number for e in state.experiments if e.deferred is not None] != []
    assert not any(e.stage is Stage.CONFIRMING for e in state.experiments)


@pytest.mark.timeout(1800)
def test_killed_at_random_moments(engines: Engines, in_memory: Path) -> None:
    seed = int(os.environ.get("AUTORESEARCH_TEST_SEED") or time.time_ns() % 1_000_000)
    print(f"AUTORESEARCH_TEST_SEED={seed}")
    kills = 100 if THOROUGH else 8
    killer, lab = Killer(seed, engines), make_lab(in_memory / "lab", CONFIRMED, NOISY)
    for number in range(kills):
        kill_and_check(killer, lab, number, last=number + 1 == kills)
    print(killer.counts)
    assert survivors(in_memory) == []
