"""Starting, finding again and stopping runs: by whom and when must not matter."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from autoresearch_tui.runs import run_folder, runner
from autoresearch_tui.runs.environment import base_environment
from autoresearch_tui.runs.runner import RunSpec, RunState, RunStatus
from tests.waiting import wait_for

HANG = "import time; print('ready', flush=True); time.sleep(60)"


def spec(folder: Path, code: str) -> RunSpec:
    env = base_environment({}, python_bin=Path(sys.executable), scratch=folder / "scratch")
    return RunSpec((sys.executable, "-I", "-S", "-c", code), env, timeout_seconds=30, min_free_bytes=0)


def ended(folder: Path) -> bool:
    return runner.look(folder).state is RunState.ENDED


def ready(folder: Path) -> None:
    wait_for(lambda: (folder / "run.log").exists() and "ready" in (folder / "run.log").read_text())


def test_life_of_a_run(tmp_path: Path) -> None:
    assert runner.look(tmp_path) == RunStatus(RunState.NOT_STARTED)
    runner.start(tmp_path, spec(tmp_path, HANG))
    assert runner.look(tmp_path).state is RunState.RUNNING
    assert runner.look(tmp_path).started
    ready(tmp_path)
    runner.stop(tmp_path)
    wait_for(lambda: ended(tmp_path))
    assert runner.look(tmp_path).exit


def test_starting_twice_changes_nothing(tmp_path: Path) -> None:
    code = "open('count', 'a').write('x'); print('ready', flush=True)"
    for _ in range(3):
        runner.start(tmp_path, spec(tmp_path, code))
    wait_for(lambda: ended(tmp_path))
    runner.start(tmp_path, spec(tmp_path, code))
    assert (tmp_path / "work" / "count").read_text() == "x"


def test_callers_at_the_same_time_start_one_run(tmp_path: Path) -> None:
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        errors: list[BaseException] = []

        def go(folder: Path = folder, errors: list[BaseException] = errors) -> None:
            try:
                runner.start(folder, spec(folder, "open('count', 'a').write('x')"))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=go) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda folder=folder: ended(folder))
        assert errors == []
        assert (folder / "work" / "count").read_text() == "x"


def test_a_run_outlives_whoever_started_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from autoresearch_tui.runs import runner\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"command = (sys.executable, '-I', '-S', '-c', {HANG!r})\n"
        "runner.start(folder, runner.RunSpec(command, {}, min_free_bytes=0)); print('on', flush=True); time.sleep(60)\n"
    )
    root = str(Path(runner.__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, start_new_session=True
    ) as cockpit:
        assert cockpit.stdout
        assert cockpit.stdout.readline() == b"on\n"
        os.killpg(cockpit.pid, signal.SIGKILL)
    ready(tmp_path)
    assert runner.look(tmp_path).state is RunState.RUNNING
    runner.stop(tmp_path)
    wait_for(lambda: ended(tmp_path))


def test_looking_never_disturbs_a_start(tmp_path: Path) -> None:
    done = threading.Event()
    seen: set[RunState] = set()
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / run_folder.LOCK).touch()

    def stare() -> None:
        while not done.is_set():
            seen.add(runner.look(folder).state)

    watchers = [threading.Thread(target=stare) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        runner.start(folder, spec(folder, "pass"))
        wait_for(lambda: ended(folder))
    finally:
        done.set()
        for watcher in watchers:
            watcher.join()
    assert RunState.LOST not in seen


def lose(folder: Path, code: str = HANG) -> None:
    """A run whose supervisor was killed."""
    runner.start(folder, spec(folder, code))
    ready(folder)
    started = runner.look(folder).started
    assert started
    os.kill(started.supervisor_pid, signal.SIGKILL)
    wait_for(lambda: runner.look(folder).state is RunState.LOST)


def test_lost_run_is_put_aside_and_started_again(tmp_path: Path) -> None:
    lose(tmp_path)
    with pytest.raises(OSError, match="lost run"):
        runner.start(tmp_path, spec(tmp_path, "pass"))
    runner.put_aside(tmp_path)
    assert runner.look(tmp_path).state is RunState.NOT_STARTED
    assert "ready" in (tmp_path / "lost-1" / "run.log").read_text()
    lose(tmp_path)
    runner.put_aside(tmp_path)
    runner.put_aside(tmp_path)
    runner.start(tmp_path, spec(tmp_path, "print('again')"))
    wait_for(lambda: ended(tmp_path))
    assert (tmp_path / "run.log").read_text() == "again\n"
    assert sorted(path.name for path in tmp_path.glob("lost-*")) == ["lost-1", "lost-2"]


def test_supervisor_killed_at_any_moment(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    moments = random.Random(seed)
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        work = spec(folder, "open('count', 'a').write('x'); import time; time.sleep(0.02)")

        def go(folder: Path = folder, work: RunSpec = work) -> None:
            with contextlib.suppress(OSError):
                runner.start(folder, work)

        starter = threading.Thread(target=go)
        starter.start()
        wait_for(lambda folder=folder: (folder / "run.lock").exists() and (folder / "run.lock").read_text())
        time.sleep(moments.random() * 0.05)
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((folder / "run.lock").read_text()), signal.SIGKILL)
        starter.join()
        wait_for(lambda folder=folder: runner.look(folder).state is not RunState.RUNNING)
        state = runner.look(folder).state
        count = folder / "work" / "count"
        assert state is not RunState.NOT_STARTED or not count.exists()
        runner.put_aside(folder)
        runner.start(folder, work)
        wait_for(lambda folder=folder: ended(folder))
        assert len(count.read_text()) <= 2


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")
def test_daemons_of_a_lost_run_are_ended(tmp_path: Path) -> None:
    daemon = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    open('daemon', 'w').write(str(os.getpid())); print('ready', flush=True); time.sleep(60)\n"
        "time.sleep(60)\n"
    )
    lose(tmp_path, daemon)
    pid = int((tmp_path / "work" / "daemon").read_text())
    assert Path(f"/proc/{pid}/cwd").exists()
    assert runner.sweep(tmp_path) >= 1
    wait_for(lambda: not Path(f"/proc/{pid}/cwd").exists())
    wait_for(lambda: runner.sweep(tmp_path) == 0)


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"reason": 5}', b"\xff\xfe", b"[" * 100_000, b"null"])
def test_damaged_records_never_raise(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / run_folder.EXIT).write_bytes(garbage)
    assert runner.look(tmp_path) == RunStatus(RunState.LOST)
    (tmp_path / run_folder.STARTED).write_bytes(garbage)
    assert runner.look(tmp_path) == RunStatus(RunState.LOST)
    assert runner.last_lines(tmp_path) == ()
    runner.put_aside(tmp_path)
    assert runner.look(tmp_path).state is RunState.NOT_STARTED


def test_another_boot_means_lost(tmp_path: Path) -> None:
    record = {"supervisor_pid": os.getpid(), "trainer_pid": 1, "boot_id": "another boot", "time": ""}
    (tmp_path / run_folder.STARTED).write_text(json.dumps(record))
    with (tmp_path / run_folder.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert runner.look(tmp_path).state is RunState.LOST


def test_stop_never_signals_a_process_that_does_not_hold_the_lock(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as innocent:
        record = {
            "supervisor_pid": innocent.pid,
            "trainer_pid": innocent.pid,
            "boot_id": run_folder.boot_id(),
            "time": "",
        }
        (tmp_path / run_folder.STARTED).write_text(json.dumps(record))
        (tmp_path / run_folder.LOCK).write_text(f"{innocent.pid}\n")
        runner.stop(tmp_path)
        with pytest.raises(subprocess.TimeoutExpired):
            innocent.wait(0.1)
        innocent.kill()


def test_stop_of_nothing_does_nothing(tmp_path: Path) -> None:
    runner.stop(tmp_path)
    runner.stop(tmp_path / "nowhere")
    assert runner.look(tmp_path / "nowhere").state is RunState.NOT_STARTED


def test_start_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / run_folder.BALLAST).mkdir()
    with pytest.raises(OSError, match="did not start") as caught:
        runner.start(tmp_path, spec(tmp_path, "pass"))
    assert caught.value.errno == errno.EISDIR
    assert runner.look(tmp_path).state is RunState.NOT_STARTED
    (tmp_path / run_folder.BALLAST).rmdir()
    runner.start(tmp_path, spec(tmp_path, "pass"))
    wait_for(lambda: ended(tmp_path))


def test_last_lines_show_the_end_of_the_traceback(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "print('\\rstep 00001 (0.1%) | loss: 2.5', end='')\n"
        "try: 1 / 0\n"
        "except Exception as error: raise RuntimeError('the model \\x1b[31mis too big') from error\n"
    )
    runner.start(tmp_path, spec(tmp_path, code))
    wait_for(lambda: ended(tmp_path))
    lines = runner.last_lines(tmp_path)
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "RuntimeError: the model is too big"
    assert runner.last_lines(tmp_path, 1) == lines[-1:]


def test_last_lines_leave_progress_out(tmp_path: Path) -> None:
    frames = "".join(f"\rstep {n:05d} (1.0%) | loss: 2.5" for n in range(500))
    (tmp_path / "run.log").write_text(f"start\n{frames}\nFAIL\n" + "\n" * 3)
    assert runner.last_lines(tmp_path) == ("start", "FAIL")


def test_environment_passes_nothing_on(tmp_path: Path) -> None:
    own = {
        "PATH": "/home/me/bin",
        "HOME": "/home/me",
        "ANTHROPIC_API_KEY": "sk",
        "SSH_AUTH_SOCK": "/tmp/agent",
        "PYTHONPATH": "/evil",
        "CUDA_VISIBLE_DEVICES": "1",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_API_KEY": "nv",
        "LD_LIBRARY_PATH": "/usr/local/cuda/lib64",
        "LD_PRELOAD": "/evil.so",
    }
    lab = {"BATCH": "8", "HF_TOKEN": "hf", "TOKENIZERS_PARALLELISM": "false", "MAX_TOKENS": "7"}
    env = base_environment(lab, python_bin=Path("/venv/bin/python"), scratch=tmp_path, inherited=own)
    assert {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"} <= set(env)
    assert {"BATCH", "TOKENIZERS_PARALLELISM", "MAX_TOKENS"} <= set(env)
    assert not {"ANTHROPIC_API_KEY", "NVIDIA_API_KEY", "HF_TOKEN", "SSH_AUTH_SOCK", "LD_PRELOAD"} & set(env)
    assert not {"PYTHONPATH", "PYTHONSAFEPATH"} & set(env)
    assert env["PATH"].startswith("/venv/bin:")
    assert "/home/me" not in " ".join(env.values())
    assert Path(env["HOME"]).is_relative_to(tmp_path)
    assert Path(env["TMPDIR"]).is_relative_to(tmp_path)
