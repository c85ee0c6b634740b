"""An errand of the engine: a command under a supervisor of its own that ends with its whole tree when the engine does.

A run outlives the engine. What only the engine wants to know, a referee's score or a trial's two steps, must not: the
next engine asks anew.
"""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

from autoresearch_tui.engine.running import runner

_POLL_SECONDS = 0.05


def clear(folder: Path, cancelled: threading.Event) -> None:
    """An empty folder; an earlier errand there, whose engine is gone, is still ending and is waited for."""
    while runner.look(folder).state is runner.RunState.RUNNING and not cancelled.wait(_POLL_SECONDS):
        pass
    runner.put_aside(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def run(folder: Path, spec: runner.RunSpec, cancelled: threading.Event) -> runner.Exit | None:
    """To its end; None where it was cancelled, or its supervisor was killed. Raises OSError where it cannot start."""
    # The other end is this process's alone: the kernel closes it, however this process ends.
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
