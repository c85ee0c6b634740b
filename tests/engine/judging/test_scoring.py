"""From a run's end to its verdict, whatever its log looks like: real runs, a scripted researcher."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.engine.judging import assessment, score_file
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.proposing import lessons
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.logs import plausibility
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.session import badges
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import State
from tests.conftest import SETTINGS, TRAIN, git
from tests.engine.test_loop import Script, running, turn
from tests.history import state_of

NewLab = Callable[..., Path]


class InTurn(Script):
    """Has its next idea when the one before has its verdict."""

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        if all(attempt.outcome in {*Outcome} for attempt in brief.history):
            return super().propose(brief, say, cancelled)
        return None


def play(folder: Path, *moves: tuple[str, object]) -> State:
    """A session of the baseline and these changes, each proposed when the one before has its verdict."""
    script = InTurn(*(turn(*move) for move in moves))
    Engine(Session(labs.find(folder), "t"), script, headless=True, rows=1 + len(moves)).run()
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


CONDITIONS = """DTYPE = 'bfloat16'
LOUD = True
SIZE = 4
print("---")
print("val_bpb:  ", 1 / (SIZE + 4 * (DTYPE == "float32") + 8 * (not LOUD)))
if LOUD:
    print("dtype:    ", DTYPE)
"""


def test_a_run_measured_otherwise_than_the_baseline_is_marked_and_its_verdict_says_so(new_lab: NewLab) -> None:
    """Another number format moves a score by more than most ideas gain."""
    state = play(new_lab(train=CONDITIONS), ("SIZE", 5), ("DTYPE", "float32"), ("LOUD", False))
    baseline, alike, apart, unknown = state.table
    said = "measured otherwise than the baseline: dtype float32, not bfloat16"
    assert said in apart.score.doubts
    assert apart.reason.endswith(f"; {said}")
    assert apart.outcome == "keep"  # a mark, not a verdict
    assert badges.DOUBTED in badges.marking(state).of(apart)
    for experiment in (baseline, alike, unknown):
        assert "measured otherwise" not in f"{experiment.score.doubts} {experiment.reason}"


@pytest.mark.parametrize("key", ["device", "dtype", "attention", "torch"])
def test_what_a_summary_says_of_its_conditions_is_compared(key: str) -> None:
    usual = {"device": "cpu", "dtype": "float32", "attention": "sdpa", "torch": "2.13.0", "depth": "4"}
    assert plausibility.measured_otherwise(usual | {"depth": "5"}, usual) == ""
    assert plausibility.measured_otherwise(usual | {key: "x" * 300}, usual).count("x") == 40
    assert plausibility.measured_otherwise({key: usual[key]}, {}) == ""


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
    assert state.frontier is not None
    assert (state.frontier.number, state.frontier.value) == (6, 20.0)


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
line.sendall(bytes([MODE, 0, 0, 0, 0, 0, 0, 0]))
if MODE == 2:
    raise RuntimeError("in the middle of it")
line.recv(1)
if MODE == 1:
    raise RuntimeError("caught")
"""

JUDGES = """\
import os, socket, sys
line = socket.socket(fileno=int(os.environ["AUTORESEARCH_REFEREE_FD"]))
mode = line.recv(8)[0]
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


def test_a_referee_is_not_led_out_of_the_runs_folder(tmp_path: Path) -> None:
    """A lab in a subfolder of its repository: a run can put a link where it ran, and the referee would follow it."""
    folder = tmp_path / "repository" / "lab"
    folder.mkdir(parents=True)
    (folder / "autoresearch.toml").write_text(SETTINGS + REFEREED)
    (folder / "program.md").write_text("# Program\n")
    (folder / "prepare.py").write_text("print('val_bpb: 0.5')\n")
    (folder / "train.py").write_text(
        "import os\nos.chdir('..')\nos.rename('lab', 'other')\nos.symlink('other', 'lab')\nprint('val_bpb: 1.0')\n"
    )
    git(folder.parent, "init", "--quiet")
    git(folder.parent, "add", "--all")
    git(folder.parent, "commit", "--quiet", "--message=lab")
    (baseline,) = play(folder).table
    assert (baseline.outcome, baseline.reason) == ("invalid", "the run put a link in place of its own folder")


@pytest.mark.parametrize(
    ("metric", "printed", "reason"),
    [
        ("", "val_bpb: 0.000000", "val_bpb is 0, and can only be more than 0"),
        ("", "val_bpb: -1.2e-05", "val_bpb is -1.2e-05, and can only be more than 0"),
        ('name = "val_rmse"', "val_rmse: -3", "val_rmse is -3, and cannot be less than 0"),
        ('name = "accuracy"\ngoal = "maximize"', "accuracy: 300", "accuracy is 300, and can only be from 0 to 100"),
        ('name = "win_rate"\nrange = [0, 1]', "win_rate: 1.5", "win_rate is 1.5, outside `metric.range` [0, 1]"),
        ("range = [0.5, inf]", "val_bpb: 0.4", "val_bpb is 0.4, outside `metric.range` [0.5, inf]"),
    ],
)
def test_a_score_that_cannot_be_is_invalid(new_lab: NewLab, metric: str, printed: str, reason: str) -> None:
    """As an experiment and as a baseline; what is measured afterwards is measured against a score that can be."""
    name = printed.partition(":")[0]
    train = f'BAD = False\nGOOD = 0.75\nprint({printed!r} if BAD else f"{name}: {{GOOD}}")\n'
    folder = new_lab(settings=f"{SETTINGS}\n[metric]\n{metric}\n", train=train)
    state = play(folder, ("BAD", True), ("GOOD", 0.8 if "maximize" in metric else 0.7))
    assert [e.outcome for e in state.table] == ["keep", "invalid", "keep"]
    assert state.table[1].value is None
    assert state.table[1].reason.startswith(reason)


def test_a_baseline_whose_score_cannot_be_stops_the_session_with_the_reason(new_lab: NewLab) -> None:
    (baseline,) = play(new_lab(train="print('val_bpb: -0.0')\n")).table
    assert baseline.outcome == "invalid"
    assert "can only be more than 0" in baseline.reason


def test_a_metric_that_may_be_negative_is_left_alone(new_lab: NewLab) -> None:
    train = "REWARD = -20.5\nprint('reward:', REWARD)\n"
    settings = SETTINGS + '\n[metric]\nname = "reward"\ngoal = "maximize"\n'
    assert [e.outcome for e in play(new_lab(settings=settings, train=train), ("REWARD", -3.5)).table] == ["keep"] * 2


@pytest.mark.parametrize(("goal", "better", "worse"), [("minimize", 0.74, 0.76), ("maximize", 0.76, 0.74)])
def test_a_gain_within_the_margin_is_discarded_by_name(new_lab: NewLab, goal: str, better: float, worse: float) -> None:
    settings = SETTINGS + f'\n[metric]\ngoal = "{goal}"\nkeep_margin = 0.03\n'
    state = play(new_lab(settings=settings, train="S = 0.75\nprint('val_bpb:', S)\n"), ("S", better), ("S", worse))
    assert [e.outcome for e in state.table] == ["keep", "discard", "discard"]
    assert state.table[1].reason == (
        f"{better:.6f} against 0.750000 (#0): better by 0.01, no more than `keep_margin` 0.03"
    )
    assert state.table[2].reason == f"{worse:.6f} against 0.750000 (#0)"
    assert "Lesson: too little is gained to be kept" in lessons.entries(state)[1]
    assert "Lesson: it did not hold here" in lessons.entries(state)[2]


def test_the_researcher_is_told_how_the_loss_of_each_run_went(new_lab: NewLab) -> None:
    train = """\
RATE = 1.0
for percent in range(0, 101, 5):
    print(f"step {percent:05d} ({percent}.0%) | loss: {(6 - percent / 50) * RATE:.4f} | dt: 30ms", end="\\r")
print("\\n---\\nval_bpb: ", RATE, "\\nnum_steps: 20\\ntraining_seconds: 2.0\\ntotal_tokens_M: 0.5")
"""
    folder = new_lab(train=train)
    state = play(folder, ("RATE", 2.0))
    brief = Session(labs.find(folder), "t").archive.brief(state, 2, state.frontier_commit)
    first, second = (attempt.run for attempt in brief.history)
    assert first is not None and second is not None
    assert (first.steps, first.tokens_per_second) == (20, 250_000)
    assert len(first.losses) == 10
    assert first.losses[-1] == pytest.approx(4.0)
    assert second.losses == pytest.approx([2 * loss for loss in first.losses], rel=1e-3)


@pytest.mark.parametrize("error", [RecursionError("too deep"), KeyError("data"), OverflowError("too large")])
def test_a_fault_in_scoring_is_the_runs_result(
    new_lab: NewLab, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The scoring thread has nobody who would see it die: the loop would wait for its score for ever."""

    def fail(*_args: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr(plausibility, "doubts", fail)
    with running(new_lab(), Script()) as driver:
        state = driver.wait(lambda s: s.table and s.paused is not None, 30)
    (baseline,) = state.table
    said = f"its score could not be computed: {type(error).__name__}: {error}"
    assert (baseline.outcome, baseline.reason) == ("invalid", said)
    assert state.paused is not None and said in state.paused.reason


def test_scoring_that_runs_out_of_memory_is_tried_again(new_lab: NewLab, monkeypatch: pytest.MonkeyPatch) -> None:
    found, left = plausibility.doubts, [MemoryError()]

    def fail(*args: object, **more: object) -> object:
        if left:
            raise left.pop()
        return found(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(plausibility, "doubts", fail)
    (baseline,) = play(new_lab()).table
    assert (baseline.outcome, left) == ("keep", [])


NESTED = """\
import os
here = os.getcwd()
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
os.chdir(here)
os.mkdir("shut")
os.mkdir("shut/in")
os.chmod("shut", 0)
"""


def test_a_run_may_nest_its_folders_as_deep_as_it_likes(new_lab: NewLab) -> None:
    """Deeper than the stack, longer than a path may be: scored by a referee that is started afterwards, and removed."""
    folder = new_lab(settings=SETTINGS + REFEREED, train=NESTED)
    (folder / "prepare.py").write_text("print('val_bpb: 0.5')\n")
    (baseline,) = play(folder).table
    assert (baseline.outcome, baseline.value) == ("keep", 0.5)
    assert not (folder / ".autoresearch/t/runs/0000/work").exists()


def test_numbers_of_a_referee_that_fit_no_float_are_none(new_lab: NewLab) -> None:
    folder = new_lab(settings=SETTINGS + REFEREED, train="pass\n")
    huge = f'{{"val_bpb": 0.5, "sealed": 1{400 * "0"}, "rows": [[1{400 * "0"}, 1]]}}'
    (folder / "prepare.py").write_text(f"print('val_bpb: 0.5')\nprint({huge!r})\n")
    (baseline,) = play(folder).table
    assert (baseline.outcome, baseline.value) == ("keep", 0.5)
    assert baseline.score is not None and baseline.score.sealed is None
    assert score_file.scored_rows(folder / ".autoresearch/t/runs/0000/score.json") == ("", ())


def test_a_locked_file_that_the_run_has_shut_away_was_changed(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir()
    (shut / "prepare.py").write_text("pass\n")
    shut.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:  # for whom nothing is shut
            os.seteuid(65534)
        assert assessment.hashes(shut, ("prepare.py",)) == {"prepare.py": ""}
    finally:
        if root:
            os.seteuid(0)
        shut.chmod(0o700)


TAKES = """\
import time
SECONDS = {seconds}
for step in range(5):
    time.sleep(SECONDS / 5)
    print(f"step {{step:05d}} ({{20 * step}}.0%) | loss: {{3 - step / 5:.6f}} | remaining: {{5 - step}}s", flush=True)
print("---")
print(f"val_bpb: {{3 - SECONDS / 10:.6f}}")
open("answer", "w").write(f"{{3 - SECONDS / 10:.6f}}")
"""


def said(state: State) -> list[list[str]]:
    """What is said of each experiment's time."""
    return [
        [doubt for doubt in (e.score.doubts if e.score else ()) if doubt.startswith("clock: it took")]
        for e in state.table
    ]


def test_a_budget_of_tokens_has_the_baselines_time(new_lab: NewLab) -> None:
    """No clock stops such a run: what takes far longer for as many tokens is marked, a somewhat slower model is not."""
    settings = SETTINGS.replace("budget_seconds = 5", "budget_tokens = 1000")
    state = play(new_lab(settings=settings, train=TAKES.format(seconds=0.3)), ("SECONDS", 0.6), ("SECONDS", 6.5))
    assert [e.outcome for e in state.table] == ["keep"] * 3
    first, slower, longer = said(state)
    assert (first, slower) == ([], [])
    assert len(longer) == 1 and longer[0].endswith("s for as many tokens")


def test_a_lab_scored_after_the_run_has_the_baselines_time(new_lab: NewLab) -> None:
    """A score that was there at once, in a lab whose baseline trained for its budget."""
    settings = SETTINGS.replace("budget_seconds = 5", "budget_seconds = 3") + REFEREED
    folder = new_lab(settings=settings, train=TAKES.format(seconds=3.1))
    (folder / "prepare.py").write_text("print('val_bpb:', open('answer').read())\n")
    state = play(folder, ("SECONDS", 2.5), ("SECONDS", 0.0))
    assert [e.score.source for e in state.table if e.score] == ["referee"] * 3
    first, other, none = said(state)
    assert (first, other) == ([], [])
    assert len(none) == 1 and "of a budget of 3 s, the baseline" in none[0]
