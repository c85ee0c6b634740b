"""Who runs the engine: a worker thread beside a screen, or a process without one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine.environment import check_command
from autoresearch_tui.engine.lock import HAND_OVER
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.overrides import with_overrides
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import Lab
from autoresearch_tui.researchers.base import Researcher
from autoresearch_tui.settings import Settings

MakeResearcher = Callable[[Settings, Mapping[str, str]], Researcher]


def make_engine(
    lab: Lab,
    tag: str,
    overrides: Mapping[str, str],
    make_researcher: MakeResearcher,
    *,
    headless: bool,
    listen: Callable[[bytes], None] | None = None,
) -> Engine:
    """An engine ready to run; the caller holds the lab's lock. Raises UserError, JournalDamaged, OSError."""
    lab, merged = with_overrides(lab, tag, overrides)
    check_command(lab)
    researcher = make_researcher(lab.settings, os.environ)
    session = Session(lab, tag, overrides=merged, listen=listen)
    return Engine(session, researcher, headless=headless, rows=int(merged.get("experiments", "0")))


def run_headless(engine: Engine) -> str:
    """Run here until the end. SIGINT stops now; SIGTERM lets go; a closed terminal changes nothing."""
    interrupted = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        engine.send(cmd.Stop(now=True))

    signal.signal(signal.SIGINT, stop)
    for let_go in (signal.SIGTERM, HAND_OVER):
        signal.signal(let_go, lambda _signal, _frame: engine.send(cmd.Detach()))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    outcome = engine.run()
    return "interrupted" if interrupted and outcome == "stopped" else outcome


def spawn_headless(lab: Lab, tag: str) -> int:
    """Start the successor that goes on without a screen. Returns its process id."""
    with Path(lab.state_folder, "engine.err").open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "autoresearch_tui", str(lab.root), "--tag", tag, "--headless"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            cwd=lab.root,
        )
    return process.pid
