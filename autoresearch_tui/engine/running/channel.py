"""Between a trainer and its referee: the socket that both are born with, and when the trainer first spoke."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from autoresearch_tui.engine.running.processes import PR_SET_PDEATHSIG, prctl
from autoresearch_tui.engine.running.run_folder import REFEREE_LOG

if TYPE_CHECKING:
    from typing import Any

# Names the socket's number to both.
REFEREE_FD = "AUTORESEARCH_REFEREE_FD"


class Channel:
    """The socket between trainer and referee, and the referee."""

    def __init__(self, spec: dict[str, Any]) -> None:
        import socket  # only where a lab has a referee

        ours, theirs = socket.socketpair()
        self.command, self.env, self.cwd = spec["command"], spec["env"], spec["cwd"]
        self.trainers, self.referees = theirs.detach(), ours.detach()
        self.pid = 0
        self.status: int | None = None
        self.asked: float | None = None

    @property
    def waiting(self) -> bool:
        """For the trainer's first word, or its end of the socket closed."""
        return self.referees >= 0

    @property
    def at_work(self) -> bool:
        return self.pid > 0 and self.status is None

    @property
    def killed(self) -> bool:
        """Whether a signal has ended it; asked before its owner sends any."""
        return self.status is not None and os.WIFSIGNALED(self.status)

    def hear(self, seconds: float) -> None:
        """The trainer has asked, `seconds` after its start, or gone without a word."""
        import socket

        with socket.socket(fileno=self.referees) as end:
            self.referees = -1
            try:
                word = end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except OSError:
                word = b""
            if word:
                self.asked = seconds
                self._start(end.fileno())

    def _start(self, end: int) -> None:
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
            os.set_inheritable(end, True)
            os.chdir(self.cwd)
            os.execvpe(self.command[0], self.command, {**self.env, REFEREE_FD: str(end)})
        except OSError as error:
            os.write(2, f"the referee {self.command[0]} cannot be started: {error.strerror}\n".encode())
        finally:
            os._exit(127)
