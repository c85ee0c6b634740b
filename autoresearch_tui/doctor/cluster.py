"""Checks of the cluster that executes a lab's runs: the requirements on this machine, and whether it answers."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping

from autoresearch_tui.cluster import requirements, security
from autoresearch_tui.doctor.item import Item, from_error, ok, problem, warning
from autoresearch_tui.lab import cluster_address
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.session import cluster_file
from autoresearch_tui.util.ask import ask_json
from autoresearch_tui.util.errors import UserError

_NAME = "cluster"
_CONNECT_SECONDS = 3.0
_PROBE_SECONDS = 40.0  # Ray itself gives up after twenty


def check(lab: Lab, environ: Mapping[str, str]) -> list[Item]:
    """Checks the lab's cluster, or its latest session's; no items if there is none. Ray is not imported here."""
    address = lab.settings.cluster.address or _of_latest(lab)
    if not address:
        return []
    try:
        requirements.check(address, environ)
    except UserError as error:
        return [from_error(_NAME, error)]
    head = requirements.head(address, environ)
    try:
        socket.create_connection(cluster_address.parts(head), _CONNECT_SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        return [problem(_NAME, f"{head} cannot be reached: {why}", "start it (`ray start --head`), or open its port")]
    if security.can_be_reached(head) and security.is_open(head, environ):
        return [problem(_NAME, f"{head} can be reached by others, and wants no token", security.REMEDY)]
    return [_joined(address, head, lab.settings.cluster.resources, environ)]


def _of_latest(lab: Lab) -> str:
    """The address in the latest session's cluster file, if there is one."""
    tags = lab.tags()
    now = cluster_file.read(lab.session(tags[-1]).cluster) if tags else None
    return now.address if now is not None and not cluster_address.problem(now.address) else ""


def _joined(address: str, head: str, resources: Mapping[str, float], environ: Mapping[str, str]) -> Item:
    words = ["-m", "autoresearch_tui.cluster.probe", address, json.dumps(dict(resources))]
    answer = ask_json(
        [sys.executable, *words], {**security.environment(environ), "PYTHONSAFEPATH": "1"}, _PROBE_SECONDS
    )
    version = requirements.ray_version()
    if "error" in answer:
        remedy = f"the same token on all nodes, and Ray {version} with the same Python there, or theirs here"
        return problem(_NAME, f"{head} answers, and cannot be joined: {answer['error']}", remedy)
    wanted = ", ".join(f"{name} = {count:g}" for name, count in resources.items())
    token = "a token is set" if not security.token_problem(environ) else "no token, and on loopback"
    nodes, places = _count(answer["nodes"], "node"), _count(answer["places"], "run")
    found = f"{head}: {nodes}, room for {places} ({wanted}); Ray {version}; {token}"
    if not answer["places"]:
        return warning(_NAME, found, "change `cluster.resources`, or add nodes that have them")
    return ok(_NAME, found)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
