"""Makes the brief of a request from the state and the repository."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from autoresearch_tui.engine.proposing import fronts
from autoresearch_tui.engine.proposing.attempts import Attempts
from autoresearch_tui.engine.proposing.fingerprints import Fingerprints
from autoresearch_tui.engine.proposing.preflight import fingerprint
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitError, GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.python_source.merge import merge_files
from autoresearch_tui.python_source.syntax import parses
from autoresearch_tui.researchers.base import Attempt, Brief, Front
from autoresearch_tui.session import looks
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.format import front as front_name
from autoresearch_tui.session.prior_results import PriorResult
from autoresearch_tui.session.questions import BASE, COMMIT, OUTCOME
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.sharing.store import Store
from autoresearch_tui.util.frozen import Frozen

# How many prior results' code is compared; each takes a read from git.
_EARLIER_CODES = 200
# How many commits' texts are read ahead, kept in memory, and fingerprinted together.
_AHEAD, _HELD, _TOGETHER = 1000, 2000, 500
_BEFORE = "from before this session"


def program_version(data: bytes) -> str:
    """The version of a program: the first 12 digits of its sha256."""
    return hashlib.sha256(data).hexdigest()[:12]


def _nothing(_: str) -> None:
    return None


class Tried(Frozen):
    """What was tried: looks up the experiment with a fingerprint of code, and the attempt with a setting or a change.

    Code from before the session has a name: its experiment and session, or its commit. `change`: of earlier sessions of
    the lab; the same change of another base is not new.
    """

    code: Callable[[str], int | str | None] = _nothing
    setting: Callable[[str], Attempt | None] = _nothing
    change: Callable[[str], Attempt | None] = _nothing


class _Own(NamedTuple):
    """The code of one of the session's experiments."""

    number: int
    commit: str
    base: str


class SourceCache:
    """The texts of every attempt, read from git once each. Used by the engine's thread and the proposers'."""

    def __init__(self, lab: Lab, repo: GitRepo) -> None:
        self._lab = lab
        self._repo = repo
        self._texts: dict[str, Mapping[str, str]] = {}
        self._fingerprints = Fingerprints(lab.state_folder / "fingerprints", lab.settings.lab.editable)

    def files(self, commit: str) -> Mapping[str, str]:
        """The editable files at a commit."""
        found = self._texts.get(commit)
        if found is None:
            found = self._repo.editable_texts(commit, self._lab.editable)
            self._keep({commit: found})
        return found

    def tried(self, state: State) -> Tried:
        """Look-ups of every attempt's code, setting and change."""
        before, own = self._all(state)
        shared = self._shared(state)

        prints = self._fingerprints

        def setting(digest: str) -> Attempt | None:
            same = prints.having("setting", digest)
            if (found := next((one for one in own if one.commit in same), None)) is not None:
                return Attempts(state)[found.number]
            return _first(one for one in reversed(before) if one.session and one.commit in same) or _first(
                one for one in shared if one.code in same
            )

        def change(print_: str) -> Attempt | None:
            same = prints.having("change", print_)
            changed = (one for one in reversed(before) if one.session and one.base not in ("", one.commit))
            return _first(one for one in changed if one.commit in same) or _first(
                one for one in shared if one.code in same
            )

        return Tried(lambda print_: self._same_code(print_, before, own), setting, change)

    def _same_code(self, print_: str, before: Sequence[PriorResult], own: Sequence[_Own]) -> int | str | None:
        same = self._fingerprints.having("code", print_)
        found = next((one.number for one in own if one.commit in same), None)
        return next((_name(one) for one in reversed(before) if one.commit in same), None) if found is None else found

    def _all(self, state: State) -> tuple[list[PriorResult], list[_Own]]:
        """What was tried before the session and in it; afterwards the fingerprints of its code are known."""
        before = [*self._before(state)]
        # A withdrawn proposal never ran, so it may be proposed again.
        columns = (state.experiments.column(name) for name in ("number", COMMIT, BASE))
        of_all = zip(state.experiments.column(OUTCOME), map(_Own, *columns), strict=True)
        own = [one for outcome, one in of_all if outcome != Outcome.WITHDRAWN]
        self._hold([c for one in before[-_EARLIER_CODES:] for c in (one.commit, one.base)])
        self._hold([one.commit for one in own[-_AHEAD:]])
        self._learn([*before, *own])
        return before, own

    def _before(self, state: State) -> Iterator[PriorResult]:
        """Results that need not run again: the newest of others', and all of our own earlier sessions'."""
        others = [one for one in state.prior if not one.session and one.settled]
        yield from others[-_EARLIER_CODES:]
        yield from (one for one in state.prior if one.session and one.settled)

    def _shared(self, state: State) -> list[PriorResult]:
        """Other labs' comparable discards with known code. A researcher who proposes one is warned and may insist, as
        nothing was verified here."""
        tried = [one for one in state.shared if one.comparable and one.code and one.status == Outcome.DISCARD]
        store = Store.existing(self._lab.state_folder) if tried else None
        if store is None:
            return []
        tried = tried[:_EARLIER_CODES]
        new = self._fingerprints.unknown([one.code for one in tried])
        with contextlib.suppress(GitError):  # a damaged store must not cost a proposal
            codes = store.codes(new, self._lab.editable)
            self._fingerprints.add({tree: code for tree, code in codes.items() if code[0]})
        return tried

    def _hold(self, commits: Sequence[str]) -> None:
        """Read these texts with one git process."""
        missing = [commit for commit in dict.fromkeys(commits) if commit and commit not in self._texts]
        self._keep(self._repo.editable_of_many(missing, self._lab.editable))

    def _keep(self, texts: Mapping[str, Mapping[str, str]]) -> None:
        """Keep the newest texts only: a week on many machines makes gigabytes. Called in any thread."""
        held = {**self._texts, **texts}
        self._texts = dict(list(held.items())[-_HELD:])

    def _learn(self, attempts: Sequence[PriorResult | _Own]) -> None:
        """Fingerprint the code of each attempt that is not known yet."""
        new, held = {*self._fingerprints.unknown(one.commit for one in attempts)}, self._texts
        pairs = [*{one.commit: one.base or one.commit for one in attempts if one.commit in new}.items()]
        # Thousands of texts from before the session are fingerprinted once, and not kept.
        for at in range(0, len(pairs), _TOGETHER):
            few = pairs[at : at + _TOGETHER]
            missing = {commit for pair in few for commit in pair} - held.keys()
            texts = {**self._repo.editable_of_many(sorted(missing), self._lab.editable), **held}
            self._fingerprints.add({commit: (texts[commit], texts[base]) for commit, base in few})

    def reason_to_withdraw(self, state: State, number: int, commit: str) -> str | None:
        """Why a waiting proposal, merged onto the frontier as `commit`, need not run any more; None if it may.

        Quick, as the accelerator waits: earlier checks of each side are not repeated.
        """
        broken = [path for path, text in self.files(commit).items() if path.endswith(".py") and not parses(text)]
        if broken:
            return f"{', '.join(broken)} no longer parses"
        same = self._same_code(fingerprint(self.files(commit)), *self._all(state))
        return None if same in (None, number) else f"it is the same code as experiment {same} now"

    def draft(self, crashed: Experiment, base: str) -> Mapping[str, str] | None:
        """The files of a crashed experiment on top of `base`; None if they clash."""
        before, theirs, ours = self.files(crashed.proposal.base), self.files(crashed.commit), self.files(base)
        found = merge_files(before, ours, theirs)
        return found if found != ours else None

    def paths(self, commit: str) -> tuple[str, ...]:
        """Every path of the lab at a commit, for checking new files; empty if the lab takes none."""
        return self._repo.paths(commit) if self._lab.editable.patterns else ()

    def brief(self, state: State, number: int, base: str, front: int = 0, *, but: int | None = None) -> Brief:
        """The brief for experiment `number`; `but`: the number of one to leave out of its history.

        Raises UserError for an unreadable program.
        """
        settings = self._lab.settings
        program = labs.read_program(self._lab)
        several = len({*state.heads, front}) > 1
        return Brief(
            number=number,
            base=base,
            program=fronts.program_of(program, front) if several else program,
            files=self.files(base),
            locked=self._repo.read_texts(base, settings.lab.visible),
            metric=settings.metric.name,
            goal=settings.metric.goal,
            budget_seconds=settings.run.budget_seconds,
            history=Attempts(state, but),
            notes=state.notes,
            prior=tuple(_earlier(each) for each in state.prior),
            shared=tuple(_earlier(each) for each in state.shared),
            files_at=self.files,
            continued=state.frontier_number if state.frontier is not state.best else None,
            front=_front(state, front, program) if several or state.head(front) is not state.frontier else None,
            editable=self._lab.editable,
            evaluation=looks.sentence(state),
            tried=self._tried_settings(state),
        )

    def _tried_settings(self, state: State) -> Callable[[str], bool]:
        """Whether a setting need not run again; fingerprints are read at the first call."""
        known = functools.cache(lambda: {each.commit for part in self._all(state) for each in part})
        return lambda digest: not known().isdisjoint(self._fingerprints.having("setting", digest))


def _front(state: State, front: int, program: str) -> Front:
    """The front that a brief is for."""
    name, emphasis = front_name(front), fronts.names(program)[front : front + 1]
    head = state.head(front)
    stands = head.number if head is not None and head is not state.frontier else None
    return Front(front, f"{name} ({emphasis[0]})" if emphasis else name, stands)


def _first(results: Iterable[PriorResult]) -> Attempt | None:
    return next(map(_earlier, results), None)


def _name(one: PriorResult) -> str:
    """Its name in a message: experiment and session, or the commit of others' work."""
    return f"{one.number} of session {one.session}" if one.session else f"{one.commit[:7]}, {_BEFORE}"


def _earlier(one: PriorResult) -> Attempt:
    reason = "; ".join((*([one.reason] if one.reason else []), *one.flags))
    value = one.value if not one.origin or one.comparable else None
    return Attempt(
        number=one.number,
        commit=one.commit,
        base=one.base,
        description=one.description,
        hypothesis="",
        outcome=one.status,
        value=value,
        reason=reason,
        session=one.session,
        origin=one.origin,
    )


def packages(lab: Lab) -> tuple[Path, ...]:
    """Where imports are looked up beside our own interpreter; as in a run, the lab's folders come first."""
    paths = (lab.root / name for name in (*lab.editable_files, *lab.settings.lab.locked) if name.endswith(".py"))
    folders = dict.fromkeys((*(path.parent for path in paths), lab.root))
    folders = {folder: None for folder in folders if not (folder / "__init__.py").exists()}  # not those of packages
    return (*folders, *(lab.venv.glob("lib/python3*/site-packages") if lab.venv else ()))
