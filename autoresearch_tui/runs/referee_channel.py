"""Between a trainer and its referee: the socket that both are born with, and the clock of the run's budget.

Whatever a trainer says here is a word of eight bytes, and nothing counts before all eight have arrived:

    READY      its training data, please. Handed over by the referee; from then on the clock of the budget runs
    any other  its request to be scored, which stops the clock; the referee reads it

Labs that hand over have a referee that starts with the run, so that its imports cost no time afterwards; it learns what
the trainer wants over a separate socket. In other labs the referee starts when the trainer asks, the trainer sees its
data from the start, and there is no READY.
"""

from __future__ import annotations

import os
import signal

from autoresearch_tui.runs.processes import PR_SET_PDEATHSIG, prctl
from autoresearch_tui.runs.run_folder import COMPILED, REFEREE_LOG, SCRATCH

TYPE_CHECKING = False  # as typing's, which would cost a supervisor a fifth of its start
if TYPE_CHECKING:
    from typing import Any

# Names the socket's number to both.
REFEREE_FD = "AUTORESEARCH_REFEREE_FD"
# Set if training data is handed over. To a referee it is the number of the supervisor's socket.
HANDOVER = "AUTORESEARCH_HANDOVER"
WORD_BYTES = 8
READY = b"ARQR"
# A READY of this index asks how the run will be asked, and starts nothing.
SIZES = b"\xff" * 4
# To the referee: hand over the files from this index on (4 bytes follow), or score the run (4 bytes mean nothing).
TAKE, SCORE = b"T", b"S"
# A word that is not complete by then ends the run.
TORN_SECONDS = 2.0
POLL_SECONDS = 0.05
TORN = "the run's request to be scored broke off: evaluate_bpb sends it whole"


class Channel:
    """The socket between trainer and referee, the referee, and when the trainer's time began and ended."""

    def __init__(self, spec: dict[str, Any]) -> None:
        import socket  # only where a lab has a referee

        ours, theirs = socket.socketpair()
        self.command, self.env, self.cwd = spec["command"], spec["env"], spec["cwd"]
        self.hands_over = bool(spec.get("hands_over"))
        self.trainers, self.line, self.control = theirs.detach(), ours.detach(), -1
        self.pid = 0
        self.status: int | None = None
        self.saved = False
        self.ready: float | None = None
        self.asked: float | None = None
        self.torn: float | None = None

    @property
    def waiting(self) -> bool:
        """Whether the trainer's request to be scored, or its end of the socket closed, is still to come."""
        return self.line >= 0

    @property
    def at_work(self) -> bool:
        return self.pid > 0 and self.status is None

    @property
    def killed(self) -> bool:
        """Whether a signal has ended the referee; asked before its owner sends any."""
        return self.status is not None and os.WIFSIGNALED(self.status)

    @property
    def abandoned(self) -> bool:
        """Whether the referee has ended before it was asked: there will be no score."""
        return self.status is not None and self.asked is None

    @property
    def variables(self) -> dict[str, str]:
        """What the trainer's environment has for this."""
        return {REFEREE_FD: str(self.trainers), **({HANDOVER: "1"} if self.hands_over else {})}

    def sources(self) -> list[int]:
        """What to select on. A broken-off word stays readable, and is looked at from time to time instead."""
        line = [self.line] if self.waiting and self.torn is None else []
        return [*line, self.control] if self.control >= 0 and self.ready is None else line

    def begin(self) -> None:
        """Starts the referee, if it starts with the run."""
        if not self.hands_over:
            return
        import socket

        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self._start({HANDOVER: theirs.fileno()})
        self.control = ours.detach()

    def too_late(self, now: float) -> bool:
        """Whether a word has been incomplete for too long at `now` (seconds since the run's start)."""
        return self.torn is not None and now >= self.torn + TORN_SECONDS

    def hear(self, now: float, *, last: bool = False) -> None:
        """What there is to be heard, `now` seconds after the trainer's start. `last`: nothing can follow."""
        if self.control >= 0 and self.ready is None and self._receive(self.control, 1):
            self.ready = now  # the referee hands over at this moment
        if not self.waiting:
            return
        word = self._receive(self.line, WORD_BYTES, peek=True)
        if word is None and not last:
            return
        if word is None or len(word) < WORD_BYTES:
            if not word or last:
                self._hang_up()
            elif self.torn is None:
                self.torn = now
            return
        self.torn = None
        if self.hands_over and word.startswith(READY):
            self._receive(self.line, WORD_BYTES)
            if word[4:] != SIZES:
                self._save_compiled()
            self._tell(TAKE + word[4:])
            return
        self.asked = now
        if self.hands_over:
            self._tell(SCORE + bytes(4))
        else:
            self._start({})
        self._hang_up()

    @staticmethod
    def _receive(number: int, size: int, *, peek: bool = False) -> bytes | None:
        """At most so many bytes; empty if the other end is closed, None if there is nothing yet."""
        import socket

        end = socket.socket(fileno=number)
        try:
            return end.recv(size, socket.MSG_DONTWAIT | (socket.MSG_PEEK if peek else 0))
        except BlockingIOError:
            return None
        except OSError:
            return b""
        finally:
            end.detach()

    def _tell(self, what: bytes) -> None:
        """A trainer that asks for data more often than it takes it is not heard."""
        try:
            os.write(self.control, what)
        except OSError:
            pass

    def _save_compiled(self) -> None:
        """Before the trainer has seen any data: what its compiler has made is fit for later runs to begin with."""
        if self.saved:
            return
        self.saved = True
        from pathlib import Path

        from autoresearch_tui.runs import compile_cache

        compile_cache.save(Path(SCRATCH), Path(COMPILED))

    def _hang_up(self) -> None:
        for number in (self.line, self.control):
            if number >= 0:
                os.close(number)
        self.line = self.control = -1
        self.torn = None

    def referee_ended(self, status: int) -> None:
        """A trainer that waits for it is not left to wait."""
        self.status = status
        self._hang_up()

    def refuse(self, why: str) -> None:
        """In the referee's place, in its log."""
        log = os.open(REFEREE_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(log, f"{why}\n".encode())
        os.close(log)

    def _start(self, numbers: dict[str, int]) -> None:
        """The referee, with the trainer's line and the descriptors of `numbers` under these names."""
        owner = os.getpid()
        self.pid = os.fork()
        if self.pid:
            return
        try:
            os.setsid()
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != owner:  # it died before it could be said what then
                os._exit(1)
            for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            log = os.open(REFEREE_LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            numbers = {REFEREE_FD: self.line, **numbers}
            for inherited in numbers.values():
                os.set_inheritable(inherited, True)
            os.chdir(self.cwd)
            named = {name: str(own) for name, own in numbers.items()}
            os.execvpe(self.command[0], self.command, {**self.env, **named})
        except OSError as error:
            os.write(2, f"the referee {self.command[0]} cannot be started: {error.strerror}\n".encode())
        finally:
            os._exit(127)
