"""kill -9 at every journal transition and at random moments: the next start continues, and the history is sound."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from autoresearch_tui.engine.experiments import BASELINE_LOST, LOST_AGAIN
from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.engine.judging.referee import KILLED
from autoresearch_tui.runs import runner
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from tests.conftest import SETTINGS, THOROUGH, TRAIN, git, make_lab
from tests.engine.judging.test_referee import ASK
from tests.faults.engines import Engines, is_running
from tests.history import contradictions, problems, state_of, survivors
from tests.waiting import wait_for

CRITICISED = (
    SETTINGS.replace('mode = "auto"', 'mode = "ask"\nunattended = "approve-if-critic-agrees"\nafter_seconds = 0')
    + 'critic = { kind = "search", rounds = 1000 }\n'
)
UNSANDBOXED = {"AUTORESEARCH_NO_SANDBOX": "1"}
ROWS = 4 if THOROUGH else 3
REFEREE_COMES_SECONDS = 5.0
KILLS_OF_A_LAB, REFEREED_KILLS, KILLS_BETWEEN_ENDS = (40, 40, 8) if THOROUGH else (24, 16, 8)
# Each session is killed at these, one after the other. What is counted to two is about the first proposal.
TRANSITIONS = (
    ("session_began:1", "engine_started:1", "program_read:1"),
    ("sandbox_checked:1", "run_started:2"),
    ("proposal_asked:1", "proposal_made:1", "proposal_approved:1"),
    ("run_ended:2", "run_scored:1", "verdict_given:1"),
    ("engine_stopped:1",),
)
WRITTEN = ("diff.patch", "train.py", "score.json", "results.tsv", "results.sha256", "lessons.md")


def words(lab: Path, rows: int = ROWS) -> list[str]:
    return [str(lab), "--headless", "--tag", "t", "--experiments", str(rows)]


def finish(engines: Engines, lab: Path, rows: int) -> None:
    errors = lab.parent / "errors"
    code = engines.run(words(lab, rows), errors, env=UNSANDBOXED)
    if code == 1 and gave_up(lab, Path(f"{errors}-0").read_text()):
        rows += 1  # the last kills took the baseline, which has a row
        code = engines.run(words(lab, rows), errors, env=UNSANDBOXED)
    assert code == 0, Path(f"{errors}-0").read_text()
    assert problems(lab, "t") == []
    assert len(state_of(lab, "t").table) == rows


def killed(engines: Engines, lab: Path, *orders: str, rows: int = ROWS, env: Mapping[str, str] = UNSANDBOXED) -> None:
    """Engines that die one after the other, each as ordered."""
    for each in orders:
        end = engines.run(words(lab, rows), lab.parent / "errors", orders=each, env=env)
        assert end == -signal.SIGKILL, f"{each}: {Path(f'{lab.parent}/errors-0').read_text()}"
        assert contradictions(lab, "t") == [], each


@pytest.mark.parametrize("transitions", TRANSITIONS)
def test_killed_at_journal_transitions(engines: Engines, in_memory: Path, transitions: tuple[str, ...]) -> None:
    """Each time before it is on disk, and the next engine after it has written the same."""
    lab = make_lab(in_memory / "lab", SETTINGS)
    env = {} if "sandbox_checked:1" in transitions else UNSANDBOXED
    for each in transitions:
        killed(engines, lab, f"before:{each}", f"after:{each.partition(':')[0]}:1", env=env)
    finish(engines, lab, ROWS)


@pytest.mark.parametrize("name", ["critic_asked", "critic_answered"])
def test_killed_beside_a_second_opinion(engines: Engines, in_memory: Path, name: str) -> None:
    """The critic is asked again where its answer was not journalled, and nothing passes without it."""
    lab = make_lab(in_memory / "lab", CRITICISED)
    killed(engines, lab, f"before:{name}:1", f"after:{name}:1")
    finish(engines, lab, ROWS)
    state = state_of(lab, "t")
    passed = [e for e in state.experiments[1:] if e.approved_by]
    assert passed and all(e.critic is not None and e.critic.opinion == "agree" for e in passed)
    asked = [r.event.number for r in read(lab / ".autoresearch/t/journal.jsonl") if isinstance(r.event, ev.CriticAsked)]
    assert asked.count(1) == 2  # after "critic_asked", and before "critic_answered"


@pytest.mark.parametrize("name", ["digest_asked", "digest_written"])
def test_killed_beside_the_digest(engines: Engines, in_memory: Path, name: str) -> None:
    """The page is there when the session has ended, written once more where its record was lost."""
    lab = make_lab(in_memory / "lab", SETTINGS)
    killed(engines, lab, f"before:{name}:1", f"after:{name}:1", rows=2)
    finish(engines, lab, 2)
    state = state_of(lab, "t")
    assert state.digest is not None and state.digest.missing == 0 and state.digest_asked is None
    assert "## What was learnt" in (lab / ".autoresearch/t/digest.md").read_text()


@pytest.mark.parametrize("name", WRITTEN)
def test_killed_before_a_file_has_its_name(engines: Engines, in_memory: Path, name: str) -> None:
    """Also where nobody is to write it again: the session then ends before there is another proposal."""
    lab = make_lab(in_memory / "lab", SETTINGS)
    nth = 1 if name == "lessons.md" else 2  # later lessons are written at its end
    killed(engines, lab, f"half:{name}:{nth}")
    assert [*lab.rglob(f".{name}.partial")] != []
    finish(engines, lab, len(state_of(lab, "t").table) + 1)


def test_a_baseline_that_is_lost_twice(engines: Engines, in_memory: Path) -> None:
    """Nothing is blamed for it: the session stands still and says why, and starting again continues."""
    lab = make_lab(in_memory / "lab", SETTINGS, TRAIN.replace("PAUSE = 0.0", "PAUSE = 20.0"))
    errors = in_memory / "errors"
    assert [lose_a_run(engines, lab), lose_a_run(engines, lab)] == ["0000", "0000"]
    assert engines.run(words(lab), errors, env=UNSANDBOXED) == 1
    assert gave_up(lab, Path(f"{errors}-0").read_text())
    assert problems(lab, "t") == []
    assert lose_a_run(engines, lab) != "0000"


def test_a_machine_that_shuts_down(engines: Engines, in_memory: Path) -> None:
    """Everybody is told to end, the run too; no proposal is blamed for it."""
    slow = in_memory / "slow"
    slow.touch()
    wait = f"while os.path.exists({str(slow)!r}):\n    time.sleep(0.01)\n"
    lab, errors = make_lab(in_memory / "lab", SETTINGS, TRAIN + wait), in_memory / "errors"
    (pid,) = engines.start(words(lab, 1), errors, env=UNSANDBOXED)
    run = lab / ".autoresearch/t/runs/0000"
    wait_for(lambda: is_running(run))
    started = runner.look(run).started
    assert started is not None
    os.kill(pid, signal.SIGTERM)
    assert engines.ends() == [0], Path(f"{errors}-0").read_text()
    for each in (started.supervisor_pid, started.trainer_pid):
        os.kill(each, signal.SIGTERM)
    wait_for(lambda: runner.look(run).state is runner.RunState.ENDED)
    slow.unlink()
    finish(engines, lab, 1)
    (baseline,) = state_of(lab, "t").experiments
    assert (baseline.attempt, baseline.infrastructure_retries, baseline.outcome) == (2, 1, "keep")


def lose_a_run(engines: Engines, lab: Path) -> str:
    """Starts an engine, and kills it and the supervisor of what it runs. Returns that run's name."""
    (pid,) = engines.start(words(lab), lab.parent / "errors", env=UNSANDBOXED)
    runs: list[Path] = []
    wait_for(lambda: runs.extend(filter(is_running, lab.glob(".autoresearch/t/runs/*"))) or runs)
    wait_for(lambda: state_of(lab, "t").waiting)  # what was proposed meanwhile is not to stand in a baseline's way
    kill_supervisors(lab)
    os.kill(pid, signal.SIGKILL)
    assert engines.ends() == [-signal.SIGKILL]
    return runs[0].name


def kill_supervisors(lab: Path) -> None:
    """Of all runs that have one."""
    for lock in lab.glob(".autoresearch/t/runs/*/run.lock"):
        if runner.look(lock.parent).state is runner.RunState.RUNNING:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(lock.read_text()), signal.SIGKILL)


def kill_referees(lab: Path) -> int:
    """Of all runs that have asked theirs. Returns how many."""
    killed = 0
    for run in filter(is_running, lab.glob(".autoresearch/t/runs/*")):
        with contextlib.suppress(OSError, ValueError):
            owner, started = int((run / "run.lock").read_text()), runner.look(run).started
            children = Path(f"/proc/{owner}/task/{owner}/children").read_text().split()
            for child in {int(word) for word in children} - {started.trainer_pid if started else 0}:
                os.kill(child, signal.SIGKILL)
                killed += 1
    return killed


def gave_up(lab: Path, said: str) -> bool:
    """Whether an engine has ended for one of the two reasons that kills can lead to: twice they took the baseline's
    run, or the referee of five experiments in a row.
    """
    if len(said.splitlines()) != 1:
        return False
    state = state_of(lab, "t")
    if KILLED in said and state.failing_runs.text == KILLED:
        return True
    tries = [each for each in state.experiments if each.proposal.author == BASELINE]
    run = tries[-1].run if tries else None
    lost = (
        run is not None
        and (run.reason == "lost" or run.referee_killed)
        and tries[-1].infrastructure_retries == LOST_AGAIN
    )
    return lost and state.frontier is None and BASELINE_LOST in said


class Killer:
    """Draws how an engine is to die, and sees to it."""

    def __init__(self, seed: int, engines: Engines, referee: int = 0) -> None:
        """`referee`: how often its referee is killed first, where the others are a hundred."""
        self.dice = random.Random(seed)
        self.engines = engines
        self.counts: Counter[str] = Counter()
        self.weights = {"effect": 50, "moment": 30, "everything": 12, "supervisor": 8, "referee": referee}

    def kill(self, lab: Path) -> None:
        """One engine's life, up to its death."""
        how = self.dice.choices([*self.weights], [*self.weights.values()])[0]
        env = {} if self.dice.random() < 0.15 else UNSANDBOXED
        orders = f"effect:{self.dice.randint(1, 160)}" if how == "effect" else ""
        moment = self.dice.uniform(0.0, 0.6)
        errors = lab.parent / "errors"
        (pid,) = self.engines.start(words(lab, 100_000), errors, orders=orders, env=env)
        if how != "effect":
            time.sleep(moment)
            with contextlib.suppress(ProcessLookupError):  # it may have given up
                how = self._kill_now(how, lab, pid)
        (end,), said = self.engines.ends(), Path(f"{errors}-0").read_text()
        if end == 1 and gave_up(lab, said):
            how = "gave up"
        else:
            assert end == -signal.SIGKILL, f"ended with {end}: {said}"
        self.counts[how] += 1

    def _kill_now(self, how: str, lab: Path, pid: int) -> str:
        """Returns what was killed in fact."""
        if how == "everything":
            # All at once: it is not to see the others die.
            os.kill(pid, signal.SIGSTOP)
            self._kill_children(pid)
        if how == "referee" and not self._kill_a_referee(lab):
            how = "moment"
        if how in ("everything", "supervisor"):
            kill_supervisors(lab)
        os.kill(pid, signal.SIGKILL)
        return how

    def _kill_a_referee(self, lab: Path) -> bool:
        """As soon as there is one; False where none comes."""
        deadline = time.monotonic() + REFEREE_COMES_SECONDS
        while time.monotonic() < deadline:
            if kill_referees(lab):
                return True
            time.sleep(0.01)
        return False

    def _kill_children(self, pid: int) -> None:
        """git and whatever else the engine waits for."""
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                for child in task.read_text().split():
                    os.kill(int(child), signal.SIGKILL)


@pytest.mark.timeout(1800)
def test_killed_at_random_moments(engines: Engines, in_memory: Path) -> None:
    seed = int(os.environ.get("AUTORESEARCH_TEST_SEED") or time.time_ns() % 1_000_000)
    kills = int(os.environ.get("AUTORESEARCH_TEST_KILLS") or (400 if THOROUGH else 24))
    print(f"AUTORESEARCH_TEST_SEED={seed} AUTORESEARCH_TEST_KILLS={kills}")
    killer = Killer(seed, engines)
    lab = in_memory
    for number in range(kills):
        if number % KILLS_OF_A_LAB == 0:
            lab = make_lab(in_memory / f"lab-{number}", SETTINGS, TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.05"))
        kill_and_check(killer, lab, number, last=number + 1 == kills)
    print(killer.counts)
    assert survivors(in_memory) == []


@pytest.mark.timeout(1800)
def test_killed_at_random_moments_with_a_referee(engines: Engines, in_memory: Path) -> None:
    """Nothing is scored twice, and no proposal is blamed for a referee that somebody killed."""
    seed = int(os.environ.get("AUTORESEARCH_TEST_SEED") or time.time_ns() % 1_000_000)
    print(f"AUTORESEARCH_TEST_SEED={seed}")
    killer, lab = Killer(seed, engines, referee=150), refereed_lab(in_memory / "lab", seconds=0.2)
    for number in range(REFEREED_KILLS):
        kill_and_check(killer, lab, number, last=number + 1 == REFEREED_KILLS)
    print(killer.counts)
    assert survivors(in_memory) == []


@pytest.mark.parametrize("kills", [1, 2])
def test_the_referee_is_killed(engines: Engines, in_memory: Path, kills: int) -> None:
    """Its run is run again, once; the engine lives through all of it."""
    lab = refereed_lab(in_memory / "lab", seconds=0.2)
    finish(engines, lab, 1)
    run, errors = lab / ".autoresearch/t/runs/0001", in_memory / "errors"
    (lab / "slow").touch()
    engines.start(words(lab, 2), errors, env=UNSANDBOXED)
    for _ in range(kills):
        before = runner.look(run).started
        wait_for(lambda before=before: is_running(run) and runner.look(run).started != before and kill_referees(lab))
    (lab / "slow").unlink()
    assert engines.ends() == [0], Path(f"{errors}-0").read_text()
    experiment = state_of(lab, "t").experiments[1]
    assert (experiment.attempt, experiment.infrastructure_retries) == (2, 1)
    assert experiment.outcome == ("discard" if kills == 1 else "crash")
    assert experiment.reason.startswith("0.25" if kills == 1 else KILLED)
    assert problems(lab, "t") == []


@pytest.mark.parametrize("kills", [1, 2])
def test_a_referee_that_is_started_after_the_run_is_killed(engines: Engines, in_memory: Path, kills: int) -> None:
    """It is asked once more; the run is as it was, and is not run again."""
    lab, errors = judged_lab(in_memory / "lab"), in_memory / "errors"
    finish(engines, lab, 1)
    (lab / "slow").touch()
    engines.start(words(lab, 2), errors, env=UNSANDBOXED)
    kill_judges(lab / ".autoresearch/t/runs/0001/scoring", kills)
    (lab / "slow").unlink()
    assert engines.ends() == [0], Path(f"{errors}-0").read_text()
    experiment = state_of(lab, "t").experiments[1]
    assert (experiment.attempt, experiment.infrastructure_retries) == (1, 0)
    assert experiment.outcome == ("discard" if kills == 1 else "invalid")
    assert experiment.reason.startswith("0.25" if kills == 1 else f"{KILLED} (ended by Killed")
    assert problems(lab, "t") == []


def test_the_baselines_referee_is_killed_twice(engines: Engines, in_memory: Path) -> None:
    """As when its run is lost twice: the session stands still and says so, and starting again continues."""
    lab, errors = judged_lab(in_memory / "lab"), in_memory / "errors"
    (lab / "slow").touch()
    engines.start(words(lab, 2), errors, env=UNSANDBOXED)
    kill_judges(lab / ".autoresearch/t/runs/0000/scoring", kills=2)
    assert engines.ends() == [1]
    assert BASELINE_LOST in Path(f"{errors}-0").read_text()
    (lab / "slow").unlink()
    finish(engines, lab, 3)


def test_the_engine_is_killed_while_its_referee_is_at_work(engines: Engines, in_memory: Path) -> None:
    """Nothing of the referee is left, and the next engine asks it anew."""
    lab, errors = judged_lab(in_memory / "lab"), in_memory / "errors"
    finish(engines, lab, 1)
    (lab / "slow").touch()
    (pid,) = engines.start(words(lab, 2), errors, env=UNSANDBOXED)
    scoring = lab / ".autoresearch/t/runs/0001/scoring"
    wait_for(lambda: is_running(scoring) and sum("judge.py" in words for words in survivors(lab)) == 2)
    os.kill(pid, signal.SIGKILL)
    assert engines.ends() == [-signal.SIGKILL]
    wait_for(lambda: survivors(lab) == [])
    assert contradictions(lab, "t") == []
    (lab / "slow").unlink()
    finish(engines, lab, 2)
    experiment = state_of(lab, "t").experiments[1]
    assert (experiment.attempt, experiment.value) == (1, 0.25)


def kill_judges(scoring: Path, kills: int) -> None:
    """One after the other, each while it is at work."""
    before = None
    for _ in range(kills):
        wait_for(lambda before=before: is_running(scoring) and runner.look(scoring).started != before)
        before = runner.look(scoring).started
        assert before is not None
        os.kill(before.trainer_pid, signal.SIGKILL)


def judged_lab(folder: Path) -> Path:
    """A lab whose referee looks at what a run has left, as long as there is a file `slow`, with a child of its own."""
    judge = f"""
import os, time
if os.path.exists({str(folder / "slow")!r}) and not os.fork():
    os.setsid()
while os.path.exists({str(folder / "slow")!r}):
    time.sleep(0.01)
print("val_bpb: 0.25")
"""
    return with_judge(folder, TRAIN, judge)


def refereed_lab(folder: Path, seconds: float) -> Path:
    """A lab whose referee takes so long, and as long as there is a file `slow`; a run that is not answered crashes."""
    wait = f"time.sleep({seconds})\nwhile os.path.exists({str(folder / 'slow')!r}):\n    time.sleep(0.01)\n"
    judge = f"{ASK}line.recv(9)\n{wait}line.sendall(b'0.25')\nprint('val_bpb: 0.25')\n"
    return with_judge(folder, f"{ASK}{TRAIN}line.sendall(b'score me!')\nassert line.recv(9)\n", judge)


def with_judge(folder: Path, train: str, judge: str) -> Path:
    settings = SETTINGS.replace("[run]", f'[metric]\nreferee = ["{sys.executable}", "-I", "judge.py"]\n[run]')
    lab = make_lab(folder, f'[lab]\nlocked = ["prepare.py", "judge.py"]\n{settings}', train)
    (lab / "judge.py").write_text(judge)
    git(lab, "add", "judge.py")
    git(lab, "commit", "--quiet", "--message=judge")
    return lab


def kill_and_check(killer: Killer, lab: Path, number: int, *, last: bool) -> None:
    killer.kill(lab)
    if (lab / ".autoresearch/t/journal.jsonl").exists():
        assert contradictions(lab, "t") == [], f"after kill {number}"
    if last or (number + 1) % KILLS_BETWEEN_ENDS == 0:
        state = state_of(lab, "t")
        begun = len(state.in_flight) + len(state.confirming)  # each has a row in the end
        finish(killer.engines, lab, len(state.table) + max(1, begun))
