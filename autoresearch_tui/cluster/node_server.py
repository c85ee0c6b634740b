"""The process of a cluster of :mod:`local_nodes`: `python -m …node_server NODES PLACES`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ray.cluster_utils import Cluster


def serve(count: int, places: int) -> None:
    """Starts the nodes, prints the head's address, and ends them when standard input ends."""
    Path(tempfile.gettempdir(), "ray").mkdir(exist_ok=True)  # where Ray notes which cluster is the newest
    # The head executes nothing; each node has room for `places` runs, which take a processor each.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "node_name": "head"})
    try:
        for number in range(1, count + 1):
            cluster.add_node(num_cpus=places, node_name=f"node-{number}")
        sys.stdout.write(f"{cluster.address}\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call, unused-ignore]  # without Ray here, it is unused


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
