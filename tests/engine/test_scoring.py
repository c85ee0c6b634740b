"""From a run's end to its verdict, whatever its log looks like: real runs, a scripted researcher."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui import lab as labs
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.state import State
from tests.conftest import SETTINGS, TRAIN
from tests.engine.test_loop import Script, turn
from tests.history import state_of

NewLab = Callable[..., Path]


def play(folder: Path, *moves: tuple[str, object]) -> State:
    """A session of the baseline and these changes, each proposed when the one before has its verdict."""
    for rows, move in enumerate((None, *moves), start=1):
        script = Script(*([turn(*move)] if move else []))
        Engine(Session(labs.find(folder), "t"), script, headless=True, rows=rows).run()
    return state_of(folder, "t")


@pytest.mark.parametrize(
    ("printed", "outcome", "value"),
    [
        ("", "invalid", None),
        ("print('all went well')", "invalid", None),
        ("print('final val bpb: 0.5')", "keep", 0.5),
        ("import json; print(json.dumps({'val_bpb': 0.5, 'peak_vram_mb': 2048}))", "keep", 0.5),
        ("import sys; sys.stdout.buffer.write('---\\r\\nval_bpb:  0.5\\r\\n'.encode('utf-16'))", "keep", 0.5),
        ("print('FAIL'); raise SystemExit(1)", "crash", None),
    ],
)
def test_a_run_that_ended_well_is_no_crash_whatever_its_log(
    new_lab: NewLab, printed: str, outcome: str, value: float | None
) -> None:
    (baseline,) = play(new_lab(train=printed + "\n")).table
    assert (baseline.outcome, baseline.value) == (outcome, value)
    if outcome == "invalid":
        assert "metric.pattern" in baseline.reason


@pytest.mark.parametrize("value", ["nan", "-inf", "1e999", "0,997", "abc"])
def test_a_score_that_is_no_number_is_named(new_lab: NewLab, value: str) -> None:
    (baseline,) = play(new_lab(train=f"print('---')\nprint('val_bpb: 0.5')\nprint('val_bpb:   {value}')\n")).table
    assert baseline.outcome == "invalid"
    assert baseline.reason == f"the log's val_bpb is {value}, which is no finite number"


def test_doubts_are_kept_and_decide_nothing(new_lab: NewLab) -> None:
    folder = new_lab(train=TRAIN.replace("training_seconds: {", "training_seconds: 9{"))
    (baseline,) = play(folder).table
    assert baseline.outcome == "keep"
    assert baseline.score is not None
    assert [each.partition(":")[0] for each in baseline.score.doubts] == ["clock", "budget"]
    saved = json.loads((folder / ".autoresearch/t/runs/0000/score.json").read_text())
    assert tuple(saved["doubts"]) == baseline.score.doubts


BOUNDED = """
[metric]
name = "reward"
pattern = '^reward=(\\S+)'
goal = "maximize"
at_most = { size = 20, total_seconds = 60 }
at_least = { size = 2 }
"""


def test_higher_is_better_and_bounds_hold(new_lab: NewLab) -> None:
    """What takes more than it may is not kept, however good its score is; nor what does not say."""
    train = "SIZE = 8\nLOUD = True\nprint('---')\nprint(f'reward={SIZE if LOUD else 99}')\n"
    train += "if LOUD:\n    print('size:', SIZE)\n"
    folder = new_lab(settings=SETTINGS + BOUNDED, train=train)
    state = play(folder, ("SIZE", 16), ("SIZE", 64), ("SIZE", 1), ("LOUD", False), ("SIZE", 12), ("SIZE", 20))
    assert [e.outcome for e in state.table] == ["keep", "keep", "discard", "discard", "discard", "discard", "keep"]
    reasons = [e.reason for e in state.table]
    assert reasons[2].startswith("size 64 is more than 20 (64.000000 against 16.000000")
    assert reasons[3].startswith("size 1 is less than 2")
    assert reasons[4].startswith("the summary has no size, which is bounded; the summary has no size")
    assert reasons[5].startswith("12.000000 against 16.000000")
    assert state.best is not None
    assert (state.best.number, state.best.value) == (6, 20.0)


def test_the_time_that_a_bound_asks_for_is_measured_outside(new_lab: NewLab) -> None:
    bound = "\n[metric]\nat_most = { total_seconds = 0.001 }\n"
    folder = new_lab(settings=SETTINGS + bound, train=TRAIN + 'print("total_seconds: 0.0")\n')
    state = play(folder, ("RATE", 0.25))
    assert [e.outcome for e in state.table] == ["keep", "discard"]
    assert state.table[0].reason.startswith("the baseline, though total_seconds ")


def test_what_was_measured_outside_bounds_a_keep(new_lab: NewLab) -> None:
    """The run says that it held nothing; the kernel says otherwise."""
    train = "SIZE = 1\nheld = bytearray(b'x' * (SIZE << 20))\nprint('---')\nprint(f'reward={SIZE}')\n"
    train += "print('host_memory_mb: 1')\n"
    limits = BOUNDED.replace("{ size = 20, total_seconds = 60 }", "{ host_memory_mb = 120 }")
    limits = limits.replace("{ size = 2 }", "{}")
    state = play(new_lab(settings=SETTINGS + limits, train=train), ("SIZE", 20), ("SIZE", 160))
    assert [e.outcome for e in state.table] == ["keep", "keep", "discard"]
    assert "is more than 120" in state.table[2].reason


def test_a_run_that_takes_more_memory_than_it_may_is_a_crash_with_the_reason(new_lab: NewLab) -> None:
    settings = SETTINGS.replace("budget_seconds = 5", "budget_seconds = 5\nmemory_gb = 0.25")
    train = TRAIN.replace("if FAIL:", "held = [bytearray(b'x' * (16 << 20)) for _ in range(WIDTH)]\nif FAIL:")
    state = play(new_lab(settings=settings, train=train), ("WIDTH", 10_000))
    assert [e.outcome for e in state.table] == ["keep", "crash"]
    assert state.table[1].reason.startswith("out of memory: it held ")
    assert "may hold 256 MiB (`run.memory_gb`)" in state.table[1].reason


REFEREED = """
[metric]
referee = ["python", "prepare.py"]
"""

ASKS = """\
import os, socket
MODE = 0
line = socket.socket(fileno=int(os.environ["AUTORESEARCH_REFEREE_FD"]))
line.sendall(bytes([MODE]))
if MODE == 2:
    raise RuntimeError("in the middle of it")
line.recv(1)
if MODE == 1:
    raise RuntimeError("caught")
"""

JUDGES = """\
import os, socket, sys
line = socket.socket(fileno=int(os.environ["AUTORESEARCH_REFEREE_FD"]))
mode = line.recv(1)[0]
if mode == 2:
    line.recv(1)
    sys.exit(2)
line.sendall(b"1")
if mode == 1:
    print("look-ahead: it knew", file=sys.stderr)
    sys.exit(1)
print("val_bpb: 0.5")
"""


def test_a_run_that_fails_after_its_refusal_is_refused_and_one_that_fails_before_has_crashed(new_lab: NewLab) -> None:
    folder = new_lab(settings=SETTINGS + REFEREED, train=ASKS)
    (folder / "prepare.py").write_text(JUDGES)
    state = play(folder, ("MODE", 1), ("MODE", 2))
    assert [e.outcome for e in state.table] == ["keep", "invalid", "crash"]
    assert state.table[1].reason == "the referee refused: look-ahead: it knew"
    assert state.table[2].reason == "crashed: RuntimeError: in the middle of it"
