"""Which runs to give up: the rule, learned from the session's own loss curves. Pure.

A training loss is the training's own word and no score. So the rule is slow to believe it: a wrong answer costs a keep,
a missing one a few minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoresearch_tui.logs.loss_curve import TENTHS
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.statistics import judged

FIRST, LAST = 3, 9
"""The tenths of the budget from which and up to which a run is given up."""
KEEPS, RUNS = 3, 8
"""How many keeps after the baseline, and how many runs in all, have to have whole curves."""
FLOOR = 0.02
"""The margin is at least this share of the frontier's loss."""
START = 0.1
"""First losses that lie further apart than this share are of two measures, or of weights of another size."""

Losses = Sequence[float]


@dataclass(frozen=True, slots=True)
class Course:
    """A run that came to its end, and the frontier that it was held against: their losses at each tenth."""

    losses: Losses
    against: Losses
    kept: bool

    def behind(self, tenth: int) -> float:
        """By how much its loss was higher at that tenth, counted from 1; negative: lower."""
        return self.losses[tenth - 1] - self.against[tenth - 1]


@dataclass(frozen=True, slots=True)
class Hopeless:
    """A run is `behind` by more than `most`, the most that any keep was, and `margin` together."""

    tenth: int
    loss: float
    against: float
    most: float
    margin: float


def courses(state: State) -> tuple[Course, ...]:
    """Of all scored runs of the session that have one, the baseline and repeats aside."""
    found = (course(each.experiment, each.head) for each in judged(state))
    return tuple(filter(None, found))


def course(experiment: Experiment, head: Experiment | None) -> Course | None:
    """Of a run and what its front stood at; None if one of them has no whole curve."""
    own, other = experiment.score, head.score if head is not None else None
    if own is None or other is None or own.value is None or experiment.proposal.repeat_of is not None:
        return None
    whole = len(own.losses) == len(other.losses) == TENTHS
    return Course(own.losses, other.losses, experiment.advanced) if whole else None


def hopeless(losses: Losses, frontier: Losses, earlier: Sequence[Course]) -> Hopeless | None:
    """Whether a run with these losses so far, one for each tenth that is over, is to be given up; None: it is not.

    It is if it lies further behind the frontier than any keep did at that tenth, by a margin, and at the tenth before
    as well. The margin is the largest of three: how far the keeps lie apart there, how much further behind than they a
    run was that came near the frontier all the same, and a fiftieth of the frontier's loss.
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
    """The furthest that any of them was behind; 0 if none was."""
    return max(0.0, *(course.behind(tenth) for course in courses))


def same_start(first: float, other: float) -> bool:
    """Whether two runs began at the same loss, as models do that have learned nothing; False if one is not known."""
    return abs(first - other) <= START * abs(other)


# A change of these makes the training loss another measure, or bends its course on purpose.
_OTHER_MEASURE = re.compile(
    r"loss|entropy|smooth|drop|augment|mask|noise|averag|swa|print|percent|progress|schedul|warm|cool|decay|batch|accum|"
    r"seq|context|(?:^|[\W_])ema(?:$|[\W_])",
    re.IGNORECASE,
)


def comparable(diff: Iterable[str]) -> bool:
    """Whether a run's losses say something beside the frontier's, by the lines of the unified diff between the two."""
    changed = (line[1:] for line in diff if line[:1] in ("+", "-") and line[:3] not in ("+++", "---"))
    return not any(map(_OTHER_MEASURE.search, changed))
