"""Which runs to give up (`run.give_up`): a pure rule, learned from the session's own loss curves, and what applies it.

A training loss is reported by the run itself and is no score. So the rule is cautious: a wrong answer costs a keep, a
missing one a few minutes.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.engine.session import Session
from autoresearch_tui.logs.loss_curve import TENTHS, CurveTail
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.statistics import judged
from autoresearch_tui.util.frozen import Frozen

FIRST, LAST = 3, 9
"""The first and last tenth of the budget at which a run is given up."""
KEEPS, RUNS = 3, 8
"""How many keeps after the baseline, and how many runs in all, must have whole curves."""
FLOOR = 0.02
"""The margin is at least this share of the frontier's loss."""
START = 0.1
"""First losses further apart than this share are not comparable: another measure, or another model size."""

Losses = Sequence[float]


class Course(Frozen):
    """The losses of a finished run, and of the frontier that it was compared with, at each tenth."""

    losses: Losses
    against: Losses
    kept: bool

    def behind(self, tenth: int) -> float:
        """How much higher its loss was at that tenth, counted from 1."""
        return self.losses[tenth - 1] - self.against[tenth - 1]


class Hopeless(Frozen):
    """At a tenth a run is behind by more than `most` (the most that any keep was) plus `margin`."""

    tenth: int
    loss: float
    against: float
    most: float
    margin: float


def courses(state: State) -> tuple[Course, ...]:
    """The courses of all scored runs that have one, without the baseline and repeats."""
    found = (course(each.experiment, each.head) for each in judged(state))
    return tuple(filter(None, found))


def course(experiment: Experiment, head: Experiment | None) -> Course | None:
    """The course of a run against the head of its front; None if either has no whole curve."""
    own, other = experiment.score, head.score if head is not None else None
    if own is None or other is None or own.value is None or experiment.proposal.repeat_of is not None:
        return None
    whole = len(own.losses) == len(other.losses) == TENTHS
    return Course(own.losses, other.losses, experiment.advanced) if whole else None


def hopeless(losses: Losses, frontier: Losses, earlier: Sequence[Course]) -> Hopeless | None:
    """Whether to give up a run with these losses, one for each tenth so far; None to continue.

    It is given up if it is further behind the frontier than any keep was at that tenth, by a margin, and was so at the
    tenth before. The margin is the largest of: the spread of the keeps there, how much further behind a run was that
    still came near the frontier in the end, and a fiftieth of the frontier's loss.
    """
    tenth = len(losses)
    keeps = [course for course in earlier if course.kept]
    if not FIRST <= tenth <= LAST or len(frontier) != TENTHS or len(keeps) < KEEPS or len(earlier) < RUNS:
        return None
    near = [
        course for course in earlier if course.behind(TENTHS) <= _most(keeps, TENTHS) + FLOOR * abs(course.against[-1])
    ]
    found = [_behind(losses, frontier, at, keeps, near) for at in (tenth - 1, tenth)]
    return found[-1] if all(found) else None


def _behind(
    losses: Losses, frontier: Losses, tenth: int, keeps: Sequence[Course], near: Sequence[Course]
) -> Hopeless | None:
    loss, against = losses[tenth - 1], frontier[tenth - 1]
    most = _most(keeps, tenth)
    apart = most - min(course.behind(tenth) for course in keeps)
    margin = max(apart, _most(near, tenth) - most, FLOOR * abs(against))
    return Hopeless(tenth, loss, against, most, margin) if loss - against > most + margin else None


def _most(courses: Sequence[Course], tenth: int) -> float:
    """The most that any of them was behind; at least 0."""
    return max(0.0, *(course.behind(tenth) for course in courses))


def same_start(first: float, other: float) -> bool:
    """Whether two runs began at the same loss, as untrained models do; False if one is unknown."""
    return abs(first - other) <= START * abs(other)


# Changes of these make the training loss another measure, or bend its course on purpose.
_OTHER_MEASURE = re.compile(
    r"loss|entropy|smooth|drop|augment|mask|noise|averag|swa|print|percent|progress|schedul|warm|cool|decay|batch|accum|"
    r"seq|context|(?:^|[\W_])ema(?:$|[\W_])",
    re.IGNORECASE,
)


def comparable(diff: Iterable[str]) -> bool:
    """Whether two runs' losses are comparable, by the lines of the unified diff between them."""
    changed = (line[1:] for line in diff if line[:1] in ("+", "-") and line[:3] not in ("+++", "---"))
    return not any(map(_OTHER_MEASURE.search, changed))


# How often a log is read in the course of a budget; the longest pause between reads, and the pause while it is behind.
_LOOKS, _EVERY_SECONDS, _BEHIND_SECONDS = 100, 1.0, 0.25


class CurveWatch:
    """Follows the log of each run, a bounded piece at a time, and decides which run to give up."""

    def __init__(self, session: Session) -> None:
        self._session = session
        run = session.lab.settings.run
        self._wanted = run.give_up
        self._pause = _EVERY_SECONDS if run.budget_tokens else min(_EVERY_SECONDS, run.budget_seconds / _LOOKS)
        self._tails: dict[int, CurveTail] = {}
        self._due: dict[int, float] = {}
        self._seen: dict[int, int] = {}

    def look(self, running: Experiment) -> ev.RunGivenUp | None:
        """Read on in its log; the event if the run is to be given up. Raises GitError."""
        number = running.number
        if not self._wanted or time.monotonic() < self._due.get(number, 0.0):
            return None
        tail = self._tails.setdefault(number, CurveTail(self._session.files.run(number).log))
        behind = tail.read()
        self._due[number] = time.monotonic() + (min(self._pause, _BEHIND_SECONDS) if behind else self._pause)
        losses = tail.curve.tenths(passed=True)
        if len(losses) == self._seen.get(number):
            return None  # no further tenth is over
        self._seen[number] = len(losses)
        return self._judge(running, losses, tail.curve.first)

    def forget(self, number: int) -> None:
        """Its run is over."""
        for known in (self._tails, self._due, self._seen):
            known.pop(number, None)

    def _judge(self, running: Experiment, losses: Losses, first: float) -> ev.RunGivenUp | None:
        state = self._session.state
        frontier = state.head(running.proposal.front)
        asked_for = running.proposal.author == BASELINE or running.proposal.repeat_of is not None
        if asked_for or frontier is None or frontier.score is None:
            return None
        found = hopeless(losses, frontier.score.losses, courses(state))
        if found is None or not self._alike(running, first, frontier):
            return None
        figures = (float(f"{each:.5g}") for each in (found.most, found.margin))
        percent = 100 * found.tenth // TENTHS
        return ev.RunGivenUp(running.number, percent, found.loss, found.against, frontier.number, *figures)

    def _alike(self, running: Experiment, first: float, frontier: Experiment) -> bool:
        """Whether the losses of both are comparable, by the first ones and by the diff."""
        log, files = CurveTail(self._session.files.run(frontier.number).log), self._session.archive.files
        log.read()
        changed = _diff(files(frontier.commit), files(running.commit))
        return same_start(first, log.curve.first) and comparable(changed)


def _diff(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for path in sorted(before.keys() | after.keys()):
        yield from difflib.unified_diff(before.get(path, "").splitlines(), after.get(path, "").splitlines(), n=0)
