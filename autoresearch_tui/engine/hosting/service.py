"""Who runs the engine: a worker thread beside a screen, or a process without one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine.cages import agent_cage
from autoresearch_tui.engine.cages.environment import check_command
from autoresearch_tui.engine.hosting.lock import HAND_OVER
from autoresearch_tui.engine.hosting.overrides import with_overrides
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import Lab
from autoresearch_tui.researchers.base import Researcher
from autoresearch_tui.settings import Settings

Wrap = Callable[[Sequence[str], Path], Sequence[str]]


class MakeResearcher(Protocol):
    """Makes the researcher of the settings; `wrap` closes the cage around an agent's command in its folder."""

    def __call__(self, settings: Settings, environ: Mapping[str, str], *, wrap: Wrap) -> Researcher: ...


def make_engine(
    lab: Lab,
    tag: str,
    overrides: Mapping[str, str],
    make_researcher: MakeResearcher,
    *,
    headless: bool,
    successor: bool = False,
    listen: Callable[[bytes], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Engine:
    """An engine ready to run; the caller holds the lab's lock. Raises UserError, JournalDamaged, OSError."""
    lab, merged = with_overrides(lab, tag, overrides)
    check_command(lab)
    session = Session(lab, tag, overrides=merged, successor=successor, listen=listen, warn=warn)
    wrap = agent_cage.wrapper(lab, session.ledger, os.environ)
    researcher = make_researcher(lab.settings, os.environ, wrap=wrap)
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
