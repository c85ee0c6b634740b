"""A session that is only to be read: its whole journal, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import journal
from autoresearch_tui.errors import UserError


def recorded(path: Path) -> tuple[ev.Record, ...]:
    """The records of a journal, at least one. Raises UserError."""
    try:
        records = journal.read(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such session; `autoresearch-tui` begins one") from None
    except journal.JournalDamaged as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not records:
        raise UserError(f"{path}: nothing has happened in this session yet")
    return records
