"""Labs for tests: real git repositories whose training takes milliseconds."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")

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

SETTINGS = """\
[run]
command = ["python", "train.py"]
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
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(train)
    (folder / "prepare.py").write_text("MAX_SEQ_LEN = 8\n")
    (folder / "program.md").write_text("# Program\n\nMake val_bpb lower.\n")
    if settings:
        (folder / "autoresearch.toml").write_text(settings)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=lab")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the embedded corpus prepared for the demo profile."""
    folder = tmp_path_factory.mktemp("cache")
    harness = Path(__file__).resolve().parents[1] / "harness"
    env = {name: value for name, value in os.environ.items() if not name.startswith("AUTORESEARCH_")}
    env |= {"AUTORESEARCH_CACHE": str(folder), "AUTORESEARCH_PROFILE": "demo"}
    done = subprocess.run(
        [sys.executable, harness / "prepare.py"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


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


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place."""
    if os.access("/dev/shm", os.W_OK):
        with tempfile.TemporaryDirectory(dir="/dev/shm", ignore_cleanup_errors=True) as name:
            yield Path(name)
    else:
        yield tmp_path
