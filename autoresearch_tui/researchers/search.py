"""The offline researcher: turns constants and makes structural edits, steered by what was kept and what was not.

It needs no key and no network, and is the honest baseline that a language model has to beat. It keeps no state:
every proposal follows from the seed and the brief. What it caches only saves time.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autoresearch_tui.parts import TEXT, part
from autoresearch_tui.researchers import breadth, facts, knobs, moves, structure, wording
from autoresearch_tui.researchers.base import Attempt, Brief, Proposal, ResearcherError
from autoresearch_tui.researchers.breadth import Shaping
from autoresearch_tui.researchers.knobs import Knob, Value
from autoresearch_tui.researchers.moves import LEVELS, Step
from autoresearch_tui.researchers.steering import DECIDED, Belief, Bounds, Trial, kinds, spread_of, worthwhile
from autoresearch_tui.researchers.structure import Edit

Move = tuple[Step, ...]
Idea = Move | Edit
Identity = tuple[str, frozenset[tuple[str, Value]]]

_FOLLOW = 0.8  # how often a direction that was just kept is followed at once
_PAIR = 0.12
_PLATEAU = 8  # experiments without a keep
_PAIR_ON_PLATEAU = 0.25
_FEW = 3  # knobs
_WANDERINGS = 200


@dataclass(frozen=True, slots=True)
class _Setting:
    """One version of the editable files, as values."""

    skeleton: str
    values: Mapping[str, Value]

    @property
    def identity(self) -> Identity:
        return self.skeleton, frozenset(self.values.items())


class Search:
    """A :class:`~autoresearch_tui.researchers.base.Researcher` that works offline, the same for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._settings: dict[str, _Setting] = {}
        self._shapes: dict[str, Mapping[Identity, Edit]] = {}
        self._asked: tuple[int, str] | None = None
        self._answers: list[Identity] = []  # to that question so far

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """The next step of the search. Raises ResearcherError where no constant can be found or none is left to try."""
        asked = (brief.number, brief.base)
        refused = self._answers if brief.complaint and self._asked == asked else []
        if brief.complaint and not refused:  # after a restart: what was refused is what it would have said
            first = _Plan(self, brief, self._seed, "", []).best(cancelled)
            refused = [first[1]] if first else []
        plan = _Plan(self, brief, self._seed, brief.complaint, refused)
        found = plan.best(cancelled)
        if found is None:
            return None
        move, identity, files = found
        self._asked, self._answers = asked, [*refused, identity]
        if isinstance(move, Edit):
            words = wording.of_edit(move, plan.shapings)
        else:
            words = wording.description(move), wording.hypothesis(move, plan.trials, plan.kinds, brief.metric)
        proposal = Proposal(*words, files)
        say(f"{part(TEXT, proposal.description)}: {proposal.hypothesis}\n")
        return proposal

    def setting(self, brief: Brief, commit: str) -> _Setting | None:
        """The editable files at a commit as values; None where they are lost."""
        if not commit:
            return None
        if commit not in self._settings:
            try:
                files = brief.files_at(commit)
            except (KeyError, OSError):
                return None
            if not files:
                return None
            self._settings[commit] = _setting(files)
        return self._settings[commit]

    def shapes(self, brief: Brief, commit: str) -> Mapping[Identity, Edit]:
        """Every structural edit of the files at a commit, by what the files would say after it."""
        if commit not in self._shapes:
            files = brief.files if commit == brief.base else brief.files_at(commit)
            self._shapes[commit] = {
                _setting({**files, path: edit.text}).identity: edit
                for path, text in files.items()
                if path.endswith(".py")
                for edit in structure.edits(path, text)
            }
        return self._shapes[commit]


class _Plan:
    """One proposal in the making."""

    def __init__(self, search: Search, brief: Brief, seed: int, salt: str, refused: Sequence[Identity]) -> None:
        self._brief = brief
        self._rng = random.Random(f"{seed}/{brief.number}/{len(brief.history)}/{salt}")
        self._here = _setting(brief.files)
        settings = {a.number: search.setting(brief, a.commit) for a in brief.history}
        self._tried = {self._here.identity, *refused, *(s.identity for s in settings.values() if s)}
        texts = {**brief.locked, **brief.files}
        self._choices = facts.choices(texts)
        self._rules = facts.Rules(texts)
        found = [k for path, text in brief.files.items() if (r := _read(path, text)) for k in r.knobs]
        self._groups = moves.usable(found, texts)
        self.kinds = kinds(found, self._choices)
        self.trials = list(_trials(brief, settings, search))
        self.shapings = list(_shapings(brief, settings, search))
        self._edits = list(search.shapes(brief, brief.base).values()) if brief.files else []
        self._dead = breadth.dead(self.trials)
        self._bounds = Bounds(self.trials, self.kinds)
        if not any(self._groups) and not self._edits:
            raise ResearcherError(
                f"nothing to turn in {', '.join(brief.files)}: the offline search needs a constant, such as RATE = 0.1",
                fatal=True,
            )

    def best(self, cancelled: threading.Event) -> tuple[Idea, Identity, dict[str, str]] | None:
        """What the table speaks for, its setting and its files; None when cancelled."""
        for idea in self._ranked():
            if cancelled.is_set():
                return None
            files = {idea.path: idea.text} if isinstance(idea, Edit) else None
            identity = self._identity(idea) if not isinstance(idea, Edit) else self._read(files or {})
            if identity in self._tried:
                continue
            if not isinstance(idea, Edit):
                files = _edited(self._brief.files, idea)
            # What was written must read back as what was meant, and be a code nobody has run.
            if files is not None and self._read(files) == identity:
                return idea, identity, files
        raise ResearcherError("everything that the offline search can reach has been tried", fatal=True)

    def _read(self, files: Mapping[str, str]) -> Identity:
        return _setting({**self._brief.files, **files}).identity

    def _ranked(self) -> Iterator[Idea]:
        """From the most to the least promising: a structure where its turn has come, steps, pairs, anything new."""
        knobs_now = self._active()
        belief = Belief([k for g in self._groups for k in g], self.kinds, self.trials, self._rng)
        singles = self._valid((s,) for knob in knobs_now for s in self._open_steps(knob))
        singles.sort(key=belief.score, reverse=True)
        paired = self._rng.random() < (_PAIR_ON_PLATEAU if self._stale() >= _PLATEAU else _PAIR)
        if paired:
            yield from self._paired(belief)
        yield from self._followed(singles)
        known = {key for trial in self.trials for key in trial.changes}
        arm = breadth.arm(
            self.trials, self.shapings, self._arms(knobs_now, known), self._stale() >= _PLATEAU, self._rng
        )
        shapes = breadth.ranked(self._edits, self.shapings, self._stale() >= 2 * _PLATEAU, self._rng)
        if arm == breadth.STRUCTURE:
            yield from shapes
        yield from (m for m in singles if (m[0].knob.key in known) == (arm == breadth.DEEPER))
        yield from singles
        yield from self._paired(belief)
        yield from shapes
        everything = [knob for group in self._groups for knob in group]
        again = self._valid((s,) for knob in everything for s in self._steps(knob))
        yield from sorted(again, key=belief.score, reverse=True)
        yield from self._wandering(everything)

    def _arms(self, active: Sequence[Knob], known: set[str]) -> list[str]:
        """What there is to choose from: without structural edits, always both of the others."""
        if not self._edits:
            return [breadth.DEEPER, breadth.WIDER]
        arms = [breadth.DEEPER] if known else []
        arms += [breadth.WIDER] if any(knob.key not in known for knob in active) else []
        return [*arms, breadth.STRUCTURE]

    def _active(self) -> list[Knob]:
        """The knobs in play: the obvious ones first, deeper ones where those are few or have stopped paying."""
        active: list[Knob] = list(self._groups[0])
        for group in self._groups[1:3]:
            if len(active) < _FEW or self._stale() >= 2 * _PLATEAU:
                active += group
        active = active or list(self._groups[3])
        return [knob for knob in active if knob.key not in self._dead] or active

    def _stale(self) -> int:
        """Decided experiments since the last one that was kept."""
        both: list[Trial | Shaping] = [*self.trials, *self.shapings]
        everything = sorted(both, key=lambda t: -t.number)
        decided = [t.outcome for t in everything if t.outcome in DECIDED]
        return next((i for i, outcome in enumerate(decided) if outcome == "keep"), len(decided))

    def _steps(self, knob: Knob) -> Iterator[Step]:
        options = self._choices.get("" if self.kinds.get(knob.key) == "pattern" else knob.name.split(".")[-1], ())
        for level in range(LEVELS):
            yield from moves.steps(knob, level, options)

    def _open_steps(self, knob: Knob) -> list[Step]:
        """The steps at the coarsest level where one side is still open: a step halves once both sides have failed."""
        options = self._choices.get("" if self.kinds.get(knob.key) == "pattern" else knob.name.split(".")[-1], ())
        for level in range(LEVELS - 1):
            steps = [
                step
                for step in moves.steps(knob, level, options)
                if not self._bounds.spent(step) and self._bounds.allows([step])
            ]
            if steps:
                return steps
        return []

    def _followed(self, singles: Sequence[Move]) -> Iterator[Move]:
        """Further in the direction that was kept last, most of the time, while it still pays."""
        decided = [t for t in self.trials if t.outcome in DECIDED]
        if not decided or decided[-1].outcome != "keep" or self._rng.random() > _FOLLOW:
            return
        if not worthwhile(decided[-1], decided):
            return
        kept = {key: moves.direction(*change) for key, change in decided[-1].changes.items()}
        yield from (m for m in singles if kept.get(m[0].knob.key) == m[0].direction)

    def _paired(self, belief: Belief) -> list[Move]:
        return sorted(self._valid(self._pairs(belief)), key=belief.score, reverse=True)

    def _pairs(self, belief: Belief) -> Iterator[Move]:
        """Near misses together, and directions that were kept together."""
        unit = spread_of(self.trials)
        here = {k.key: k for g in self._groups for k in g}
        hopeful: dict[str, Step] = {}
        for trial in self.trials:
            key = trial.single
            if key is None or key not in here or trial.gain is None or key in self._dead:
                continue
            before, after = trial.changes[key]
            if trial.outcome == "discard" and before == here[key].value and trial.gain > -0.7 * unit:
                hopeful[key] = Step(here[key], after, moves.direction(before, after))
            elif trial.outcome == "keep" and after == here[key].value:
                onward = [s for s in self._open_steps(here[key]) if s.direction == moves.direction(before, after)]
                if onward:
                    hopeful[key] = onward[0]
        chosen = sorted(hopeful.values(), key=lambda s: belief.score([s]), reverse=True)[:8]
        yield from itertools.combinations(chosen, 2)
        yield from moves.trades(self._groups[0])

    def _wandering(self, everything: Sequence[Knob]) -> Iterator[Move]:
        """The last resort: some steps in a row on any one, two, three, ... knobs, until nothing new turns up."""
        for size in range(1, len(everything) + 1):
            for _ in range(_WANDERINGS):
                ends = [self._wandered(knob) for knob in self._rng.sample(everything, size)]
                if all(step.after != step.knob.value for step in ends):
                    yield from self._valid([tuple(ends)])

    def _wandered(self, knob: Knob) -> Step:
        at = knob
        for _ in range(self._rng.randint(1, 4)):
            if steps := list(self._steps(at)):
                at = replace(at, value=self._rng.choice(steps).after)
        return Step(knob, at.value, moves.direction(knob.value, at.value))

    def _valid(self, candidates: Iterator[Move] | Sequence[Move]) -> list[Move]:
        """The moves that no veto, no crash and no statement of the file forbids; a broken statement is mended."""
        result = []
        for move in candidates:
            if not self._bounds.allows(move):
                continue
            if self._rules.kept(_named_values(move)):
                result.append(move)
            elif mended := self._mended(move):
                result.append(mended)
        return result

    def _mended(self, move: Move) -> Move | None:
        """The move with a second constant moved along, so that what the file asserts goes on to hold."""
        partners = self._rules.partners(_named_values(move))
        for knob in self._groups[0]:
            if knob.name not in partners:
                continue
            for step in itertools.chain(*(moves.steps(knob, level) for level in range(3))):
                both = (*move, step)
                if self._bounds.allows(both) and self._rules.kept(_named_values(both)):
                    return both
        return None

    def _identity(self, move: Move) -> Identity:
        changed = {step.knob.key: step.after for step in move}
        return self._here.skeleton, frozenset({**self._here.values, **changed}.items())


def _trials(brief: Brief, settings: Mapping[int, _Setting | None], search: Search) -> Iterator[Trial]:
    """The attempts that only turned knobs, with what they gained over the code they started from."""
    sign = -1 if brief.goal == "minimize" else 1
    scores = {a.commit: a.value for a in brief.history if a.value is not None and a.outcome in ("keep", "discard")}
    for attempt in brief.history:
        after, before = settings[attempt.number], search.setting(brief, attempt.base)
        if after is None or before is None or after.skeleton != before.skeleton:
            continue
        changes = {k: (before.values[k], v) for k, v in after.values.items() if before.values[k] != v}
        if changes:
            yield _trial(attempt, changes, scores, sign)


def _shapings(brief: Brief, settings: Mapping[int, _Setting | None], search: Search) -> Iterator[Shaping]:
    """The attempts that were one structural edit of the code they started from, whoever made them."""
    sign = -1 if brief.goal == "minimize" else 1
    scores = {a.commit: a.value for a in brief.history if a.value is not None and a.outcome in ("keep", "discard")}
    for attempt in brief.history:
        after, before = settings[attempt.number], search.setting(brief, attempt.base)
        if after is None or before is None or after.skeleton == before.skeleton:
            continue
        edit = search.shapes(brief, attempt.base).get(after.identity)
        if edit is not None:
            old, new = scores.get(attempt.base), scores.get(attempt.commit)
            yield Shaping(attempt.number, attempt.outcome, edit, _gain(old, new, sign))


def _gain(old: float | None, new: float | None, sign: int) -> float | None:
    return None if old is None or new is None else sign * (new - old)


def _trial(
    attempt: Attempt, changes: Mapping[str, tuple[Value, Value]], scores: Mapping[str, float], sign: int
) -> Trial:
    old, new = scores.get(attempt.base), scores.get(attempt.commit)
    return Trial(attempt.number, attempt.outcome, changes, _gain(old, new, sign), old, new)


def _read(path: str, text: str) -> knobs.Reading | None:
    return knobs.read(path, text) if path.endswith(".py") else None


def _setting(files: Mapping[str, str]) -> _Setting:
    skeletons, values = [], {}
    for path, text in sorted(files.items()):
        reading = _read(path, text)
        skeletons.append(f"{path}\0{reading.skeleton if reading else text.rstrip()}\0")
        values.update(reading.values if reading else {})
    return _Setting(hashlib.sha256("".join(skeletons).encode()).hexdigest(), values)


def _edited(files: Mapping[str, str], move: Move) -> dict[str, str] | None:
    result = {}
    for path in {step.knob.path for step in move}:
        result[path] = knobs.edit(files[path], {s.knob: s.after for s in move if s.knob.path == path})
    return result


def _named_values(move: Sequence[Step]) -> dict[str, Value]:
    return {step.knob.name: step.after for step in move}
