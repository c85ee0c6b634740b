"""Terminals that stand still, cockpits that are suspended, screens of one cell: the session does not mind."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from autoresearch_tui.lab.engine_lock import held, read_holder
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from tests import warm
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
from autoresearch_tui.lab import paths
from autoresearch_tui.lab.engine_lock import HAND_OVER, LabBusy, take_lock
signal.signal(HAND_OVER, signal.SIG_IGN)
while True:
    try:
        lock = take_lock(paths.find(Path(sys.argv[1])), "t", headless=False, insist=True)
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


def exit_code_unread(terminal: Terminal) -> int:
    """Waits for the program's end and reads nothing of what it has drawn."""
    wait_for(lambda: not terminal.process.isalive(), what="the end of the program")
    number = terminal.process.signalstatus
    return terminal.process.exitstatus if number is None else -number


def one_experiment(lab: Path) -> None:
    """A session `t` without a screen, to its end."""
    done = warm.run([str(lab), "--headless", "--tag", "t", "--experiments", "1"])
    assert done.returncode == 0, done.stderr


AWAY = "Enter: continue"


def stop_for_good(terminal: Terminal) -> None:
    """Ends the session; what happened meanwhile may lie over the main screen first."""
    while "End the session" not in terminal.press_until("Q", lambda text: "End the session" in text or AWAY in text):
        terminal.press_until("\r", lambda text: AWAY not in text)
    terminal.press("x")
    assert terminal.ended() == 0


def test_a_reader_that_stands_still_costs_the_loop_nothing(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(train=LOUD)
    with Terminal(str(lab), "--tag", "t", columns=200, lines=50) as terminal:
        terminal.wait("training #1")
        before = len(rows(lab))
        full = stand_still(terminal)
        # The terminal is not read: the loop continues at its own pace.
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
            if how == "suspended":
                second.press_until("p", "The engine does not answer; T moves it here")
            taken = lambda _: held(lock) and read_holder(lock).pid == second.process.pid  # noqa: E731
            second.press_until("T", taken)
            stop_for_good(second)
        # What was said to the engine that did not answer is not obeyed by the next.
        assert not [r for r in read(lab / ".autoresearch/t/journal.jsonl") if isinstance(r.event, ev.PauseAsked)]
        if how == "suspended":
            # It could not let go, and was ended.
            assert exit_code_unread(first) == -signal.SIGKILL
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
    one_experiment(folder)
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
        terminal.wait("The loop continues without a screen")
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
        assert exit_code_unread(terminal) == 0
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
        one_experiment(lab)
        with stubborn_holder(lab) as pid, Terminal(str(lab), "--tag", "t") as terminal:
            terminal.wait("has this lab")
            give_up(terminal, pid)
    assert not held(lock)
    wait_for(lambda: survivors(lab) == [], what="the end of every process of the lab")
    assert problems(lab, "t") == []


def give_up(terminal: Terminal, holder: int) -> None:
    """Ask for the session, and think better of it."""
    taking = f"Taking the session over from process {holder}"
    # ^C is lost while the terminal changes hands, and the wait may be over before the next: then all over again.
    while terminal.process.isalive():
        terminal.press_until("T", lambda text: taking in text or not terminal.process.isalive())
        with suppress(AssertionError):
            terminal.press("\x03")
            terminal.wait(lambda _: not terminal.process.isalive(), 2)
    assert terminal.ended() == 130
    assert terminal.cursor_shown


def test_a_viewer_whose_terminal_takes_nothing_ends_all_the_same(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(train=LOUD)
    with warm.start([lab, "--headless", "--tag", "t"]) as engine:
        try:
            wait_for(lambda: lab.joinpath("results.tsv").exists(), what="the baseline's verdict")
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                with Terminal("watch", str(lab), columns=200, lines=50) as viewer:
                    viewer.wait("training #")
                    stand_still(viewer)
                    os.kill(viewer.process.pid, number)
                    wait_for(lambda: not viewer.process.isalive(), what="the viewer's end")
        finally:
            engine.send_signal(signal.SIGINT)
        assert engine.wait(60) == 130
    assert problems(lab, "t") == []


@pytest.mark.parametrize("words", [("watch",), ("--tag", "t")], ids=["a viewer", "a cockpit"])
def test_one_whose_terminal_goes_without_a_signal_ends(lab_folder: Path, words: tuple[str, ...]) -> None:
    """SIGHUP comes to those alone whose controlling terminal it is."""
    command, env = [sys.executable, "-m", "autoresearch_tui"], {**os.environ, "TERM": "xterm-256color"}
    one_experiment(lab_folder)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 32, 120, 0, 0))
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with subprocess.Popen([*command, *words, str(lab_folder)], **streams, env=env, start_new_session=True) as screen:
        os.close(theirs)
        shown = b""
        while b"autoresearch" not in shown:
            shown += os.read(ours, 1 << 16)
        os.close(ours)
        screen.wait(60)
    stop = warm.run(["stop", str(lab_folder), "--now"])
    assert stop.returncode in (0, 1)  # an engine that has taken over, or none


# At the start of the cockpit's interpreter: the key of a pane that breaks.
BREAKS = """
import sys
if "-m" in sys.orig_argv and "autoresearch_tui" in sys.orig_argv and "--headless" not in sys.orig_argv:
    from autoresearch_tui.cockpit.screens.main import MainScreen
    from autoresearch_tui.cockpit.widgets.charts import ProgressChart
    def zoom(self):
        secret = "hunter2"
        return {}["no such pane"]
    def paint(self, size):
        raise ValueError("no room")
    MainScreen.action_zoom = zoom
    ProgressChart.paint = paint
"""


@pytest.mark.parametrize(("key", "error"), [("Z", "KeyError: 'no such pane'"), ("7", "ValueError: no room")])
def test_a_screen_that_crashes_says_so_in_one_line_and_the_loop_goes_on(
    new_lab: Callable[..., Path], tmp_path: Path, key: str, error: str
) -> None:
    lab = new_lab(settings=ASK)
    (tmp_path / "sitecustomize.py").write_text(BREAKS)
    with Terminal(str(lab), "--tag", "t", env={"PYTHONPATH": str(tmp_path)}, columns=100) as terminal:
        terminal.wait("a approves")
        terminal.press(key)
        assert terminal.ended() == 3
        shown = " ".join(terminal.text.split())
        assert f"the screen crashed ({error})" in shown
        assert "Traceback" not in shown and "hunter2" not in shown
        assert terminal.cursor_shown
    name = shown.partition("the traceback is in ")[2].partition(";")[0].replace(" ", "")
    details = Path(name).read_text()
    assert error in details and "hunter2" not in details.replace('secret = "hunter2"', "")
    Path(name).unlink()
    stop_headless(lab)
    assert problems(lab, "t") == []


def test_a_viewer_that_crashes_ends_with_the_same_code(new_lab: Callable[..., Path], tmp_path: Path) -> None:
    lab = new_lab()
    one_experiment(lab)
    (tmp_path / "sitecustomize.py").write_text(BREAKS)
    with Terminal("watch", str(lab), env={"PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)}) as terminal:
        terminal.wait("read only")
        terminal.press("Z")
        assert terminal.ended() == 3
        assert "the screen crashed (KeyError" in terminal.text


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_without_colours_is_sent_none(new_lab: Callable[..., Path], tmp_path: Path, name: str) -> None:
    lab = new_lab()
    one_experiment(lab)
    with Terminal("watch", str(lab), env={"TERM": name, "COLORTERM": "truecolor"}) as terminal:
        with (tmp_path / "sent").open("wb") as file:
            terminal.process.logfile_read = file
            terminal.wait("read only")
            terminal.press("q")
            assert terminal.ended() == 0
        assert (
            re.findall(rb"\x1b\[[0-9;]*?(?:[34]8;[25]|[^0-9][34][0-7]m)[0-9;]*m?", (tmp_path / "sent").read_bytes())
            == []
        )
