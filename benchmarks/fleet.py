"""A session over many devices: what a cluster of them gives over one.

`python benchmarks/fleet.py cluster` starts a Ray cluster of four nodes with four stand-in devices each on this machine.
Each run sleeps for 20 s, and a command-line agent that thinks for 10 s proposes, through the real command line, bridge,
seats and supervisors; then the same on a cluster of one device. `--seconds 10 --thought 5` scales both.

`--json` for machines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from autoresearch_tui.cluster.local_nodes import local_nodes  # noqa: E402
from autoresearch_tui.lab import paths as labs  # noqa: E402
from autoresearch_tui.session import fold  # noqa: E402
from autoresearch_tui.session.journal import read  # noqa: E402
from benchmarks.duty import trained  # noqa: E402
from benchmarks.parallel import make_lab  # noqa: E402

NODES, PLACES = 4, 4


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


def main() -> None:
    """Run one part, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("cluster",))
    parser.add_argument("--seconds", type=float, default=20.0, help="of training for each experiment (default 20)")
    parser.add_argument("--thought", type=float, default=10.0, help="seconds that an answer takes (default 10)")
    parser.add_argument("--experiments", type=int, default=0, help="how many (default 128)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    chosen = parser.parse_args()
    began = time.monotonic()
    figures = cluster(chosen)
    figures["took_seconds"] = round(time.monotonic() - began)
    if chosen.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):<24} {value}")


if __name__ == "__main__":
    main()
