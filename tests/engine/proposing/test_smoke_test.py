"""The smoke test: a model that cannot take a step is sent back before it costs a run."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.engine.proposing import smoke_test
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.runs import runner
from autoresearch_tui.sandbox import for_runs
from tests.conftest import SETTINGS, TRAIN
from tests.engine.test_loop import Script, running, turn
from tests.history import problems, state_of, survivors
from tests.waiting import wait_for

STEPS = """
if os.environ.get("AUTORESEARCH_PREFLIGHT"):
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["AUTORESEARCH_DEVICE"], os.nice(0)) == ("", "cpu", 19)
    if WIDTH % 4:
        raise ValueError(f"{WIDTH} heads do not divide the width")
    print("two steps taken")
    raise SystemExit
"""
OFFERS = TRAIN.replace("steps = 5\n", f"{STEPS}\nsteps = 5\n")


@pytest.fixture
def confined() -> None:
    if for_runs.mechanism().kind is for_runs.Kind.NONE:
        pytest.skip("nothing confines a run here")


def tried(folder: Path) -> smoke_test.SmokeTest:
    session = Session(labs.find(folder), "t")
    return smoke_test.SmokeTest(session.launcher, session.files.folder / "smoke-test")


def test_a_failing_step_goes_back_with_its_last_lines(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, confined: None
) -> None:
    monkeypatch.setattr(smoke_test, "accelerator", lambda: True)
    folder = new_lab(settings=SETTINGS.replace('kind = "search"', 'kind = "claude"'), train=OFFERS)

    def mended(brief: Brief) -> Proposal | None:
        assert "two small steps on the CPU failed (crashed)" in brief.complaint
        assert "ValueError: 9 heads do not divide the width" in brief.complaint
        return turn("WIDTH", 12)(brief)

    with running(folder, Script(turn("WIDTH", 9), mended), rows=2) as driver:
        driver.join()
    state = state_of(folder, "t")
    assert [(e.description, e.outcome) for e in state.experiments[1:]] == [("WIDTH to 12", "keep")]
    assert problems(folder, "t") == []


def test_there_is_none_where_the_cpu_trains_or_the_lab_offers_none(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = tried(new_lab(train=OFFERS))
    monkeypatch.setattr(smoke_test, "accelerator", lambda: False)
    assert "the CPU is what trains" in it.why_not({"train.py": OFFERS})
    monkeypatch.setattr(smoke_test, "accelerator", lambda: True)
    assert "offers no smoke test" in it.why_not({"train.py": TRAIN})
    monkeypatch.setattr(for_runs, "mechanism", lambda: for_runs.Mechanism(for_runs.Kind.NONE))
    assert "nothing here can confine" in it.why_not({"train.py": OFFERS})


def test_there_is_none_where_only_the_nodes_of_a_cluster_can_train(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke_test, "accelerator", lambda: True)
    settings = f'{SETTINGS}\n[cluster]\naddress = "127.0.0.1:6379"\n'
    assert tried(new_lab("here", settings, OFFERS)).why_not({"train.py": OFFERS}) == ""
    nodes = settings.replace('["python", "-S", "train.py"]', '[".venv/bin/python", "train.py"]')
    assert "not on this machine" in tried(new_lab("nodes", nodes, OFFERS)).why_not({"train.py": OFFERS})


def slow_one(folder: Path, seconds: float) -> str | None:
    """A smoke test that would take a minute."""
    it = replace(tried(folder), seconds=seconds)
    slow = re.sub(r"print\(\"two steps taken\"\)", "time.sleep(60)", OFFERS)
    return it.run(it.launcher.repo.head(), {"train.py": slow}, threading.Event())


def test_one_that_takes_too_long_says_nothing_about_the_proposal(new_lab: Callable[..., Path], confined: None) -> None:
    assert slow_one(new_lab(train=OFFERS), 0.5) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: subreaper, /proc")
def test_it_ends_with_the_engine(new_lab: Callable[..., Path], confined: None) -> None:
    """Which is killed as no process can see it coming."""
    folder = new_lab(train=OFFERS)
    smoke_folder = folder / ".autoresearch/t/smoke-test"
    code = "import sys, pathlib; from tests.engine.proposing.test_smoke_test import slow_one; "
    code += "slow_one(pathlib.Path(sys.argv[1]), 60)"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=Path(__file__).parents[3]) as engine:
        wait_for(lambda: runner.look(smoke_folder).started is not None)
        assert survivors(folder) != []
        engine.kill()
    wait_for(lambda: survivors(folder) == [])
    ended = runner.look(smoke_folder).exit
    assert ended is not None
    assert ended.reason == "killed"
