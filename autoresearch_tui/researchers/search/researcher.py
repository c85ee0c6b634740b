"""The offline researcher: changes constants and makes structural edits, guided by earlier results.

It needs no key and no network, and is the honest baseline that a language model has to beat. It keeps no state:
every proposal follows from the seed and the brief. What it caches only saves time.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from msgspec.structs import replace

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.python_source.constants import Knob, Value
from autoresearch_tui.python_source.setting import Setting, edited, reading
from autoresearch_tui.python_source.setting import read as read_setting
from autoresearch_tui.researchers.base import RAN, Attempt, Brief, Proposal, ResearcherError
from autoresearch_tui.researchers.search import breadth, facts, lines, moves, steering, structure, wording
from autoresearch_tui.researchers.search.ascent import Ascent, Forecast, seen
from autoresearch_tui.researchers.search.breadth import Shaping
from autoresearch_tui.researchers.search.moves import LEVELS, Step
from autoresearch_tui.researchers.search.space import Part, Place, Space, parts
from autoresearch_tui.researchers.search.steering import (
    Belief,
    Bounds,
    PastTrial,
    kinds,
    spread_of,
    worthwhile,
)
from autoresearch_tui.researchers.search.structure import Edit
from autoresearch_tui.session.ends import SCORED, Outcome
from autoresearch_tui.session.stream_marks import TEXT, part
from autoresearch_tui.util.frozen import Frozen

Move = tuple[Step, ...]


class Reshaped(Frozen):
    """An edit, and changes of numbers with it."""

    edit: Edit
    move: Move


Idea = Move | Edit | Reshaped

_FOLLOW = 0.8  # the share of kept directions that are followed at once
_PAIR = 0.12
_PLATEAU = 8  # experiments without a keep
_PAIR_ON_PLATEAU = 0.25
_FEW = 3  # knobs
_MOST_KNOBS = 1000  # because the belief about them is a matrix
_WANDERINGS = 200
_EARLIER = 40  # attempts whose lines may come back
_LATELY = 1000  # attempts that the search learns from
_BEFORE = 200  # the same for earlier sessions
_ENOUGH = 5  # scores that the surrogate needs
_MANY = 6  # numbers; fewer take no more runs one by one
_CHOICE_EVERY = 10  # proposals
# The coarse steps of one move at most; fewer for whole numbers, because a run's memory and time depend on them.
_TRUST, _TRUST_OF_SIZES = 2.2, 1.3
_MOST_SHAPES = 60  # edits of code
_MOST_SPANNED = 100  # knobs
_HOPEFUL = 0.3  # share of the best move's worth from which another form is searched further
_TELLING = RAN | {Outcome.VETOED}


class Search:
    """A :class:`~autoresearch_tui.researchers.base.Researcher` that works offline; the same seed gives the same
    proposals."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._settings: dict[str, Setting] = {}
        self._shapes: dict[str, Mapping[str, Edit]] = {}
        self._parts: dict[str, tuple[Part, ...]] = {}
        self._asked: tuple[int, str] | None = None
        self._answers: list[str] = []  # to that question until now

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """The next step of the search. Raises ResearcherError if no constant is found or none is left to try."""
        asked = (brief.number, brief.base)
        refused = self._answers if brief.complaint and self._asked == asked else []
        if brief.complaint and not refused:  # after a restart: it would have made the refused proposal
            first = _Plan(self, brief, self._seed, "", []).best(cancelled)
            refused = [first[1]] if first else []
        plan = _Plan(self, brief, self._seed, brief.complaint, refused)
        found = plan.best(cancelled)
        if found is None:
            return None
        move, identity, files = found
        self._asked, self._answers = asked, [*refused, identity]
        words = plan.words(move)
        proposal = Proposal(*words, files)
        say(f"{part(TEXT, proposal.description)}: {proposal.hypothesis}\n")
        return proposal

    def forget(self, attempts: Sequence[Attempt], brief: Brief) -> None:
        """Drops cached readings of attempts other than these and the brief's prior ones."""
        needed = {brief.base, *(commit for a in chain(attempts, brief.prior) for commit in (a.commit, a.base))}
        self._settings = {commit: known for commit, known in self._settings.items() if commit in needed}
        self._shapes = {commit: known for commit, known in self._shapes.items() if commit in needed}
        self._parts = {commit: known for commit, known in self._parts.items() if commit in needed}

    def setting(self, brief: Brief, commit: str) -> Setting | None:
        """The editable files at a commit as values; None if they are lost."""
        if not commit:
            return None
        if commit not in self._settings:
            try:
                files = brief.files_at(commit)
            except (KeyError, OSError):
                return None
            if not files:
                return None
            self._settings[commit] = read_setting(files)
        return self._settings[commit]

    def parts(self, brief: Brief, commit: str) -> Sequence[Part] | None:
        """The editable files at a commit, site by site; None if they are lost."""
        if not commit:
            return None
        if commit not in self._parts:
            try:
                files = brief.files_at(commit)
            except (KeyError, OSError):
                return None
            self._parts[commit] = parts(files)
        return self._parts[commit] or None

    def shapes(self, brief: Brief, commit: str) -> Mapping[str, Edit]:
        """Every structural edit of the files at a commit, by the digest of the edited files."""
        if commit not in self._shapes:
            files = brief.files if commit == brief.base else brief.files_at(commit)
            self._shapes[commit] = {
                read_setting({**files, path: edit.text}).digest: edit
                for path, text in files.items()
                if path.endswith(".py")
                for edit in structure.edits(path, text)
            }
        return self._shapes[commit]


class _Plan:
    """One proposal in the making."""

    def __init__(self, search: Search, brief: Brief, seed: int, salt: str, refused: Sequence[str]) -> None:
        self._brief = brief
        self._search = search
        self._rng = random.Random(f"{seed}/{brief.number}/{len(brief.history)}/{salt}")
        self._here = read_setting(brief.files)
        lately = brief.history[-_LATELY:]
        scores = _newest_scores(brief.history, {a.base for a in lately}, len(lately))
        search.forget(lately, brief)
        settings = {a.number: search.setting(brief, a.commit) for a in lately}
        never_run = {a.number for a in lately if a.outcome == Outcome.WITHDRAWN}
        self._tried = {
            self._here.digest,
            *refused,
            *(s.digest for n, s in settings.items() if s and n not in never_run),
        }
        texts = {path: text for path, text in {**brief.locked, **brief.files}.items() if path.endswith(".py")}
        self._choices = facts.choices(texts)
        self._rules = facts.Rules(texts)
        everything = (k for path, text in brief.files.items() if (r := reading(path, text)) for k in r.knobs)
        found = list(itertools.islice(everything, _MOST_KNOBS))
        self._groups = moves.usable(found, texts)
        self.kinds = kinds(found, self._choices)
        self._front = {a.number for a in lately if brief.front is None or a.front == brief.front.number}
        self.trials = list(_trials(brief, lately, scores, settings, search))
        self._known = [*_trials_before(brief, search), *self.trials]
        self.shapings = list(_shapings(brief, lately, scores, settings, search))
        self._edits = list(search.shapes(brief, brief.base).values()) if brief.files else []
        self._edits += _line_edits(brief)
        self.forecast: Forecast | None = None
        self._dead = breadth.dead(self._known)
        self._bounds = Bounds(self._known, self.kinds)
        if not any(self._groups) and not self._edits:
            names = ", ".join(brief.files) or "no file at all"
            needs = "the offline search needs a constant, such as RATE = 0.1, or lines of text"
            raise ResearcherError(f"nothing to turn in {names}: {needs}", fatal=True)

    def best(self, cancelled: threading.Event) -> tuple[Idea, str, dict[str, str]] | None:
        """The best idea, its setting and its files; None when cancelled."""
        for idea in self._ranked():
            if cancelled.is_set():
                return None
            files = None if isinstance(idea, tuple) else self._files(idea)
            identity = self._identity(idea) if isinstance(idea, tuple) else self._read(files or {})
            if identity in self._tried or self._brief.tried(identity):
                continue
            if isinstance(idea, tuple):
                files = self._files(idea)
            # The edited files must read back as the intended setting.
            if files is not None and self._read(files) == identity:
                return idea, identity, files
        raise ResearcherError("everything that the offline search can reach has been tried", fatal=True)

    def words(self, idea: Idea) -> tuple[str, str]:
        """The description and the hypothesis of an idea."""
        edit = idea if isinstance(idea, Edit) else idea.edit if isinstance(idea, Reshaped) else None
        move = idea.move if isinstance(idea, Reshaped) else idea if isinstance(idea, tuple) else ()
        of_edit = wording.of_edit(edit, self.shapings) if edit else ("", "")
        if not move:
            return of_edit
        description = wording.description(move, of_edit[0])
        if self.forecast is None:
            return description, wording.hypothesis(move, self.trials, self.kinds, self._brief.metric)
        forecast = wording.forecast(self.forecast, self._brief.metric)
        return description, f"{of_edit[1]}; {forecast}" if edit else forecast

    def _files(self, idea: Idea) -> dict[str, str] | None:
        """The changed files of an idea; None if a number is not there any more."""
        if isinstance(idea, Edit):
            return {idea.path: idea.text}
        if isinstance(idea, tuple):
            return _edited(self._brief.files, idea)
        shaped = {**self._brief.files, idea.edit.path: idea.edit.text}
        there = {k.key: k for path, text in shaped.items() if (r := reading(path, text)) for k in r.knobs}
        if any(step.knob.key not in there for step in idea.move):
            return None
        move = [replace(step, knob=there[step.knob.key]) for step in idea.move]
        return {idea.edit.path: idea.edit.text, **(_edited(shaped, move) or {})}

    def _read(self, files: Mapping[str, str]) -> str:
        return read_setting({**self._brief.files, **files}).digest

    def _ascended(self) -> Iterator[Idea]:
        """Ideas by expected gain from all scores, if there are enough scores and many numbers."""
        active = [knob for knob in self._active() if knob.key in self.kinds]
        others = [knob for group in self._groups[:3] for knob in group if knob.key in self.kinds and knob not in active]
        spanned = [*active, *others][:_MOST_SPANNED]
        space = Space(self._parts(self._brief.base) or (), {knob.key: self.kinds[knob.key] for knob in spanned})
        if sum(knob.key in space.keys for knob in active) < _MANY:
            return
        attempts = [a for a in self._brief.prior[-_BEFORE:] if a.session] + [*self._brief.history[-_BEFORE:]]
        known = seen(self._brief, attempts, self._parts, space)
        if sum(not s.failed for s in known) < _ENOUGH or all(s.group for s in known):
            return
        shapes = self._shapes(active, space)
        spreads = {knob.key: steering.spread(knob) for knob in spanned}
        forms = [form for _, form in shapes]
        ascent = Ascent(space, known, spread_of(self._known), [spreads[key] for key in space.keys], forms)
        numbers = (s for knob in active if knob.key in spreads and knob.key in space.keys for s in self._steps(knob))
        singles = [s for s in numbers if abs(space.offset(s.knob.key, s.after)) <= self._trusted(s.knob)]
        yield from self._climbed(ascent, space, singles, shapes)

    def _trusted(self, knob: Knob) -> float:
        return _TRUST if isinstance(knob.value, float) else _TRUST_OF_SIZES

    def _overdue(self) -> Iterator[Idea]:
        """Now and then a switch or a choice that was never changed, because the numbers say nothing about those."""
        if self._brief.number % _CHOICE_EVERY:
            return
        turned = {key for trial in self._known for key in trial.changes}
        choices = (k for k in self._active() if k.key not in turned and isinstance(k.value, bool | str))
        yield from self._valid((step,) for knob in choices for step in self._steps(knob))

    def _climbed(
        self, ascent: Ascent, space: Space, singles: Sequence[Step], shapes: Sequence[tuple[Edit | Step, Place]]
    ) -> Iterator[Idea]:
        """Moves, and first another form of code if it promises more than numbers alone."""
        moves = ascent.climb(singles, space.base, (), self._allowed)
        best = next(moves, None)
        if best is None:
            return
        self.forecast = best[0]
        options = [(change, form, move) for change, form in shapes for move in ((), best[1])]
        forecasts = ascent.compare([(form, move) for _, form, move in options])
        hopeful = max(zip(forecasts, options, strict=True), key=lambda each: each[0].worth, default=None)
        if hopeful is not None and hopeful[0].worth > _HOPEFUL * best[0].worth:
            change, form, start = hopeful[1]
            found = max(
                [(hopeful[0], start), *itertools.islice(ascent.climb(singles, form, start, self._allowed), 1)],
                key=lambda each: each[0].worth,
            )
            if found[0].worth > best[0].worth:
                self.forecast = found[0]
                yield from _shaped(change, found[1])
                self.forecast = best[0]
        yield from self._valid([best[1]])
        for self.forecast, move in moves:
            yield from self._valid([move])
        self.forecast = None

    def _shapes(self, active: Sequence[Knob], space: Space) -> list[tuple[Edit | Step, Place]]:
        """Other forms of code, the most promising families first, and other choices, each with its place."""
        files = self._brief.files
        edits = breadth.ranked(self._edits, self.shapings, True, self._rng)[:_MOST_SHAPES]
        found: list[tuple[Edit | Step, Place]] = [
            (edit, space.place(parts({**files, edit.path: edit.text}))) for edit in edits
        ]
        for step in (s for knob in active if knob.key not in space.keys for s in self._steps(knob)):
            if self._allowed((step,)):
                forms = {**space.base.forms, step.knob.key: repr(step.after)}
                found.append((step, replace(space.base, forms=forms)))
        return found

    def _parts(self, commit: str) -> Sequence[Part] | None:
        return self._search.parts(self._brief, commit)

    def _allowed(self, move: Move) -> Move | None:
        return next(iter(self._valid([move])), None)

    def _ranked(self) -> Iterator[Idea]:
        """Ideas from the most to the least promising: a structure if it is its turn, steps, pairs, anything new."""
        yield from self._overdue()
        yield from self._ascended()
        knobs_now = self._active()
        belief = Belief([k for g in self._groups for k in g], self.kinds, self._known, self._rng)
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
        """The arms to choose from; without structural edits, always both of the others."""
        if not self._edits:
            return [breadth.DEEPER, breadth.WIDER]
        arms = [breadth.DEEPER] if known else []
        arms += [breadth.WIDER] if any(knob.key not in known for knob in active) else []
        return [*arms, breadth.STRUCTURE]

    def _active(self) -> list[Knob]:
        """The knobs in play: the obvious ones first, deeper ones if those are few or have stopped paying."""
        active: list[Knob] = list(self._groups[0])
        for group in self._groups[1:3]:
            if len(active) < _FEW or self._stale() >= 2 * _PLATEAU:
                active += group
        active = active or list(self._groups[3])
        return [knob for knob in active if knob.key not in self._dead] or active

    def _stale(self) -> int:
        """Decided experiments of this front since the last one that was kept."""
        both: list[PastTrial | Shaping] = [*self.trials, *self.shapings]
        everything = sorted(both, key=lambda t: -t.number)
        decided = [t.outcome for t in everything if t.outcome in RAN and t.number in self._front]
        return next((i for i, outcome in enumerate(decided) if outcome == Outcome.KEEP), len(decided))

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
        """Mostly, steps further in the direction kept last, while it still pays."""
        decided = [t for t in self.trials if t.outcome in RAN and t.number in self._front]
        if not decided or decided[-1].outcome != Outcome.KEEP or self._rng.random() > _FOLLOW:
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
            if trial.outcome == Outcome.DISCARD and before == here[key].value and trial.gain > -0.7 * unit:
                hopeful[key] = Step(here[key], after, moves.direction(before, after))
            elif trial.outcome == Outcome.KEEP and after == here[key].value:
                onward = [s for s in self._open_steps(here[key]) if s.direction == moves.direction(before, after)]
                if onward:
                    hopeful[key] = onward[0]
        chosen = sorted(hopeful.values(), key=lambda s: belief.score([s]), reverse=True)[:8]
        yield from itertools.combinations(chosen, 2)
        yield from moves.trades(self._groups[0])

    def _wandering(self, everything: Sequence[Knob]) -> Iterator[Move]:
        """The last resort: several random steps on any one, two, three, ... knobs, until nothing new turns up."""
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
        """The moves that no veto, no crash and no statement of the file forbids; repairs what it can."""
        result = []
        for move in candidates:
            if not self._bounds.allows(move):
                continue
            if self._rules.kept(_named_values(move)):
                result.append(move)
            elif repaired := self._repaired(move):
                result.append(repaired)
        return result

    def _repaired(self, move: Move) -> Move | None:
        """The move with a second constant changed as well, so that the file's assertions still hold."""
        partners = self._rules.partners(_named_values(move))
        for knob in self._groups[0]:
            if knob.name not in partners:
                continue
            for step in chain(*(moves.steps(knob, level) for level in range(3))):
                both = (*move, step)
                if self._bounds.allows(both) and self._rules.kept(_named_values(both)):
                    return both
        return None

    def _identity(self, move: Move) -> str:
        changed = {step.knob.key: step.after for step in move}
        return Setting(self._here.skeleton, {**self._here.values, **changed}).digest


def _trials(
    brief: Brief,
    attempts: Sequence[Attempt],
    scores: Mapping[str, float],
    settings: Mapping[int, Setting | None],
    search: Search,
) -> Iterator[PastTrial]:
    """The attempts that changed only knobs, with their gains over their bases."""
    for attempt in attempts:
        after, before = settings[attempt.number], search.setting(brief, attempt.base)
        if after is None or before is None or after.skeleton != before.skeleton:
            continue
        changes = {k: (before.values[k], v) for k, v in after.values.items() if before.values[k] != v}
        if changes:
            yield _trial(attempt, changes, scores, brief.goal)


def _trials_before(brief: Brief, search: Search) -> list[PastTrial]:
    """The same for the newest attempts of earlier sessions, with numbers below this session's."""
    before = [a for a in brief.prior if a.session and a.base and a.outcome in _TELLING][-_BEFORE:]
    scores = {(a.session, a.commit): a.value for a in before if a.value is not None and a.outcome in SCORED}
    found = []
    for number, attempt in enumerate(before, start=-len(before)):
        after, base = search.setting(brief, attempt.commit), search.setting(brief, attempt.base)
        if after is None or base is None or after.skeleton != base.skeleton:
            continue
        changes = {k: (base.values[k], v) for k, v in after.values.items() if base.values[k] != v}
        if changes:
            old, new = scores.get((attempt.session, attempt.base)), scores.get((attempt.session, attempt.commit))
            gain = _gain(old, new, brief.goal)
            found.append(PastTrial(number, attempt.outcome, changes, gain, old, new))
    return found


def _shapings(
    brief: Brief,
    attempts: Sequence[Attempt],
    scores: Mapping[str, float],
    settings: Mapping[int, Setting | None],
    search: Search,
) -> Iterator[Shaping]:
    """The attempts, by any author, that were one structural edit of their base."""
    for attempt in attempts:
        after, before = settings[attempt.number], search.setting(brief, attempt.base)
        if after is None or before is None or after.skeleton == before.skeleton:
            continue
        edit = search.shapes(brief, attempt.base).get(after.digest)
        edit = edit or lines.between(brief.files_at(attempt.base), brief.files_at(attempt.commit))
        if edit is not None:
            old, new = _scores(attempt, scores)
            yield Shaping(attempt.number, _outcome(attempt), edit, _gain(old, new, brief.goal))


def _outcome(attempt: Attempt) -> str:
    """The outcome for the attempt's own front."""
    return Outcome.KEEP if attempt.leads else attempt.outcome


def _newest_scores(history: Sequence[Attempt], bases: set[str], at_least: int) -> dict[str, float]:
    """Scores by commit, of the newest `at_least` attempts, and of older ones until every base has a score."""
    found: dict[str, float] = {}
    for place, attempt in enumerate(reversed(history)):
        if place >= at_least and bases <= found.keys():
            break
        if attempt.value is not None and attempt.outcome in SCORED:
            found.setdefault(attempt.commit, attempt.value)
    return found


def _scores(attempt: Attempt, scores: Mapping[str, float]) -> tuple[float | None, float | None]:
    """The scores of its base and of itself, on the same draw if each verdict has its own."""
    if attempt.base_there is not None:
        return attempt.base_there, attempt.value
    return scores.get(attempt.base), scores.get(attempt.commit)


def _gain(old: float | None, new: float | None, goal: Goal) -> float | None:
    return None if old is None or new is None else goal.gain(old, new)


def _trial(
    attempt: Attempt, changes: Mapping[str, tuple[Value, Value]], scores: Mapping[str, float], goal: Goal
) -> PastTrial:
    old, new = _scores(attempt, scores)
    return PastTrial(attempt.number, _outcome(attempt), changes, _gain(old, new, goal), old, new)


def _line_edits(brief: Brief) -> list[Edit]:
    """Edits of lines of the files that are not code, with lines of their earlier versions, the newest first."""
    newest = [a.commit for a in reversed(brief.history[-_EARLIER:]) if a.commit != brief.base]
    versions = list(_versions(brief, newest))
    found: list[Edit] = []
    for path, text in brief.files.items():
        if not path.endswith(".py"):
            found += lines.edits(path, text, lines.earlier(text, (v[path] for v in versions if path in v)))
    return found


def _versions(brief: Brief, commits: Sequence[str]) -> Iterator[Mapping[str, str]]:
    for commit in commits:
        try:
            yield brief.files_at(commit)
        except (KeyError, OSError):
            continue


def _shaped(change: Edit | Step, move: Move) -> Iterator[Idea]:
    """A form of code, or a choice, with changes of numbers, then without."""
    if isinstance(change, Step):
        yield (change, *move)
        yield (change,)
    else:
        yield Reshaped(change, move)
        yield change


def _edited(files: Mapping[str, str], move: Sequence[Step]) -> dict[str, str] | None:
    result = {}
    for path in {step.knob.path for step in move}:
        result[path] = edited(path, files[path], {s.knob: s.after for s in move if s.knob.path == path})
    return result


def _named_values(move: Sequence[Step]) -> dict[str, Value]:
    return {step.knob.name: step.after for step in move}
