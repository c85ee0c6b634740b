"""kill -9 around the end of a hopeless run: it is a discard or runs on, and no proposal is blamed for a crash."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch_tui.engine.judging.giving_up import RUNS
from autoresearch_tui.session.ends import Outcome
from tests.conftest import make_lab
from tests.engine.curves import GIVE_UP, train
from tests.faults.engines import Engines
from tests.faults.test_kill import UNSANDBOXED, words
from tests.history import contradictions, problems, state_of

HOPELESS = RUNS + 1
SWITCH_ON = """\
import re
import sys
from pathlib import Path

(number,) = re.findall(r"Propose experiment (\\d+)", sys.stdin.read())
text = Path("train.py").read_text()
Path("train.py").write_text(text.replace(f"SWITCH_{number} = False", f"SWITCH_{number} = True"))
print(f"switch {number}")
"""


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    with Engines() as started:
        yield started


@pytest.fixture(scope="module")
def lab(engines: Engines) -> Iterator[Path]:
    """With everything that it takes to give the next run up."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        agent = Path(name) / "agent.py"
        agent.write_text(SWITCH_ON)
        command = f'kind = "command"\ncommand = ["{sys.executable}", "-I", "-S", "{agent}"]'
        settings = GIVE_UP.replace('kind = "search"', command)
        made = make_lab(Path(name) / "lab", settings, train(HOPELESS, HOPELESS + 2))
        run(engines, made, RUNS + 1)
        yield made


def run(engines: Engines, lab: Path, rows: int, orders: str = "") -> None:
    errors = lab.parent / "errors"
    end = engines.run(words(lab, rows), errors, orders=orders, env=UNSANDBOXED)
    assert end == (-signal.SIGKILL if orders else 0), Path(f"{errors}-0").read_text()


@pytest.mark.parametrize(
    "orders", ["before:run_given_up", "after:run_given_up", "before:run_ended", "before:verdict_given"]
)
def test_killed_while_a_run_is_given_up(engines: Engines, lab: Path, in_memory: Path, orders: str) -> None:
    copy = Path(shutil.copytree(lab, in_memory / "lab"))
    run(engines, copy, RUNS + 3, f"{orders}:1")
    assert contradictions(copy, "t") == []
    assert state_of(copy, "t").experiments[HOPELESS].stage != "done"
    run(engines, copy, RUNS + 3)
    assert problems(copy, "t") == []
    statuses = [each.status for each in state_of(copy, "t").experiments[: RUNS + 3]]
    assert statuses == [Outcome.KEEP] * HOPELESS + [Outcome.GIVEN_UP, Outcome.KEEP]
