"""Asks a cluster for its state and prints a JSON object; a separate process for the doctor.

python -m autoresearch_tui.cluster.probe ADDRESS RESOURCES
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from autoresearch_tui.cluster.ray_driver import Cluster, ClusterUnreachable


def probe(address: str, resources: Mapping[str, float]) -> dict[str, Any]:
    """The number of living `nodes`, and of `places` for runs there; `error` if the cluster cannot be joined."""
    try:
        nodes = Cluster(address).nodes()
    except ClusterUnreachable as error:
        return {"error": str(error)}
    return {"nodes": len(nodes), "places": sum(node.places(resources) for node in nodes)}


if __name__ == "__main__":
    out = os.dup(1)
    os.dup2(2, 1)  # Ray's output must not mix with our answer
    os.write(out, json.dumps(probe(sys.argv[1], json.loads(sys.argv[2]))).encode())
    os._exit(0)  # ending Ray takes seconds
