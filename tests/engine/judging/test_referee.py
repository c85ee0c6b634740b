"""The line between a run and its referee: when it asked, whose word counts, and who waits for whom."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.engine.judging import clock
from autoresearch_tui.engine.proposing.briefing import SourceCache
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.settings import RunSettings
from autoresearch_tui.logs.lines import Progress
from autoresearch_tui.logs.trace import Trace
from autoresearch_tui.researchers import prompt
from autoresearch_tui.runs import run_folder, runner
from autoresearch_tui.runs.runner import RefereeSpec
from autoresearch_tui.session import events as ev
from tests.conftest import SETTINGS, TRAIN, git
from tests.engine.judging.test_scoring import play
from tests.engine.making import experiment, state
from tests.history import survivors
from tests.runs.test_runner import ended, spec
from tests.runs.test_supervisor import alive
from tests.waiting import wait_for

NewLab = Callable[..., Path]
ASK = "import os, socket, time\nline = socket.socket(fileno=int(os.environ['AUTORESEARCH_REFEREE_FD']))\n"
ECHO = ASK + "word = line.recv(9)\nline.sendall(b'0.25')\nprint('heard', word.decode())\nprint('val_bpb: 0.25')\n"


def run(folder: Path, trainer: str, referee: str, **changes: object) -> runner.Exit:
    """One run with a referee, to its end."""
    env = {"PATH": "/usr/bin:/bin"}
    own = RefereeSpec((sys.executable, "-I", "-S", "-c", referee), env, str(folder))
    runner.start(folder, replace(spec(folder, trainer), referee=own, **changes))
    wait_for(lambda: ended(folder))
    found = runner.look(folder).exit
    assert found is not None
    return found


def test_a_run_asks_and_is_told(tmp_path: Path) -> None:
    found = run(tmp_path, ASK + "time.sleep(0.3)\nline.sendall(b'score me!')\nprint(line.recv(9))", ECHO)
    assert (found.reason, found.referee_exit) == ("finished", 0)
    assert found.asked_seconds is not None
    assert 0.3 <= found.asked_seconds < found.seconds
    assert "b'0.25'" in (tmp_path / "run.log").read_text()
    assert (tmp_path / "referee.log").read_text() == "heard score me!\nval_bpb: 0.25\n"


def test_a_run_that_never_asks_starts_no_referee(tmp_path: Path) -> None:
    found = run(tmp_path, "print('val_bpb: 0.1')", ECHO)
    assert (found.reason, found.asked_seconds, found.referee_exit) == ("finished", None, None)
    assert not (tmp_path / "referee.log").exists()


def test_a_run_need_not_wait_for_its_number(tmp_path: Path) -> None:
    slow = ASK + "line.recv(9)\ntime.sleep(0.5)\nprint('val_bpb: 0.25')\n"
    found = run(tmp_path, ASK + "line.sendall(b'score me!')", slow)
    assert (found.reason, found.referee_exit) == ("finished", 0)
    assert found.asked_seconds is not None
    assert "val_bpb: 0.25" in (tmp_path / "referee.log").read_text()


@pytest.mark.parametrize(("number", "reason"), [(run_folder.STOP, "killed"), (signal.SIGTERM, "lost")])
def test_its_supervisor_is_told_to_end_while_the_referee_is_at_work(tmp_path: Path, number: int, reason: str) -> None:
    """The run itself has done all that it was to do, and yet there is no score to be had."""
    own = RefereeSpec((sys.executable, "-I", "-S", "-c", f"{ASK}print('on', flush=True)\ntime.sleep(600)"), {}, "/")
    runner.start(tmp_path, replace(spec(tmp_path, f"{ASK}line.sendall(b'score me!')"), referee=own))
    started = runner.look(tmp_path).started
    assert started is not None
    wait_for(lambda: (tmp_path / "referee.log").exists() and (tmp_path / "referee.log").read_text() == "on\n")
    wait_for(lambda: not alive(started.trainer_pid))
    os.kill(started.supervisor_pid, number)
    wait_for(lambda: ended(tmp_path))
    found = runner.look(tmp_path).exit
    assert found is not None
    assert (found.reason, found.exit_code, found.referee_killed) == (reason, 0, False)


def test_a_timeout_ends_both(tmp_path: Path) -> None:
    hang = "time.sleep(60)\n"
    found = run(tmp_path, ASK + "line.sendall(b'score me!')\n" + hang, ASK + hang, timeout_seconds=1.0)
    assert (found.reason, found.referee_exit) == ("timed out", -15)


def test_a_referee_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    own = RefereeSpec(("/no/such/referee",), {}, str(tmp_path))
    trainer = spec(tmp_path, ASK + "line.sendall(b'score me!')")
    runner.start(tmp_path, replace(trainer, referee=own))
    wait_for(lambda: ended(tmp_path))
    found = runner.look(tmp_path).exit
    assert found is not None
    assert found.referee_exit == 127
    assert "/no/such/referee cannot be started" in (tmp_path / "referee.log").read_text()


def test_an_end_from_before_there_were_referees_can_be_read(tmp_path: Path) -> None:
    values = {"reason": "finished", "exit_code": 0, "signal": None, "seconds": 1.0, "log_bytes": 0, "strays": 0}
    (tmp_path / "exit.json").write_text(json.dumps({**values, "note": "", "time": ""}))
    found = runner.look(tmp_path).exit
    assert found is not None
    assert found.asked_seconds is None


REFEREED = f"""\
[lab]
locked = ["prepare.py", "judge.py"]
{SETTINGS}
[metric]
referee = ["{sys.executable}", "-I", "judge.py"]
"""
DETAILS = "{'sealed': 7 / 9, 'rows': [[2.5, 3]], 'data': 'made up', 'late_seconds': 0.5}"
JUDGE = (
    "import os, sys\nif 'AUTORESEARCH_REFEREE_FD' not in os.environ:\n    sys.exit('it did not ask')\n"
    f"{ECHO}import json\nprint(json.dumps({DETAILS}))\n"
)
ASKING = f"{ASK}{TRAIN}line.sendall(b'score me!')\nline.recv(9)\n"


@pytest.fixture
def refereed(new_lab: NewLab) -> Path:
    """A lab with a referee that anybody pleases who asks."""
    folder = new_lab(settings=REFEREED, train=ASKING)
    (folder / "judge.py").write_text(JUDGE)
    git(folder, "add", "judge.py")
    git(folder, "commit", "--quiet", "--message=judge")
    return folder


def test_the_referees_word_counts_and_what_was_printed_is_kept_beside_it(refereed: Path) -> None:
    (baseline,) = play(refereed).table
    assert baseline.score is not None and baseline.run is not None
    assert baseline.score.problem == ""
    assert (baseline.value, baseline.score.source, baseline.score.sealed) == (0.25, "referee", 7 / 9)
    assert float(baseline.score.summary["val_bpb"]) > 1
    assert baseline.run.asked_seconds is not None
    saved = json.loads((refereed / ".autoresearch/t/runs/0000/score.json").read_text())
    assert (saved["rows"], saved["data"], saved["value"]) == ([[2.5, 3]], "made up", 0.25)


def test_who_does_not_ask_has_no_score(refereed: Path) -> None:
    (refereed / "train.py").write_text("print('val_bpb: 0.1')\n")
    git(refereed, "commit", "--quiet", "--all", "--message=forged")
    (baseline,) = play(refereed).table
    assert (baseline.outcome, baseline.value) == ("invalid", None)
    assert baseline.reason == "the referee refused: it did not ask"


@pytest.mark.parametrize(
    ("judge", "value", "reason"),
    [
        ("print('val_bpb: 0.25')", 0.25, "the baseline"),
        ("print('looking'); raise SystemExit('too good to be true')", None, "the referee refused: too good to be true"),
        ("print('nothing')", None, "the referee's output has no val_bpb that `metric.pattern` finds"),
        ("raise SystemExit(7)", None, "the referee refused: exit code 7"),
        ("import os; os.kill(os.getpid(), 11)", None, "the referee was killed twice (ended by Segmentation fault"),
        ("raise SystemExit(137)", None, "the referee was killed twice (ended by Killed (signal 9))"),  # by its shell
    ],
)
def test_a_referee_that_looks_at_what_a_run_has_left(
    refereed: Path, judge: str, value: float | None, reason: str
) -> None:
    (refereed / "train.py").write_text("print('val_bpb: 0.1')\n")
    (refereed / "judge.py").write_text(judge)
    git(refereed, "commit", "--quiet", "--all", "--message=of another kind")
    (baseline,) = play(refereed).table
    assert (baseline.outcome, baseline.value) == ("invalid" if value is None else "keep", value)
    assert baseline.reason.startswith(reason)
    assert not (refereed / ".autoresearch/t/runs/0000/scoring").exists()


def test_a_referee_that_does_not_end_is_ended_with_all_that_it_has_started(refereed: Path) -> None:
    """Also where those hold on to what it says."""
    settings = (refereed / "autoresearch.toml").read_text().replace("timeout_seconds = 30", "timeout_seconds = 1")
    (refereed / "autoresearch.toml").write_text(settings)
    (refereed / "train.py").write_text("print('val_bpb: 0.1')\n")
    (refereed / "judge.py").write_text("import os, time\nif not os.fork():\n    os.setsid()\ntime.sleep(600)\n")
    git(refereed, "commit", "--quiet", "--all", "--message=slow")
    (baseline,) = play(refereed).table
    assert (baseline.outcome, baseline.reason) == ("invalid", "the referee did not end within 1 s")
    assert survivors(refereed) == []


def test_the_sealed_score_reaches_no_researcher(refereed: Path) -> None:
    played = play(refereed)
    lab = labs.find(refereed)
    brief = SourceCache(lab, GitRepo(lab.root)).brief(played, 1, played.frontier_commit)
    told = repr(brief) + repr(prompt.build(brief))
    assert "0.25" in told
    assert "0.777" not in told
    assert "sealed" not in repr(brief.history)


def ran(number: int, asked: float | None, late: float = 0.0, **more: object) -> object:
    run = ev.RunEnded(number, "finished", 0, 400.0, asked_seconds=asked)
    return experiment(
        number, "keep", 1.0, run=run, score=ev.RunScored(number, 1.0, 0.0, "referee", late_seconds=late), **more
    )


@pytest.mark.parametrize(
    ("asked", "late", "over"),
    [(325.0, 0.0, False), (335.0, 0.0, False), (345.0, 0.0, True), (325.0, 30.0, True), (None, 0.0, False)],
)
def test_the_baseline_sets_the_measure_of_a_start(asked: float | None, late: float, over: bool) -> None:
    first, other = ran(0, 325.0), ran(1, asked, late)
    found = clock.over_budget(other, state(first, other), RunSettings(budget_seconds=300))  # type: ignore[arg-type]
    assert found.startswith("over budget") if over else found == ""
    assert clock.over_budget(first, state(first), RunSettings(budget_seconds=300)) == ""  # type: ignore[arg-type]
    assert "from its start, with imports and compilation" in found or late or not over
    tokens = RunSettings(budget_seconds=300, budget_tokens=1000)
    assert clock.over_budget(other, state(first, other), tokens) == ""  # type: ignore[arg-type]


def handed(
    number: int, ready: float, asked: float, answers: float, late: float = 0.0, claimed: str = "300.2"
) -> object:
    """A run of a lab that hands its data over, with a budget of 300 s."""
    run = ev.RunEnded(number, "finished", 0, 400.0, ready_seconds=ready, asked_seconds=asked)
    said = {"training_seconds": claimed}
    score = ev.RunScored(number, 1.0, 0.0, "referee", summary=said, late_seconds=late, answer_seconds=answers)
    return experiment(number, "keep", 1.0, run=run, score=score)


@pytest.mark.parametrize(
    ("ready", "asked", "answers", "late", "over", "marked"),
    [
        (20.0, 320.5, 10.0, 0.0, "", ""),
        (80.0, 380.5, 10.0, 0.0, "", ""),  # it compiled for a minute longer
        (20.0, 320.5, 25.0, 0.0, "", ""),  # a model more than twice as slow, an ensemble of two for one
        (20.0, 329.0, 10.0, 0.0, "", "309.0 s from its training data to its request"),
        (20.0, 336.5, 10.0, 0.0, "316.5 s from its training data to its request", "316.5 s"),
        (20.0, 320.5, 30.0, 17.0, "17.0 s in single answers to the referee", "17.0 s"),
        (20.0, 320.5, 50.0, 0.0, "20.0 s of answering beyond 3 times the baseline's", "20.0 s"),
        (320.0, 620.5, 10.0, 0.0, "", "320 s before it took its training data, the baseline 20 s"),
    ],
)
def test_where_data_is_handed_over_the_clock_is_exact(
    ready: float, asked: float, answers: float, late: float, over: str, marked: str
) -> None:
    first, own = handed(0, 20.0, 320.2, 10.0), handed(1, ready, asked, answers, late)
    both, settings = state(first, own), RunSettings(budget_seconds=300)  # type: ignore[arg-type]
    said = clock.over_budget(own, both, settings)  # type: ignore[arg-type]
    assert said.startswith("over budget: " + over) if over else said == ""
    marks = [check(own, both, settings) for check in (clock.clock_mark, clock.prepared_long)]  # type: ignore[arg-type]
    assert any(f"clock: {marked}" in each for each in marks) if marked else marks == ["", ""]


@pytest.mark.parametrize(("asked", "over"), [(31.8, False), (33.0, True), (38.2, True)])
def test_a_short_budget_has_two_seconds_of_slack(asked: float, over: bool) -> None:
    """A schedule that ends at 55 % of its own clock trains for 18.2 s of 10 s."""
    first, own = handed(0, 20.0, 30.3, 5.0), handed(1, 20.0, asked, 5.0)
    said = clock.over_budget(own, state(first, own), RunSettings(budget_seconds=10))  # type: ignore[arg-type]
    assert bool(said) is over


def test_a_run_that_does_not_take_its_data_is_timed_from_its_start() -> None:
    """It has trained on something else, then."""
    first, own = handed(0, 20.0, 320.2, 10.0), ran(1, 380.0)
    said = clock.over_budget(own, state(first, own), RunSettings(budget_seconds=300))  # type: ignore[arg-type]
    assert said.startswith("over budget: 380.0 s from its start")


def test_the_reason_names_what_took_the_time() -> None:
    """A profiler that prints its summary, a compilation in the first step: nobody has cheated."""
    trace = Trace()
    for step, milliseconds in ((0, 21_300.0), (1, 200.0), (2, 210.0)):
        trace.add(Progress(step, 3.0, dt_ms=milliseconds))
    said = clock.explain(handed(1, 20.0, 345.0, 10.0), trace)  # type: ignore[arg-type]
    assert said == "; by its own count it trained for 300.2 s; its slowest step, number 0, took 21.3 s"
    assert clock.explain(ran(1, 345.0), Trace()) == ""  # type: ignore[arg-type]
