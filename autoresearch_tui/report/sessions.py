"""A lab's recorded sessions, for reports and exports."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.fold import recorded
from autoresearch_tui.session.state import State
from autoresearch_tui.util.frozen import Frozen


class Session(Frozen):
    tag: str
    """The name of its folder, which may have been copied or renamed since the session began."""
    files: SessionFiles
    records: tuple[ev.Record, ...]
    state: State


def read_sessions(lab: Lab, tags: Sequence[str]) -> tuple[Session, ...]:
    """Oldest first; of several, empty ones are left out. Raises UserError."""
    several = len(tags) > 1
    found = []
    for tag in tags:
        files = lab.session(tag)
        if several and files.journal.stat().st_size == 0:
            continue
        records, state = recorded(files.journal)
        found.append(Session(tag, files, records, state))
    return tuple(sorted(found, key=lambda session: session.records[0].time))
