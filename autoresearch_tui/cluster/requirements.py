"""The requirements on this machine for using a cluster: a recent Ray, and a token. Does not import Ray."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata

from autoresearch_tui.cluster import security
from autoresearch_tui.lab import cluster_address, ray_files
from autoresearch_tui.util.errors import UserError

INSTALL = "pip install 'autoresearch-tui[cluster]'"
OLDEST = (2, 52)
"""The first with token authentication."""
_NO_CLUSTER = "the cluster of `auto`: none was started on this machine, and RAY_ADDRESS is not set"


def ray_version() -> str:
    """The installed version of Ray; empty if there is none."""
    try:
        return metadata.version("ray")
    except metadata.PackageNotFoundError:
        return ""


def check(address: str, environ: Mapping[str, str]) -> None:
    """Raises UserError if this machine lacks something to use the cluster. Does not use the network."""
    check_installed(address)
    if (problem := security.problem(head(address, environ), environ)) is not None:
        raise problem


def head(address: str, environ: Mapping[str, str]) -> str:
    """The host and port of the cluster's head. Raises UserError if `auto` finds none."""
    if address != cluster_address.AUTO:
        return address
    if not (found := of_this_machine(environ)):
        raise UserError(_NO_CLUSTER, "`ray start --head`, or name the head: host:port")
    return found


def check_installed(address: str) -> None:
    """Raises UserError without a recent Ray; `address` is for the message."""
    version = ray_version()
    if not version:
        raise UserError(f"the cluster {address}: Ray is not installed", INSTALL)
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise UserError(f"the cluster {address}: Ray {version} is older than {needed}", INSTALL)


def of_this_machine(environ: Mapping[str, str]) -> str:
    """The head of the cluster that this machine is part of, as `auto` finds it; empty if there is none.

    An address that is not host and port, such as that of a Ray Client, counts as none.
    """
    found = environ.get("RAY_ADDRESS", "")
    if not found:
        try:
            found = (ray_files.temporary(environ) / "ray_current_cluster").read_text("utf-8", "replace").strip()
        except OSError:
            return ""
    return "" if found == cluster_address.AUTO or cluster_address.problem(found) else found
