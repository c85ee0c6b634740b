"""One short training run of the demo profile, from the prepared corpus to the summary."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .conftest import HARNESS, fresh

LINE = re.compile(
    r"\rstep \d{5} \(\d+\.\d%\) \| loss: \d+\.\d{6} \| lrm: \d\.\d\d \| dt: \d+ms \| tok/sec: [\d,]+ "
    r"\| mfu: \d+\.\d% \| epoch: \d+ \| remaining: \d+s    "
)
KEYS = [
    "val_bpb",
    "training_seconds",
    "total_seconds",
    "peak_vram_mb",
    "mfu_percent",
    "total_tokens_M",
    "num_steps",
    "num_params_M",
    "depth",
]


def make_lab(folder: Path, profile: str = "demo", **knobs: object) -> Path:
    """A folder with the harness's files and the profile's knobs, as `init` makes it."""
    profiles = fresh(folder)["profiles"]
    for path in HARNESS.glob("*.py"):
        shutil.copy(path, folder)
    source = (HARNESS / "train.py").read_text(encoding="utf-8")
    (folder / "train.py").write_text(
        profiles.apply(source, {**profiles.load()[profile].knobs, **knobs}), encoding="utf-8"
    )
    return folder


def run_train(lab: Path, cache: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`python train.py` in a lab; newlines are kept as they are."""
    env = {"AUTORESEARCH_CACHE": str(cache), "AUTORESEARCH_PROFILE": "demo", "PATH": os.environ["PATH"], **env}
    done = subprocess.run([sys.executable, "train.py"], cwd=lab, env=env, capture_output=True, timeout=100, check=False)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_run_prints_what_the_reference_prints(cache: Path, tmp_path: Path) -> None:
    done = run_train(make_lab(tmp_path), cache, AUTORESEARCH_TOKEN_BUDGET="12000")
    assert done.returncode == 0, done.stderr
    lines = LINE.findall(done.stdout)
    assert "step 00000 (0.0%)" in lines[0]
    summary = done.stdout.split("\n---\n")[1]
    found = re.findall(r"^(\w+): +(\S+)$", summary, re.MULTILINE)
    assert [key for key, _ in found][: len(KEYS)] == KEYS
    assert 1 < float(dict(found)["val_bpb"]) < 5


def test_no_data_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = run_train(make_lab(tmp_path), tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "run `autoresearch-tui prepare`" in done.stderr
