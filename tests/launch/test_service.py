"""The unit for systemd in docs/reliability.md: what it would restart, by the exit codes that really come."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.runs import runner
from tests import warm
from tests.conftest import TRAIN
from tests.history import problems, state_of
from tests.waiting import wait_for

NewLab = Callable[..., Path]
TEXT = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text("utf-8")
UNIT = re.findall(r"```ini\n(.*?)```", TEXT, re.DOTALL)[0]
# What systemd takes for a clean end, whatever the unit says.
CLEAN = {0, -signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGPIPE}
SLOW = TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0")


def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT)
    return unit["Service"]


def restarted(end: int) -> bool:
    """What `Restart=on-failure` makes of an end (minus a signal's number)."""
    assert service()["Restart"] == "on-failure"
    return end not in CLEAN and end not in map(int, service()["RestartPreventExitStatus"].split())


def start(lab: Path, *more: str, out: int = -1, err: int = 2) -> warm.Started:
    """As the unit starts it."""
    words = service()["ExecStart"].split()
    assert Path(words[0]).name == "autoresearch-tui" and words[2:] == ["--headless"]
    return warm.start([lab, *words[2:], *more], out=out, err=err)


def signalled_in_a_run(lab: Path, number: int) -> int:
    """How the engine ends that gets a signal while a run trains; the run itself gets none, as `KillMode` says."""
    assert service()["KillMode"] == "process"
    ours, theirs = os.pipe()
    engine = start(lab, "--tag", "t", out=theirs)
    os.close(theirs)
    with os.fdopen(ours) as printed:
        assert any('"run_started"' in line for line in printed)
        run = lab / ".autoresearch/t/runs/0000"
        wait_for(lambda: runner.look(run).started, 60)
        engine.send_signal(number)
        printed.read()
    wait_for(lambda: runner.look(run).state is runner.RunState.ENDED, 60)
    return engine.wait()


def test_a_hopeless_baseline_is_not_run_again(new_lab: NewLab, tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        end = start(new_lab(train="raise SystemExit('no luck')\n"), err=file.fileno()).wait()
    assert (end, "no luck" in errors.read_text()) == (1, True)
    assert not restarted(end)


def test_a_lab_that_is_none_is_not_tried_again(tmp_path: Path) -> None:
    assert start(tmp_path).wait() == 2
    assert not restarted(2)


@pytest.mark.parametrize(("number", "end"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_what_was_ended_on_request_stays_so(new_lab: NewLab, number: int, end: int) -> None:
    assert signalled_in_a_run(new_lab(train=SLOW), number) == end
    assert not restarted(end)


def test_a_killed_engine_is_brought_back_and_its_run_counts(new_lab: NewLab) -> None:
    lab = new_lab(train=SLOW)
    end = signalled_in_a_run(lab, signal.SIGKILL)
    assert restarted(end)
    assert start(lab, "--experiments", "1").wait() == 0
    (baseline,) = state_of(lab, "t").experiments
    assert (baseline.attempt, baseline.outcome) == (1, "keep")
    assert problems(lab, "t") == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_it(tmp_path: Path) -> None:
    unit = tmp_path / "night.service"
    unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", UNIT))
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    words = ["systemd-analyze", "--user", "verify", str(unit)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert unit.name not in done.stderr
