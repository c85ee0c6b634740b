"""Assembling an engine from a lab's settings, and running one without a screen."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from autoresearch_tui.engine.digest import Authors
from autoresearch_tui.engine.executor import Executor
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.engine_lock import HAND_OVER
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import (
    Settings,
    critic_as_researcher,
    front_as_researcher,
    front_letter,
    fronts_with_their_own,
)
from autoresearch_tui.launch.overrides import with_overrides
from autoresearch_tui.researchers import factory
from autoresearch_tui.researchers.base import Critic, Researcher
from autoresearch_tui.runs.environment import check_command
from autoresearch_tui.sandbox import for_agents
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session.ends import EngineEnd
from autoresearch_tui.util.errors import UserError


class Output:
    """Writes lines to stdout from its own thread, so that a slow reader does not stop an experiment."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="output", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Never blocks."""
        self._lines.put(line)

    def close(self) -> None:
        """Waits until the reader has everything, or is gone."""
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
                # Experiments continue without a reader.
                return
            except OSError:
                # A full disk: the buffer is written when there is room.
                continue


Wrap = Callable[[Sequence[str], Path], Sequence[str]]


class MakeResearcher(Protocol):
    """Makes the settings' researcher; `wrap` puts an agent's command into the sandbox."""

    def __call__(self, settings: Settings, environ: Mapping[str, str], *, wrap: Wrap) -> Researcher: ...


def make_engine(
    lab: Lab,
    tag: str,
    overrides: Mapping[str, str],
    make_researcher: MakeResearcher,
    *,
    headless: bool,
    successor: bool = False,
    on_line: Callable[[bytes], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Engine:
    """An engine ready to run; the caller holds the lab's lock. Raises UserError, JournalDamaged, OSError."""
    lab, merged = with_overrides(lab, tag, overrides, successor=successor)
    if not lab.settings.cluster.address:
        check_command(lab)
    session = Session(lab, tag, overrides=merged, successor=successor, on_line=on_line, warn=warn)
    for_agents.check_start(lab, session.repo, os.environ)
    wrap = for_agents.wrapper(lab, session.repo, os.environ)
    fronts = {front: _of_front(lab, session, front, make_researcher) for front in fronts_with_their_own(lab.settings)}

    def another() -> Researcher:
        usual = make_researcher(lab.settings, os.environ, wrap=wrap)
        return factory.ByFront(usual, {front: make() for front, make in fronts.items()}) if fronts else usual

    return Engine(
        session,
        another(),
        another=another,
        headless=headless,
        critic=_critic(lab, session, headless=headless),
        authors=_authors(lab, wrap),
        rows=int(merged.get("experiments", "0")),
        executor=_on_cluster(session) if lab.settings.cluster.address else None,
    )


def _on_cluster(session: Session) -> Executor:
    from autoresearch_tui.cluster.executor import OnCluster

    return OnCluster(session)


def _of_front(lab: Lab, session: Session, front: int, make_researcher: MakeResearcher) -> Callable[[], Researcher]:
    """Makes researchers for a front with settings of its own, in their own sandbox. Raises UserError, and so does
    the result."""
    theirs = replace(lab, settings=replace(lab.settings, researcher=front_as_researcher(lab.settings, front)))
    where = f"`search.front.{front_letter(front)}`"
    try:
        for_agents.check_start(theirs, session.repo, os.environ)
        wrap = for_agents.wrapper(theirs, session.repo, os.environ)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None

    def make() -> Researcher:
        try:
            return make_researcher(theirs.settings, os.environ, wrap=wrap)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None

    return make


def _authors(lab: Lab, wrap: Wrap) -> Authors:
    """The authors of the digest: the researcher, if the settings want it and it can write, and the offline author."""
    offline = factory.offline_author()
    if not lab.settings.researcher.digest:
        return Authors(offline)
    try:
        return Authors(offline, factory.make_author(lab.settings, os.environ, wrap=wrap))
    except UserError:
        return Authors(offline)


def _critic(lab: Lab, session: Session, *, headless: bool) -> Critic | None:
    """The lab's critic. With a human present, one that cannot judge says why. Raises UserError."""
    if not lab.settings.review.critic.kind:
        return None
    theirs = replace(lab, settings=replace(lab.settings, researcher=critic_as_researcher(lab.settings)))
    try:
        for_agents.check_start(theirs, session.repo, os.environ)
        wrap = for_agents.wrapper(theirs, session.repo, os.environ)
        return factory.make_critic(lab.settings, os.environ, wrap=wrap)
    except UserError as error:
        if headless:
            raise UserError(f"the critic: {error}") from None
        return factory.MissingResearcher(f"the critic: {error}")


def run_headless(engine: Engine) -> str:
    """Runs the engine to its end. SIGINT stops it now; SIGTERM detaches it; a closed terminal changes nothing."""
    interrupted = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        engine.send(cmd.Stop(now=True))

    signal.signal(signal.SIGINT, stop)
    for shut_down in (signal.SIGTERM, HAND_OVER):
        signal.signal(shut_down, lambda _signal, _frame: engine.send(cmd.Detach()))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    outcome = engine.run()
    return "interrupted" if interrupted and outcome == EngineEnd.STOPPED else outcome
