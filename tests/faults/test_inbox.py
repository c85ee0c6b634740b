"""Commands under way while engines are killed, and from many processes at once: each is obeyed or refused once."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autoresearch_tui.launch import verbs
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from autoresearch_tui.util.errors import Refused
from tests import warm
from tests.conftest import SETTINGS, THOROUGH, TRAIN, make_lab
from tests.faults.engines import Engines
from tests.faults.test_kill import UNSANDBOXED, finish, words
from tests.history import contradictions, state_of, survivors
from tests.waiting import wait_for

ENDLESS = 100_000
SENDERS, KILLS = (3, 25) if THOROUGH else (3, 12)


def notes(lab: Path) -> Counter[str]:
    """How often the session has each note."""
    return Counter(record.event.text for record in read(journal(lab)) if isinstance(record.event, ev.NoteGiven))


def journal(lab: Path) -> Path:
    return lab / ".autoresearch/t/journal.jsonl"


def listening(lab: Path) -> bool:
    return journal(lab).exists() and state_of(lab, "t").engine is not None


class Chatter:
    """Sends notes, one after the other, and keeps what came of each."""

    def __init__(self, lab: Path, name: str) -> None:
        self.name, self.done, self.refused = name, set[str](), dict[str, str]()
        self.fault: BaseException | None = None
        self._lab, self._over = lab, threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        dice, number = random.Random(self.name), 0
        while not self._over.is_set():
            number += 1
            text = f"{self.name}-{number}"
            note, repeat = cmd.Note(text), cmd.Repeat(0)
            chosen: cmd.Command = note if dice.random() < 0.8 else repeat
            try:
                verbs.steer(self._lab, "t", lambda _, chosen=chosen: chosen)  # type: ignore[misc]
                self.done |= {text} if chosen is note else set()
            except Refused as refused:
                self.refused[text] = str(refused)
                time.sleep(0.1)
            except BaseException as fault:
                self.fault = fault
                return

    def end(self) -> None:
        self._over.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        if self.fault is not None:
            raise self.fault


@pytest.mark.timeout(1800)
def test_engines_are_killed_with_commands_under_way(engines: Engines, in_memory: Path) -> None:
    seed = int(os.environ.get("AUTORESEARCH_TEST_SEED") or time.time_ns() % 1_000_000)
    print(f"AUTORESEARCH_TEST_SEED={seed}")
    dice, errors = random.Random(seed), in_memory / "errors"
    lab = make_lab(in_memory / "lab", SETTINGS, TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.05"))
    finish(engines, lab, 1)
    chatters: list[Chatter] = []
    for number in range(KILLS):
        orders = f"effect:{dice.randint(20, 400)}" if dice.random() < 0.7 else ""
        (pid,) = engines.start(words(lab, ENDLESS), errors, orders=orders, env=UNSANDBOXED)
        if number == 0:
            chatters = [Chatter(lab, f"sender{each}") for each in range(SENDERS)]
        if not orders:
            time.sleep(dice.uniform(0.3, 1.5))
            os.kill(pid, signal.SIGKILL)
        assert engines.ends() == [-signal.SIGKILL], Path(f"{errors}-0").read_text()
        assert contradictions(lab, "t") == []
    (pid,) = engines.start(words(lab, ENDLESS), errors, env=UNSANDBOXED)
    before = sum(len(chatter.done) for chatter in chatters)
    wait_for(lambda: sum(len(chatter.done) for chatter in chatters) >= before + SENDERS, what="answers after the kills")
    for chatter in chatters:
        chatter.end()
    os.kill(pid, signal.SIGTERM)
    assert engines.ends() == [0], Path(f"{errors}-0").read_text()
    given = notes(lab)
    for chatter in chatters:
        mine = {text for text in given if text.startswith(f"{chatter.name}-")}
        assert mine == chatter.done, chatter.refused
        assert all(given[text] == 1 for text in mine)
        # In the order in which they were sent.
        numbers = [int(text.partition("-")[2]) for text in given if text in mine]
        assert numbers == sorted(numbers)
    print({chatter.name: (len(chatter.done), set(chatter.refused.values())) for chatter in chatters})
    finish(engines, lab, len(state_of(lab, "t").table) + 1)
    assert survivors(in_memory) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_engine_dies_around_the_answer(engines: Engines, in_memory: Path, when: str) -> None:
    """The next one obeys what was not journalled, and only answers what was."""
    lab, errors = make_lab(in_memory / "lab", SETTINGS), in_memory / "errors"
    finish(engines, lab, 1)
    engines.start(words(lab, ENDLESS), errors, orders=f"{when}:note_given:1", env=UNSANDBOXED)
    wait_for(lambda: listening(lab))
    said: list[str] = []
    sender = threading.Thread(
        target=lambda: said.append(verbs.steer(lab, "t", lambda _: cmd.Note("once"))), daemon=True
    )
    sender.start()
    assert engines.ends() == [-signal.SIGKILL]
    assert notes(lab)["once"] == (when == "after")
    (pid,) = engines.start(words(lab, ENDLESS), errors, env=UNSANDBOXED)
    sender.join(60)
    assert said == ["the next request to the researcher has your note"]
    os.kill(pid, signal.SIGTERM)
    assert engines.ends() == [0]
    assert notes(lab)["once"] == 1
    finish(engines, lab, len(state_of(lab, "t").table) + 1)


TEN = """
import contextlib, io, json, sys
from autoresearch_tui import cli

lab, name = sys.argv[1:]
ends = []
for number in range(10):
    words = [["note", f"{name}-{number}"], ["repeat", "0"], ["approve", "0"], ["overrule", "0", "-m", "no"], ["pause"]]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = cli.main([*words[(number + len(name)) % 5 if number % 2 else 0], lab])
    ends.append((number, code, out.getvalue()))
print(json.dumps(ends))
"""


def test_a_hundred_commands_of_ten_processes(engines: Engines, in_memory: Path) -> None:
    lab, errors = make_lab(in_memory / "lab", SETTINGS), in_memory / "errors"
    finish(engines, lab, 1)
    (pid,) = engines.start(words(lab, ENDLESS), errors, env=UNSANDBOXED)
    wait_for(lambda: listening(lab))
    assert warm.run(["status", str(lab)]).returncode == 0
    names = ["n" * (each + 1) for each in range(10)]
    with ThreadPoolExecutor(len(names)) as pool:
        senders = [*pool.map(lambda name: warm.python(["-c", TEN, str(lab), name], warm="commands").result(), names)]
    ends = {name: json.loads(sender.stdout) for name, sender in zip(names, senders, strict=True)}
    os.kill(pid, signal.SIGTERM)
    assert engines.ends() == [0]
    records = read(journal(lab))
    answered = [record for record in records if record.request]
    assert len({record.request for record in answered}) == len(answered) == 100
    refused = sum(isinstance(record.event, ev.CommandRefused) for record in answered)
    assert sum(code == 1 for each in ends.values() for _, code, _ in each) == refused > 0
    assert sum(code == 0 for each in ends.values() for _, code, _ in each) == 100 - refused
    given = [record.event.text for record in answered if isinstance(record.event, ev.NoteGiven)]
    for name, each in ends.items():
        mine = [text for text in given if text.partition("-")[0] == name]
        assert mine == [f"{name}-{number}" for number, code, said in each if "your note" in said]
    assert warm.run(["status", str(lab)]).returncode == 0
    assert contradictions(lab, "t") == []
    assert [*(lab / ".autoresearch/t/inbox").iterdir()] == []
