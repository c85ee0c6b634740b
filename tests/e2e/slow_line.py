"""A line with latency, as ssh to a far machine: `python slow_line.py SECONDS COMMAND ...` in a terminal of its own.

The command has a pseudo-terminal of the same size; each byte arrives SECONDS after it was sent, in both directions.
Ends as the command does, once its last words have arrived.
"""

from __future__ import annotations

import os
import pty
import select
import sys
import time
import tty
from collections import deque
from termios import tcgetwinsize, tcsetwinsize


class Direction:
    """What was read from one end and has not arrived at the other."""

    def __init__(self, source: int, target: int, delay: float) -> None:
        self.source, self._target, self._delay = source, target, delay
        self._under_way: deque[tuple[float, bytes]] = deque()
        self.open = True

    def take(self) -> None:
        try:
            data = os.read(self.source, 1 << 16)
        except OSError:  # what a pseudo-terminal says once its other end is closed
            data = b""
        self.open = bool(data)
        if data:
            self._under_way.append((time.monotonic() + self._delay, data))

    def deliver(self) -> float | None:
        """Hands over what is due; seconds until the next piece, None if there is none."""
        while self._under_way:
            left = self._under_way[0][0] - time.monotonic()
            if left > 0:
                return left
            data = self._under_way.popleft()[1]
            while data:
                data = data[os.write(self._target, data) :]
        return None


def main(delay: float, command: list[str]) -> int:
    size = tcgetwinsize(0)
    child, inner = pty.fork()
    if child == 0:
        tcsetwinsize(0, size)
        os.execvp(command[0], command)
    tty.setraw(0)
    there, back = Direction(0, inner, delay), Direction(inner, 1, delay)
    pause: float | None = None
    while back.open or pause is not None:
        sources = [one.source for one in (there, back) if one.open]
        ready, _, _ = select.select(sources, [], [], pause)
        for one in (there, back):
            if one.source in ready:
                one.take()
        pauses = [left for one in ((there, back) if back.open else (back,)) if (left := one.deliver()) is not None]
        pause = min(pauses, default=None)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
