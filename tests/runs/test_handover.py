"""The clock of a run's budget: it starts when the training data is handed over, and stops at a whole request."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.runs import runner
from autoresearch_tui.runs.runner import RefereeSpec
from tests.engine.judging.test_referee import ASK
from tests.runs.test_runner import ended, spec
from tests.waiting import wait_for

HARNESS = Path(__file__).resolve().parents[2] / "harness"
TRAINER = f"""
import os, sys, time
sys.path.insert(0, {str(HARNESS)!r})
from fixed import port
fd = int(os.environ['AUTORESEARCH_REFEREE_FD'])
"""
TAKE = "print([os.fdopen(n).read() for n in port.take(fd)], flush=True)\ntaken = time.monotonic()\n"
SCORE = "print('spent', time.monotonic() - taken)\nos.write(fd, b'score me')\n"
# Hands over two files, says what it heard, and that nothing was in its way before.
REFEREE = f"""
{TRAINER}import socket
line, control = socket.socket(fileno=fd), socket.socket(fileno=int(os.environ['AUTORESEARCH_HANDOVER']))
while (order := control.recv(5)).startswith(b'T'):
    at = int.from_bytes(order[1:], 'little')
    control.sendall(b'1')
    with open(f'file{{at}}') as file:
        socket.send_fds(line, [port.HANDED.pack(port.MAGIC, 1, 2)], [file.fileno()])
if not order:
    sys.exit(3)
print('heard', line.recv(9).decode())
print('val_bpb: 0.25')
"""


def run(folder: Path, trainer: str, referee: str = REFEREE, **changes: object) -> runner.Exit:
    """One run of a lab that hands its data over, to its end."""
    for number in (0, 1):
        (folder / f"file{number}").write_text(f"text {number}")
    own = RefereeSpec((sys.executable, "-I", "-S", "-c", referee), {"PATH": "/usr/bin:/bin"}, str(folder), True)
    runner.start(folder, replace(spec(folder, TRAINER + trainer), referee=own, **changes))
    wait_for(lambda: ended(folder))
    found = runner.look(folder).exit
    assert found is not None
    return found


def spent(folder: Path) -> float:
    """Seconds between the two, by the run's own clock."""
    return float((folder / "run.log").read_text().rpartition("spent ")[2])


@pytest.mark.parametrize(
    ("before", "between"),
    [("time.sleep(1.5)", "time.sleep(0.3)"), ("", "time.sleep(1.0)")],
    ids=["it compiles first", "it trains"],
)
def test_the_clock_runs_from_the_data_to_the_request(tmp_path: Path, before: str, between: str) -> None:
    found = run(tmp_path, f"{before}\n{TAKE}{between}\n{SCORE}")
    assert (found.reason, found.referee_exit, found.strays) == ("finished", 0, 0)
    assert found.ready_seconds is not None and found.asked_seconds is not None
    assert found.asked_seconds - found.ready_seconds == pytest.approx(spent(tmp_path), abs=0.2)
    assert "['text 0', 'text 1']" in (tmp_path / "run.log").read_text()
    assert (tmp_path / "referee.log").read_text() == "heard score me\nval_bpb: 0.25\n"


def test_data_that_is_taken_during_the_warm_up_starts_the_clock_there(tmp_path: Path) -> None:
    found = run(tmp_path, f"{TAKE}time.sleep(0.5)  # steps that nobody counts\nlist(port.take(fd))\n{SCORE}")
    assert found.ready_seconds is not None and found.asked_seconds is not None
    assert found.asked_seconds - found.ready_seconds == pytest.approx(spent(tmp_path), abs=0.2)
    assert found.asked_seconds - found.ready_seconds >= 0.5


@pytest.mark.parametrize("word", ["s", "score m", "ARQR\\0\\0"])
@pytest.mark.parametrize("hands_over", [True, False])
def test_a_request_that_breaks_off_stops_no_clock_and_ends_the_run(tmp_path: Path, word: str, hands_over: bool) -> None:
    later = "\ntime.sleep(600)\n"
    if hands_over:
        found = run(tmp_path, f"{TAKE}os.write(fd, b'{word}'){later}")
    else:
        own = RefereeSpec((sys.executable, "-I", "-S", "-c", "1"), {"PATH": "/usr/bin:/bin"}, str(tmp_path))
        trainer = spec(tmp_path, f"{ASK}line.sendall(b'{word}'){later}")
        runner.start(tmp_path, replace(trainer, referee=own))
        wait_for(lambda: ended(tmp_path))
        found = runner.look(tmp_path).exit  # type: ignore[assignment]
    assert (found.reason, found.asked_seconds, found.referee_exit) == ("killed", None, 1)
    assert (tmp_path / "referee.log").read_text().endswith("broke off: evaluate_bpb sends it whole\n")
    assert found.seconds < 300


def test_a_request_in_two_pieces_is_one(tmp_path: Path) -> None:
    """It counts from its last byte."""
    slowly = "os.write(fd, b'scor')\ntime.sleep(0.4)\nos.write(fd, b'e me')\nprint('spent', time.monotonic() - taken)\n"
    found = run(tmp_path, TAKE + slowly)
    assert (found.reason, found.referee_exit) == ("finished", 0)
    assert found.ready_seconds is not None and found.asked_seconds is not None
    assert found.asked_seconds - found.ready_seconds == pytest.approx(spent(tmp_path), abs=0.2)


def test_a_run_without_a_word_costs_its_referee_no_time(tmp_path: Path) -> None:
    found = run(tmp_path, "print('val_bpb: 0.1')")
    assert (found.reason, found.ready_seconds, found.asked_seconds, found.strays) == ("finished", None, None, 0)


@pytest.mark.parametrize(
    ("referee", "code", "killed"),
    [("raise SystemExit('no rows')", 1, False), ("import os\nos.kill(os.getpid(), 9)", -9, True)],
)
def test_a_referee_that_ends_early_ends_the_run(tmp_path: Path, referee: str, code: int, killed: bool) -> None:
    found = run(tmp_path, f"{TAKE}time.sleep(600)", referee)
    assert (found.reason, found.referee_exit, found.referee_killed) == ("crashed", code, killed)


def test_who_asks_for_data_without_end_is_not_waited_for(tmp_path: Path) -> None:
    """The supervisor neither blocks nor forgets the timeout."""
    found = run(tmp_path, "while True:\n    os.write(fd, b'ARQR' + bytes(4))\n", timeout_seconds=1.5)
    assert found.reason == "timed out"
