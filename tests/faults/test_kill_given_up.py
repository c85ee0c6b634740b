"""kill -9 around the end of a hopeless run: it is a discard or runs on, and no proposal is blamed for a crash."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

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


def run(engines: Engines, lab: Path, rows: int, orders: str = "") -> None:
    errors = lab.parent / "errors"
    end = engines.run(words(lab, rows), errors, orders=orders, env=UNSANDBOXED)
    assert end == (-signal.SIGKILL if orders else 0), Path(f"{errors}-0").read_text()


def test_killed_while_a_run_is_given_up(engines: Engines, in_memory: Path) -> None:
    agent = in_memory / "agent.py"
    agent.write_text(SWITCH_ON)
    command = f'kind = "command"\ncommand = ["{sys.executable}", "-I", "-S", "{agent}"]'
    lab = make_lab(in_memory / "lab", GIVE_UP.replace('kind = "search"', command), train(HOPELESS, HOPELESS + 2))
    run(engines, lab, RUNS + 1)  # with everything that it takes to give the next one up
    for orders in ("before:run_given_up", "after:run_given_up", "before:run_ended", "before:verdict_given"):
        run(engines, lab, RUNS + 3, f"{orders}:1")
        assert contradictions(lab, "t") == []
        assert state_of(lab, "t").experiments[HOPELESS].stage != "done"
    run(engines, lab, RUNS + 3)
    assert problems(lab, "t") == []
    statuses = [each.status for each in state_of(lab, "t").experiments[: RUNS + 3]]
    assert statuses == [Outcome.KEEP] * HOPELESS + [Outcome.GIVEN_UP, Outcome.KEEP]
