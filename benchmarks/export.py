"""How long `autoresearch-tui export` takes, and how much memory: a session of many experiments, each with its curve.

python benchmarks/export.py --experiments 1000 --steps 950
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import night as nights


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=950, help="progress lines of one run; the reference's has 953")
    parser.add_argument("--to", nargs="+", default=["parquet", "csv", "jsonl", "tensorboard", "wandb"])
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="export-benchmark-"))
    try:
        nights.STEPS = arguments.steps
        lab = folder / "lab"
        nights.real_night(lab, experiments=arguments.experiments, devices=2)
        (lab / "prepare.py").touch()
        subprocess.run(["git", "init", "-q", lab], check=True)
        logs = sum(path.stat().st_size for path in lab.rglob("run.log"))
        print(f"{arguments.experiments} experiments, {arguments.steps} steps a run, {logs / 2**20:.0f} MiB of logs")
        for to in arguments.to:
            measure(lab, to, folder / to)
    finally:
        shutil.rmtree(folder)


def measure(lab: Path, to: str, out: Path) -> None:
    """One whole command."""
    started = time.monotonic()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("autoresearch-tui"), "export", lab, "--to", to, "-o", out],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    assert status == 0
    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) >> 20
    processor, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss >> 10
    print(f"{to:12} {seconds:6.1f} s, {processor:6.1f} s of processor; {memory} MiB of memory, {written} MiB written")


if __name__ == "__main__":
    main()
