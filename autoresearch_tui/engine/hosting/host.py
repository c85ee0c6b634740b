"""The seam between an engine and whoever shows it: commands in, facts on disk out."""

from __future__ import annotations

from typing import Protocol

from autoresearch_tui.engine.commands import Command


class Host(Protocol):
    """An engine that runs beside the screen. The screen learns everything from the journal, never from here."""

    @property
    def failure(self) -> str:
        """Why the engine ended by itself, in one line; empty while all is well."""
        ...

    @property
    def blocked(self) -> str:
        """Why the journal cannot be written at this moment (a full disk); empty while it can."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the engine is at work."""
        ...

    def start(self) -> None:
        """Begin, or go on, in a thread of its own. Returns at once."""
        ...

    def send(self, command: Command) -> None:
        """Hand over a command. Never blocks."""
        ...

    def detach(self) -> None:
        """Let go of the session, within two seconds; the present run goes on under its supervisor."""
        ...
