"""The engine in a worker thread beside a screen. Light to import: the engine itself comes after the first picture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine.hosting.lock import LabLock
from autoresearch_tui.engine.hosting.successor import Successor, Watchdog
from autoresearch_tui.errors import UserError

if TYPE_CHECKING:
    from autoresearch_tui.engine.loop import Engine

DETACH_SECONDS = 2.0


class EngineThread:
    """A Host: the engine in a daemon thread of this process. It owns the lab's lock until it has let go.

    Where the process dies meanwhile, a watchdog goes on; whoever lets the engine go says so with :meth:`dismiss`.
    """

    def __init__(self, lock: LabLock, make: Callable[[], Engine], successor: Successor) -> None:
        self._lock = lock
        self._make = make
        self._successor = successor
        self._watchdog: Watchdog | None = None
        self._engine: Engine | None = None
        self._pending: list[cmd.Command] = []
        # A signal's handler may send in the middle of a send.
        self._guard = threading.RLock()
        self._wake = threading.Event()
        self._waits_for = ""
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self.failure = ""
        self.outcome = ""

    @property
    def alive(self) -> bool:
        """Whether the engine is at work."""
        return self._thread.is_alive()

    @property
    def blocked(self) -> str:
        """Why the journal cannot be written at this moment; empty while it can."""
        return self._engine.blocked if self._engine is not None else self._waits_for

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def send(self, command: cmd.Command) -> None:
        """Hand over a command; kept while the engine is still being made."""
        with self._guard:
            if self._engine is None:
                self._pending.append(command)
                self._wake.set()
            else:
                self._engine.send(command)

    def detach(self) -> None:
        """Let go of the session within two seconds."""
        if self._thread.ident is not None:
            self.send(cmd.Detach())
            self._thread.join(DETACH_SECONDS)

    def dismiss(self) -> None:
        """Nobody has to go on for this process any more."""
        if self._watchdog is not None:
            self._watchdog.dismiss()

    def _work(self) -> None:
        from autoresearch_tui.engine.journal import JournalDamaged
        from autoresearch_tui.engine.ledger import GitError

        try:
            self._watchdog = self._successor.watch()
            engine = self._make_patiently()
            if engine is None:
                return
            with self._guard:
                self._engine = engine
                for command in self._pending:
                    engine.send(command)
            self.outcome = engine.run()
        except (UserError, GitError, JournalDamaged, OSError) as error:
            self.failure = str(error)
        except Exception as error:  # a fault of ours is shown, and the journal has everything up to it
            self.failure = f"the engine failed: {type(error).__name__}: {error}"
        finally:
            self._lock.release()
            if self.outcome != "detached":
                self.dismiss()

    def _make_patiently(self) -> Engine | None:
        """The engine, as soon as the disk lets it be made; None where the human did not wait for that."""
        from autoresearch_tui.engine.trouble import Backoff, passing, remedy

        pauses = Backoff()
        while True:
            try:
                return self._make()
            except OSError as error:
                if not passing(error):
                    raise
                self._waits_for = f"{error.strerror or error}: {remedy(error)}"
            self._wake.wait(pauses.next())
            with self._guard:
                self._wake.clear()
                kinds = {type(command) for command in self._pending}
            if kinds & {cmd.Detach, cmd.Stop}:
                self.outcome = "stopped" if cmd.Stop in kinds else "detached"
                return None
