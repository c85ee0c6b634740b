"""What a run may take of the machine: real processes, and a stand-in for a machine that is short of memory."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoresearch_tui.runs.driver import DeviceMemory
from autoresearch_tui.runs.limits import Guard
from tests.runs.test_supervisor import log, run
from tests.waiting import wait_for

MIB = 1 << 20
GIB = 1 << 30

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc")

EATS = """
import time
held = []
for _ in range({blocks}):
    held.append(bytearray(b"x" * (16 << 20)))
    time.sleep(0.01)
print("all of it", flush=True)
"""


def test_a_run_that_holds_more_than_it_may_is_ended_and_the_reason_is_kept(tmp_path: Path) -> None:
    ended = run(tmp_path, EATS.format(blocks=100_000), memory_limit_bytes=256 * MIB)
    assert ended.reason == "out of memory"
    assert "may hold 256 MiB (`run.memory_gb`)" in ended.note
    assert ended.memory_bytes is not None and ended.memory_bytes > 256 * MIB
    assert "all of it" not in log(tmp_path)


def test_all_its_processes_count_together(tmp_path: Path) -> None:
    code = f"import os, time\nfor _ in range(8):\n    if not os.fork():\n        break\n{EATS}\ntime.sleep(60)"
    ended = run(tmp_path, code.format(blocks=4), memory_limit_bytes=256 * MIB)
    assert ended.reason == "out of memory"


def test_what_its_processes_share_counts_once(tmp_path: Path) -> None:
    """As data loaders do: eight workers that have all of their parent's memory, and touch none of it."""
    code = """
import os, time
data = bytearray(b"x" * (64 << 20))
workers = []
for _ in range(8):
    if not (pid := os.fork()):
        time.sleep(2.5)
        os._exit(0)
    workers.append(pid)
for pid in workers:
    os.waitpid(pid, 0)
"""
    ended = run(tmp_path, code, memory_limit_bytes=256 * MIB)
    assert (ended.reason, ended.note) == ("finished", "")
    assert ended.memory_bytes is not None and 64 * MIB < ended.memory_bytes < 256 * MIB


def test_the_most_of_a_short_run_is_known(tmp_path: Path) -> None:
    ended = run(tmp_path, "data = b'x' * (100 << 20)")
    assert ended.memory_bytes is not None and 100 * MIB < ended.memory_bytes < 200 * MIB


def test_what_outlives_the_command_counts_with_what_it_held(tmp_path: Path) -> None:
    """As the first process of a namespace, which bubblewrap does not wait for."""
    code = """
import os
ready, told = os.pipe()
if not os.fork():
    data = b"x" * (100 << 20)
    os.write(told, b"1")
    os.read(os.pipe()[0], 1)
os.read(ready, 1)
"""
    ended = run(tmp_path, code)
    assert ended.memory_bytes is not None and 100 * MIB < ended.memory_bytes < 200 * MIB


@contextmanager
def child(code: str) -> Iterator[int]:
    """A process below this one that has done what it is to do."""
    words = [sys.executable, "-I", "-S", "-c", f"{code}\nprint('ready', flush=True)\nimport time; time.sleep(60)"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process.pid
        finally:
            process.kill()


def watching(machine: Callable[[], tuple[int, int]], limit: int = 0) -> Guard:
    return Guard(memory_limit=limit, min_free=0, folders=(), environ=None, machine=machine)


@pytest.mark.parametrize(
    ("total", "left", "ends"),
    [
        (64 * GIB, 2 * GIB, False),
        (64 * GIB, GIB, False),  # short of memory, and the run holds little of it
        (64 * GIB, 500 * MIB, True),  # whoever has it: the kernel would end the run next
        (600 * MIB, 59 * MIB, True),  # a small machine, most of it the run's
        (600 * MIB, 61 * MIB, False),
        (0, 0, False),  # a system that does not say
    ],
)
def test_a_reserve_is_kept_for_the_machine(total: int, left: int, ends: bool) -> None:
    with child("data = bytearray(b'x' * (200 << 20))"):
        found = watching(lambda: (total, left)).look(time.monotonic())
    assert (found is not None) == ends
    if found is not None:
        assert found[0] == "out of memory"
        assert found[1].startswith("the machine's memory runs out: ")


def test_it_looks_oftener_when_little_is_left() -> None:
    plenty, little = watching(lambda: (64 * GIB, 32 * GIB)), watching(lambda: (64 * GIB, 3 * GIB))
    for each in (plenty, little):
        assert each.look(100.0) is None
    assert plenty.due == 101.0
    assert 100.0 < little.due < 100.5


def test_what_the_referee_holds_is_not_the_runs() -> None:
    with child("data = bytearray(b'x' * (300 << 20))") as referee:
        plenty = lambda: (64 * GIB, 32 * GIB)  # noqa: E731
        assert watching(plenty, limit=256 * MIB).look(time.monotonic()) is not None
        assert watching(plenty, limit=256 * MIB).look(time.monotonic(), referee) is None


DRIVER = """
static unsigned long long used = 1000;
int divided, models;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = (void *)(long)(index + 1); return 0; }
void take(unsigned long long bytes) { used = bytes; }
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *found) {
    found[0] = 80000; found[2] = handle == (void *)1 || handle == (void *)4 ? used : 500;
    found[1] = 80000 - found[2]; return 0;
}
static void say(char *text, unsigned size, const char *what) { while (size-- > 1 && (*text++ = *what++)); }
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    static const char *names[] = {"GPU-1111", "GPU-2222", "MIG-3333", "MIG-4444"};
    say(text, size, names[(long)handle - 1]); return 0;
}
int nvmlDeviceGetName(void *handle, char *text, unsigned size) {
    say(text, size, models && handle == (void *)2 ? "T400" : "H100"); return 0;
}
int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *later) {
    *now = handle == (void *)2 && divided; return handle == (void *)2 ? 0 : 3;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *most) { *most = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned place, void **instance) {
    *instance = (void *)(long)(place + 3); return place < 2 ? 0 : 6;
}
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for NVIDIA's library, with two devices."""
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(DRIVER)
    library = folder / "libnvml.so"
    try:
        words = ["cc", "-shared", "-fPIC", "-o", str(library), str(folder / "driver.c")]
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler for the stand-in of the driver")
    return library


@pytest.mark.parametrize(
    ("devices", "most", "flags"),
    [
        (None, 41_000, ""),
        ("0", 41_000, ""),
        ("0,1", 41_000, ""),
        ("1", 0, ""),
        ("", None, ""),
        ("GPU-1111", 41_000, ""),
        ("GPU-2", 0, ""),  # the beginning of a UUID
        ("MIG-3333", 0, "divided"),
        ("MIG-4444", 41_000, "divided"),
        ("1", 0, "divided"),  # the first instance of a divided one
        ("0", None, "models"),  # counted by speed: which one this is cannot be known
        ("GPU-9999", None, ""),
    ],
)
def test_the_most_that_a_runs_own_accelerators_held(
    driver: Path, devices: str | None, most: int | None, flags: str
) -> None:
    library = ctypes.CDLL(str(driver))
    for name in ("divided", "models"):
        ctypes.c_int.in_dll(library, name).value = name in flags
    take = library.take
    take.argtypes = [ctypes.c_ulonglong]
    take(1000)
    memory = DeviceMemory({} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}, str(driver))
    for used in (1000, 42_000, 20_000):
        take(used)
        memory.look()
    assert memory.peak == most


@pytest.mark.parametrize(
    ("devices", "library"), [(None, "no-such-library.so"), ("GPU-1234", "libc.so.6"), ("0", "libc.so.6")]
)
def test_a_driver_that_does_not_answer_is_no_trouble(devices: str | None, library: str) -> None:
    memory = DeviceMemory({} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}, library)
    for _ in range(2):
        memory.look()
    assert memory.peak is None


def test_nothing_of_a_run_that_is_ended_for_its_memory_goes_on(tmp_path: Path) -> None:
    """Both of its processes eat, each in a session of its own."""
    code = f"import os\nif not os.fork():\n    os.setsid()\n{EATS}"
    ended = run(tmp_path, code.format(blocks=100_000), memory_limit_bytes=200 * MIB)
    assert ended.reason == "out of memory"
    mark = f"AUTORESEARCH_RUN={tmp_path.resolve()}".encode()
    wait_for(lambda: not any(mark in _environ(path) for path in Path("/proc").glob("[0-9]*")))


def _environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
