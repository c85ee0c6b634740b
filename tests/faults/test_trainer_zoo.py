"""Trainers that misbehave: each ends, is recorded by its reason, and leaves no process behind."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch_tui.logs import lines
from autoresearch_tui.logs.score_search import find_score
from autoresearch_tui.runs import run_folder, runner
from autoresearch_tui.runs.runner import Exit, RunState
from tests import trainers
from tests.trainers import alive, end
from tests.waiting import wait_for

linux = pytest.mark.skipif(sys.platform != "linux", reason="sees the whole tree only on Linux")
IGNORES_SIGTERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
# A child, a child in a session of its own and a daemon, all ignoring SIGTERM, each with its pid in a file.
FAMILY = (
    IGNORES_SIGTERM + "import os\n"
    "def stay(name):\n"
    "    open(name + '.tmp', 'w').write(str(os.getpid())); os.rename(name + '.tmp', name)\n"
    "    while True: time.sleep(60)\n"
    "if os.fork() == 0: stay('child')\n"
    "if os.fork() == 0: os.setsid(); stay('session')\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork(): os._exit(0)\n"
    "    stay('daemon')\n"
    "while not all(os.path.exists(name) for name in ('child', 'session', 'daemon')): time.sleep(0.01)\n"
    "print('ready', flush=True)\n"
)


def begin(folder: Path, code: str, **limits: float) -> None:
    trainers.begin(folder, code, **{"grace_seconds": 0.2, **limits})


def run(folder: Path, code: str, **limits: float) -> Exit:
    begin(folder, code, **limits)
    return end(folder)


def family(folder: Path) -> list[int]:
    return [int((folder / "work" / name).read_text()) for name in ("child", "session", "daemon")]


@linux
def test_deaf_family_at_the_timeout(tmp_path: Path) -> None:
    ended = run(tmp_path, FAMILY + "while True: time.sleep(60)", timeout_seconds=1)
    assert (ended.reason, ended.signal) == ("timed out", signal.SIGKILL)
    assert ended.note == "not done after 1 s"
    assert ended.seconds >= 1.2
    assert ended.strays == 3
    assert not any(alive(pid) for pid in family(tmp_path))


@linux
def test_family_left_by_an_honest_end(tmp_path: Path) -> None:
    ended = run(tmp_path, FAMILY)
    assert (ended.reason, ended.exit_code, ended.strays) == ("finished", 0, 3)
    assert not any(alive(pid) for pid in family(tmp_path))


@linux
def test_family_is_stopped(tmp_path: Path) -> None:
    begin(tmp_path, FAMILY + "signal.signal(signal.SIGTERM, signal.SIG_DFL)\nwhile True: time.sleep(60)")
    wait_for(lambda: "ready" in (tmp_path / "run.log").read_text())
    runner.stop(tmp_path)
    ended = end(tmp_path)
    assert (ended.reason, ended.note, ended.signal) == ("killed", "stopped on request", signal.SIGTERM)
    assert not any(alive(pid) for pid in family(tmp_path))


@linux
def test_stopped_trainer_is_ended_too(tmp_path: Path) -> None:
    ended = run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", timeout_seconds=0.5)
    assert (ended.reason, ended.signal) == ("timed out", signal.SIGTERM)


@linux
def test_fork_bomb(tmp_path: Path) -> None:
    bomb = (
        IGNORES_SIGTERM + "import os\n"
        "for _ in range(6):\n"  # 64 processes, each in a session of its own; a bound, for the machine's sake
        "    if os.fork() == 0: os.setsid()\n"
        "while True: time.sleep(60)\n"
    )
    ended = run(tmp_path, bomb, timeout_seconds=0.5)
    assert (ended.reason, ended.strays) == ("timed out", 63)
    assert marked(tmp_path) == []


@linux
def test_processes_that_run_away_by_forking(tmp_path: Path) -> None:
    runaway = (
        IGNORES_SIGTERM + "import os\n"
        "if os.fork() == 0:\n"
        "    while True:\n"
        "        os.setsid()\n"
        "        if os.fork(): os._exit(0)\n"
        "time.sleep(0.1)\n"
    )
    ended = run(tmp_path, runaway)
    assert (ended.reason, ended.note) == ("finished", "")
    assert marked(tmp_path) == []


def marked(folder: Path) -> list[int]:
    """The living processes that carry this run's mark."""
    mark = f"{runner.MARK}={folder.resolve()}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0") and alive(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_flooded_log_stops_at_its_limit(tmp_path: Path) -> None:
    ended = run(tmp_path, "while True: print('x' * 1000)", log_limit_bytes=2**20)
    assert (ended.reason, ended.note) == ("killed", "log limit reached (1 MiB)")
    assert ended.log_bytes == (tmp_path / "run.log").stat().st_size == 2**20


def test_trainer_that_shrugs_off_the_limit(tmp_path: Path) -> None:
    code = IGNORES_SIGTERM + "import os\nwhile True:\n    try: os.write(1, b'y' * 65536)\n    except OSError: pass\n"
    ended = run(tmp_path, code, log_limit_bytes=100_000)
    assert (ended.reason, ended.log_bytes) == ("killed", 100_000)
    assert (tmp_path / "run.log").stat().st_size == 100_000


def test_big_files_are_not_the_logs_business(tmp_path: Path) -> None:
    ended = run(tmp_path, "open('checkpoint', 'wb').write(b'w' * 3_000_000)", log_limit_bytes=2**20)
    assert ended.reason == "finished"


def test_low_disk(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    ended = run(tmp_path, "import time; time.sleep(60)", min_free_bytes=free * 2)
    assert ended.reason == "disk full"
    assert ended.note.startswith("free disk space low: ")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs Linux and root")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


FILL = (
    "import os\n"
    "with open('fill', 'wb', buffering=0) as file:\n"
    "    for size in (65536, 4096, 512, 1):\n"
    "        try:\n"
    "            while file.write(b'f' * size): pass\n"
    "        except OSError: pass\n"
)


def test_full_disk_still_has_room_for_the_end(small_disk: Path) -> None:
    ended = run(small_disk, FILL)
    assert (ended.reason, ended.exit_code) == ("finished", 0)
    assert shutil.disk_usage(small_disk).free < run_folder.BALLAST_BYTES


def test_start_on_a_full_disk(small_disk: Path) -> None:
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"f" * 4096)
    with pytest.raises(OSError, match="No space") as caught:
        begin(small_disk, "pass")
    assert caught.value.errno == errno.ENOSPC
    assert runner.look(small_disk).state is RunState.NOT_STARTED
    filler.unlink()
    assert run(small_disk, "pass").reason == "finished"


def test_log_on_a_full_disk(small_disk: Path) -> None:
    ended = run(small_disk, FILL + "for _ in range(100): print('z' * 10_000, flush=True)")
    assert ended.reason == "disk full"
    assert "No space left" in ended.note


def test_filling_the_disk_is_noticed(small_disk: Path) -> None:
    ended = run(small_disk, FILL + "import time; time.sleep(60)", min_free_bytes=2**18)
    assert ended.reason == "disk full"
    assert ended.note.startswith("free disk space low")


def test_the_end_waits_for_room(small_disk: Path) -> None:
    begin(small_disk, FILL + "os.unlink('../ballast')\n" + FILL.replace("'fill'", "'more'"))
    wait_for((small_disk / "exit.json.tmp").exists)
    assert runner.look(small_disk).state is RunState.RUNNING
    (small_disk / "work" / "fill").unlink()
    assert end(small_disk).reason == "finished"


@linux
def test_killed_by_the_kernel_for_want_of_memory(tmp_path: Path) -> None:
    group = Path("/sys/fs/cgroup/memory/autoresearch-test")
    if not Path("/sys/fs/cgroup/memory/cgroup.procs").exists():
        group = Path("/sys/fs/cgroup/autoresearch-test")
    limit = "memory.limit_in_bytes" if "memory/" in str(group) else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text("50000000")
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no right to a memory cgroup: {error}")
    try:
        join = f"import os; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        ended = run(tmp_path, join + "hog = []\nwhile True: hog.append(b'm' * 1_000_000)")
        assert (ended.reason, ended.signal) == ("out of memory", signal.SIGKILL)
    finally:
        wait_for(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_out_of_memory_as_python_sees_it(tmp_path: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28)); x = b'm' * 2**30"
    assert run(tmp_path, code).reason == "out of memory"


def test_killed_from_outside_is_a_crash(tmp_path: Path) -> None:
    ended = run(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert (ended.reason, ended.signal) == ("crashed", signal.SIGKILL)


def test_failing_fast(tmp_path: Path) -> None:
    ended = run(tmp_path, "print('\\rstep 00003 (0.0%) | loss: nan', end=''); print('FAIL'); raise SystemExit(1)")
    assert (ended.reason, ended.exit_code) == ("crashed", 1)


def test_silent_trainer(tmp_path: Path) -> None:
    ended = run(tmp_path, "pass")
    assert (ended.reason, ended.log_bytes) == ("finished", 0)
    assert runner.last_lines(tmp_path) == ()


def test_trainer_without_a_score(tmp_path: Path) -> None:
    assert run(tmp_path, "print('all is well')").reason == "finished"
    assert find_score(tmp_path / "run.log", r"^val_bpb:\s+(\S+)", "val_bpb").value is None


def test_binary_output(tmp_path: Path) -> None:
    code = "import os; os.write(1, (bytes(range(1, 256)) + bytes(1)) * 100); raise SystemExit(1)"
    ended = run(tmp_path, code)
    assert (ended.reason, ended.log_bytes) == ("crashed", 25_600)
    assert all("\x1b" not in line for line in runner.last_lines(tmp_path))
    chunk = lines.LogTail(tmp_path / "run.log").read()
    assert len(chunk.lines) == 100


def test_only_carriage_returns(tmp_path: Path) -> None:
    code = "for n in range(1000): print(f'\\rstep {n:05d} (1.0%) | loss: 2.5', end='', flush=True)"
    assert run(tmp_path, code).reason == "finished"
    chunk = lines.LogTail(tmp_path / "run.log").read()
    assert (chunk.lines, len(chunk.progress)) == ((), 999)
    assert chunk.current
    assert chunk.current.step == 999


def test_trainer_that_closes_its_output(tmp_path: Path) -> None:
    ended = run(tmp_path, "import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(4)")
    assert (ended.reason, ended.exit_code) == ("crashed", 4)
    assert ended.seconds >= 0.3


@linux
def test_every_end_is_free_of_zombies_and_locks(tmp_path: Path) -> None:
    run(tmp_path, FAMILY)
    started = runner.look(tmp_path).started
    assert started
    wait_for(lambda: not alive(started.supervisor_pid))
    assert not alive(started.trainer_pid)
    assert runner.sweep(tmp_path) == 0
