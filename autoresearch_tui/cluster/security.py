"""Access to a cluster, and the user's keys that must not reach it. Does not import Ray.

Anyone who reaches a cluster without token authentication can run programs on all of its machines, as the user who
started Ray there. A head at a loopback address is no protection: Ray listens on all addresses of a machine.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import psutil

from autoresearch_tui.lab import cluster_address, ray_files
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.secrets import is_api_key, is_secret

MODE, TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
REMEDY = "`ray get-auth-token --generate`, one token for all nodes, and RAY_AUTH_MODE=token wherever Ray starts"
_PROBE = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]); print('open', flush=True)"
_REFUSED, _LOOK_SECONDS = b"Unauthenticated", 0.05


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that talks to the cluster: the user's, without any key but the token.

    Ray reports no usage, and uses the token if there is one.
    """
    keys = {name for name in environ if is_secret(name) or is_api_key(name)} - {TOKEN, ray_files.TOKEN_FILE}
    own = {name: value for name, value in environ.items() if name not in keys}
    own |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_PROMPT_ENABLED": "0"}
    if not token_problem(environ):
        own[MODE] = "token"
    return own


def token_problem(environ: Mapping[str, str]) -> str:
    """Why there is no token for a cluster; empty if there is one."""
    if (mode := environ.get(MODE, "token").lower()) != "token":
        return f"{MODE} is `{mode}`, not `token`"
    if environ.get(TOKEN):
        return ""
    path = ray_files.token_file(environ)
    try:
        return "" if path.read_text("utf-8", "replace").strip() else f"{path} is empty"
    except OSError as error:
        return f"no token can be read: {path}: {os.strerror(error.errno or 0)}"


def problem(head: str, environ: Mapping[str, str]) -> UserError | None:
    """Why the cluster of this head must not be used, as far as can be told without asking it."""
    if not can_be_reached(head) or not (why := token_problem(environ)):
        return None
    return UserError(f"the cluster {head} can be reached by others, and {why}", REMEDY)


def can_be_reached(head: str) -> bool:
    """Whether other machines may reach the head: by its address, or because it listens on all addresses here."""
    if not cluster_address.is_loopback(head):
        return True
    _, port = cluster_address.parts(head)
    try:
        heard = [each.laddr for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    except (psutil.Error, OSError):
        return True
    hosts = (at.ip.removeprefix("::ffff:") for at in heard if at and at.port == port)
    return not all(ipaddress.ip_address(host).is_loopback for host in hosts)


def is_open(head: str, environ: Mapping[str, str], seconds: float = 15.0) -> bool | None:
    """Whether the cluster accepts a client without a token, found by trying, in a second; None if it does not answer.

    A token on this side proves nothing: a cluster that requires none accepts it silently. Raises OSError.
    """
    blank = {name: value for name, value in environment(environ).items() if name not in (TOKEN, ray_files.TOKEN_FILE)}
    blank[MODE] = "disabled"
    command = [sys.executable, "-c", _PROBE, head]
    output = b""
    with (
        tempfile.TemporaryFile() as file,
        subprocess.Popen(command, env=blank, stdin=subprocess.DEVNULL, stdout=file, stderr=file) as tried,
    ):
        deadline = time.monotonic() + seconds
        while tried.returncode is None and _REFUSED not in output and time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                tried.wait(_LOOK_SECONDS)
            output = os.pread(file.fileno(), 1 << 16, 0)
        tried.kill()
    if tried.returncode == 0:
        return True
    return False if _REFUSED in output else None


def refuse_open(head: str, environ: Mapping[str, str]) -> None:
    """Raises UserError if other machines may reach the cluster and it accepts clients without a token; OSError."""
    if can_be_reached(head) and is_open(head, environ):
        raise UserError(f"the cluster {head} can be reached by others and wants no token", REMEDY)
