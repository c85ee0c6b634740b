"""Deciding from a phone: 60×20, each byte 300 ms under way in either direction, what is typed in one packet."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from autoresearch_tui.lab.engine_lock import held, read_holder
from autoresearch_tui.session.state import Experiment, Stage
from tests.conftest import TRAIN
from tests.e2e.terminal import Terminal
from tests.e2e.test_story import ASK, CTRL_S, ESC
from tests.history import problems, state_of
from tests.waiting import wait_for

LATENCY = 0.3
# Only the unmodified baseline is quick: whatever is proposed trains for as long as it takes to stop it.
SLOW = TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.0 if (RATE, WIDTH) == (0.5, 8) else 600.0")
POLICY = f'{ASK}unattended = "approve-low-risk"\nafter_seconds = 3600\n'


def test_attach_read_hold_veto_edit_approve_take_back_leave(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(settings=POLICY, train=SLOW)
    command = [sys.executable, "-m", "autoresearch_tui"]
    lock = lab / ".autoresearch" / "engine.lock"
    headless = subprocess.Popen([*command, str(lab), "--tag", "t", "--headless"], stdout=subprocess.DEVNULL)

    def now(number: int) -> Experiment | None:
        known = state_of(lab, "t").experiments
        return known[number] if number < len(known) else None

    wait_for(lambda: (first := now(1)) is not None and first.stage is Stage.REVIEW, what="the first proposal")

    with Terminal(str(lab), columns=60, lines=20, latency=LATENCY) as phone:

        def until(number: int, what: Callable[[Experiment], object]) -> None:
            """Of the journal; the screen is drawn meanwhile."""
            phone.wait(lambda _: (found := now(number)) is not None and what(found))

        def gate(number: int) -> None:
            until(number, lambda e: e.stage is Stage.REVIEW)
            phone.wait(lambda shown: f"#{number} " in shown and "a approves" in shown)

        def counts() -> None:
            """Keys do not decide about what was on the screen for less than half a second."""
            seen = time.monotonic()
            phone.wait(lambda _: time.monotonic() > seen + 0.7)

        # Attach: the engine moves into this terminal.
        gate(1)
        wait_for(lambda: not read_holder(lock).headless, what="the engine in this terminal")
        headless.wait(60)
        pressed = time.monotonic()
        phone.press("?")
        phone.wait("Keys")
        assert time.monotonic() - pressed >= 2 * LATENCY, "the line is as slow as it says"
        phone.press(ESC)
        phone.wait(lambda shown: "Keys" not in shown)

        # Reading holds it; h releases it, and holds it for good; leaving the review does not change that.
        phone.press_until("r", "held while you read")
        until(1, lambda e: e.held == "read")
        phone.press("h")
        until(1, lambda e: e.held == "")
        phone.wait("auto-approves in")
        phone.press("h")
        phone.wait("held by you, h releases it")

        # A veto in own words: one packet.
        counts()
        phone.press("v\ttoo small a step\r")
        until(1, lambda e: e.outcome == "vetoed" and e.reason == "too small a step")

        # An edit with its description: one packet.
        gate(2)
        phone.press_until("r", "held while you read")
        counts()
        phone.press(f"e# by hand\r{CTRL_S}\x15mine\r")
        until(2, lambda e: e.approved_by == "human, edited" and e.description == "mine")

        # It trains, until it is stopped with a reason: one packet.
        until(2, lambda e: e.stage is Stage.RUNNING)
        phone.wait(" #2 mine")
        phone.press("s\tthe phone says no\r")
        until(2, lambda e: e.status == "stopped" and e.reason == "the phone says no")

        # Approved while the loop is paused, taken back, approved again.
        gate(3)
        phone.press_until("p", "p resumes")
        phone.press_until("3", "waits for you · +")
        counts()
        phone.press("a")
        phone.wait("approved · +")
        phone.press("z")
        until(3, lambda e: e.stage is Stage.REVIEW)
        phone.wait("waits for you · +")
        counts()
        phone.press("a")
        until(3, lambda e: e.approved_by == "human")

        # Leave: the engine keeps running without a screen.
        phone.press("q")
        assert phone.ended() == 0
    wait_for(lambda: held(lock) and read_holder(lock).headless, what="an engine without a screen")
    subprocess.run([*command, "stop", str(lab), "--now"], check=True, stdout=subprocess.DEVNULL)
    wait_for(lambda: not held(lock), what="the engine's end")
    assert [row.split("\t")[3] for row in (lab / "results.tsv").read_text().splitlines()[1:]] == ["keep", "crash"]
    assert problems(lab, "t") == []
