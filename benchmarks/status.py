"""How long the commands that read a session take, as whole processes, beside `python -c pass` in the same run.

    python benchmarks/status.py [--experiments 1000] [--repeats 20]

Makes a night with that many experiments, a run in progress and a proposal at the gate, and its outline as an engine
keeps it. Each command in turn, and an empty Python, and again; prints the median and the least of the wall times, and
the least processor time, which other programs on the machine disturb less. `without outline` is the first question
after an engine died between a record and its outline: the journal is read from its beginning.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoresearch_tui.lab.engine_lock import LabLock
from tests.night import real_night

# As installed: modules are compiled once.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(words: list[str]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True, env=ENVIRONMENT)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    tool = [str(Path(sys.executable).with_name("autoresearch-tui"))]
    with tempfile.TemporaryDirectory() as scratch:
        night = real_night(Path(scratch, "lab"), experiments=given.experiments, devices=2, open_ones=True)
        assert night.lab is not None
        lab, outline = str(night.lab.root), night.files.outline
        size = night.files.journal.stat().st_size / 2**20
        print(f"{night.count} experiments, {len(night.records)} records, {size:.1f} MiB of journal")
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "status": [*tool, "status", lab],
            "status --line": [*tool, "status", lab, "--line"],
            "status --json": [*tool, "status", lab, "--json"],
            "experiment N --diff": [*tool, "experiment", str(given.experiments // 2), "--diff", lab],
            "experiment N": [*tool, "experiment", str(given.experiments // 2), lab],
        }
        run(commands["status"])  # keeps the outline
        lock = LabLock(night.lab.lock, headless=True, tag=night.tag, wait_seconds=0)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(given.repeats):
            for name, words in commands.items():
                found[name].append(run(words))
        lock.release()
        outline.unlink()
        found["status without outline"] = [run(commands["status"])]
    for name, each in found.items():
        walls, busy = [wall for wall, _ in each], [cpu for _, cpu in each]
        median = statistics.median(walls)
        print(
            f"{name:<24}{median * 1e3:7.0f} ms median {min(walls) * 1e3:7.0f} ms least {min(busy) * 1e3:7.0f} ms busy"
        )


if __name__ == "__main__":
    main()
