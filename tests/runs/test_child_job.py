"""What the engine has done for itself ends with it, however it ends: real trees of processes, a real kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from autoresearch_tui.runs import child_job, runner
from autoresearch_tui.runs.runner import RunSpec, RunState
from tests.runs.test_runner import ended
from tests.waiting import PATIENCE, wait_for

# Three processes, the last of them in a session of its own; none of them listens to SIGTERM.
TREE = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if not os.fork():
    os.setsid()
    os.fork()
time.sleep(600)
"""
# As the engine does it: in a thread, which the process that is killed knows nothing of.
OWNER = """
import sys, threading
from pathlib import Path
from tests.runs.test_child_job import TREE, of
from autoresearch_tui.runs import child_job
threading.Thread(target=child_job.run, args=(Path(sys.argv[1]), of(TREE), threading.Event())).start()
"""


def of(code: str) -> RunSpec:
    command = (sys.executable, "-I", "-S", "-c", code)
    return RunSpec(command, {"PATH": "/usr/bin:/bin"}, min_free_bytes=0, grace_seconds=0.2)


def processes(folder: Path) -> list[int]:
    """The child job's own, by their mark."""
    mark = f"{runner.MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_what_it_says_is_there_when_it_has_ended(tmp_path: Path) -> None:
    done = child_job.run(tmp_path, of("print('said'); raise SystemExit(3)"), threading.Event())
    assert done is not None
    assert (done.reason, done.exit_code) == ("crashed", 3)
    assert (tmp_path / "run.log").read_text() == "said\n"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: subreaper, /proc")
def test_its_whole_tree_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], cwd=Path(__file__).parents[2]) as owner:
        wait_for(lambda: len(processes(tmp_path)) == 3)
        owner.kill()
    wait_for(lambda: not processes(tmp_path) and ended(tmp_path))
    left = runner.look(tmp_path).exit
    assert left is not None
    assert left.reason == "killed"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: subreaper, /proc")
def test_cancelled(tmp_path: Path) -> None:
    cancelled = threading.Event()
    thread = threading.Thread(target=child_job.run, args=(tmp_path, of(TREE), cancelled))
    thread.start()
    wait_for(lambda: len(processes(tmp_path)) == 3)
    cancelled.set()
    thread.join(PATIENCE)
    wait_for(lambda: not processes(tmp_path) and ended(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: subreaper, /proc")
def test_one_that_is_still_ending_is_waited_for_and_cleared_away(tmp_path: Path) -> None:
    folder, cancelled = tmp_path / "job", threading.Event()
    child_job.clear(folder, cancelled)
    thread = threading.Thread(target=child_job.run, args=(folder, of(TREE), cancelled))
    thread.start()
    wait_for(lambda: len(processes(folder)) == 3)
    cancelled.set()
    child_job.clear(folder, threading.Event())
    assert list(folder.iterdir()) == []
    assert processes(folder) == []
    thread.join(PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: parent-death signal, /proc")
def test_its_supervisor_is_killed(tmp_path: Path) -> None:
    said: list[runner.Exit | None] = []
    thread = threading.Thread(target=lambda: said.append(child_job.run(tmp_path, of(TREE), threading.Event())))
    thread.start()
    wait_for(lambda: len(processes(tmp_path)) == 3)
    started = runner.look(tmp_path).started
    assert started is not None
    os.kill(started.supervisor_pid, signal.SIGKILL)
    thread.join(PATIENCE)
    assert said == [None]
    assert runner.look(tmp_path).state is RunState.LOST
    child_job.clear(tmp_path, threading.Event())
    wait_for(lambda: not processes(tmp_path))
