"""kill -9 with several researchers at work: none continues, and the next engine asks anew."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import psutil
import pytest

from tests.conftest import SETTINGS, TRAIN, make_lab
from tests.faults.engines import Engines
from tests.faults.test_kill import UNSANDBOXED, words
from tests.history import contradictions, problems, state_of
from tests.waiting import wait_for

ROWS = 8
AGENT = """\
import os, pathlib, sys, time
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
time.sleep(0.3)
train = pathlib.Path("train.py")
train.write_text(train.read_text().replace("RATE = 0.5", f"RATE = {time.time_ns()}"))
print(time.time_ns())
"""


@pytest.mark.timeout(300)
def test_killed_while_three_think(engines: Engines, in_memory: Path) -> None:
    """With all of them asked, before the first of their answers and after the second, and when a run ends."""
    agent, pids = in_memory / "agent.py", in_memory / "pids"
    agent.write_text(AGENT)
    pids.mkdir()
    command = json.dumps(["python3", "-I", "-S", str(agent), str(pids)])
    settings = SETTINGS.replace('kind = "search"', f'kind = "command"\ncommand = {command}')
    settings = settings.replace("[run]\n", '[run]\ndevices = ["0", "1", "2"]\n')
    lab, errors = make_lab(in_memory / "lab", settings, TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.5")), in_memory / "err"
    for orders in (
        "after:proposal_asked:3",
        "before:proposal_made:1",
        "after:proposal_made:2",
        "after:run_ended:1",
    ):
        assert engines.run(words(lab, ROWS), errors, orders=orders, env=UNSANDBOXED) == -signal.SIGKILL
        assert contradictions(lab, "t") == []
        wait_for(lambda: not any(psutil.pid_exists(int(path.name)) for path in pids.iterdir()), 20, "their end")
        for path in pids.iterdir():
            path.unlink()
    assert engines.run(words(lab, ROWS), errors, env=UNSANDBOXED) == 0, Path(f"{errors}-0").read_text()
    state = state_of(lab, "t")
    assert problems(lab, "t") == []
    assert len(state.table) == ROWS
    assert state.asks == ()
    streams = {line for line in (lab / ".autoresearch/t/journal.jsonl").read_text().splitlines() if '"stream":' in line}
    assert any('"stream":2' in line for line in streams)
