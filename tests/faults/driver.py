"""Runs the command line with a failpoint: the process kills itself (SIGKILL) at a named journal transition.

    python tests/faults/driver.py before:run_started:2 LAB --headless ...

dies just before the second `run_started` is journalled; `after:` dies when it is on disk and nothing has followed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable

from autoresearch_tui import cli
from autoresearch_tui.engine import codec
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.journal import Journal


def arm(failpoint: str) -> None:
    """Let the journal die at the failpoint."""
    when, name, nth = failpoint.split(":")
    seen: Counter[str] = Counter()
    append: Callable[..., tuple[ev.Record, bytes]] = Journal.append

    def deadly(journal: Journal, event: ev.Event) -> tuple[ev.Record, bytes]:
        kind = codec.type_name(event)
        seen[kind] += 1
        due = kind == name and seen[kind] == int(nth)
        if due and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = append(journal, event)
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Journal.append = deadly  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.exit(cli.main(sys.argv[2:]))
