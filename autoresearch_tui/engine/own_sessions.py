"""The lab's earlier sessions: their experiments as prior results of a new one, and their best."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from autoresearch_tui.engine.proposing import lessons
from autoresearch_tui.lab import devices, evaluator
from autoresearch_tui.lab.evaluator import FRESH
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.hardware import hardware
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.uncommitted import uncommitted
from autoresearch_tui.session import comparing, journal
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import SCORED, Outcome
from autoresearch_tui.session.fold import state_of
from autoresearch_tui.session.outline import read_outline
from autoresearch_tui.session.prior_results import NEVER_RUN, REPEAT, PriorResult
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe

Present = Callable[[Sequence[str]], Mapping[str, str]]
"""Gives those of the commits that are still in the repository."""
_CAUSE_WIDTH = 160


class Earlier(Frozen):
    """The experiments of every other session, oldest session first. `unreadable`: tags of damaged ones. `lessons`: the
    beginning of a new session's lessons.md."""

    results: tuple[PriorResult, ...]
    unreadable: tuple[str, ...]
    lessons: str


class Best(Frozen):
    """The best keep of an earlier session."""

    session: str
    number: int
    value: float
    commit: str


def read(lab: Lab, now: comparing.Measured, present: Present) -> Earlier:
    """Read every other session's journal and lessons.md."""
    found: list[PriorResult] = []
    taught: list[lessons.Part] = []
    unreadable: list[str] = []
    for tag in _others(lab, now):
        files = lab.session(tag)
        try:
            state = state_of(files.journal, journal.read(files.journal))
        except (OSError, journal.JournalDamaged):
            unreadable.append(tag)
            continue
        there = present([*{commit for e in state.experiments for commit in (e.commit, e.proposal.base)}])
        found += _of_one(tag, state, now, there)
        taught += lessons.own(files.lessons, tag, state)
    return Earlier(tuple(found), tuple(unreadable), lessons.inherited(taught))


def _others(lab: Lab, now: comparing.Measured) -> list[str]:
    return [tag for tag in lab.tags() if tag != now.session.tag]


def _of_one(tag: str, state: State, now: comparing.Measured, there: Mapping[str, str]) -> Iterator[PriorResult]:
    before = comparing.measured(state)
    if before is None:
        return
    otherwise = comparing.differences(before, now)
    same_score = comparing.same_score(before, now)
    for each in state.experiments:
        yield PriorResult(
            name=f"{tag}#{each.number}",
            value=each.value if same_score else None,
            memory_gb=each.memory_gb,
            status=_status(each),
            description=each.description,
            flags=otherwise,
            commit=there.get(each.commit, ""),
            session=tag,
            number=each.number,
            reason=_reason(each),
            base=there.get(each.proposal.base, ""),
        )


def _status(experiment: Experiment) -> str:
    if experiment.outcome is None:
        return NEVER_RUN
    again = experiment.proposal.repeat_of is not None and experiment.outcome in SCORED
    return REPEAT if again else experiment.status


def _reason(experiment: Experiment) -> str:
    """The reason of its verdict or veto, and for a crash also the last line of its log."""
    cause = experiment.run.cause if experiment.run is not None and experiment.outcome == Outcome.CRASH else ()
    last = describe(next((line for line in reversed(cause) if line.strip()), ""), _CAUSE_WIDTH)
    return experiment.reason if last == "-" or last in experiment.reason else f"{experiment.reason}: {last}"


def best(lab: Lab, now: comparing.Measured, present: Present) -> tuple[Best | None, Mapping[str, tuple[str, ...]]]:
    """The best keep that was measured like `now` and whose commit still exists; and by tag why others do not compare.
    Reads only the outlines, so it is quick however long the journals are."""
    kept: list[Best] = []
    otherwise: dict[str, tuple[str, ...]] = {}
    for tag in _others(lab, now):
        try:
            found = read_outline(lab.root, tag)
        except UserError:
            continue
        before = comparing.measured(found)
        if before is None:
            continue
        if why := comparing.differences(before, now):
            otherwise[tag] = why
        elif found.best is not None and found.best.value is not None:
            kept.append(Best(tag, found.best.number, found.best.value, found.best.commit))
    there = present([one.commit for one in kept])
    goal, fresh = Goal(now.session.goal), now.session.evaluator == FRESH
    # The newest of equals; also the newest with fresh draws, where scores do not compare.
    known = (one for one in reversed(kept) if one.commit in there)
    ranked = sorted(known, key=lambda one: 0.0 if fresh else goal.sort_key(one.value))
    return next(iter(ranked), None), otherwise


def began(lab: Lab, repo: GitRepo, tag: str, base: str) -> ev.SessionBegan:
    """The first event of a session with these settings from `base`. Raises GitError."""
    settings = lab.settings
    return ev.SessionBegan(
        tag=tag,
        branch=f"autoresearch/{tag}",
        base=base,
        metric=settings.metric.name,
        goal=settings.metric.goal,
        keep_margin=settings.metric.keep_margin,
        budget_seconds=settings.run.budget_seconds,
        editable=settings.lab.editable,
        # Of the committed bytes, which a run gets; the checkout's may differ by line-end settings and filters.
        locked={name: hashlib.sha256(repo.read(base, name)).hexdigest() for name in settings.lab.locked},
        evaluator=settings.metric.evaluator,
        holdout=evaluator.has_holdout(lab),
    )


def further(lab: Lab, tag: str) -> Best | None:
    """Where a new session `tag` would start with `--from best`; None if it starts there anyway, or from the user's
    uncommitted work, or there is none. Raises GitError."""
    repo = GitRepo(lab.root)
    if uncommitted(lab, repo):
        return None
    head = repo.head()
    found, _ = best(lab, comparing.Measured(began(lab, repo, tag, head), hardware_of(lab)), repo.whole_hashes)
    if found is None:
        return None
    code = repo.editable_of_many([found.commit, head], lab.editable)
    return found if code[found.commit] != code[head] else None


def hardware_of(lab: Lab) -> str:
    """The models of the hardware that this lab's runs see."""
    run = lab.settings.run
    return hardware(devices.all_visible({**os.environ, **run.env}, run.devices))
