"""Reads prior results: others' table and branches, and the lab's own earlier sessions.

This happens while the baseline trains, which does not need them: several long sessions take a while to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoresearch_tui.engine import own_sessions
from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.engine.proposing import lessons
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import reverts
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.logs.encoding import decode
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import prior_results, prior_tables
from autoresearch_tui.session.comparing import measured
from autoresearch_tui.session.prior_results import PriorResult
from autoresearch_tui.session.state import State

_OTHER_TABLES = (".csv", ".jsonl", ".ndjson", ".json", ".md")


def unread(state: State) -> bool:
    """Whether they must still be read: not all are journalled, and no proposal was requested."""
    asked = state.asks or state.failed or any(e.proposal.author != BASELINE for e in state.experiments)
    return not asked and (not state.prior or len(state.prior) < state.prior_total)


def read(session: Session) -> None:
    """Journal all of them, and pass on their lessons. An engine that was killed in between starts over."""
    lab, state = session.lab, session.state
    path, rows = _prior_table(session)
    own = {f"autoresearch/{tag}" for tag in lab.tags()}
    branches = sorted(name for name in session.repo.branches() if name.startswith("autoresearch/") and name not in own)
    attempts = reverts.attempts(session.repo.changes_on(branches, lab.settings.lab.editable))
    found = prior_tables.joined(rows, session.repo.whole_hashes([row.name for row in rows]), attempts)
    now = measured(state)
    assert now is not None
    earlier = own_sessions.read(lab, now, session.repo.whole_hashes)
    if earlier.unreadable:
        note = (
            f"{', '.join(earlier.unreadable)} cannot be read, and what was tried there is not known here; see `doctor`"
        )
        session.append(ev.CommandRefused("earlier sessions", note))
    lessons.begin(session.files.lessons, earlier.lessons)
    names = (*([path.name] if found else []), *(["its earlier sessions"] if earlier.results else []))
    everything = (*found, *earlier.results)
    kept = prior_results.newest(everything, lab.settings.metric.goal)
    _say_where_the_best_is(session, kept)
    for event in prior_results.records(" and ".join(names), kept, left_out=len(everything) - len(kept)):
        session.append(event)


def _say_where_the_best_is(session: Session, earlier: Sequence[PriorResult]) -> None:
    """A note, if an earlier session got further than what is checked out."""
    began = session.state.session
    assert began is not None
    best = prior_results.furthest(earlier, Goal(began.goal))
    if best is None or session.archive.files(best.commit) == session.archive.files(began.base):
        return
    note = (
        f"session {best.session} reached {best.value:.6f} with #{best.number}; this one starts from what is checked "
        "out, and `--new --from best` starts there"
    )
    session.append(ev.CommandRefused("earlier sessions", note))
    session.warn(note)


def _prior_table(session: Session) -> tuple[Path, tuple[PriorResult, ...]]:
    """The table that others left, in any form: results.tsv if it is not ours, else a file beside it."""
    path, metric = session.lab.results, session.lab.settings.metric.name
    if session.table.foreign() and path.is_file():
        return path, prior_tables.parse(decode(path.read_bytes()), metric)
    for other in (path.with_suffix(suffix) for suffix in _OTHER_TABLES):
        if other.is_file() and prior_tables.is_history(rows := prior_tables.parse(decode(other.read_bytes()), metric)):
            return other, rows
    return path, ()
