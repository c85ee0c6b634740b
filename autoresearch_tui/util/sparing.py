"""What is to be done often, but not at the cost of everything else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Sparing:
    """When a work is due again that may take a share of the time, and no more."""

    def __init__(self, share: float) -> None:
        """`share`: between 0 and 1."""
        self._rest = 1 / share - 1
        self._due = 0.0

    @property
    def due(self) -> bool:
        """Whether it may be done now."""
        return time.monotonic() >= self._due

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Do it in here; it is due again once the time that it takes is that share."""
        began = time.monotonic()
        try:
            yield
        finally:
            now = time.monotonic()
            self._due = now + self._rest * (now - began)
