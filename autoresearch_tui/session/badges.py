"""Pure: what a row of an experiment says beside its outcome, by a glyph each."""

from __future__ import annotations

from autoresearch_tui.session import statistics
from autoresearch_tui.session.ends import Opinion
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


_OBJECTIONS = (Opinion.DISAGREE, Opinion.UNSURE)


class Marking(Frozen):
    """Which experiments are in doubt, by number; worked out once for a state."""

    noise: frozenset[int] = frozenset()
    gap: frozenset[int] = frozenset()
    holds: frozenset[int] = frozenset()
    fades: frozenset[int] = frozenset()

    def of(self, experiment: Experiment) -> str:
        """The glyphs of one experiment, the weightiest first."""
        found = OVERRULED if experiment.overruled else ""
        found += DOUBTED if experiment.score is not None and experiment.score.doubts else ""
        found += APART if experiment.number in self.gap else ""
        found += FADES if experiment.number in self.fades else ""
        found += REPEAT if experiment.proposal.repeat_of is not None and not experiment.proposal.scale else ""
        found += NOISE if experiment.number in self.noise else ""
        found += HOLDS if experiment.number in self.holds else ""
        found += EDITED if experiment.edited else ""
        found += FRONT if experiment.verdict is not None and experiment.verdict.leads else ""
        found += OBJECTED if experiment.critic and experiment.critic.opinion in _OBJECTIONS else ""
        found += SHARED if experiment.proposal.origin else ""
        return found + (SIDE if experiment.proposal.exploratory else "")


def marking(state: State) -> Marking:
    """What is in doubt in this state."""
    doubtful = {e.number for e in near_noise(state)}
    doubtful |= {
        e.number for e in state.experiments if e.verdict and e.verdict.inside_noise and e.proposal.repeat_of is None
    }
    tried = {e.commit for e in state.experiments if e.proposal.scale}
    known = [(e.number, its) for e in state.experiments if e.commit in tried and (its := transfer(state, e))]
    holds = frozenset(number for number, its in known if its.holds)
    fades = frozenset(number for number, its in known if its.after is not None and not its.holds)
    return Marking(frozenset(doubtful), _apart(state), holds, fades)


def _apart(state: State) -> frozenset[int]:
    """Kept ones whose distance to their sealed score has grown by more than chance since the first."""
    known = gaps(state)
    if len(known) < 2 or state.session is None:
        return frozenset()
    first = known[0]
    chance = statistics.SIGMAS * (statistics.spread(state) or TYPICAL_SPREAD * abs(first.value))
    return frozenset(gap.number for gap in known[1:] if state.goal.gain(gap.gap, first.gap) > chance)
