"""The loss curves of runs while they run, for `run.give_up`."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Mapping

from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.engine.judging import giving_up
from autoresearch_tui.engine.session import Session
from autoresearch_tui.logs.loss_curve import TENTHS, CurveTail
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import Experiment

# A log is looked at so often in the course of a budget, at most once in so many seconds; more often when there is more.
_LOOKS, _EVERY_SECONDS, _BEHIND_SECONDS = 100, 1.0, 0.25


class CurveWatch:
    """Follows each run's log, a bounded piece at a time, and says which run to give up."""

    def __init__(self, session: Session) -> None:
        self._session = session
        run = session.lab.settings.run
        self._wanted = run.give_up
        self._pause = _EVERY_SECONDS if run.budget_tokens else min(_EVERY_SECONDS, run.budget_seconds / _LOOKS)
        self._tails: dict[int, CurveTail] = {}
        self._due: dict[int, float] = {}
        self._seen: dict[int, int] = {}

    def look(self, running: Experiment) -> ev.RunGivenUp | None:
        """Take what its log has got; why the run is to be given up, None if it is not. Raises GitError."""
        number = running.number
        if not self._wanted or time.monotonic() < self._due.get(number, 0.0):
            return None
        tail = self._tails.setdefault(number, CurveTail(self._session.files.run(number).log))
        behind = tail.read()
        self._due[number] = time.monotonic() + (min(self._pause, _BEHIND_SECONDS) if behind else self._pause)
        losses = tail.curve.tenths(passed=True)
        if len(losses) == self._seen.get(number):
            return None  # no tenth is over since
        self._seen[number] = len(losses)
        return self._judge(running, losses, tail.curve.first)

    def forget(self, number: int) -> None:
        """Its run is over."""
        for known in (self._tails, self._due, self._seen):
            known.pop(number, None)

    def _judge(self, running: Experiment, losses: giving_up.Losses, first: float) -> ev.RunGivenUp | None:
        state = self._session.state
        frontier = state.head(running.proposal.front)
        asked_for = running.proposal.author == BASELINE or running.proposal.repeat_of is not None
        if asked_for or frontier is None or frontier.score is None:
            return None
        found = giving_up.hopeless(losses, frontier.score.losses, giving_up.courses(state))
        if found is None or not self._alike(running, first, frontier):
            return None
        figures = (float(f"{each:.5g}") for each in (found.most, found.margin))
        percent = 100 * found.tenth // TENTHS
        return ev.RunGivenUp(running.number, percent, found.loss, found.against, frontier.number, *figures)

    def _alike(self, running: Experiment, first: float, frontier: Experiment) -> bool:
        """Whether the losses of the two are of one measure, by their first ones and by what was changed."""
        log, files = CurveTail(self._session.files.run(frontier.number).log), self._session.archive.files
        log.read()
        changed = _diff(files(frontier.commit), files(running.commit))
        return giving_up.same_start(first, log.curve.first) and giving_up.comparable(changed)


def _diff(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for path in sorted(before.keys() | after.keys()):
        yield from difflib.unified_diff(before.get(path, "").splitlines(), after.get(path, "").splitlines(), n=0)
