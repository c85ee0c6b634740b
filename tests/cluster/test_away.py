"""A session whose cluster does not answer: what a human who wants to end it gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.cluster import executor
from autoresearch_tui.cluster.executor import OnCluster
from autoresearch_tui.cluster.protocol import Sent
from autoresearch_tui.engine import startup
from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import EngineEnd, RunEnd
from autoresearch_tui.session.state import Stage, State
from tests.conftest import SETTINGS
from tests.engine.test_loop import Driver, Script
from tests.history import contradictions, state_of

NOBODY = '[cluster]\naddress = "127.0.0.1:1"\nresources = { CPU = 1 }\n'


def begin(lab: Path, *more: ev.Event) -> State:
    """A session with a run on a node, and what came of that before its engine ended."""
    session = Session(labs.find(lab), "t")
    startup.start(session, headless=True)
    base = session.repo.head()
    started: tuple[ev.Event, ...] = (
        ev.DeviceJoined("a:0", "a", "", {}),
        ev.ProposalMade(0, base, base, "baseline", "", BASELINE, session.state.program, 0, 0),
        ev.ProposalApproved(0, base, "baseline"),
        ev.RunStarted(0, base, 1, "a:0"),
    )
    for event in (*started, *more):
        session.append(event)
    files = session.files.run(0)
    files.work.mkdir(parents=True)
    Sent(0, 1, "a:0", accepted=True).write(files.folder)
    session.end(EngineEnd.DETACHED, "")
    return session.state


@pytest.mark.parametrize(
    ("before", "after"),
    [((), Stage.APPROVED), ((ev.RunEnded(0, RunEnd.FINISHED, 0, 5.0),), Stage.ENDED)],
    ids=["a run that trains", "a run that is to be scored"],
)
def test_a_stop_does_not_wait_for_a_cluster_that_is_away(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, before: tuple[ev.Event, ...], after: Stage
) -> None:
    monkeypatch.setattr(executor, "AWAY_SECONDS", 1.0)
    lab = new_lab(settings=SETTINGS + NOBODY)
    begin(lab, *before)
    session = Session(labs.find(lab), "t")
    driver = Driver.hosting(Engine(session, Script(), headless=False, executor=OnCluster(session)))
    driver.start()
    driver.wait(lambda state: state.engine is not None)
    driver.engine.send(cmd.Stop(now=True))
    assert driver.join() == "stopped"
    assert state_of(lab, "t").experiments[0].stage is after, "the next start continues it"
    assert contradictions(lab, "t") == []
