"""Results of other labs: journalled when `fetch-shared` has brought some, and tried if the lab's settings say so.

Their scores only decide what is tried first; our own referee decides what is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

from autoresearch_tui.engine.proposing import file_checks, preflight
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.editable import change_between
from autoresearch_tui.lab.git import GitError
from autoresearch_tui.python_source.merge import merge_files
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.comparing import measured
from autoresearch_tui.session.ends import JUDGED, Outcome
from autoresearch_tui.session.prior_results import RECORD_ROWS, PriorResult, to_rows
from autoresearch_tui.session.questions import ORIGIN
from autoresearch_tui.session.state import Experiment, Stage, State, better
from autoresearch_tui.sharing import incoming
from autoresearch_tui.sharing.store import FOLDER, Code, Store


class SharedResults:
    """Used in the engine's thread. Raises OSError, GitError."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stamp = (0, 0, 0)
        # Results (by name) that did not fit a frontier (by commit).
        self._unfit: set[tuple[str, str]] = set()

    def read(self) -> bool:
        """Journal new results; False if there are none."""
        lab, state = self._session.lab, self._session.state
        stamp, now = Store.stamp(lab.state_folder), measured(state)
        if stamp == self._stamp or now is None:
            return False
        store = Store.existing(lab.state_folder)
        try:
            if store is None:
                raise GitError("no git repository any more")
            found, left_out = incoming.results(lab, store, now)
        except (OSError, GitError) as error:
            why = f"{lab.state_folder / FOLDER} cannot be read: {error}"
            self._session.append(ev.CommandRefused("fetch-shared", why))
            self._stamp = stamp
            return True
        known = {one.name: one for one in state.shared}
        new = [one for one in found if known.get(one.name) != one]
        for start in range(0, len(new), RECORD_ROWS):
            self._session.append(ev.SharedRead(to_rows(new[start : start + RECORD_ROWS]), left_out))
        self._stamp = stamp
        return bool(new)

    def propose(self) -> bool:
        """Propose the best untried result, up to the lab's limit; False if there is none."""
        state, wanted = self._session.state, self._session.lab.settings.share.verify
        best = state.frontier
        tried = [e for e in _ours(state) if e.outcome != Outcome.WITHDRAWN]
        # One at a time, as each may move the frontier that the next is applied to.
        if best is None or best.value is None or len(tried) >= wanted or any(e.stage is not Stage.DONE for e in tried):
            return False
        for one in candidates(state):
            if (one.name, best.commit) in self._unfit:
                continue
            if (made := self._made(one, best)) is not None:
                self._session.append(made)
                return True
            self._unfit.add((one.name, best.commit))
        return False

    def _made(self, one: PriorResult, best: Experiment) -> ev.ProposalMade | None:
        """The result as a proposal; None if it clashes with the frontier, fails a check, or was tried."""
        session, state = self._session, self._session.state
        store = Store.existing(session.lab.state_folder)
        if store is None:
            return None
        before = session.archive.files(best.commit)
        editable = session.lab.editable
        try:
            theirs, base = store.codes([one.code], editable)[one.code]
        except GitError:  # the loop must not wait for a damaged store
            return None
        after = proposed(one, state, before, theirs, base)
        if after is None or file_checks.check(before, after, editable, partial(session.archive.paths, best.commit)):
            return None
        if preflight.check(before, after, python_path=session.python_path):
            return None
        changed = change_between(before, after)
        number, when = len(state.experiments), session.now()
        made = session.commits.shared(number, best, one, changed, state.program, when, claimed=beats(one, state))
        return None if session.archive.reason_to_withdraw(state, number, made.commit) else made


def _ours(state: State) -> list[Experiment]:
    """The experiments here that tried others' results."""
    names = state.experiments.values(ORIGIN) - {""}
    return sorted((e for name in names for e in state.experiments.having(ORIGIN, name)), key=lambda e: e.number)


def candidates(state: State) -> Iterator[PriorResult]:
    """Others' untried keeps that were judged by our rules, the most promising first: by how often the person's results
    failed here, then those that beat the frontier, then by score."""
    tried = state.experiments.values(ORIGIN)
    keeps = [
        one
        for one in state.shared
        if one.status == Outcome.KEEP and one.judged_alike and one.code and one.name not in tried and one.number > 0
    ]
    wrong = _wrong(state)
    yield from sorted(
        keeps,
        key=lambda one: (wrong[one.origin], not beats(one, state), state.goal.sort_key(one.value or 0.0)),
    )


def _wrong(state: State) -> Counter[str]:
    """By person, how many shared results were tried here and not kept."""
    origin = {one.name: one.origin for one in state.shared}
    judged = (e for e in _ours(state) if e.outcome in JUDGED)
    return Counter(origin.get(e.origin, "") for e in judged if e.outcome != Outcome.KEEP)


def beats(one: PriorResult, state: State) -> bool:
    """Whether its claimed score is better than the frontier's."""
    return one.comparable and one.value is not None and better(state, one.value)


def proposed(
    one: PriorResult, state: State, before: Mapping[str, str], theirs: Code, base: Code
) -> dict[str, str] | None:
    """The files to try: theirs as they are if they claim to beat the frontier, else ours with their changes; None if
    these clash."""
    return dict(theirs) if beats(one, state) else merge_files(base, before, theirs)
