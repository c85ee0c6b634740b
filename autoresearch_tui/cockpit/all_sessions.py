"""The lab's sessions beside each other. Those that measured differently are left out, and named."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.session import journal
from autoresearch_tui.session.comparing import differences, measured
from autoresearch_tui.session.fold import state_of
from autoresearch_tui.session.sequence import Experiments
from autoresearch_tui.session.state import Experiment, State, best_keep
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line


class Part(Frozen):
    """One session; `first` is the number of its experiment 0 when all are numbered through."""

    tag: str
    state: State
    first: int


class Others(Frozen):
    """The lab's other sessions that are comparable with this one, by start; `left_out` says why others are not."""

    before: tuple[tuple[str, State], ...]
    after: tuple[tuple[str, State], ...] = ()
    left_out: tuple[str, ...] = ()


class Together(Frozen):
    """All sessions as one state with experiments numbered through; `own` is the part of this session."""

    parts: tuple[Part, ...]
    own: Part
    state: State
    left_out: tuple[str, ...]

    def inside(self, number: int) -> int:
        """The overall number of this session's experiment `number`."""
        return self.own.first + number

    def own_number(self, number: int) -> int | None:
        """The inverse of `inside`; None for an experiment of another session."""
        return number - self.own.first if self.part_of(number) is self.own else None

    def part_of(self, number: int) -> Part:
        """The session of an experiment, by its overall number."""
        return next(part for part in reversed(self.parts) if part.first <= number)

    @property
    def summary(self) -> str:
        """The number of sessions, and why others are left out, for a pane's title."""
        count = len(self.parts)
        return " · ".join((f"{count} session{'s' * (count != 1)}", *self.left_out))


def read(lab: Lab, tag: str, now: State) -> Others:
    """Reads the other sessions' journals; a long one takes a second."""
    mine, began = measured(now), _began(now)
    found: list[tuple[str, str, State]] = []
    left_out: list[str] = []
    for other in lab.tags():
        if other == tag:
            continue
        path = lab.session(other).journal
        try:
            records = journal.read(path)
            state = state_of(path, records)
        except (OSError, journal.JournalDamaged):
            left_out.append(f"{clean_line(other)} cannot be read")
            continue
        before = measured(state)
        if before is None or mine is None:
            continue
        if why := differences(before, mine):
            left_out.append(f"{clean_line(other)} left out: {clean_line(', '.join(why))}")
        else:
            found.append((_began(state), clean_line(other), state))
    found.sort(key=lambda one: one[0])
    before_it = tuple((name, state) for at, name, state in found if at <= began)
    after_it = tuple((name, state) for at, name, state in found if at > began)
    return Others(before_it, after_it, tuple(left_out))


def _began(state: State) -> str:
    """When the first experiment was proposed; timestamps sort as text."""
    return state.experiments[0].proposed_at if state.experiments else state.time


def beside(others: Others, tag: str, state: State) -> tuple[Part, ...]:
    """This session's current state in its place among the others."""
    parts: list[Part] = []
    first = 0
    for name, each in (*others.before, (clean_line(tag), state), *others.after):
        parts.append(Part(name, each, first))
        first += len(each.experiments)
    return tuple(parts)


def together(others: Others, tag: str, state: State) -> Together:
    """`beside` as one state."""
    parts = beside(others, tag, state)
    own = parts[len(others.before)]
    experiments = Experiments.of(_renumbered(e, part.first) for part in parts for e in part.state.experiments)
    first = own.first
    joined = replace(
        state,
        experiments=experiments,
        best_number=best_keep(experiments, state.goal),
        frontier_number=None if state.frontier_number is None else state.frontier_number + first,
        frontier_history=tuple((after + first, number + first) for after, number in state.frontier_history),
        heads={front: number + first for front, number in state.heads.items()},
        prior=(),
        prior_left_out=0,
        shared=(),
    )
    return Together(parts, own, joined, others.left_out)


def _renumbered(experiment: Experiment, first: int) -> Experiment:
    if not first:
        return experiment
    old = experiment.proposal
    again = None if old.repeat_of is None else old.repeat_of + first
    return replace(experiment, proposal=replace(old, number=old.number + first, repeat_of=again))


def names(parts: Sequence[Part], width: int, last: int) -> str:
    """The sessions' tags at their places on an axis of `width` cells; a tag without room is left out."""
    line = ""
    for part in parts:
        at = round(part.first / max(last, 1) * (width - 1))
        if at >= len(line) + bool(line) and at + len(part.tag) <= width:
            line = line.ljust(at) + part.tag
    return line.ljust(width)
