"""A session over many devices: what a cluster of them gives over one, and what a thousand cost their engine.

`python benchmarks/fleet.py cluster` starts a Ray cluster of four nodes with four stand-in devices each on this machine.
Each run sleeps for 20 s, and a command-line agent that thinks for 10 s proposes, through the real command line, bridge,
seats and supervisors; then the same on a cluster of one device. `--seconds 10 --thought 5` scales both.

`python benchmarks/fleet.py thousand` takes up sessions of 2,000 and of 20,000 experiments with 1,000 runs in flight,
and judges 100 more in each. A run ends every 0.3 s, as one of 300 s does on so many, once every device is busy, and is
executed nowhere; a researcher that answers at once proposes; engine, git, journal, tables, lessons and the look
for duplicates are real. Told are the time from a run's end to its verdict, and the seconds that the engine takes for an
experiment, from its request on, of the clock and of the processor, its gits' included.

`--json` for machines.
"""

# ruff: noqa: ARG002
# (an executor that executes nothing)
from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from autoresearch_tui.cluster.local_nodes import local_nodes  # noqa: E402
from autoresearch_tui.engine import startup  # noqa: E402
from autoresearch_tui.engine.executor import ThisMachine  # noqa: E402
from autoresearch_tui.engine.judging.assessment import Assessment  # noqa: E402
from autoresearch_tui.engine.judging.referee import RefereeResult  # noqa: E402
from autoresearch_tui.engine.loop import Engine  # noqa: E402
from autoresearch_tui.engine.session import Session  # noqa: E402
from autoresearch_tui.lab import paths as labs  # noqa: E402
from autoresearch_tui.lab.session_files import RunFiles  # noqa: E402
from autoresearch_tui.researchers.base import Brief, Proposal  # noqa: E402
from autoresearch_tui.runs import runner  # noqa: E402
from autoresearch_tui.session import fold  # noqa: E402
from autoresearch_tui.session.commands import Detach  # noqa: E402
from autoresearch_tui.session.ends import EngineEnd, RunEnd  # noqa: E402
from autoresearch_tui.session.experiment import Experiment  # noqa: E402
from autoresearch_tui.session.journal import read  # noqa: E402
from benchmarks.duty import trained  # noqa: E402
from benchmarks.long_life import RUN_SECONDS, lab  # noqa: E402
from benchmarks.parallel import make_lab  # noqa: E402
from tests.conftest import SETTINGS  # noqa: E402

NODES, PLACES = 4, 4
DEVICES, EARLY, JUDGED, LOG = 1000, 2000, 100, "step 00005 (100.0%) | loss: 2.500000\n---\nval_bpb:          {:.6f}\n"
WARM = 10  # the first verdicts, before the engine has worked out what it keeps


def on_cluster(chosen: argparse.Namespace, nodes: int, places: int, experiments: int) -> dict[str, float]:
    """One session: experiments in an hour, and the share of the devices' time that trains."""
    chosen.devices, chosen.parallel, chosen.cluster = nodes * places, 0, True
    environ = dict(os.environ)
    with (
        tempfile.TemporaryDirectory(prefix="autoresearch-fleet-", ignore_cleanup_errors=True) as root,
        local_nodes(nodes, environ, places) as address,
    ):
        folder = make_lab(Path(root), chosen)
        words = [str(folder), "--headless", "--tag", "t", "--experiments", str(experiments), "--cluster", address]
        command = [sys.executable, "-m", "autoresearch_tui", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environ)
        files = labs.find(folder).session("t")
        state = fold.fold_all(read(files.journal))
        spans = sorted(trained(files.run(e.number).log.read_text()) for e in state.table)
    # From the moment in which each device has its second run, after the baselines, to the last launch.
    first, last = spans[2 * chosen.devices - 1][0], spans[-1][0]
    inside = [max(0.0, min(end, last) - max(begin, first)) for begin, end in spans]
    return {
        "experiments": len(spans),
        "an_hour": round(sum(first < begin <= last for begin, _ in spans) / (last - first) * 3600, 1),
        "busy": round(sum(inside) / (chosen.devices * (last - first)), 4),
    }


def cluster(chosen: argparse.Namespace) -> dict[str, float]:
    """Sixteen devices and one, in one run of this program."""
    many = on_cluster(chosen, NODES, PLACES, chosen.experiments or 8 * NODES * PLACES)
    one = on_cluster(chosen, 1, 1, 8)
    ratio = many["an_hour"] / one["an_hour"]
    return {
        "devices": NODES * PLACES,
        "experiments": many["experiments"],
        "an_hour": many["an_hour"],
        "an_hour_of_one": one["an_hour"],
        "ratio": round(ratio, 2),
        "busy": many["busy"],
        "busy_of_one": one["busy"],
    }


class AtOnce:
    """A researcher that turns a knob, and takes no time."""

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal:
        """Another width."""
        width = 1_000_000 + brief.number
        text = brief.files["train.py"].replace("WIDTH = 8", f"WIDTH = {width}")
        return Proposal(f"Set WIDTH to {width}", "The benchmark wants another run.", {"train.py": text})


class Nowhere(ThisMachine):
    """Executes nothing. One run after the other ends, the first that began first, as on so many devices."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.launcher, session.files)
        self._names = [f"cuda:{number}" for number in range(DEVICES)]
        self._running: deque[int] = deque()
        self._over: set[int] = set()
        self._next = 0.0
        for each in session.state.in_flight:
            self.prepare(each, session.files.run(each.number))
            self.start(each, session.files.run(each.number))

    @property
    def devices(self) -> Sequence[str]:
        """They are always there."""
        return self._names

    def check(self, device: str) -> None:
        """Every device is free."""

    def prepare(self, experiment: Experiment, files: RunFiles) -> None:
        """Nothing but the folder is needed."""
        files.work.mkdir(parents=True)

    def start(self, experiment: Experiment, files: RunFiles) -> None:
        """It runs."""
        files.log.write_text(LOG.format(3.0 - 1e-7 * (experiment.number % 97)))
        self._running.append(experiment.number)

    def look(self, files: RunFiles) -> runner.RunStatus:
        """Ended, if it is its turn."""
        number, now = int(files.folder.name), time.monotonic()
        if self._running[0] == number and len(self._running) == DEVICES and now >= self._next:
            self._over.add(self._running.popleft())
            self._next = now + RUN_SECONDS / DEVICES
        if number not in self._over:
            return runner.RunStatus(runner.RunState.RUNNING)
        end = runner.Exit(RunEnd.FINISHED, 0, None, 300.0, 64, 0, "", "")
        return runner.RunStatus(runner.RunState.ENDED, exit=end)

    def assess(self, *_: object) -> Assessment:
        """Nothing was tampered with."""
        return Assessment("", RefereeResult(None, "", {}))


def judged(count: int) -> dict[str, float]:
    """What the next verdicts of a session of so many experiments cost."""
    ended: dict[int, float] = {}
    delays, moments = [], []

    def on_line(line: bytes) -> None:
        record = json.loads(line)
        if record["type"] == "run_ended":
            ended[record["number"]] = time.perf_counter()
        elif record["type"] == "verdict_given":
            moments.append((time.perf_counter(), sum(os.times()[:4])))
            delays.append(moments[-1][0] - ended[record["number"]])
            if len(moments) == WARM + JUDGED:
                engine.send(Detach())

    with lab(count, DEVICES, DEVICES, SETTINGS.replace('"search"', '"claude"')) as root:
        earlier = Session(labs.find(root), "t")
        startup.start(earlier, headless=True)
        earlier.end(EngineEnd.DETACHED, "")  # leaves a snapshot, as every engine does
        session = Session(labs.find(root), "t", on_line=on_line)
        engine = Engine(session, AtOnce(), headless=True, executor=Nowhere(session))
        engine.run()
    spent = [
        (after - before) / (len(moments) - WARM - 1) for before, after in zip(moments[WARM], moments[-1], strict=True)
    ]
    return {
        "delay": round(statistics.median(delays[WARM:]), 4),
        "delay_p95": round(statistics.quantiles(delays[WARM:], n=20)[18], 4),
        "each": round(spent[0], 4),
        "each_processor": round(spent[1], 4),
    }


def thousand(chosen: argparse.Namespace) -> dict[str, float]:
    """Early in a session, and late in one."""
    found = {"early": judged(EARLY), "late": judged(chosen.experiments or 20_000)}
    return {f"{name}_{what}": value for name, figures in found.items() for what, value in figures.items()}


def main() -> None:
    """Run one part, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("cluster", "thousand"))
    parser.add_argument("--seconds", type=float, default=20.0, help="of training for each experiment (default 20)")
    parser.add_argument("--thought", type=float, default=10.0, help="seconds that an answer takes (default 10)")
    parser.add_argument("--experiments", type=int, default=0, help="how many (default 128; 20,000)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    chosen = parser.parse_args()
    began = time.monotonic()
    figures = {"cluster": cluster, "thousand": thousand}[chosen.part](chosen)
    figures["took_seconds"] = round(time.monotonic() - began)
    if chosen.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):<24} {value}")


if __name__ == "__main__":
    main()
