"""Who runs the engine: a worker thread beside a screen, or a process without one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine import journal
from autoresearch_tui.engine.launch import check_command
from autoresearch_tui.engine.ledger import GitError
from autoresearch_tui.engine.lock import LabBusy, LabLock
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.state import fold_all
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab
from autoresearch_tui.researchers.base import Researcher
from autoresearch_tui.settings import Settings

TAKE_OVER_SECONDS = 5.0
# «Let go of the lab»: to a headless engine, which ends, or to a cockpit, which goes on as a watcher.
HAND_OVER = signal.SIGUSR1
DETACH_SECONDS = 2.0
SUCCESSOR_SECONDS = 3.0

MakeResearcher = Callable[[Settings, Mapping[str, str]], Researcher]


def with_overrides(lab: Lab, tag: str, overrides: Mapping[str, str]) -> tuple[Lab, dict[str, str]]:
    """The lab with the command line's settings for this session, those given at an earlier start included."""
    path = lab.session(tag).journal
    earlier = fold_all(journal.read(path)).overrides if path.exists() else {}
    merged = {**earlier, **overrides}
    settings = lab.settings
    if "researcher" in merged:
        settings = replace(settings, researcher=replace(settings.researcher, kind=merged["researcher"]))  # type: ignore[arg-type]
    if "review" in merged:
        settings = replace(settings, review=replace(settings.review, mode=merged["review"]))  # type: ignore[arg-type]
    if "budget" in merged:
        settings = replace(settings, run=replace(settings.run, budget_seconds=float(merged["budget"])))
    return replace(lab, settings=settings), merged


def take_lock(lab: Lab, tag: str, *, headless: bool, insist: bool = False) -> LabLock:
    """The lab's lock; a headless engine that has it is told to hand over, a cockpit only if we insist.

    Raises LabBusy.
    """
    # A headless engine may be the successor of a process that is still on its way out.
    patience = SUCCESSOR_SECONDS if headless else 0.3
    try:
        return LabLock(lab.lock, headless=headless, tag=tag, wait_seconds=patience)
    except LabBusy as busy:
        if headless or not (busy.holder.headless or insist):
            raise
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(busy.holder.pid, HAND_OVER)
        return LabLock(lab.lock, headless=headless, tag=tag, wait_seconds=TAKE_OVER_SECONDS)


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


class EngineThread:
    """A Host: the engine in a daemon thread of this process. It owns the lab's lock until it has let go."""

    def __init__(self, lock: LabLock, make: Callable[[], Engine]) -> None:
        self._lock = lock
        self._make = make
        self._engine: Engine | None = None
        self._pending: list[cmd.Command] = []
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self.failure = ""
        self.outcome = ""

    @property
    def alive(self) -> bool:
        """Whether the engine is at work."""
        return self._thread.is_alive()

    @property
    def blocked(self) -> str:
        """Why the journal cannot be written at this moment; empty while it can."""
        return self._engine.blocked if self._engine is not None else ""

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def send(self, command: cmd.Command) -> None:
        """Hand over a command; kept while the engine is still being made."""
        with self._guard:
            if self._engine is None:
                self._pending.append(command)
            else:
                self._engine.send(command)

    def detach(self) -> None:
        """Let go of the session within two seconds."""
        if self._thread.ident is not None:
            self.send(cmd.Detach())
            self._thread.join(DETACH_SECONDS)

    def _work(self) -> None:
        try:
            engine = self._make()
            with self._guard:
                self._engine = engine
                for command in self._pending:
                    engine.send(command)
            self.outcome = engine.run()
        except (UserError, GitError, journal.JournalDamaged, OSError) as error:
            self.failure = str(error)
        except Exception as error:  # a fault of ours is shown, and the journal has everything up to it
            self.failure = f"the engine failed: {type(error).__name__}: {error}"
        finally:
            self._lock.release()


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
