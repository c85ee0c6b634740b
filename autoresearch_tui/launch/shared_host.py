"""A session's engine as a screen sees it: in this process if it has the lab, else in another, reached by its inbox."""

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
    """A Host that becomes the engine when the other one goes, and hands it over when another terminal asks for it."""

    def __init__(
        self,
        lab: Lab,
        tag: str,
        lock: LabLock | None,
        make: Callable[[bool], Engine],
        successor: BackgroundEngine,
    ) -> None:
        """`lock`: the lab's, if this process has it. `make` gets whether the engine only continues another's work."""
        self._lab, self._tag, self._make, self._successor = lab, tag, make, successor
        self._thread = None if lock is None else EngineThread(lock, partial(make, False), successor)
        self._outbox = Outbox(lab.session(tag).inbox)
        self._next_claim = 0.0

    @property
    def elsewhere(self) -> bool:
        """Whether the engine is in another process, or on its way there."""
        return self._thread is None

    @property
    def alive(self) -> bool:
        """Whether there is an engine."""
        if self._thread is not None:
            return self._thread.alive
        return time.monotonic() < self._next_claim or held(self._lab.lock)

    @property
    def failure(self) -> str:
        """Why our engine ended by itself."""
        return self._thread.failure if self._thread is not None else ""

    @property
    def outcome(self) -> str:
        """How our engine ended."""
        return self._thread.outcome if self._thread is not None else ""

    @property
    def blocked(self) -> str:
        """Why the journal, or the other engine's inbox, cannot be written at this moment."""
        return self._thread.blocked if self._thread is not None else self._outbox.problem

    @property
    def overdue(self) -> bool:
        """Whether the other engine has not taken up what it was sent a while ago."""
        return self._thread is None and self._outbox.overdue

    @property
    def continues(self) -> bool:
        """Whether our engine is let go of, or in the middle of a step, which a successor repeats."""
        return self._thread is not None and (self._thread.alive or self._thread.outcome == "detached")

    def start(self) -> None:
        """Begin, if it is here."""
        if self._thread is not None:
            self._thread.start()

    def send(self, command: cmd.Command) -> None:
        """Hand over a command. Never blocks."""
        if self._thread is not None:
            self._thread.send(command)
        else:
            self._outbox.send(command)

    def follow(self, over: Callable[[], bool]) -> None:
        """See to what was sent, and become the engine if the other has gone; `over`: the session has ended by now."""
        if self._thread is not None:
            return
        self._outbox.look()
        if time.monotonic() < self._next_claim or over():
            return
        self._next_claim = time.monotonic() + _CLAIM_SECONDS
        lock = claim(self._lab, self._tag)
        if lock is None:
            return
        if over():  # its last record came just before it let go
            lock.release()
            return
        self._thread = EngineThread(lock, partial(self._make, True), self._successor)
        for command in self._outbox.unsent():
            self._thread.send(command)
        self._thread.start()

    def hand_over(self) -> None:
        """Another terminal wants the engine: from here on it is elsewhere."""
        thread, self._thread = self._thread, None
        # It is not to be taken back before the other has it.
        self._next_claim = time.monotonic() + TAKE_OVER_SECONDS
        if thread is not None:
            thread.detach()
            thread.dismiss()

    def detach(self) -> None:
        """Let go of the session within two seconds. What another engine has not taken up by then is withdrawn."""
        if self._thread is not None:
            self._thread.detach()
        else:
            self._outbox.close()

    def go_on_without_a_screen(self) -> int:
        """Start the background engine. Returns its process id. Raises OSError."""
        return self._successor.start()

    def dismiss(self) -> None:
        """Nothing has to take over for this process."""
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
        """Whether the oldest has been lying there for a while."""
        return bool(self._sent) and time.monotonic() - self._sent[0][0] > _OVERDUE_SECONDS

    def send(self, command: cmd.Command) -> None:
        """Sent now, or as soon as the disk lets us."""
        self._waiting.append(command)
        self.look()

    def look(self) -> None:
        """Send what waits; forget what is settled."""
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
        """What could not be sent, to be handed over in another way."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def close(self) -> None:
        """Wait a little for the rest to be taken up, and withdraw it then."""
        deadline = time.monotonic() + _LAST_SECONDS
        self.look()
        while self._sent and time.monotonic() < deadline:
            time.sleep(0.02)
            self.look()
        while self._sent:
            _, sent = self._sent.popleft()
            sent.withdraw()
            sent.close()
