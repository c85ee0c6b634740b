"""Labs for tests: real git repositories whose training takes milliseconds."""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from _pytest.assertion import rewrite

from autoresearch_tui.sandbox import policy, scored_data, self_test
from tests.faults.engines import Engines

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that spin bring a busy machine to a halt
# By night: more examples of every property, more kills.
THOROUGH = os.environ.get("AUTORESEARCH_TEST_THOROUGH") == "1"
# How long an example takes is the machine's affair. The examples are the same for everybody, so that a change is judged
# by what it changes; the thorough run draws new ones.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=not THOROUGH,
    max_examples=1000 if THOROUGH else 40,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")

# What takes longest comes first: no worker is left alone with it at the end.
FIRST = (
    "faults/test_kill.py",
    "cheats/test_scores.py",
    "e2e/test_cockpit.py",
    "cluster/test_sessions.py",
    "e2e/test_terminal_trouble.py",
    "harness/test_gpu_check.py",
    "lab/test_creation.py",
    "harness/test_end_to_end.py",
    "test_cli.py",
    "faults/",
    "e2e/",
    "cluster/",
    "cheats/",
    "harness/",
    "doctor/",
    "researchers/search/",
    "runs/",
    "sandbox/",
    "engine/",
)
HERE = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        return next((at for at, begin in enumerate(FIRST) if path.startswith(begin)), len(FIRST))

    items.sort(key=place)


def pytest_collection(session: pytest.Session) -> None:
    gc.disable()
    _rewrite_a_share(session.config)


def _rewrite_a_share(config: pytest.Config) -> None:
    """In a new checkout each worker prepares the assertions of some files, and not each of them those of all: that
    takes twice as long as to import everything."""
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    files = sorted(HERE.rglob("test_*.py"))
    for path in files[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        folder = rewrite.get_cache_dir(path)
        if not (ready := folder / f"{path.stem}{rewrite.PYC_TAIL}").exists():
            folder.mkdir(parents=True, exist_ok=True)
            digest, code = rewrite._rewrite_test(path, config)
            rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, digest, ready)


def pytest_collection_finish() -> None:
    """What every test file has imported stays: the collector need not look at it again and again."""
    gc.enable()
    gc.freeze()


TRAIN = '''\
"""A training run that takes milliseconds: the score is how far the constants are from the best ones."""

import os
import time

RATE = 0.5
WIDTH = 8
PAUSE = 0.0
FAIL = ""

if FAIL:
    raise RuntimeError(FAIL)
steps = 5
for step in range(steps):
    time.sleep(PAUSE / steps)
    print(
        f"\\rstep {step:05d} ({100 * step / steps:.1f}%) | loss: {3 - step / 10:.6f} | lrm: 1.00 | dt: 1ms"
        f" | tok/sec: 1,000 | mfu: 1.0% | epoch: 1 | remaining: {steps - step}s    ",
        end="",
        flush=True,
    )
score = 1.0 + (RATE - 0.125) ** 2 + (WIDTH - 16) ** 2 / 1000
print()
print("---")
print(f"val_bpb:          {score:.6f}")
print(f"training_seconds: {float(os.environ['AUTORESEARCH_TIME_BUDGET']):.1f}")
print("peak_vram_mb:     2048.0")
'''

# Without site-packages, Python starts in half the time.
SETTINGS = """\
[run]
command = ["python", "-S", "train.py"]
budget_seconds = 5
timeout_seconds = 30

[researcher]
kind = "search"

[review]
mode = "auto"
"""


def git(folder: Path, *args: str) -> str:
    """git in a lab, as its user would call it."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
    }
    done = subprocess.run(["git", *args], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make_lab(folder: Path, settings: str = SETTINGS, train: str = TRAIN) -> Path:
    """A committed lab in `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return shutil.copytree(_committed(settings, train), folder)


@functools.cache
def _committed(settings: str, train: str) -> Path:
    """What such labs are copies of: three gits take longer than a copy of what they make."""
    folder = Path(_labs(), str(next(_numbers)))
    folder.mkdir()
    (folder / "train.py").write_text(train)
    (folder / "prepare.py").write_text("MAX_SEQ_LEN = 8\n")
    (folder / "program.md").write_text("# Program\n\nMake val_bpb lower.\n")
    if settings:
        (folder / "autoresearch.toml").write_text(settings)
    git(folder, "init", "--quiet", "--template=", "--initial-branch=main")
    for name in ("hooks", "info"):
        (folder / ".git" / name).mkdir(exist_ok=True)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=lab")
    return folder


_numbers = itertools.count()


@functools.cache
def _labs() -> str:
    folder = tempfile.mkdtemp(prefix="labs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The labs of tests are not remembered among the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the embedded corpus prepared for the demo profile: one for all workers."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    place = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent
    folder, done = place / "prepared", place / "prepared.done"
    with (place / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _prepare(folder)
            done.touch()
    return folder


def _prepare(folder: Path) -> None:
    harness = Path(__file__).resolve().parents[1] / "harness"
    env = {name: value for name, value in os.environ.items() if not name.startswith("AUTORESEARCH_")}
    env |= {"AUTORESEARCH_CACHE": str(folder), "AUTORESEARCH_PROFILE": "demo"}
    done = subprocess.run(
        [sys.executable, harness / "prepare.py"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def lab_folder(tmp_path: Path) -> Path:
    """A lab that trains in milliseconds, with the offline researcher and no review."""
    return make_lab(tmp_path / "lab")


@pytest.fixture
def new_lab(tmp_path: Path) -> Callable[..., Path]:
    """Makes labs with other settings or another train.py."""

    def make(name: str = "lab", settings: str = SETTINGS, train: str = TRAIN) -> Path:
        return make_lab(tmp_path / name, settings, train)

    return make


def leave_machine_out(patch: pytest.MonkeyPatch) -> None:
    """No copies of scored text are looked for among the machine's own files: that takes seconds."""
    own = (*map(str, policy.own_paths()), *map(str, policy.interpreter_paths(Path(sys.executable))), "/usr")
    patch.setattr(scored_data, "_NOT_LOOKED_THROUGH", ("/sys", "/proc", *own))


@pytest.fixture
def machine_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_machine_out(monkeypatch)


@pytest.fixture(scope="session")
def sandbox_tested_once() -> Iterator[None]:
    """For tests of other things: this process's engines believe the first self-test of the sandbox. Runs are confined
    as ever."""
    real, found = self_test.self_test, dict[object, tuple[self_test.Protection, ...]]()

    def remembered(
        allowed: policy.Policy, mechanism: policy.Mechanism, *, home: Path | None = None
    ) -> tuple[self_test.Protection, ...]:
        kind = (mechanism, allowed.network, allowed.ports, allowed.devices, allowed.trains, home)
        if kind not in found:
            found[kind] = real(allowed, mechanism, home=home)
        return found[kind]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(self_test, "self_test", remembered)
        yield


@pytest.fixture
def unconfined(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is proposed and decided, where a run only has a score."""
    monkeypatch.setenv("AUTORESEARCH_NO_SANDBOX", "1")


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """One warm interpreter for the engines of all tests."""
    with Engines() as started:
        yield started


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place."""
    if os.access("/dev/shm", os.W_OK):
        with tempfile.TemporaryDirectory(dir="/dev/shm", ignore_cleanup_errors=True) as name:
            yield Path(name)
    else:
        yield tmp_path
