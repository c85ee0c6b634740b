"""Pure: the glyphs beside an experiment's outcome."""

from __future__ import annotations

from collections.abc import Iterator

from autoresearch_tui.session import statistics
from autoresearch_tui.session.questions import COMMIT, SCALE, joined
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.statistics import TYPICAL_SPREAD, gaps, near_noise
from autoresearch_tui.session.transfer import transfer
from autoresearch_tui.util.frozen import Frozen

DOUBTED, NOISE, REPEAT, OVERRULED, APART, SIDE, EDITED, FRONT = "?", "≈", "↻", "⇄", "Δ", "↳", "✎", "⑂"
OBJECTED, SHARED = "¬", "@"
HOLDS, FADES = "⇑", "⇓"
NAMES = {
    DOUBTED: "doubted",
    NOISE: "noise",
    REPEAT: "repeat",
    OVERRULED: "overruled",
    APART: "gap",
    SIDE: "exploratory",
    EDITED: "edited",
    FRONT: "front",
    OBJECTED: "objected",
    SHARED: "shared",
    HOLDS: "holds",
    FADES: "fades",
}
WORDS = {
    DOUBTED: "there is reason to doubt the score; the details say why",
    NOISE: "no further from the frontier than chance explains; R repeats it",
    REPEAT: "a repeat of an earlier experiment with another seed",
    OVERRULED: "a human changed the verdict",
    APART: "much of its gain is missing on the sealed split",
    SIDE: "started from an earlier keep, not the frontier",
    EDITED: "a human edited it by hand before it ran",
    FRONT: "better than where its own front stood, which is not the best one",
    OBJECTED: "the critic did not agree with it",
    SHARED: "another lab's; the details say whose, and how its score here stands beside theirs",
    HOLDS: "its gain holds at a larger scale",
    FADES: "its gain does not hold at a larger scale",
}


class Marking(Frozen):
    """The numbers of the experiments that have a badge which depends on others; computed once for a state."""

    noise: frozenset[int] = frozenset()
    gap: frozenset[int] = frozenset()
    holds: frozenset[int] = frozenset()
    fades: frozenset[int] = frozenset()

    def of(self, experiment: Experiment) -> str:
        """The glyphs of one experiment, the most important first."""
        number = experiment.number
        badges = {
            OVERRULED: experiment.overruled,
            DOUBTED: experiment.doubted,
            APART: number in self.gap,
            FADES: number in self.fades,
            REPEAT: experiment.repeat_of is not None and not experiment.scale,
            NOISE: number in self.noise,
            HOLDS: number in self.holds,
            EDITED: experiment.edited,
            FRONT: experiment.leads,
            OBJECTED: experiment.objected,
            SHARED: experiment.origin,
            SIDE: experiment.exploratory,
        }
        return "".join(glyph for glyph, shown in badges.items() if shown)


_PLAIN = Marking()


def marking(state: State) -> Marking:
    doubtful = {*near_noise(state), *state.experiments.known(_inside_noise, joined)}
    scales = state.experiments.values(SCALE) - {0.0}
    tried = {e.commit for scale in scales for e in state.experiments.having(SCALE, scale)}
    same = (e for commit in tried for e in state.experiments.having(COMMIT, commit))
    known = [(e.number, its) for e in same if (its := transfer(state, e))]
    holds = frozenset(number for number, its in known if its.holds)
    fades = frozenset(number for number, its in known if its.after is not None and not its.holds)
    return Marking(frozenset(doubtful), _apart(state), holds, fades)


def _inside_noise(chunk: Chunk) -> tuple[int, ...]:
    columns = zip(*map(chunk.column, ("number", "inside_noise", "repeat_of")), strict=True)
    return tuple(number for number, inside, again in columns if inside and again is None)


def widest(state: State, marks: Marking) -> int:
    """The largest number of glyphs in a row."""
    own = state.experiments.known(_glyphs, b"".join)
    doubts = (marks.noise, marks.gap, marks.holds, marks.fades)
    more = (own[number] + sum(number in each for each in doubts) for number in frozenset().union(*doubts))
    return max((*more, max(own, default=0)))


def _glyphs(chunk: Chunk) -> bytes:
    """For each experiment, how many badges it has that do not depend on others."""
    names = ("overruled", "doubted", "edited", "leads", "objected", "origin", "exploratory")
    found: list[Iterator[bool]] = [map(bool, column) for name in names if any(column := chunk.column(name))]
    again = zip(chunk.column("repeat_of"), chunk.column("scale"), strict=True)
    found.append(first is not None and not scale for first, scale in again)
    return bytes(map(sum, zip(*found, strict=True)))


def _apart(state: State) -> frozenset[int]:
    """Keeps whose distance to their sealed score has grown since the first by more than chance explains."""
    known = gaps(state)
    if len(known) < 2 or state.session is None:
        return frozenset()
    first = known[0]
    chance = statistics.SIGMAS * (statistics.spread(state) or TYPICAL_SPREAD * abs(first.value))
    return frozenset(gap.number for gap in known[1:] if state.goal.gain(gap.gap, first.gap) > chance)
