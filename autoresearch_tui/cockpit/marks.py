"""Pure: what a row of an experiment says beside its outcome, by a glyph each."""

from __future__ import annotations

from autoresearch_tui.engine import noise
from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.findings import TYPICAL_SPREAD, gaps, near_noise
from autoresearch_tui.frozen import Frozen

DOUBTED, NOISE, REPEAT, OVERRULED, APART, SIDE = "?", "≈", "↻", "⇄", "Δ", "↳"
NAMES = {DOUBTED: "doubted", NOISE: "noise", REPEAT: "repeat", OVERRULED: "overruled", APART: "gap", SIDE: "side"}
WORDS = {
    DOUBTED: "there is reason to doubt the score; the details have it",
    NOISE: "no further from the frontier than chance explains; R repeats it",
    REPEAT: "a repeat of an earlier experiment under another seed",
    OVERRULED: "a human's verdict in place of the first one",
    APART: "much of its gain is missing on the sealed split",
    SIDE: "a side branch: it started from an earlier keep",
}


class Marking(Frozen):
    """Which experiments are in doubt, by number; worked out once for a state."""

    noise: frozenset[int] = frozenset()
    apart: frozenset[int] = frozenset()

    def of(self, experiment: Experiment) -> str:
        """The glyphs of one experiment, the weightiest first."""
        found = OVERRULED if experiment.overruled else ""
        found += DOUBTED if experiment.score is not None and experiment.score.doubts else ""
        found += APART if experiment.number in self.apart else ""
        found += REPEAT if experiment.repeat_of is not None else ""
        found += NOISE if experiment.number in self.noise else ""
        return found + (SIDE if experiment.side else "")


def marking(state: State) -> Marking:
    """What is in doubt in this state."""
    doubtful = {e.number for e in near_noise(state)}
    doubtful |= {e.number for e in state.experiments if e.inside_noise and e.repeat_of is None}
    return Marking(frozenset(doubtful), _apart(state))


def _apart(state: State) -> frozenset[int]:
    """Kept ones whose distance to their sealed score has grown by more than chance since the first."""
    known = gaps(state)
    if len(known) < 2 or state.session is None:
        return frozenset()
    sign = -1 if state.session.goal == "maximize" else 1
    first = known[0]
    chance = noise.SIGMAS * (noise.spread(state) or TYPICAL_SPREAD * abs(first.value))
    return frozenset(gap.number for gap in known[1:] if sign * (gap.apart - first.apart) > chance)
