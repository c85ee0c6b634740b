"""The supervisor as a process: what the trainer is given, how each end is recorded, and what it costs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoresearch_tui.runs import run_folder, runner
from autoresearch_tui.runs.environment import base_environment
from autoresearch_tui.runs.runner import RunSpec, RunState
from tests.trainers import alive, begin, end, run
from tests.waiting import wait_for

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc, subreaper, parent-death signal")


def log(folder: Path) -> str:
    return (folder / run_folder.LOG).read_text("utf-8", "replace")


def test_finished(tmp_path: Path) -> None:
    ended = run(tmp_path, "print('out'); import sys; print('err', file=sys.stderr)")
    assert (ended.reason, ended.exit_code, ended.signal, ended.note) == ("finished", 0, None, "")
    assert sorted(log(tmp_path).split()) == ["err", "out"]
    assert ended.log_bytes == len("out\nerr\n")
    assert 0 < ended.seconds < 60
    assert ended.time.endswith("Z")


def test_records_are_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    run(tmp_path, "pass")
    wait_for(lambda: not (tmp_path / run_folder.BALLAST).exists())
    started = json.loads((tmp_path / run_folder.STARTED).read_text())
    assert set(started) == {"supervisor_pid", "trainer_pid", "boot_id", "time"}
    names = {path.name for path in tmp_path.iterdir()}
    records = {"run.json", "run.lock", "run.log", "started.json", "exit.json", "supervisor.err"}
    assert names == records | {"work", "scratch"}
    assert (tmp_path / "supervisor.err").read_text() == ""


def test_crashed(tmp_path: Path) -> None:
    ended = run(tmp_path, "raise SystemExit(3)")
    assert (ended.reason, ended.exit_code) == ("crashed", 3)


def test_segmentation_fault(tmp_path: Path) -> None:
    ended = run(tmp_path, "import os; os.kill(os.getpid(), 11)")
    assert (ended.reason, ended.exit_code, ended.signal) == ("crashed", None, 11)
    assert "signal 11" in ended.note


def test_command_not_found(tmp_path: Path) -> None:
    runner.start(tmp_path, RunSpec(("no-such-command", "run"), {"PATH": "/usr/bin:/bin"}, min_free_bytes=0))
    ended = end(tmp_path)
    assert (ended.reason, ended.exit_code, ended.note) == ("crashed", 127, "command not found: no-such-command")
    assert runner.last_lines(tmp_path) == ("command not found: no-such-command",)


def test_command_not_executable(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "data").write_text("no program")
    runner.start(tmp_path, RunSpec(("./data",), {"PATH": "/bin"}, min_free_bytes=0))
    assert end(tmp_path).exit_code == 126


@pytest.mark.parametrize(
    "text",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        "RuntimeError: MPS backend out of memory (MPS allocated: 1 GB)",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried",
        "OSError: [Errno 12] Cannot allocate memory",
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory",
        "MemoryError",
    ],
)
def test_out_of_memory_by_its_message(tmp_path: Path, text: str) -> None:
    code = f"print({text!r}); print('x' * 50_000); raise SystemExit(1)"
    assert run(tmp_path, code).reason == "out of memory"


def test_a_message_about_memory_is_no_crash_by_itself(tmp_path: Path) -> None:
    assert run(tmp_path, "print('CUDA out of memory, trying a smaller batch')").reason == "finished"


def test_an_old_message_about_memory_does_not_count(tmp_path: Path) -> None:
    ended = run(tmp_path, "print('MemoryError'); print('x' * 70_000); raise SystemExit(1)")
    assert ended.reason == "crashed"


@linux
def test_what_the_trainer_is_given(tmp_path: Path) -> None:
    probe = (
        "import os, json, signal, resource, sys\n"
        "status = dict(l.split(':\\t') for l in open('/proc/self/status').read().splitlines())\n"
        "print(json.dumps({\n"
        "  'stdin': os.readlink('/proc/self/fd/0'), 'fds': sorted(map(int, os.listdir('/proc/self/fd'))),\n"
        "  'nnp': status['NoNewPrivs'], 'ignored': int(status['SigIgn'], 16), 'blocked': int(status['SigBlk'], 16),\n"
        "  'core': resource.getrlimit(resource.RLIMIT_CORE), 'oom': open('/proc/self/oom_score_adj').read(),\n"
        "  'session': os.getsid(0) == os.getpid(), 'cwd': os.getcwd(), 'nice': os.nice(0),\n"
        "  'env': dict(os.environ)}))\n"
    )
    run(tmp_path, probe, niceness=3)
    seen = json.loads(log(tmp_path))
    assert seen["stdin"] == "/dev/null"
    assert seen["fds"] == [0, 1, 2, 3]  # 3 is the listing itself
    assert seen["nnp"] == "1"
    assert seen["ignored"] & (1 << (signal.SIGHUP - 1)) == 0
    assert seen["blocked"] == 0
    assert seen["core"] == [0, 0]
    assert seen["oom"].strip() == "1000"
    assert seen["session"]
    assert seen["cwd"] == str(tmp_path.resolve() / "work")
    assert seen["nice"] - os.nice(0) == 3
    expected = base_environment({}, python_bin=Path(sys.executable), scratch=tmp_path / "scratch")
    assert seen["env"] == {**expected, runner.MARK: str(tmp_path.resolve()), "LC_CTYPE": "C.UTF-8"} or seen["env"] == {
        **expected,
        runner.MARK: str(tmp_path.resolve()),
    }


def test_the_trainer_cannot_rewrite_its_log(tmp_path: Path) -> None:
    code = (
        "import os\n"
        "print('val_bpb: 2.5', flush=True)\n"
        "for attempt in (lambda: os.ftruncate(1, 0), lambda: os.lseek(1, 0, 0), lambda: os.pwrite(1, b'9', 0)):\n"
        "    try: attempt(); print('possible', flush=True)\n"
        "    except OSError as error: print('refused', flush=True)\n"
    )
    run(tmp_path, code)
    assert log(tmp_path).split("\n") == ["val_bpb: 2.5", "refused", "refused", "refused", ""]


def test_stop_gives_time_to_end_well(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "def bye(*_): os.write(1, b'saved'); raise SystemExit(0)\n"
        "signal.signal(signal.SIGTERM, bye); print('ready', flush=True); time.sleep(60)\n"
    )
    begin(tmp_path, code, grace_seconds=20)
    wait_for(lambda: "ready" in log(tmp_path))
    runner.stop(tmp_path)
    runner.stop(tmp_path)
    ended = end(tmp_path)
    assert (ended.reason, ended.note, ended.exit_code) == ("killed", "stopped on request", 0)
    assert "saved" in log(tmp_path)


def test_hang_up_and_interrupt_do_not_reach_the_supervisor(tmp_path: Path) -> None:
    begin(tmp_path, "import time; print('ready', flush=True); time.sleep(60)")
    wait_for(lambda: "ready" in log(tmp_path))
    started = runner.look(tmp_path).started
    assert started
    for number in (signal.SIGHUP, signal.SIGINT):
        os.kill(started.supervisor_pid, number)
    assert os.getsid(started.supervisor_pid) == started.supervisor_pid
    runner.stop(tmp_path)
    assert end(tmp_path).note == "stopped on request"


@linux
@pytest.mark.parametrize("trainer_as_well", [False, True])
def test_told_to_end_by_others_than_the_engine(tmp_path: Path, trainer_as_well: bool) -> None:
    """As when a machine shuts down; the trainer's end may be seen before."""
    begin(tmp_path, "import time; print('ready', flush=True); time.sleep(60)")
    wait_for(lambda: "ready" in log(tmp_path))
    started = runner.look(tmp_path).started
    assert started
    os.kill(started.supervisor_pid, signal.SIGSTOP)
    if trainer_as_well:
        os.kill(started.trainer_pid, signal.SIGTERM)
        wait_for(lambda: not alive(started.trainer_pid))
    os.kill(started.supervisor_pid, signal.SIGTERM)
    os.kill(started.supervisor_pid, signal.SIGCONT)
    ended = end(tmp_path)
    assert (ended.reason, ended.signal) == ("lost", signal.SIGTERM)
    assert ended.note.startswith("its supervisor was told to end (SIGTERM)")


@linux
def test_trainer_dies_with_its_supervisor(tmp_path: Path) -> None:
    begin(tmp_path, "import time; print('ready', flush=True); time.sleep(60)")
    wait_for(lambda: "ready" in log(tmp_path))
    started = runner.look(tmp_path).started
    assert started
    os.kill(started.supervisor_pid, signal.SIGKILL)
    wait_for(lambda: not alive(started.trainer_pid))
    wait_for(lambda: runner.look(tmp_path).state is RunState.LOST)


@linux
def test_a_trainer_that_is_killed_before_its_release(tmp_path: Path) -> None:
    """The supervisor is held, by a full pipe, between its record of the start and the release."""
    run(tmp_path / "first", "")
    folder = tmp_path / "second"
    folder.mkdir()
    (folder / run_folder.SPEC).write_bytes((tmp_path / "first" / run_folder.SPEC).read_bytes())
    drain, full = os.pipe()
    os.set_blocking(full, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(full, bytes(4096)):
            pass
    os.set_blocking(full, True)
    subprocess.run(runner.supervisor_command(folder), stdout=full, timeout=120, check=True)
    wait_for(lambda: runner.look(folder).started)
    started = runner.look(folder).started
    assert started
    os.kill(started.trainer_pid, signal.SIGKILL)
    wait_for(lambda: not alive(started.trainer_pid))
    os.close(full)
    while os.read(drain, 1 << 16):
        pass
    os.close(drain)
    found = end(folder)
    assert (found.reason, found.signal) == ("crashed", signal.SIGKILL)


def test_second_supervisor_goes_away_silently(tmp_path: Path) -> None:
    begin(tmp_path, "import time; print('ready', flush=True); time.sleep(60)")
    first = (tmp_path / run_folder.STARTED).read_bytes()
    command = runner.supervisor_command(tmp_path)
    answer = subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert (answer.stdout, answer.stderr) == (b"", b"")
    assert (tmp_path / run_folder.STARTED).read_bytes() == first
    runner.stop(tmp_path)
    end(tmp_path)
    wait_for(lambda: not (tmp_path / run_folder.BALLAST).exists())
    answer = subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert (answer.stdout, answer.stderr) == (b"", b"")
    assert (tmp_path / run_folder.STARTED).read_bytes() == first


@linux
def test_idle_supervisor_is_small_and_quiet(tmp_path: Path) -> None:
    begin(tmp_path, "import time; print('ready', flush=True); time.sleep(60)")
    wait_for(lambda: "ready" in log(tmp_path))
    started = runner.look(tmp_path).started
    assert started
    proc = Path(f"/proc/{started.supervisor_pid}")

    def wakeups() -> int:
        lines = (proc / "status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary"))

    before = wakeups()
    time.sleep(1.1)
    assert wakeups() - before < 20
    resident = [line for line in (proc / "status").read_text().splitlines() if line.startswith("VmRSS")]
    print(*resident)
    assert int(resident[0].split()[1]) < 20_000
    runner.stop(tmp_path)
    end(tmp_path)


def test_end_is_recorded_at_once(tmp_path: Path) -> None:
    delays = []
    for number in range(5):
        folder = tmp_path / str(number)
        begin(folder, "import time; print(time.time_ns(), flush=True)")
        end(folder)
        written = (folder / run_folder.EXIT).stat().st_mtime_ns
        delays.append((written - int(log(folder))) / 1e6)
    print("end to exit.json, ms:", [f"{delay:.1f}" for delay in sorted(delays)])
    assert min(delays) < 50


def test_unreadable_spec_is_reported(tmp_path: Path) -> None:
    (tmp_path / run_folder.SPEC).write_text("[1, 2]")
    answer = subprocess.run(runner.supervisor_command(tmp_path), capture_output=True, timeout=120, check=False)
    assert answer.stdout.startswith(b"22 ")
    assert runner.look(tmp_path).state is RunState.NOT_STARTED
