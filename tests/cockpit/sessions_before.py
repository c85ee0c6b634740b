"""Sessions of a lab before the one on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from autoresearch_tui.session import events as ev
from tests.night import Night

DAY = 86_400.0
NOW = 1_763_700_000.0
Experiments = Sequence[tuple[str, float | None]]


class Before(Night):
    """A session whose commits are its own. `start`: seconds since 1970; `base`: the commit that it began from."""

    def __init__(self, root: Path, tag: str, start: float, base: str = "b" * 40, budget: float = 300) -> None:
        super().__init__(root, tag=tag, start=datetime.fromtimestamp(start, UTC), begun=False)
        self.base, self._budget = base, budget
        self.begin()
        self.engine()

    def add(self, *events: ev.Event, after: float | None = None) -> None:
        began = (replace(e, budget_seconds=self._budget) if isinstance(e, ev.SessionBegan) else e for e in events)
        super().add(*began, after=after)

    def commit(self, number: int) -> str:
        return f"{number:07x}".ljust(40, self.tag[-1])

    def play(self, experiments: Experiments) -> Before:
        for verdict, value in experiments:
            self.experiment(verdict, value)
        return self


def nights_before(root: Path, now: float) -> None:
    """Two nights before one that begins at `now`, the second from the best of the first; and one of another budget."""
    first = Before(root, "nov19-1", now - 2 * DAY).play(
        [("keep", 0.9979), ("keep", 0.9951), ("discard", 1.01), ("crash", None)]
    )
    second = Before(root, "nov20-2", now - DAY, base=first.commit(1))
    second.proposal()
    second.launch(0)
    second.end(0, "keep", 0.9953)
    second.play([("discard", 0.9969), ("keep", 0.9932), ("vetoed", None)])
    Before(root, "nov18-3", now - 3 * DAY, budget=60).play([("keep", 1.2)])
