"""Several experiments at once, each on a device of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.cockpit.app import accelerators_of_runs
from autoresearch_tui.engine import startup
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import devices
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import EngineEnd
from autoresearch_tui.session.state import Stage, State
from autoresearch_tui.util.errors import UserError
from tests import warm
from tests.conftest import SETTINGS, TRAIN, git
from tests.engine.test_loop import Script, running, turn
from tests.history import problems, state_of

TWO = SETTINGS.replace("[run]\n", '[run]\ndevices = ["cpu0", "cpu1"]\n')
# Each run says which processors it has, and waits until the test lets it go.
PINNED = TRAIN.replace(
    "steps = 5\n",
    "steps = 5\nprint('processors', sorted(os.sched_getaffinity(0)), os.environ['AUTORESEARCH_DEVICE'], flush=True)\n",
)
needs_two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor only")


def training(state: State) -> list[int]:
    return [e.number for e in state.in_flight if e.stage is Stage.RUNNING]


@needs_two
def test_two_run_at_once_each_on_its_own_and_are_judged_one_by_one(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=TWO, train=PINNED.replace("PAUSE = 0.0", "PAUSE = 1.5"))
    script = Script(turn("RATE", 0.25), turn("WIDTH", 12))
    with running(folder, script, rows=4) as driver:
        state = driver.wait(lambda s: len(training(s)) == 2)
        assert [e.proposal.author for e in state.in_flight] == ["baseline", "baseline"]
        assert [e.proposal.repeat_of for e in state.in_flight] == [None, 0]
        driver.wait(lambda s: any(n > 1 for n in training(s)) and len(training(s)) == 2)
        assert driver.join() == "finished"
    state = state_of(folder, "t")
    assert len(state.table) == 4
    assert {e.device for e in state.table} == {"cpu0", "cpu1"}
    for experiment in state.table:
        log = (folder / ".autoresearch" / "t" / "runs" / experiment.name / "run.log").read_text()
        assert f"processors [{experiment.device[3:]}] cpu" in log
    assert state.best is not None
    values = [e.value for e in state.table if e.value is not None]
    assert state.best.value == min(values)
    assert problems(folder, "t") == []


@needs_two
def test_one_of_two_runs_can_be_stopped_and_a_pause_puts_both_back(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=TWO, train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.4"))
    slow = {"PAUSE": 30.0}
    script = Script(*(turn(name, value) for name, value in slow.items()), turn("PAUSE", 31.0), turn("PAUSE", 32.0))
    with running(folder, script) as driver:
        driver.wait(lambda s: len(training(s)) == 2 and min(training(s)) > 1)
        first, second = training(driver.state)
        driver.engine.send(cmd.StopRun(first))
        driver.wait(lambda s: s.experiments[first].outcome == "crash")
        assert driver.state.experiments[second].stage is Stage.RUNNING
        driver.wait(lambda s: len(training(s)) == 2)
        driver.engine.send(cmd.Pause(stop_run=True))
        state = driver.wait(lambda s: s.paused and not s.in_flight)
        assert state.experiments[second].stage is Stage.APPROVED
    assert problems(folder, "t") == []


@needs_two
def test_an_engine_that_comes_back_finds_both_runs(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=TWO, train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 2.0"))
    with running(folder, Script()) as driver:
        driver.wait(lambda s: len(training(s)) == 2)
        assert driver.detach() == "detached"
    with running(folder, Script(), rows=2) as driver:
        assert driver.join() == "finished"
    assert [(e.outcome, e.attempt) for e in state_of(folder, "t").experiments] == [("keep", 1), ("discard", 1)]
    assert problems(folder, "t") == []


def test_what_a_run_is_told_of_its_device() -> None:
    assert devices.environment("") == {}
    gpu = devices.environment("3")
    assert (gpu["CUDA_VISIBLE_DEVICES"], gpu["CUDA_DEVICE_ORDER"]) == ("3", "PCI_BUS_ID")
    assert devices.cpus("cpu4-7") == (4, 5, 6, 7)
    assert devices.environment("cpu4-7")["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize("wrong", ['["gpu0"]', '["0", "0"]', '["cpu3-1"]', '[""]'])
def test_a_device_that_is_none_is_named(new_lab: Callable[..., Path], wrong: str) -> None:
    folder = new_lab(settings=SETTINGS.replace("[run]\n", f"[run]\ndevices = {wrong}\n"))
    with pytest.raises(UserError, match=r"run\.devices"):
        labs.open_lab(folder)


@needs_two
def test_the_command_line_sets_them_for_the_session(lab_folder: Path) -> None:
    words = [str(lab_folder), "--headless", "--tag", "t", "--devices", "cpu0,cpu1", "--experiments", "2"]
    done = warm.run(words)
    assert done.returncode == 0, done.stderr
    started = [event for line in done.stdout.splitlines() if (event := json.loads(line))["type"] == "run_started"]
    assert [event["device"] for event in started] == ["cpu0", "cpu1"]
    assert git(lab_folder, "branch", "--show-current") == "main"


@needs_two
def test_two_that_win_side_by_side_are_tried_together(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=TWO, train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0"))
    with running(folder, Script(turn("RATE", 0.25), turn("WIDTH", 12))) as driver:
        state = driver.wait(lambda s: any(e.proposal.combines is not None and e.outcome for e in s.experiments), 60)
    together = next(e for e in state.experiments if e.proposal.combines is not None)
    assert (together.proposal.author, together.outcome, state.frontier_number) == ("join", "keep", together.number)
    text = git(folder, "show", f"{together.commit}:train.py")
    assert "RATE = 0.25" in text
    assert "WIDTH = 12" in text
    assert sum(1 for e in state.experiments if e.proposal.combines is not None) == 1
    assert problems(folder, "t") == []


def test_a_viewer_shows_the_accelerators_of_the_engine_and_not_of_its_own_shell(
    lab_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with running(lab_folder, Script(), rows=1) as driver:
        state = driver.wait(lambda s: s.engine)
        assert driver.join() == "finished"
    run = labs.open_lab(lab_folder).settings.run
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [each.names for each in accelerators_of_runs(run, state)] == [("3",)]
    assert [each.names for each in accelerators_of_runs(run, state, ours=os.environ)] == [None]
    pinned = replace(run, devices=("cpu0", "MIG-1", "2"))
    assert [each.names for each in accelerators_of_runs(pinned, state)] == [(), ("MIG-1",), ("2",)]


def test_the_next_engine_counts_the_devices_of_a_cluster_that_are_still_there(new_lab: Callable[..., Path]) -> None:
    lab = labs.open_lab(new_lab(settings=SETTINGS + '[cluster]\naddress = "head:6379"\n'))
    for engine in range(2):
        session = Session(lab, "t")
        startup.start(session, headless=False)
        for name in ("a:0", "a:1", "b:0") if engine == 0 else ():
            session.append(ev.DeviceJoined(name, name[0]))
        if engine == 0:
            session.append(ev.DeviceLeft("a:1", "its node is gone"))
        assert session.state.engine is not None and session.state.engine.devices == 2
        session.end(EngineEnd.DETACHED, "")
