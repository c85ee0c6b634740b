"""Prepares every node of a cluster and reports their progress. A child process holds the connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator

from autoresearch_tui.cluster import requirements, security
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.session.cluster_file import NodeProgress
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.text import clean_line


def prepare_nodes(lab: Lab, address: str) -> Generator[NodeProgress]:
    """Prepares all nodes with room for a run, in parallel; yields each node's steps until all are done.

    A node's last step is `ready`, or has a `problem`. Raises UserError if the cluster cannot be used, OSError. When the
    iterator is closed, the nodes stop; the next preparation continues from there.
    """
    requirements.check(address, os.environ)
    security.refuse_open(requirements.head(address, os.environ), os.environ)
    words = [address, str(lab.root), json.dumps(dict(lab.settings.cluster.resources))]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, "-m", "autoresearch_tui.cluster.prepare_bridge", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**security.environment(os.environ), "PYTHONSAFEPATH": "1"},
            start_new_session=True,  # ^C is for this process, and then the pipe ends
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        open_nodes: dict[str, NodeProgress] = {}
        with process.stdin, process.stdout:
            for text in process.stdout:
                message = json.loads(text)
                if "error" in message:
                    raise UserError(f"the cluster {address}: {clean_line(message['error'])}")
                step = _cleaned(NodeProgress(**message))
                open_nodes[step.node] = step
                yield step
        if not open_nodes:
            errors.seek(0)
            last = errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise UserError(f"the cluster {address}: {clean_line(''.join(last)) or 'the connection was lost'}")
        for step in open_nodes.values():
            if not (step.ready or step.problem):
                yield NodeProgress(step.node, step.doing, step.share, "the connection was lost")


def _cleaned(step: NodeProgress) -> NodeProgress:
    """A node's texts are data."""
    texts = (clean_line(step.node), clean_line(step.doing))
    return NodeProgress(*texts, step.share, clean_line(step.problem), step.ready)
