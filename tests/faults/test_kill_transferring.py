"""kill -9 while gains are tried at a larger scale: what was asked for is done once, and stays apart from the rest."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch_tui.session.ends import Outcome
from tests.conftest import THOROUGH, make_lab
from tests.faults.engines import Engines
from tests.faults.test_kill import QUICK, UNSANDBOXED, Killer, finish, kill_and_check, words
from tests.history import contradictions, state_of, survivors

EVERY = f"{QUICK}\n[transfer]\nevery = 1\n"
ROWS = 4


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    with Engines() as started:
        yield started


def scaled(lab: Path) -> Counter[str]:
    """How often each commit was run at the larger scale."""
    return Counter(e.commit for e in state_of(lab, "t").experiments if e.outcome == Outcome.SCALED)


@pytest.mark.parametrize("orders", ["before:proposal_made:3", "after:proposal_made:3", "after:verdict_given:3"])
def test_killed_at_a_journal_transition(engines: Engines, in_memory: Path, orders: str) -> None:
    lab = make_lab(in_memory / "lab", EVERY)
    end = engines.run(words(lab, ROWS), in_memory / "errors", orders=orders, env=UNSANDBOXED)
    assert end == -signal.SIGKILL, (in_memory / "errors-0").read_text()
    assert contradictions(lab, "t") == []
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
