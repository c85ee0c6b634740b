"""Waiting for what another process or thread does: until it has, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60.0


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE, what: str = "it") -> None:
    """Returns as soon as `condition` holds; fails where it does not in time."""
    deadline = time.monotonic() + seconds
    began = time.monotonic()
    while not condition():
        now = time.monotonic()
        assert now < deadline, f"{what} never happened"
        # A look that costs something takes its time from what it waits for.
        time.sleep(min(max(0.005, 3 * (now - began)), 0.2))
        began = time.monotonic()
