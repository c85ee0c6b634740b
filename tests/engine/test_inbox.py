"""The engine and its inbox: what goes wrong with one command is that command's affair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.engine import commands as handler
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.runs import runner
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.inbox import Sender
from autoresearch_tui.session.journal import read
from tests.conftest import TRAIN
from tests.engine.test_loop import Driver, Script, running
from tests.faults.engines import is_running
from tests.history import problems
from tests.waiting import wait_for


def answers(folder: Path, request: str) -> list[ev.Event]:
    return [r.event for r in read(folder / ".autoresearch/t/journal.jsonl") if r.request == request]


def sender(folder: Path, driver: Driver) -> Sender:
    driver.wait(lambda s: len(s.table) == 1)
    return Sender(labs.find(folder).session("t").inbox)


def test_a_deed_that_fails_after_its_record_is_not_asked_for_twice(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done as soon as it can be, for the state says so."""
    folder, tries = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 20.0")), []

    def stop(run: Path, *_signal: object) -> None:
        tries.append(run)
        raise OSError(5, "the disk says no")

    with running(folder, Script()) as driver:
        driver.wait(lambda s: s.running)
        wait_for(lambda: is_running(folder / ".autoresearch/t/runs/0000"))
        with monkeypatch.context() as patch:
            patch.setattr(runner, "stop", stop)
            sent = Sender(labs.find(folder).session("t").inbox).send(cmd.Pause(stop_run=True))
            wait_for(lambda: len(tries) > 2 and sent.settled)
        driver.wait(lambda s: s.running is None)
    assert answers(folder, sent.id) == [ev.PauseAsked("human", stop_run=True)]
    assert problems(folder, "t") == []


def test_a_command_that_meets_a_fault_is_refused_and_the_next_is_obeyed(
    lab_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> ev.Event:
        raise ValueError("no such thing")

    monkeypatch.setattr(handler, "second_thought", broken)
    with running(lab_folder, Script()) as driver:
        send = sender(lab_folder, driver).send
        first, second = send(cmd.Repeat(0)), send(cmd.Note("still there"))
        wait_for(lambda: second.settled)
    (refused,) = answers(lab_folder, first.id)
    assert isinstance(refused, ev.CommandRefused) and refused.why.endswith("ValueError: no such thing")
    assert answers(lab_folder, second.id) == [ev.NoteGiven("still there")]
    assert problems(lab_folder, "t") == []


def test_what_is_only_of_the_moment_leaves_no_record(lab_folder: Path) -> None:
    with running(lab_folder, Script()) as driver:
        sent = sender(lab_folder, driver).send(cmd.Attend(99, "0" * 40))
        wait_for(lambda: sent.settled)
    assert answers(lab_folder, sent.id) == []
