"""The move of highest expected gain: several numbers at once, and another form of code if it promises more.

The gain is over the code that the proposal starts from, as the surrogate believes (Jones et al., "Efficient Global
Optimization", J. Global Optimization 1998). Moves are built up change by change, each within a step of the base.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from autoresearch_tui.python_source.constants import Value
from autoresearch_tui.researchers.base import Attempt, Brief
from autoresearch_tui.researchers.search.moves import Step
from autoresearch_tui.researchers.search.space import Part, Place, Space
from autoresearch_tui.researchers.search.surrogate import Floats, Surrogate, expected_gain
from autoresearch_tui.session.ends import FAILED, SCORED, Outcome
from autoresearch_tui.util.frozen import Frozen

Move = tuple[Step, ...]

MOST = 6  # changes of one move
_ROUNDS = 12
_BETTER = 1.03  # the factor that one more change must bring
_WORTHY = 60  # changes that are tried on top of others
_NEWEST = 200
_STEEP = 20.0  # typical gains: beyond this, how much worse a score is hardly matters
_COUNTED = SCORED | {"repeat", "confirming"}
_LOST = FAILED | {Outcome.GIVEN_UP}


class Seen(Frozen):
    """A score of a place; lower is better. `group`: the scores that it may be compared with."""

    place: Place
    score: float
    group: str
    failed: bool = False


def seen(
    brief: Brief, attempts: Sequence[Attempt], parts: Callable[[str], Sequence[Part] | None], space: Space
) -> list[Seen]:
    """The newest scores, of this session and earlier ones; failures count as the worst of their session."""
    found: list[Seen] = []
    failed: list[Seen] = []
    for attempt in attempts[-_NEWEST:]:
        code = parts(attempt.commit)
        if code is None:
            continue
        if attempt.outcome in _LOST:
            failed.append(Seen(space.place(code), 0.0, attempt.session, True))
        elif attempt.value is not None and attempt.outcome in _COUNTED:
            drawn = f"{attempt.session}/{attempt.number}" if attempt.base_there is not None else attempt.session
            found.append(Seen(space.place(code), brief.goal.sort_key(attempt.value), drawn))
            base = parts(attempt.base)
            if base is not None and attempt.base_there is not None:
                found.append(Seen(space.place(base), brief.goal.sort_key(attempt.base_there), drawn))
    worst = {s.group: max(o.score for o in found if o.group == s.group) for s in found}
    return found + [replace(s, score=worst[s.group]) for s in failed if s.group in worst]


class Forecast(Frozen):
    """The expected gain of a move, in typical gains (`unit`, in the score), from so many scores. `worth`: the value of
    running it."""

    worth: float
    mean: float
    spread: float
    unit: float
    scores: int


class Ascent:
    """The search for one proposal."""

    def __init__(
        self, space: Space, known: Sequence[Seen], unit: float, spreads: Sequence[float], forms: Sequence[Place]
    ) -> None:
        """`spreads`: by number, in the order of the space's keys; `forms`: the base with another form of code."""
        import numpy as np

        self._space = space
        self._count, self._unit = len(known), unit
        space.over([*(s.place for s in known), *forms])
        groups = {name: at for at, name in enumerate(dict.fromkeys(["", *(s.group for s in known)]))}
        points = space.points([s.place for s in known], [groups[s.group] for s in known])
        best = min(s.score for s in known)
        scores = np.array([_bent((s.score - best) / unit) for s in known])
        self.model = Surrogate(points, scores, spreads)
        # A base with a lucky score would be harder to beat than it should be.
        here = [at for at, s in enumerate(known) if s.place == space.base and not s.group]
        believed = float(self.model.losses(space.points([space.base], [0]))[0])
        self._bar = max(0.0, believed - float(np.mean(scores[here]))) if here else 0.0

    def forecasts(self, form: Place, moves: Sequence[Move]) -> list[Forecast]:
        """Forecasts for moves on top of a form."""
        return self.compare([(form, move) for move in moves])

    def compare(self, options: Sequence[tuple[Place, Move]]) -> list[Forecast]:
        """Forecasts for forms with moves on top of them."""
        values: list[tuple[Place, Mapping[str, Value]]] = [(f, {s.knob.key: s.after for s in m}) for f, m in options]
        mean, spread = self.model.gains(self._space.moved(values))
        worth: Floats = expected_gain(mean, spread, self.model.noise, self._bar)
        found = zip(worth[1:], mean[1:], spread[1:], strict=True)
        return [Forecast(float(w), float(m), float(s), self._unit, self._count) for w, m, s in found]

    def climb(
        self, singles: Sequence[Step], form: Place, start: Move, allowed: Callable[[Move], Move | None]
    ) -> Iterator[tuple[Forecast, Move]]:
        """Moves on top of a form, the most promising first; those after it are one change away."""
        now = self.forecasts(form, [start])[0]
        move, last = start, list[tuple[Forecast, Move]]()
        for turn in range(_ROUNDS):
            options = [m for s in singles if (m := _with(move, s)) != move and len(m) <= MOST]
            last = sorted(zip(self.forecasts(form, options), options, strict=True), key=lambda each: -each[0].worth)
            if not turn:
                singles = [m[-1] for _, m in last[:_WORTHY]]
            hopeful = [each for each in last if each[0].worth > _BETTER * now.worth]
            better = ((forecast, fits) for forecast, option in hopeful for fits in [allowed(option)] if fits)
            found = next(better, None)
            if found is None:
                break
            now, move = found
        if move:
            yield now, move
        yield from last


def _with(move: Move, step: Step) -> Move:
    return (*(s for s in move if s.knob.key != step.knob.key), step)


def _bent(loss: float) -> float:
    return loss if loss < _STEEP else _STEEP * (1 + math.log(loss / _STEEP))
