"""The engine in a worker thread beside a screen. Light to import: the engine itself comes after the first picture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine.lock import LabLock
from autoresearch_tui.errors import UserError

if TYPE_CHECKING:
    from autoresearch_tui.engine.loop import Engine

DETACH_SECONDS = 2.0


class EngineThread:
    """A Host: the engine in a daemon thread of this process. It owns the lab's lock until it has let go."""

    def __init__(self, lock: LabLock, make: Callable[[], Engine]) -> None:
        self._lock = lock
        self._make = make
        self._engine: Engine | None = None
        self._pending: list[cmd.Command] = []
        self._guard = threading.Lock()
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
        return self._engine.blocked if self._engine is not None else ""

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def send(self, command: cmd.Command) -> None:
        """Hand over a command; kept while the engine is still being made."""
        with self._guard:
            if self._engine is None:
                self._pending.append(command)
            else:
                self._engine.send(command)

    def detach(self) -> None:
        """Let go of the session within two seconds."""
        if self._thread.ident is not None:
            self.send(cmd.Detach())
            self._thread.join(DETACH_SECONDS)

    def _work(self) -> None:
        from autoresearch_tui.engine.journal import JournalDamaged
        from autoresearch_tui.engine.ledger import GitError

        try:
            engine = self._make()
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
