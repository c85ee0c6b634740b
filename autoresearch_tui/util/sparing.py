"""Limits recurring work to a share of the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Sparing:
    """When recurring work is due again, if it may take at most a share of the time."""

    def __init__(self, share: float) -> None:
        """`share`: between 0 and 1."""
        self._rest = 1 / share - 1
        self._due = 0.0

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._due

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Wraps the work, and postpones its next turn in proportion to the time that it takes."""
        began = time.monotonic()
        try:
            yield
        finally:
            now = time.monotonic()
            self._due = now + self._rest * (now - began)
