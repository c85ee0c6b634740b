"""Terminals that stand still, cockpits that are suspended, screens of one cell: the session does not mind."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoresearch_tui.engine.hosting.lock import held, read_holder
from tests.conftest import SETTINGS, TRAIN
from tests.e2e.terminal import Terminal, rows
from tests.e2e.test_cockpit import ASK, same_numbers, stop_headless
from tests.history import problems, survivors
from tests.waiting import wait_for

# More on the screen than a terminal's buffer holds, in every run.
LOUD = TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0").replace(
    "    time.sleep(PAUSE / steps)\n",
    "    for n in range(40):\n"
    "        print('\\n' + chr(33 + n) * 200, end='', flush=True)\n"
    "        time.sleep(PAUSE / steps / 40)\n",
)


# Takes a session from whoever has it, and hands it over to nobody until its input ends.
STUBBORN = """
import signal, sys
from pathlib import Path
from autoresearch_tui import lab
from autoresearch_tui.engine.hosting.lock import HAND_OVER, LabBusy, take_lock
signal.signal(HAND_OVER, signal.SIG_IGN)
while True:
    try:
        lock = take_lock(lab.find(Path(sys.argv[1])), "t", headless=False, insist=True)
        break
    except LabBusy:
        continue
sys.stdin.read()
lock.release()
"""


@contextmanager
def stubborn_holder(lab: Path) -> Iterator[int]:
    """A process that has the session, and does not answer who asks for it."""
    lock = lab / ".autoresearch" / "engine.lock"
    with subprocess.Popen([sys.executable, "-c", STUBBORN, str(lab)], stdin=subprocess.PIPE) as process:
        wait_for(lambda: held(lock) and read_holder(lock).pid == process.pid, what="the session in other hands")
        yield process.pid


def waiting_bytes(terminal: Terminal) -> int:
    """What the program has written and nobody has read."""
    return int(struct.unpack("i", fcntl.ioctl(terminal.process.child_fd, termios.FIONREAD, b"\0" * 4))[0])


def stand_still(terminal: Terminal) -> int:
    """Read nothing until no more goes into the terminal. Returns how many bytes that is."""
    full = -1

    def stuck() -> bool:
        nonlocal full
        was, full = full, waiting_bytes(terminal)
        time.sleep(0.5)
        return 0 < was == full

    wait_for(stuck, what="a full buffer")
    return full


def stop_for_good(terminal: Terminal) -> None:
    terminal.press_until("Q", "stop for good")
    terminal.press("x")
    assert terminal.ended() == 0


def test_a_reader_that_stands_still_costs_the_loop_nothing(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(train=LOUD)
    with Terminal(str(lab), "--tag", "t", columns=200, lines=50) as terminal:
        terminal.wait("training #1")
        before = len(rows(lab))
        full = stand_still(terminal)
        # Nobody has read for a while and nobody reads: the loop goes on at its own pace.
        wait_for(lambda: len(rows(lab)) >= before + 3, what="three more verdicts")
        assert waiting_bytes(terminal) == full
        table = rows(lab)
        terminal.wait(same_numbers(lab, table))
        stop_for_good(terminal)
    assert problems(lab, "t") == []


@pytest.mark.parametrize("how", ["stands still", "suspended"])
def test_the_session_can_be_taken_from_a_cockpit_that_does_not_answer(new_lab: Callable[..., Path], how: str) -> None:
    lab = new_lab(train=LOUD if how == "stands still" else TRAIN, settings=SETTINGS if how == "stands still" else ASK)
    lock = lab / ".autoresearch" / "engine.lock"
    with Terminal(str(lab), "--tag", "t") as first:
        first.wait("#1")
        if how == "suspended":
            first.process.kill(signal.SIGSTOP)
        with Terminal(str(lab), columns=200, lines=50) as second:
            second.wait("has this lab")
            second.press_until("T", lambda text: "has this lab" not in text)
            wait_for(lambda: held(lock) and read_holder(lock).pid == second.process.pid, what="the take-over")
            stop_for_good(second)
        if how == "suspended":
            # It could not let go, and was ended.
            assert os.waitstatus_to_exitcode(os.waitpid(first.process.pid, 0)[1]) == -signal.SIGKILL
            first.gone()
    wait_for(lambda: survivors(lab) == [], what="the end of every process of the lab")
    assert problems(lab, "t") == []


def test_stops_and_sizes_down_to_one_cell(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(settings=ASK)
    with Terminal(str(lab), "--tag", "t") as terminal:
        terminal.wait("a approves")
        for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGCONT):
            terminal.process.kill(number)
            for _ in range(10):
                terminal.drain()
        for columns, lines in ((1, 1), (2, 50), (300, 1), (120, 32)):
            terminal.resize(columns, lines)
            terminal.press("ra\x1b")
            for _ in range(10):
                terminal.drain()
        terminal.press("\x1b")
        terminal.wait("autoresearch")
        terminal.press_until("q", lambda _: not terminal.process.isalive())
    stop_headless(lab)
    assert problems(lab, "t") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["watch", "replay"])
def test_a_viewer_that_is_told_to_end_leaves_the_terminal_as_it_was(
    new_lab: Callable[..., Path], command: str, number: signal.Signals
) -> None:
    folder = new_lab()
    words = [sys.executable, "-m", "autoresearch_tui", str(folder), "--headless", "--tag", "t", "--experiments", "1"]
    subprocess.run(words, check=True, capture_output=True, timeout=240)
    with Terminal(command, str(folder)) as terminal:
        terminal.wait("read only")
        assert not terminal.cursor_shown
        os.kill(terminal.process.pid, number)
        assert terminal.ended() == 130
        assert terminal.cursor_shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cockpit_that_is_told_to_end_leaves_as_with_its_key(
    new_lab: Callable[..., Path], number: signal.Signals
) -> None:
    lab = new_lab(settings=ASK)
    with Terminal(str(lab), "--tag", "t") as terminal:
        terminal.wait("a approves")
        os.kill(terminal.process.pid, number)
        terminal.wait("The loop goes on without a screen")
        assert terminal.ended() == 0
        assert terminal.cursor_shown
    stop_headless(lab)
    assert problems(lab, "t") == []


def test_one_whose_terminal_takes_nothing_ends_all_the_same(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(train=LOUD)
    with Terminal(str(lab), "--tag", "t", columns=200, lines=50) as terminal:
        terminal.wait("training #1")
        stand_still(terminal)
        os.kill(terminal.process.pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(terminal.process.pid, 0)[1]) == 0
        terminal.gone()
    stop_headless(lab)
    assert problems(lab, "t") == []


@pytest.mark.parametrize("who", ["had it", "only watched"])
def test_waiting_for_the_session_can_be_given_up(new_lab: Callable[..., Path], who: str) -> None:
    lab = new_lab(settings=ASK)
    lock = lab / ".autoresearch" / "engine.lock"
    if who == "had it":
        with Terminal(str(lab), "--tag", "t") as terminal:
            terminal.wait("a approves")
            with stubborn_holder(lab) as pid:
                terminal.wait("another terminal has taken over")
                give_up(terminal, pid)
    else:
        words = [sys.executable, "-m", "autoresearch_tui", str(lab), "--headless", "--tag", "t", "--experiments", "1"]
        subprocess.run(words, check=True, capture_output=True, timeout=240)
        with stubborn_holder(lab) as pid, Terminal(str(lab), "--tag", "t") as terminal:
            terminal.wait("has this lab")
            give_up(terminal, pid)
    assert not held(lock)
    wait_for(lambda: survivors(lab) == [], what="the end of every process of the lab")
    assert problems(lab, "t") == []


def give_up(terminal: Terminal, holder: int) -> None:
    """Ask for the session, and think better of it."""
    terminal.press_until("T", f"Taking the session over from process {holder}")
    terminal.press("\x03")
    assert terminal.ended() == 130
    assert terminal.cursor_shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_viewer_whose_terminal_takes_nothing_ends_all_the_same(
    new_lab: Callable[..., Path], number: signal.Signals
) -> None:
    lab = new_lab(train=LOUD)
    words = (sys.executable, "-m", "autoresearch_tui", str(lab), "--headless", "--tag", "t")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as engine:
        try:
            wait_for(lambda: lab.joinpath("results.tsv").exists(), what="the baseline's verdict")
            with Terminal("watch", str(lab), columns=200, lines=50) as viewer:
                viewer.wait("training #")
                stand_still(viewer)
                os.kill(viewer.process.pid, number)
                wait_for(lambda: os.waitpid(viewer.process.pid, os.WNOHANG)[0], what="the viewer's end")
                viewer.gone()
        finally:
            engine.send_signal(signal.SIGINT)
        assert engine.wait(60) == 130
    assert problems(lab, "t") == []
