"""The engine in a thread beside a screen. Light to import: the engine itself is imported after the first paint."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from autoresearch_tui.engine import backoff
from autoresearch_tui.lab.engine_lock import LabLock
from autoresearch_tui.launch.background import BackgroundEngine, Watchdog
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.util.errors import UserError, in_line

if TYPE_CHECKING:
    from autoresearch_tui.engine.loop import Engine

DETACH_SECONDS = 2.0


class EngineThread:
    """The engine in a daemon thread of this process. It holds the lab's lock until it ends.

    If the process dies meanwhile, a watchdog takes over; a caller that detaches the engine calls :meth:`dismiss`.
    """

    def __init__(self, lock: LabLock, make: Callable[[], Engine], successor: BackgroundEngine) -> None:
        self._lock = lock
        self._make = make
        self._successor = successor
        self._watchdog: Watchdog | None = None
        self._engine: Engine | None = None
        self._pending: list[cmd.Command] = []
        # Reentrant, because a signal handler may interrupt a send and send.
        self._guard = threading.RLock()
        self._wake = threading.Event()
        self._waits_for = ""
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self.failure = ""
        self.outcome = ""

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def blocked(self) -> str:
        """Why the journal cannot be written at the moment; empty while it can."""
        return self._engine.blocked if self._engine is not None else self._waits_for

    def start(self) -> None:
        self._thread.start()

    def send(self, command: cmd.Command) -> None:
        """Passes a command to the engine, or keeps it while the engine is being made."""
        with self._guard:
            if self._engine is None:
                self._pending.append(command)
                self._wake.set()
            else:
                self._engine.send(command)

    def detach(self) -> None:
        """Releases the session within two seconds."""
        if self._thread.ident is None:  # never started
            self._lock.release()
            return
        self.send(cmd.Detach())
        self._thread.join(DETACH_SECONDS)

    def dismiss(self) -> None:
        """Disarms the watchdog."""
        if self._watchdog is not None:
            self._watchdog.dismiss()

    def _work(self) -> None:
        from autoresearch_tui.lab.git import GitError
        from autoresearch_tui.session.journal import JournalDamaged

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
            self.failure = engine.why_failed
        except (UserError, GitError, JournalDamaged, OSError) as error:
            self.failure = backoff.line(error)
        except Exception as error:  # our own fault: shown, and the journal is complete up to it
            self.failure = f"the engine failed: {type(error).__name__}: {error}"
        finally:
            self._lock.release()
            if self.outcome != "detached":
                self.dismiss()

    def _make_patiently(self) -> Engine | None:
        """Retries while the disk refuses; None if the human detached or stopped meanwhile."""
        pauses = backoff.Backoff()
        while True:
            try:
                return self._make()
            except OSError as error:
                if not backoff.passing(error):
                    raise
                self._waits_for = in_line(backoff.message(error), backoff.remedy(error))
            self._wake.wait(pauses.next())
            with self._guard:
                self._wake.clear()
                kinds = {type(command) for command in self._pending}
            if kinds & {cmd.Detach, cmd.Stop}:
                self.outcome = "stopped" if cmd.Stop in kinds else "detached"
                return None
