"""A session's engine for a screen: in this process if it has the lab's lock, else in another, by its inbox."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch_tui.lab.engine_lock import TAKE_OVER_SECONDS, LabLock, claim, held
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.launch.background import BackgroundEngine
from autoresearch_tui.launch.engine_thread import EngineThread
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session.inbox import Sender, Sent

if TYPE_CHECKING:
    from autoresearch_tui.engine.loop import Engine

_OVERDUE_SECONDS = 10.0
_LAST_SECONDS = 2.0
_CLAIM_SECONDS = 0.25


class SharedHost:
    """A Host that becomes the engine when the other one ends, and hands it over when another terminal asks."""

    def __init__(
        self,
        lab: Lab,
        tag: str,
        lock: LabLock | None,
        make: Callable[[bool], Engine],
        successor: BackgroundEngine,
    ) -> None:
        """`lock`: the lab's, if this process has it. `make` gets whether the engine continues another's work."""
        self._lab, self._tag, self._make, self._successor = lab, tag, make, successor
        self._thread = None if lock is None else EngineThread(lock, partial(make, False), successor)
        self._outbox = Outbox(lab.session(tag).inbox)
        self._next_claim = 0.0

    @property
    def elsewhere(self) -> bool:
        """Whether the engine is in another process, or about to be."""
        return self._thread is None

    @property
    def alive(self) -> bool:
        if self._thread is not None:
            return self._thread.alive
        return time.monotonic() < self._next_claim or held(self._lab.lock)

    @property
    def failure(self) -> str:
        """Why our engine failed."""
        return self._thread.failure if self._thread is not None else ""

    @property
    def outcome(self) -> str:
        return self._thread.outcome if self._thread is not None else ""

    @property
    def blocked(self) -> str:
        """Why the journal, or the other engine's inbox, cannot be written at the moment."""
        return self._thread.blocked if self._thread is not None else self._outbox.problem

    @property
    def overdue(self) -> bool:
        """Whether the other engine has left a command unanswered for long."""
        return self._thread is None and self._outbox.overdue

    @property
    def continues(self) -> bool:
        """Whether our engine was detached, or is within a step that a successor repeats."""
        return self._thread is not None and (self._thread.alive or self._thread.outcome == "detached")

    def start(self) -> None:
        """Starts the engine if it is in this process."""
        if self._thread is not None:
            self._thread.start()

    def send(self, command: cmd.Command) -> None:
        """Never blocks."""
        if self._thread is not None:
            self._thread.send(command)
        else:
            self._outbox.send(command)

    def follow(self, over: Callable[[], bool]) -> None:
        """Updates the outbox, and becomes the engine if the other has gone; `over`: whether the session has ended."""
        if self._thread is not None:
            return
        self._outbox.look()
        if time.monotonic() < self._next_claim or over():
            return
        self._next_claim = time.monotonic() + _CLAIM_SECONDS
        lock = claim(self._lab, self._tag)
        if lock is None:
            return
        if over():  # its last record came just before it released the lock
            lock.release()
            return
        self._thread = EngineThread(lock, partial(self._make, True), self._successor)
        for command in self._outbox.unsent():
            self._thread.send(command)
        self._thread.start()

    def hand_over(self) -> None:
        """Gives the engine to another terminal."""
        thread, self._thread = self._thread, None
        # Not to be claimed back before the other has it.
        self._next_claim = time.monotonic() + TAKE_OVER_SECONDS
        if thread is not None:
            thread.detach()
            thread.dismiss()

    def detach(self) -> None:
        """Releases the session within two seconds. Withdraws what another engine has not taken up by then."""
        if self._thread is not None:
            self._thread.detach()
        else:
            self._outbox.close()

    def continue_headless(self) -> int:
        """Starts the background engine. Returns its process id. Raises OSError."""
        return self._successor.start()

    def dismiss(self) -> None:
        """Disarms the watchdog."""
        if self._thread is not None:
            self._thread.dismiss()


class Outbox:
    """Commands on their way to another process's engine, in order."""

    def __init__(self, folder: Path) -> None:
        self._sender = Sender(folder)
        self._waiting: deque[cmd.Command] = deque()
        self._sent: deque[tuple[float, Sent]] = deque()
        self.problem = ""

    @property
    def overdue(self) -> bool:
        return bool(self._sent) and time.monotonic() - self._sent[0][0] > _OVERDUE_SECONDS

    def send(self, command: cmd.Command) -> None:
        """Sends the command now, or as soon as the disk allows."""
        self._waiting.append(command)
        self.look()

    def look(self) -> None:
        """Sends waiting commands; forgets settled ones."""
        self.problem = ""
        while self._waiting:
            try:
                self._sent.append((time.monotonic(), self._sender.send(self._waiting[0])))
            except OSError as error:
                self.problem = str(error.strerror or error)
                break
            except ValueError as error:
                self.problem = str(error)
            self._waiting.popleft()
        while self._sent and self._sent[0][1].settled:
            self._sent.popleft()[1].close()

    def unsent(self) -> list[cmd.Command]:
        """Removes and returns the commands that could not be sent."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def close(self) -> None:
        """Waits a moment for the sent commands to be taken up, then withdraws the rest."""
        deadline = time.monotonic() + _LAST_SECONDS
        self.look()
        while self._sent and time.monotonic() < deadline:
            time.sleep(0.02)
            self.look()
        while self._sent:
            _, sent = self._sent.popleft()
            sent.withdraw()
            sent.close()
