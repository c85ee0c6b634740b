"""How busy many accelerators are with researchers that think in parallel, against one that thinks alone.

`python benchmarks/parallel.py` runs the real command line, without a screen, on 16 stand-in devices: each run sleeps
for 20 s, and a command-line agent that thinks for 8 s proposes, so that it stands for runs of 300 s and two minutes of
thought. `--parallel 1` is one researcher at a time. Training writes down when it began and ended. What is counted is
the time from the first beginning to the last launch: how long the last runs take with nothing behind them says nothing.
A run that ends while no proposal waits is counted as well: there the researchers were too slow, and not the machine on
which all of this happens at once. `--json` for machines.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from autoresearch_tui.lab import paths as labs  # noqa: E402
from autoresearch_tui.session import events as ev  # noqa: E402
from autoresearch_tui.session import fold  # noqa: E402
from autoresearch_tui.session.journal import read  # noqa: E402
from autoresearch_tui.session.state import State  # noqa: E402
from benchmarks.duty import NEVER_KEPT, TRAIN, trained  # noqa: E402

WANTED = 0.9
AGENT = '''\
"""Thinks for a while, and turns the one knob to a value that no other has."""

import json
import os
import pathlib
import time

time.sleep({thought})
path = pathlib.Path("train.py")
value = time.time_ns() // 1000
path.write_text(path.read_text().replace("KNOB = 0", f"KNOB = {{value}}"))
pathlib.Path(os.environ["AUTORESEARCH_RESULT"]).write_text(json.dumps({{"description": f"KNOB to {{value}}"}}))
'''
SETTINGS = """\
[run]
command = ["python", "train.py"]
budget_seconds = {seconds}
timeout_seconds = {timeout}
{devices}

[researcher]
kind = "command"
command = ["python3", "{agent}"]
parallel = {parallel}

[review]
mode = "auto"
"""


def make_lab(root: Path, chosen: argparse.Namespace) -> Path:
    """A committed lab whose training sleeps, with an agent beside it."""
    folder = root / "lab"
    folder.mkdir()
    agent = folder / "agent.py"
    agent.write_text(AGENT.format(thought=chosen.thought))
    (folder / "train.py").write_text(TRAIN.format(seconds=chosen.seconds, score=NEVER_KEPT))
    (folder / "prepare.py").write_text("MAX_SEQ_LEN = 8\n")
    (folder / "program.md").write_text("# Program\n\nKeep the machines busy.\n")
    devices = "devices = " + json.dumps([str(number) for number in range(chosen.devices)])
    if getattr(chosen, "cluster", False):
        devices = "[cluster]\nresources = { CPU = 1 }"
    values = {"seconds": chosen.seconds, "timeout": 10 * chosen.seconds + 60, "parallel": chosen.parallel}
    (folder / "autoresearch.toml").write_text(SETTINGS.format(agent=agent, devices=devices, **values))
    who = ["-c", "user.name=parallel", "-c", "user.email=parallel@localhost"]
    for words in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message=lab"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def busy(spans: Sequence[tuple[float, float]], devices: int) -> float:
    """The share of the devices' time that trains, from the first beginning to the last."""
    first, last = min(spans)[0], max(spans)[0]
    return sum(max(0.0, min(end, last) - begin) for begin, end in spans) / (devices * (last - first))


def nothing_to_run(records: Sequence[ev.Record]) -> int:
    """How many runs ended while no proposal waited, as long as there were more to come."""
    last = max(record.seq for record in records if isinstance(record.event, ev.RunStarted))
    state, found = State(), 0
    for record in records:
        state = fold.fold(state, record)
        found += isinstance(record.event, ev.RunEnded) and record.seq < last and not state.waiting
    return found


def main() -> None:
    """Run it, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=16, help="how many (default 16)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of training for each experiment (default 20)")
    parser.add_argument("--thought", type=float, default=8.0, help="seconds that an answer takes (default 8)")
    parser.add_argument("--experiments", type=int, default=112, help="how many, baselines included (default 112)")
    parser.add_argument("--parallel", type=int, default=0, help="researcher.parallel (default 0)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autoresearch-parallel-", ignore_cleanup_errors=True) as root:
        folder = make_lab(Path(root), chosen)
        words = ["--headless", "--tag", "t", "--experiments", str(chosen.experiments)]
        subprocess.run(
            [sys.executable, "-m", "autoresearch_tui", str(folder), *words],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        files = labs.find(folder).session("t")
        records = read(files.journal)
        state = fold.fold_all(records)
        spans = [trained(files.run(e.number).log.read_text()) for e in state.table]
    gaps = [after - before for device in _by_device(state, spans).values() for before, after in device]
    figures = {
        "experiments": len(spans),
        "busy": round(busy(spans, chosen.devices), 4),
        "median_gap_seconds": round(statistics.median(gaps), 3) if gaps else None,
        "longest_gap_seconds": round(max(gaps), 3) if gaps else None,
        "thinking_seconds": state.asking.thinking_seconds,
        "ended_with_nothing_to_run": nothing_to_run(records),
    }
    if chosen.json:
        print(json.dumps(figures))
    else:
        print(f"{len(spans)} experiments of {chosen.seconds:g} s on {chosen.devices} devices; ", end="")
        print(f"an answer takes {chosen.thought:g} s, {figures['thinking_seconds']:g} s as measured")
        print(f"  of the devices' time trains   {figures['busy']:.4f} (wanted: {WANTED})")
        print(f"  between runs of one device    {figures['median_gap_seconds']} s (median), ", end="")
        print(f"{figures['longest_gap_seconds']} s (most)")
        print(f"  ended with nothing to run     {figures['ended_with_nothing_to_run']} runs")
    sys.exit(0 if figures["busy"] >= WANTED else 1)


def _by_device(state: State, spans: Sequence[tuple[float, float]]) -> dict[str, list[tuple[float, float]]]:
    """From the end of each run to the beginning of the next on its device."""
    found: dict[str, list[tuple[float, float]]] = {}
    for experiment, span in zip(state.table, spans, strict=True):
        found.setdefault(experiment.device, []).append(span)
    return {
        device: [(one[1], two[0]) for one, two in zip(sorted(its), sorted(its)[1:], strict=False)]
        for device, its in found.items()
    }


if __name__ == "__main__":
    main()
