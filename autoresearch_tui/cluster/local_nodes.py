"""A cluster of CPU nodes on this machine, to try a session on a cluster (`demo --nodes`)."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, MutableMapping

from autoresearch_tui.cluster.seat import FOLDER
from autoresearch_tui.util.errors import UserError

# In its own process, so that this one does not import Ray.
_SERVER = "autoresearch_tui.cluster.node_server"


@contextlib.contextmanager
def local_nodes(count: int, environ: MutableMapping[str, str], places: int = 1) -> Iterator[str]:
    """The address of a cluster with so many nodes, which ends with the context; `environ` gets the variables to reach
    it.

    A node has room for `places` runs that take a processor. The cluster requires a token that is made here. Raises
    UserError if it cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="autoresearch-nodes-", ignore_cleanup_errors=True) as folder:
        environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_USAGE_STATS_ENABLED="0")
        environ[FOLDER] = folder
        with subprocess.Popen(
            [sys.executable, "-m", _SERVER, str(count), str(places)],
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # ^C ends the session, and that ends the cluster
            text=True,
        ) as nodes:
            assert nodes.stdin is not None and nodes.stdout is not None and nodes.stderr is not None
            with nodes.stdin:
                address = nodes.stdout.readline().strip()
                if not address:
                    last = nodes.stderr.read().strip().splitlines()[-1:]
                    raise UserError(f"the nodes could not be started: {''.join(last) or 'Ray gives no reason'}")
                yield address
