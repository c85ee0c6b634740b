"""What a thousand devices cost the engine: real engine, git and journal, with an executor whose runs take no time.

`python benchmarks/thousand.py` keeps 1,000 runs in flight: one ends as soon as every device is busy, as a run of 300 s
does every 0.3 s on so many. A researcher that answers at once proposes; nothing is executed. Told are, for the first
and for the last thousand of 20,000 experiments, the time from a run's end to its verdict (median and 99th percentile),
and the seconds of everything that the engine does for an experiment. `--devices 100 --experiments 2000` is quicker.
`--json` for machines.
"""

# ruff: noqa: ARG002
# (an executor that executes nothing)
from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from autoresearch_tui.engine.judging.assessment import Assessment  # noqa: E402
from autoresearch_tui.engine.judging.referee import RefereeResult  # noqa: E402
from autoresearch_tui.engine.launching import tidy  # noqa: E402
from autoresearch_tui.engine.loop import Engine  # noqa: E402
from autoresearch_tui.engine.session import Session  # noqa: E402
from autoresearch_tui.lab import paths as labs  # noqa: E402
from autoresearch_tui.lab.session_files import RunFiles  # noqa: E402
from autoresearch_tui.researchers.base import Brief, Proposal  # noqa: E402
from autoresearch_tui.runs import runner  # noqa: E402
from autoresearch_tui.session import events as ev  # noqa: E402
from autoresearch_tui.session.ends import RunEnd  # noqa: E402
from autoresearch_tui.session.fleet import Roster  # noqa: E402
from autoresearch_tui.session.state import Experiment  # noqa: E402
from benchmarks import duty  # noqa: E402

WANTED_SECONDS = 0.05
LOG = "step 00005 (100.0%) | loss: 2.500000\n---\nval_bpb:          {:.6f}\n"


class AtOnce:
    """A researcher that turns the one knob, and takes no time."""

    def __init__(self) -> None:
        self._values = itertools.count(1)

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """The next value of the knob."""
        text, value = brief.files["train.py"], next(self._values)
        old = next(line for line in text.splitlines() if line.startswith("KNOB = "))
        return Proposal(f"KNOB to {value}", "", {"train.py": text.replace(old, f"KNOB = {value}")})


class Simulated:
    """So many devices. A run ends when all of them are busy; the first that began is the first to end."""

    def __init__(self, count: int) -> None:
        names = [f"node-{number // 8:03d}:{number % 8}" for number in range(count)]
        self.devices: Sequence[str] = names
        self._roster = Roster(tuple(ev.DeviceJoined(name, name.partition(":")[0]) for name in names))
        self._running: deque[int] = deque()
        self._over: set[int] = set()
        self.draining = False

    def roster(self) -> Roster:
        """All of them, from the beginning."""
        return self._roster

    def check(self, device: str) -> None:
        """Nothing stands in the way."""

    def lost(self, device: str) -> bool:
        """None ever is."""
        return False

    def prepare(self, experiment: Experiment, files: RunFiles) -> None:
        """Nothing but the folder is needed."""
        files.work.mkdir(parents=True)

    def start(self, experiment: Experiment, files: RunFiles) -> None:
        """It runs."""
        files.log.write_text(LOG.format(3.0 - 1e-7 * (experiment.number % 97)))
        self._running.append(experiment.number)

    def look(self, files: RunFiles) -> runner.RunStatus:
        """Ended, if it is its turn."""
        number = int(files.folder.name)
        if self._running and self._running[0] == number and (self.draining or len(self._running) >= len(self.devices)):
            self._running.popleft()
            self._over.add(number)
        if number not in self._over:
            return runner.RunStatus(runner.RunState.RUNNING)
        end = runner.Exit(RunEnd.FINISHED, 0, None, 300.0, 64, 0, "", "")
        return runner.RunStatus(runner.RunState.ENDED, exit=end)

    def stop(self, files: RunFiles, word: int = 0) -> None:
        """Nothing is asked to end."""

    def assess(
        self,
        experiment: Experiment,
        files: RunFiles,
        locked: Mapping[str, str],
        env: Mapping[str, str],
        cancelled: threading.Event,
    ) -> Assessment:
        """Nothing was tampered with."""
        return Assessment("", RefereeResult(None, "", {}))

    def keep_compiled(self, files: RunFiles) -> None:
        """Nothing was compiled."""

    def keep_files(self, files: RunFiles, *, lend: bool) -> str:
        """Nothing is kept."""
        return ""

    def tidy(self, files: RunFiles, *, work: bool = True) -> bool:
        """As a cluster's executor does."""
        return tidy(files, work=work)

    def release(self) -> None:
        """Nothing was held."""

    def close(self) -> None:
        """Nothing is to be ended."""


def measured(folder: Path, devices: int, count: int) -> tuple[list[float], list[float]]:
    """The delays from a run's end to its verdict, and the moments of the verdicts, in the order of the verdicts."""
    ended: dict[int, float] = {}
    delays, moments = [], []

    def on_line(line: bytes) -> None:
        record = json.loads(line)
        if record["type"] == "run_ended":
            ended[record["number"]] = time.monotonic()
        elif record["type"] == "verdict_given":
            moments.append(time.monotonic())
            delays.append(moments[-1] - ended.pop(record["number"]))
            executor.draining = len(moments) > count  # what still runs may end

    executor = Simulated(devices)
    session = Session(labs.find(folder), "thousand", on_line=on_line)
    Engine(session, AtOnce(), headless=True, rows=count + devices, executor=executor).run()
    return delays[:count], moments[:count]


def main() -> None:
    """Run it, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--experiments", type=int, default=20_000, help="how many verdicts (default 20,000)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autoresearch-thousand-", ignore_cleanup_errors=True) as root:
        folder = Path(root) / "lab"
        duty.make_lab(folder, 1)
        settings = folder / "autoresearch.toml"
        settings.write_text(settings.read_text().replace('mode = "ask"', 'mode = "auto"'))
        delays, moments = measured(folder, chosen.devices, chosen.experiments)
    window = min(1000, len(delays) // 3)
    first, last = slice(window, 2 * window), slice(len(delays) - window, None)
    figures = {
        "devices": chosen.devices,
        "experiments": len(delays),
        **_of("first", delays[first], moments[first]),
        **_of("last", delays[last], moments[last]),
    }
    if chosen.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):<28} {value}")
    sys.exit(0 if figures["last_delay_median"] <= WANTED_SECONDS else 1)


def _of(name: str, delays: Sequence[float], moments: Sequence[float]) -> dict[str, float]:
    """Seconds."""
    return {
        f"{name}_delay_median": round(statistics.median(delays), 4),
        f"{name}_delay_p99": round(statistics.quantiles(delays, n=100)[98], 4),
        f"{name}_each_experiment": round((moments[-1] - moments[0]) / (len(moments) - 1), 4),
    }


if __name__ == "__main__":
    main()
