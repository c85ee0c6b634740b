"""A child job: a command under its own supervisor that ends, with its whole process tree, when the engine does.

A run outlives the engine. A referee or a smoke test must not: only the engine needs its answer, and the next engine
starts it again.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from msgspec.structs import replace

from autoresearch_tui.runs import runner
from autoresearch_tui.util import trees

_POLL_SECONDS = 0.05


def clear(folder: Path, cancelled: threading.Event) -> None:
    """Empty the folder, after an earlier job of a dead engine in it has ended."""
    while runner.look(folder).state is runner.RunState.RUNNING and not cancelled.wait(_POLL_SECONDS):
        pass
    runner.put_aside(folder)
    trees.remove(folder)
    folder.mkdir(parents=True, exist_ok=True)


def run(folder: Path, spec: runner.RunSpec, cancelled: threading.Event) -> runner.Exit | None:
    """Run to the end. None if cancelled or if the supervisor was killed. Raises OSError if it cannot start."""
    # Only this process has the other end, so the kernel closes it however this process ends.
    theirs, ours = os.pipe()
    try:
        try:
            runner.start(folder, replace(spec, bound=True), theirs)
        finally:
            os.close(theirs)
        while (status := runner.look(folder)).state is runner.RunState.RUNNING:
            if cancelled.wait(_POLL_SECONDS):
                return None
        return status.exit
    finally:
        os.close(ours)
