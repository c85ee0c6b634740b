"""Commands for a session that has no engine: opening the holdout, renewing the testing budget.

This process holds the lab's lock as an engine does, journals and handles the command, and releases the lock.
"""

from __future__ import annotations

import threading
from pathlib import Path

from autoresearch_tui.engine import startup
from autoresearch_tui.engine.commands import CommandHandler
from autoresearch_tui.engine.judging import holdout
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.engine_lock import LabBusy, LabLock
from autoresearch_tui.lab.git import GitError
from autoresearch_tui.launch.overrides import with_overrides
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import journal, looks
from autoresearch_tui.session.answers import Answer, answer
from autoresearch_tui.session.journal import JournalDamaged
from autoresearch_tui.session.state import State
from autoresearch_tui.util.errors import Refused, UserError


def handle(root: Path, tag: str, command: cmd.OpenHoldout | cmd.RenewBudget) -> Answer:
    """Handles the command. Raises Refused if an engine has the lab after all, UserError and OSError."""
    lab = labs.open_lab(root)
    try:
        lock = LabLock(lab.lock, headless=False, tag=tag, wait_seconds=0.0)
    except LabBusy as busy:
        raise Refused(f"{root}: {busy}") from None
    lines: list[bytes] = []
    try:
        shown, given = with_overrides(lab, tag, {}, successor=True)
        session = Session(shown, tag, overrides=given, successor=True, on_line=lines.append)
        try:
            return _handled(session, command, lines)
        finally:
            session.release()
    except (JournalDamaged, GitError) as error:
        raise UserError(str(error)) from None
    finally:
        lock.release()


def _handled(session: Session, command: cmd.OpenHoldout | cmd.RenewBudget, lines: list[bytes]) -> Answer:
    if not (isinstance(command, cmd.OpenHoldout) and holdout.due(session.state)):  # not opened yet although requested
        CommandHandler(session, lambda _: None).handle(command)
        reply = answer(journal.decode(lines[-1].rstrip(b"\n")).event)
        if not holdout.due(session.state):
            return reply
    session.append(holdout.score(session.launcher, session.files, session.state, threading.Event()))
    startup.tidy_runs(session)
    return holdout_answer(session.state)


def holdout_answer(state: State) -> Answer:
    found, after = looks.result(state), looks.after(state)
    return Answer(bool(after), f"{found}; {after}" if after else found)
