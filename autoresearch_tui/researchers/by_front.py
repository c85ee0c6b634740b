"""Several researchers, each for the fronts that name it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from autoresearch_tui.researchers.base import Brief, Proposal, Researcher


class ByFront:
    """A :class:`~autoresearch_tui.researchers.base.Researcher` that asks the one of the brief's front."""

    def __init__(self, usual: Researcher, own: Mapping[int, Researcher]) -> None:
        """`own`: by front, from 0; `usual` proposes for the others."""
        self._usual, self._own = usual, own

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """As the front's own researcher does."""
        front = brief.front.number if brief.front is not None else 0
        return self._own.get(front, self._usual).propose(brief, say, cancelled)
