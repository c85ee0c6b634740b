"""kill -9 with three fronts: what the next engine decides is what the one before it would have."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.conftest import SETTINGS, TRAIN, make_lab
from tests.faults.engines import Engines
from tests.faults.test_kill import UNSANDBOXED, words
from tests.history import contradictions, problems, state_of

ROWS = 8


@pytest.mark.timeout(300)
def test_killed_around_what_moves_a_front(engines: Engines, in_memory: Path) -> None:
    """Before and after a proposal for another front, its verdict, and a crossing."""
    lab, errors = make_lab(in_memory / "lab", f"{SETTINGS}\n[search]\nfronts = 3\n", TRAIN), in_memory / "errors"
    for orders in (
        "after:proposal_asked:2",
        "before:proposal_made:1",
        "after:verdict_given:1",
        "before:verdict_given:1",
    ):
        assert engines.run(words(lab, ROWS), errors, orders=orders, env=UNSANDBOXED) == -signal.SIGKILL
        assert contradictions(lab, "t") == []
    assert engines.run(words(lab, ROWS), errors, env=UNSANDBOXED) == 0, Path(f"{errors}-0").read_text()
    state = state_of(lab, "t")
    assert problems(lab, "t") == []
    assert len(state.table) == ROWS
    assert len(state.heads) == 3
