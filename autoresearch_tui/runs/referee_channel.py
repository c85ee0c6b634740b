"""The socket between a trainer and its referee, and the clock of the run's budget.

A trainer sends words of eight bytes, which count once all eight have arrived:

    READY      asks for its training data. The referee hands it over, and the clock of the budget starts
    any other  asks to be scored, which stops the clock; the referee reads the word

If a lab hands over data, its referee starts with the run, so that its imports cost no time later, and gets the
trainer's requests over a separate socket. In other labs the referee starts when the trainer asks to be scored, the
trainer has its data from the start, and there is no READY.
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
# A READY with this index asks for the sizes of the referee's questions, and starts nothing.
SIZES = b"\xff" * 4
# To the referee: hand over the files from this index on (4 bytes), or score the run (the 4 bytes mean nothing).
TAKE, SCORE = b"T", b"S"
# How long a word may be incomplete before the run is ended.
TORN_SECONDS = 2.0
POLL_SECONDS = 0.05
TORN = "the run's request to be scored broke off: evaluate_bpb sends it whole"


class Channel:
    """The socket between trainer and referee, the referee's process, and when the trainer's time began and ended."""

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
        """Whether the trainer has neither asked to be scored nor closed its end of the socket."""
        return self.line >= 0

    @property
    def at_work(self) -> bool:
        return self.pid > 0 and self.status is None

    @property
    def killed(self) -> bool:
        """Whether a signal has ended the referee; check before sending it one."""
        return self.status is not None and os.WIFSIGNALED(self.status)

    @property
    def abandoned(self) -> bool:
        """Whether the referee ended before it was asked, so that there will be no score."""
        return self.status is not None and self.asked is None

    @property
    def variables(self) -> dict[str, str]:
        """The variables for the trainer's environment."""
        return {REFEREE_FD: str(self.trainers), **({HANDOVER: "1"} if self.hands_over else {})}

    def sources(self) -> list[int]:
        """What to select on. An incomplete word stays readable, so it is polled instead."""
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
        """Read what has arrived, `now` seconds after the trainer's start. `last`: nothing can follow."""
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
        """Up to `size` bytes; empty if the other end is closed, None if nothing has arrived."""
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
        """Never blocks: requests of a trainer that asks for data faster than it reads are dropped."""
        try:
            os.write(self.control, what)
        except OSError:
            pass

    def _save_compiled(self) -> None:
        """Save the compile cache before the trainer has seen any data, so that later runs may start with it."""
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
        """The referee has ended: close the sockets, so that the trainer does not wait for it."""
        self.status = status
        self._hang_up()

    def refuse(self, why: str) -> None:
        """Write a refusal to the referee's log in its place."""
        log = os.open(REFEREE_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(log, f"{why}\n".encode())
        os.close(log)

    def _start(self, numbers: dict[str, int]) -> None:
        """Start the referee, with the trainer's line and the descriptors in `numbers` as variables of these names."""
        owner = os.getpid()
        self.pid = os.fork()
        if self.pid:
            return
        try:
            os.setsid()
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != owner:  # the owner died before prctl took effect
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
