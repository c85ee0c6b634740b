"""Waiting for what another process or thread does: until it has, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60.0


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE, what: str = "it") -> None:
    """Returns as soon as `condition` holds; fails where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} never happened"
        time.sleep(0.005)
