"""A whole night steered with verbs alone: its engine in a cockpit, then without a screen, then killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from autoresearch_tui.lab.engine_lock import held, read_holder
from autoresearch_tui.session.journal import read
from tests.conftest import TRAIN
from tests.e2e.terminal import Terminal
from tests.history import problems, state_of, survivors
from tests.launch.test_verbs import ASK, PLAIN, at_gate, engine, verb
from tests.waiting import wait_for

SLOW = TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0")


def test_a_night_of_verbs(new_lab: Callable[..., Path], tmp_path: Path) -> None:
    lab = new_lab(settings=ASK, train=SLOW)
    lock, mine, sent = lab / ".autoresearch/engine.lock", tmp_path / "train.py", 0

    def say(*words: str | Path, refused: bool = False) -> str:
        nonlocal sent
        code, said = verb(*words, lab)
        assert code == refused, said
        sent += 1
        return said

    def decided(number: int) -> str:
        wait_for(lambda: state_of(lab, "t").experiments[number].outcome, what=f"the end of #{number}")
        return state_of(lab, "t").experiments[number].outcome

    # Its engine is in a cockpit.
    with Terminal(str(lab), "--tag", "t", env=PLAIN) as terminal:
        terminal.wait("a approves")
        shown = at_gate(lab, 1).experiments[1].commit
        say("approve", "1", "--commit", shown[:10])
        terminal.wait(lambda _: state_of(lab, "t").experiments[1].outcome)
        at_gate(lab, 2)
        say("note", "leave the WIDTH alone")
        say("veto", "2", "-m", "not tonight")
        assert say("veto", "2", "-m", "again", refused=True) == "#2: it is not waiting any more"
        at_gate(lab, 3)
        mine.write_text(SLOW.replace("RATE = 0.5", "RATE = 0.25"))
        say("edit", "3", mine, "-m", "RATE to a quarter")
        terminal.wait(lambda _: state_of(lab, "t").experiments[3].outcome)
        say("pause")
        terminal.wait("paused")
        terminal.press("q")
        assert terminal.ended() == 0
    # It continues without a screen.
    wait_for(lambda: held(lock) and read_holder(lock).headless, what="the take-over by a headless engine")
    say("resume")
    say("overrule", "3", "-m", "luck")
    assert state_of(lab, "t").frontier_number != 3
    say("continue", "3")
    assert state_of(lab, "t").frontier_number == 3
    say("repeat", "0")
    again = next(e.number for e in state_of(lab, "t").experiments if e.proposal.repeat_of == 0)
    # It is killed while that trains. What is said then is said to nobody.
    wait_for(lambda: state_of(lab, "t").experiments[again].started_at, what="the repeat's start")
    os.kill(read_holder(lock).pid, signal.SIGKILL)
    wait_for(lambda: not held(lock), what="the engine's death")
    with engine(lab) as process:
        say("note", "back again")
        assert decided(again) == "discard"
        wait_for(lambda: state_of(lab, "t").waiting, what="the next proposal")
        waiting = next(e.number for e in state_of(lab, "t").waiting)
        at_gate(lab, waiting)
        say("approve", str(waiting))
        wait_for(lambda: state_of(lab, "t").experiments[waiting].started_at)
        say("stop", "--after-run")
        assert process.wait(120) == 0
    state = state_of(lab, "t")
    assert state.stopped is not None and state.stopped.why == "stopped"
    assert state.experiments[waiting].outcome in ("keep", "discard")
    assert state.notes == ("leave the WIDTH alone", "back again")
    answers = [record.request for record in read(lab / ".autoresearch/t/journal.jsonl") if record.request]
    assert len(set(answers)) == len(answers) == sent
    wait_for(lambda: survivors(lab) == [], what="the end of every process of the lab")
    assert problems(lab, "t") == []
