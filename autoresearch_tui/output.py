"""Lines for whoever reads a headless engine's output: at the reader's pace, never at the engine's expense."""

from __future__ import annotations

import queue
import sys
import threading


class Output:
    """Writes lines to stdout from a thread of its own: a reader that stands still does not stop an experiment."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="output", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Hand over a line. Never blocks."""
        self._lines.put(line)

    def close(self) -> None:
        """Wait until the reader has everything, or has gone."""
        self._lines.put(None)
        self._thread.join()

    def _work(self) -> None:
        out = sys.stdout.buffer
        while (line := self._lines.get()) is not None:
            try:
                out.write(line)
                if self._lines.empty():
                    out.flush()
            except BrokenPipeError:
                # A reader that went away is no reason to stop an experiment.
                return
            except OSError:
                # A full disk: what is in the buffer goes out when there is room.
                continue
