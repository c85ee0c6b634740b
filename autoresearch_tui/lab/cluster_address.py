"""Pure: the address of a cluster's head: `auto`, or a host and a port."""

from __future__ import annotations

import ipaddress
import re

AUTO = "auto"
NONE = "none"
"""On the command line: no cluster, despite the lab's settings or an earlier start."""
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")


def problem(address: str) -> str:
    """Why this cannot be a cluster's address; empty if it can."""
    if address == AUTO:
        return ""
    if address.startswith("ray://"):
        return f"{address!r} is a Ray Client's address; name the head itself, as `ray start` does: host:6379"
    host, _, port = address.rpartition(":")
    if _HOST.fullmatch(host) and re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536:
        return ""
    return f"{address!r} is not a cluster's address; write host:port, such as head.local:6379, or auto"


def parts(address: str) -> tuple[str, int]:
    """Host and port of an address that has no problem and is not `auto`."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach it. False for `auto`, and for names other than `localhost`."""
    if address == AUTO:
        return False
    host, _ = parts(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
