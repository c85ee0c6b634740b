"""Has every node of a cluster prepare itself: the child process of `prepare --nodes` that holds the connection.

It prints one NodeProgress a line, as JSON, and ends when all are done, or its standard input ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch_tui.cluster import node_lab
from autoresearch_tui.cluster.node_lab import LabParcel
from autoresearch_tui.cluster.protocol import line
from autoresearch_tui.cluster.ray_driver import Cluster, ClusterUnreachable, Node, SeatLost, SeatRefused
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitError, GitRepo
from autoresearch_tui.util.errors import UserError

POLL_SECONDS = 0.5
SILENT_SECONDS = 60.0
_BEGIN_SECONDS = 300.0


class Preparing:
    """The preparation of one node, in a thread."""

    def __init__(self, cluster: Cluster, node: Node, lab: str, parcel: LabParcel) -> None:
        self._cluster, self._node, self._lab, self._parcel = cluster, node, lab, parcel
        self._reported: Mapping[str, Any] = {}
        self.thread = threading.Thread(target=self._work, name=node.name)

    def _work(self) -> None:
        self._report({"doing": "waits for its node", "share": None, "problem": "", "ready": False})
        try:
            handle = self._cluster.preparer(self._node, self._lab)
            handle.call("begin", self._parcel, seconds=_BEGIN_SECONDS)
            heard = time.monotonic()
            while not (self._reported["ready"] or self._reported["problem"]):
                time.sleep(POLL_SECONDS)
                try:
                    self._report(handle.call("progress"))
                    heard = time.monotonic()
                except SeatLost:
                    if time.monotonic() - heard > SILENT_SECONDS:
                        raise
        except (SeatLost, SeatRefused) as error:
            self._report({**self._reported, "problem": f"its node does not answer: {error}"})

    def _report(self, now: Mapping[str, Any]) -> None:
        if now != self._reported:
            self._reported = now
            _send({"node": self._node.name, **now})


_sending = threading.Lock()


def _send(message: Mapping[str, Any]) -> None:
    with _sending:
        sys.stdout.buffer.write(line(message))
        sys.stdout.buffer.flush()


def _exit_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main(words: list[str]) -> None:
    """`words`: address, the lab's folder, and a run's resources as JSON. Ends the process."""
    address, root, resources = words[0], Path(words[1]), json.loads(words[2])
    out = os.dup(1)
    os.dup2(2, 1)  # Ray's output must not mix with our messages
    sys.stdout = os.fdopen(out, "w")
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        lab = labs.open_lab(root)
        repo = GitRepo(root)
        parcel, name = node_lab.parcel(lab, repo, repo.head()), node_lab.name(lab, repo)
        cluster = Cluster(address)
        nodes = [node for node in cluster.nodes() if node.places(resources)]
        if not nodes:
            wanted = ", ".join(f"{each} = {count:g}" for each, count in resources.items())
            _send({"error": f"no node has room for a run, which takes {wanted} (`cluster.resources`)"})
        preparing = [Preparing(cluster, node, name, parcel) for node in nodes]
        for each in preparing:
            each.thread.start()
        for each in preparing:
            each.thread.join()
    except (ClusterUnreachable, UserError, GitError, OSError) as error:
        _send({"error": str(error)})
    os._exit(0)  # ending Ray takes seconds


if __name__ == "__main__":
    main(sys.argv[1:])
