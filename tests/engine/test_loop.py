"""The loop through its public surface: real git, real runs, a scripted researcher."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.report.report import write_report
from autoresearch_tui.researchers import history
from autoresearch_tui.researchers.base import Brief, Critic, Proposal, Researcher, ResearcherError
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.clock import ClockWatch
from autoresearch_tui.session.prior_tables import parse
from autoresearch_tui.session.state import Stage, State
from tests.conftest import SETTINGS, TRAIN, git
from tests.history import problems, state_of
from tests.waiting import wait_for

Move = Callable[[Brief], Proposal | None]
ASK = SETTINGS.replace('mode = "auto"', 'mode = "ask"')


def turn(name: str, value: object) -> Move:
    """A proposal that gives one constant another value."""

    def move(brief: Brief) -> Proposal:
        text = re.sub(rf"^{name} = .*$", f"{name} = {value!r}", brief.files["train.py"], flags=re.MULTILINE)
        return Proposal(f"{name} to {value}", "because", {"train.py": text})

    return move


class Script:
    """A researcher that plays moves in turn, and then has no idea any more. Briefs are kept for looking at."""

    def __init__(self, *moves: Move) -> None:
        self.moves = list(moves)
        self.briefs: list[Brief] = []

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        self.briefs.append(brief)
        if not self.moves:
            cancelled.wait(60)
            return None
        return self.moves.pop(0)(brief)


class Driver:
    """An engine in a thread, as a cockpit would host it."""

    def __init__(
        self,
        folder: Path,
        researcher: Researcher,
        rows: int = 0,
        clocks: ClockWatch | None = None,
        critic: Critic | None = None,
    ) -> None:
        session = Session(labs.find(folder), "t")
        self._host(Engine(session, researcher, headless=False, critic=critic, rows=rows, clocks=clocks))

    @classmethod
    def hosting(cls, engine: Engine) -> Driver:
        """A driver of an engine that was made elsewhere."""
        driver = cls.__new__(cls)
        driver._host(engine)
        return driver

    def _host(self, engine: Engine) -> None:
        self.engine = engine
        self.outcome = ""
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.outcome = self.engine.run()

    @property
    def troubled(self) -> bool:
        """Whether the engine met trouble, and could or could not write that down."""
        return bool(self.engine.blocked) or self.state.trouble is not None

    @property
    def state(self) -> State:
        return self.engine.state

    def start(self) -> None:
        self._thread.start()

    def wait(self, condition: Callable[[State], object], seconds: float = 60) -> State:
        """Until the state is as wanted; fails with the state otherwise."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition(self.state):
                return self.state
            time.sleep(0.01)
        raise AssertionError(f"never happened; the state is {self.state}")

    def join(self, seconds: float = 60) -> str:
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        return self.outcome

    def detach(self) -> str:
        self.engine.send(cmd.Detach())
        return self.join()


@contextmanager
def running(folder: Path, researcher: Researcher, rows: int = 0, critic: Critic | None = None) -> Iterator[Driver]:
    driver = Driver(folder, researcher, rows, critic=critic)
    driver.start()
    try:
        yield driver
    finally:
        if driver.outcome == "":
            driver.engine.send(cmd.Stop(now=True))
            driver.join()


def rows(folder: Path) -> list[list[str]]:
    return [line.split("\t") for line in (folder / "results.tsv").read_text().splitlines()]


def test_nothing_is_launched_by_an_engine_that_is_told_to_let_go(lab_folder: Path) -> None:
    """Told between two steps of which the next would be the launch."""
    told = lambda line: engine.send(cmd.Detach()) if b'"proposal_approved"' in line else None  # noqa: E731
    engine = Engine(Session(labs.find(lab_folder), "t", on_line=told), Script(), headless=True)
    assert engine.run() == "detached"
    assert [e.stage for e in state_of(lab_folder, "t").experiments] == [Stage.APPROVED]


def test_the_whole_loop_keeps_discards_and_crashes(lab_folder: Path) -> None:
    head, status = git(lab_folder, "rev-parse", "HEAD"), git(lab_folder, "status", "--porcelain")
    script = Script(turn("RATE", 0.25), turn("WIDTH", 4), turn("FAIL", "out of luck"), turn("WIDTH", 16))
    with running(lab_folder, script, rows=5) as driver:
        assert driver.join() == "finished"
    table = rows(lab_folder)
    assert table[0] == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert [row[3] for row in table[1:]] == ["keep", "keep", "discard", "crash", "keep"]
    assert [row[1] for row in table[1:]] == ["1.204625", "1.079625", "1.159625", "0.000000", "1.015625"]
    assert [row[2] for row in table[1:]] == ["2.0", "2.0", "2.0", "0.0", "2.0"]
    assert table[1][0] == head[:7]
    assert table[1][4] == "baseline"
    assert problems(lab_folder, "t") == []
    crashed = state_of(lab_folder, "t").experiments[3]
    assert "RuntimeError: out of luck" in crashed.reason
    assert git(lab_folder, "rev-parse", "HEAD") == head
    assert git(lab_folder, "branch", "--show-current") == "main"
    assert git(lab_folder, "status", "--porcelain") == status == ""
    assert git(lab_folder, "log", "--format=%s", "autoresearch/t").splitlines()[:2] == ["WIDTH to 16", "RATE to 0.25"]


def test_what_the_researcher_is_told(lab_folder: Path) -> None:
    script = Script(turn("FAIL", "no"), turn("RATE", 0.25), lambda _: None)
    with running(lab_folder, script) as driver:
        driver.wait(lambda s: len(s.table) == 3 and len(script.briefs) == 4)
    brief = script.briefs[3]
    assert brief.number == 3
    assert "RATE = 0.25" in brief.files["train.py"]
    assert brief.locked == {"prepare.py": "MAX_SEQ_LEN = 8\n"}
    assert [a.outcome for a in brief.history] == ["keep", "crash", "keep"]
    assert "RuntimeError: no" in brief.history[1].reason
    assert brief.program.startswith("# Program")
    assert 'FAIL = "no"' in brief.files_at(brief.history[1].commit)["train.py"].replace("'", '"')


def test_the_next_proposal_is_made_while_a_run_is_under_way(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 3.0"))
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        state = driver.wait(lambda s: len(s.experiments) == 2 and s.experiments[1].stage is Stage.APPROVED)
        assert state.experiments[0].stage is Stage.RUNNING


def test_uncommitted_work_is_the_start_and_stays_as_it_is(lab_folder: Path) -> None:
    text = (lab_folder / "train.py").read_text().replace("RATE = 0.5", "RATE = 0.4")
    (lab_folder / "train.py").write_text(text)
    with running(lab_folder, Script(), rows=1) as driver:
        assert driver.join() == "finished"
    assert (lab_folder / "train.py").read_text() == text
    assert git(lab_folder, "status", "--porcelain") == "M train.py"
    assert rows(lab_folder)[1][1] == "1.139625"
    assert git(lab_folder, "show", "autoresearch/t:train.py") == text.strip()


def test_a_veto_is_recorded_with_its_reason_and_told(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=ASK)
    script = Script(turn("RATE", 0.25), turn("WIDTH", 9))
    with running(folder, script) as driver:
        state = driver.wait(lambda s: any(e.stage is Stage.REVIEW for e in s.experiments))
        first = state.experiments[1]
        driver.engine.send(cmd.Veto(1, first.commit, "not the\nrate"))
        state = driver.wait(lambda s: len(s.experiments) == 3 and s.experiments[2].stage is Stage.REVIEW)
    assert state.experiments[1].outcome == "vetoed"
    assert script.briefs[1].history[1].reason == "not the rate"
    assert [row[3] for row in rows(folder)[1:]] == ["keep"]
    assert problems(folder, "t") == []


def test_an_answer_to_another_diff_does_nothing(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=ASK)
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        state = driver.wait(lambda s: any(e.stage is Stage.REVIEW for e in s.experiments))
        driver.engine.send(cmd.Approve(1, "0" * 40))
        state = driver.wait(lambda s: s.refused)
        assert state.experiments[1].stage is Stage.REVIEW
        driver.engine.send(cmd.Approve(1, state.experiments[1].commit))
        state = driver.wait(lambda s: s.experiments[1].outcome)
        assert state.experiments[1].approved_by == "human"


def test_a_proposal_edited_by_hand_is_what_is_trained(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=ASK)
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        state = driver.wait(lambda s: any(e.stage is Stage.REVIEW for e in s.experiments))
        waiting = state.experiments[1]
        text = git(folder, "show", f"{waiting.commit}:train.py") + "\n"
        broken = {"train.py": text + "def f(:\n"}
        driver.engine.send(cmd.Revise(1, waiting.commit, broken))
        driver.wait(lambda s: s.refused and s.refused.command == "revise")
        better = {"train.py": text.replace("RATE = 0.25", "RATE = 0.125")}
        driver.engine.send(cmd.Revise(1, waiting.commit, better))
        state = driver.wait(lambda s: s.experiments[1].outcome)
    assert state.experiments[1].value == pytest.approx(1.064)
    assert state.experiments[1].approved_by == "human, edited"
    assert state.experiments[1].description == "RATE to 0.25 (edited by hand)"
    assert problems(folder, "t") == []


def test_an_edit_is_known_by_what_it_is_wherever_it_is_told(new_lab: Callable[..., Path]) -> None:
    """The table, the commit, the lessons, the report and the researcher's brief."""
    folder = new_lab(settings=ASK)
    with running(folder, Script(turn("RATE", 0.25), turn("WIDTH", 12))) as driver:
        state = driver.wait(lambda s: any(e.stage is Stage.REVIEW for e in s.experiments))
        waiting = state.experiments[1]
        text = git(folder, "show", f"{waiting.commit}:train.py") + "\n"
        edited = {"train.py": text.replace("RATE = 0.25", "RATE = 0.125")}
        driver.engine.send(cmd.Revise(1, waiting.commit, edited, "RATE to an\neighth"))
        driver.wait(lambda s: s.experiments[1].outcome and len(s.experiments) > 2)
    state = state_of(folder, "t")
    one = state.experiments[1]
    assert (one.description, one.edited, one.outcome) == ("RATE to an eighth", True, "keep")
    assert rows(folder)[2][4] == "RATE to an eighth"
    assert git(folder, "show", "-s", "--format=%B", one.commit) == "RATE to an eighth\n\nEdited by hand before the run."
    lessons = (folder / ".autoresearch/t/lessons.md").read_text()
    assert "it held: a human edited it before the run: RATE to an eighth" in lessons
    files = write_report(labs.find(folder), "t", folder.parent / "report")
    assert "RATE to 0.25" not in files[0].read_text()
    later = Script(lambda _: None)
    with running(folder, later) as driver:
        # It is asked once the one that waits is out of the way.
        driver.engine.send(cmd.Veto(2, state.experiments[2].commit, "no"))
        driver.wait(lambda s: later.briefs)
    told = history.render(later.briefs[0].history, Goal.MINIMIZE, later.briefs[0].files_at)
    assert "RATE to an eighth | the human edited this proposal before it ran" in told
    assert "The change of #1, as the human edited it:" in told and "+RATE = 0.125" in told
    assert "RATE to 0.25" not in told
    assert problems(folder, "t") == []


@pytest.mark.parametrize(("policy", "outcome"), [("approve-low-risk", "keep"), ("veto", "vetoed")])
def test_when_nobody_answers_the_policy_decides(new_lab: Callable[..., Path], policy: str, outcome: str) -> None:
    folder = new_lab(settings=f'{ASK}unattended = "{policy}"\nafter_seconds = 0.2\n')
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        state = driver.wait(lambda s: len(s.experiments) > 1 and s.experiments[1].outcome)
    assert state.experiments[1].outcome == outcome
    assert policy in state.experiments[1].approved_by + state.experiments[1].reason


def test_hold_waits_for_ever(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=f"{ASK}after_seconds = 0\n")
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        driver.wait(lambda s: s.best and len(s.experiments) > 1 and s.experiments[1].stage is Stage.REVIEW)
        seq = driver.state.seq
        time.sleep(0.8)  # three of the loop's own idle rounds
        assert driver.state.seq == seq


def test_a_waiting_proposal_is_carried_to_the_new_frontier(lab_folder: Path) -> None:
    script = Script(turn("RATE", 0.25), turn("WIDTH", 16))
    with running(lab_folder, script, rows=3) as driver:
        driver.join()
    best = state_of(lab_folder, "t").best
    assert best is not None
    text = git(lab_folder, "show", f"{best.commit}:train.py")
    assert "RATE = 0.25" in text
    assert "WIDTH = 16" in text
    assert problems(lab_folder, "t") == []


def test_detaching_leaves_the_run_and_the_next_engine_takes_it_up(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.5"))
    first = Driver(folder, Script())
    first.start()
    first.wait(lambda s: s.running)
    assert first.detach() == "detached"
    started = (folder / ".autoresearch/t/runs/0000/started.json").read_text()
    with running(folder, Script(), rows=1) as second:
        assert second.join() == "finished"
    assert (folder / ".autoresearch/t/runs/0000/started.json").read_text() == started
    assert [row[3] for row in rows(folder)[1:]] == ["keep"]
    assert problems(folder, "t") == []


def test_pausing_lets_the_run_finish_and_launches_nothing(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=ASK)
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        state = driver.wait(lambda s: len(s.experiments) > 1 and s.experiments[1].stage is Stage.REVIEW and s.best)
        driver.engine.send(cmd.Pause())
        driver.wait(lambda s: s.paused)
        driver.engine.send(cmd.Approve(1, state.experiments[1].commit))
        driver.wait(lambda s: s.experiments[1].stage is Stage.APPROVED)
        time.sleep(0.6)  # two idle rounds in which nothing may start
        assert driver.state.experiments[1].stage is Stage.APPROVED
        driver.engine.send(cmd.Resume())
        driver.wait(lambda s: s.experiments[1].outcome)


def test_pausing_with_a_stop_puts_the_proposal_back(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 30"))
    with running(folder, Script(turn("PAUSE", 0.0))) as driver:
        driver.wait(lambda s: s.running and (folder / ".autoresearch/t/runs/0000/run.log").exists())
        driver.engine.send(cmd.Pause(stop_run=True))
        state = driver.wait(lambda s: s.paused and s.experiments[0].stage is Stage.APPROVED)
        assert state.running is None
        assert state.table == ()
        # It may never run again: a veto, or a verdict that needs it no longer, would leave it behind.
        wait_for(lambda: not (folder / ".autoresearch/t/runs/0000/work").exists(), what="the end of its working copy")


@pytest.mark.parametrize(("said", "told"), [("diverges\nalready", "diverges already"), (" ", "no reason given")])
def test_a_run_that_a_human_stops_is_told_of_with_the_reason(
    new_lab: Callable[..., Path], said: str, told: str
) -> None:
    folder = new_lab(train=TRAIN)
    script = Script(turn("PAUSE", 30.0), turn("RATE", 0.25), turn("WIDTH", 4))
    with running(folder, script, rows=3) as driver:
        driver.wait(lambda s: s.running and s.running.number == 1)
        driver.engine.send(cmd.StopRun(1, said))
        driver.engine.send(cmd.StopRun(1, "said twice"))
        state = driver.wait(lambda s: s.experiments[1].outcome)
        # Asked for beside the run, the second proposal's brief did not know of it yet; the third one's does.
        assert driver.join() == "finished"
    stopped = state.experiments[1]
    assert (stopped.outcome, stopped.status, stopped.reason) == ("crash", "stopped", told)
    assert [row[3:] for row in rows(folder)[1:3]] == [["keep", "baseline"], ["crash", "PAUSE to 30.0"]]
    assert problems(folder, "t") == []
    script = Script(lambda _: None)
    with running(folder, script) as driver:
        driver.wait(lambda _: script.briefs)
    attempts = script.briefs[0].history
    assert (attempts[1].outcome, attempts[1].reason) == ("stopped", told)
    assert f"#1 stopped: PAUSE to 30.0 | stopped by the human, because: {told}" in history.table(attempts, 10_000)


def test_a_baseline_that_a_human_stops_runs_again_when_they_resume(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 30.0"), settings=SETTINGS.replace("= 5", "= 60"))
    with running(folder, Script(lambda _: None)) as driver:
        driver.wait(lambda s: s.running)
        driver.engine.send(cmd.StopRun(0, "wrong machine"))
        state = driver.wait(lambda s: s.paused)
        assert state.paused is not None
        assert state.paused.reason == "the baseline was stopped (wrong machine); resume to run it again"
        driver.engine.send(cmd.Resume())
        state = driver.wait(lambda s: s.running)
        assert state.running is not None
        assert (state.running.number, state.running.author) == (1, "baseline")


def test_only_what_trains_can_be_stopped(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=ASK)
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        driver.wait(lambda s: len(s.experiments) > 1 and s.experiments[1].stage is Stage.REVIEW and s.best)
        for number in (0, 1, 7, -1):
            driver.engine.send(cmd.StopRun(number))
            driver.wait(lambda s, n=number: s.refused and s.refused.why == f"#{n}: it is not in training")  # type: ignore[misc]


def test_a_stop_that_is_asked_for_after_this_run_is_taken_back(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0"))
    with running(folder, Script(turn("RATE", 0.25)), rows=2) as driver:
        driver.wait(lambda s: s.running)
        driver.engine.send(cmd.Stop())
        driver.wait(lambda s: s.stopping == "after")
        driver.engine.send(cmd.CancelStop())
        driver.wait(lambda s: not s.stopping)
        assert driver.join() == "finished"


@pytest.mark.parametrize("command", [cmd.CancelStop(), cmd.Resume()])
def test_a_session_that_ends_now_cannot_be_kept(new_lab: Callable[..., Path], command: cmd.Command) -> None:
    """Its run is being stopped to be put back: without the stop it would count as a crash."""
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 30"))
    with running(folder, Script()) as driver:
        driver.wait(lambda s: s.running and (folder / ".autoresearch/t/runs/0000/run.log").exists())
        driver.engine.send(cmd.Stop(now=True))
        driver.engine.send(command)
        assert driver.join() == "stopped"
    state = state_of(folder, "t")
    assert state.refused is not None and state.refused.why == "the session is ending; start it again to resume"
    assert (state.table, state.experiments[0].stage) == ((), Stage.APPROVED)


def test_a_researcher_in_trouble_is_asked_again_and_a_hopeless_one_pauses_the_loop(lab_folder: Path) -> None:
    def overloaded(_brief: Brief) -> Proposal | None:
        raise ResearcherError("overloaded", retry_after=0.1)

    def refused(_brief: Brief) -> Proposal | None:
        raise ResearcherError("no API key", fatal=True)

    with running(lab_folder, Script(overloaded, turn("RATE", 0.25), refused)) as driver:
        state = driver.wait(lambda s: s.paused)
    assert state.experiments[1].description == "RATE to 0.25"
    assert state.paused is not None
    assert state.paused.reason == "no API key"


def test_a_pause_that_was_lost_between_two_records_is_written_by_the_next_engine(lab_folder: Path) -> None:
    def refused(_brief: Brief) -> Proposal | None:
        raise ResearcherError("no API key", fatal=True)

    with running(lab_folder, Script(refused)) as driver:
        driver.wait(lambda s: s.paused and s.best)  # a baseline that trains would be killed with the first engine
    journal = lab_folder / ".autoresearch/t/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    pause = next(n for n, line in enumerate(lines) if b'"type":"pause_asked"' in line)
    assert b'"type":"proposal_failed"' in lines[pause - 1]
    journal.write_bytes(b"".join(lines[:pause]))
    with running(lab_folder, Script()) as driver:
        state = driver.wait(lambda s: s.paused)
        assert state.paused is not None and state.paused.reason == "no API key"
        driver.engine.send(cmd.Resume())
        driver.wait(lambda s: s.asks)


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), SystemExit("oops"), asyncio.CancelledError("oops")])
def test_a_researcher_that_raises_anything_does_not_end_the_loop(lab_folder: Path, error: BaseException) -> None:
    def broken(_brief: Brief) -> Proposal | None:
        raise error

    with running(lab_folder, Script(broken)) as driver:
        state = driver.wait(lambda s: s.failed)
    assert state.failed is not None
    assert f"{type(error).__name__}: oops" in state.failed.error
    assert state.failed.retry_seconds


def test_a_proposal_outside_the_editable_files_is_sent_back_with_the_reason(lab_folder: Path) -> None:
    script = Script(lambda _: Proposal("sneaky", "", {"prepare.py": "MAX_SEQ_LEN = 1\n"}), turn("RATE", 0.25))
    with running(lab_folder, script) as driver:
        driver.wait(lambda s: len(s.experiments) > 1)
    assert "prepare.py: not editable" in script.briefs[1].complaint


def test_the_same_code_is_never_run_twice(lab_folder: Path) -> None:
    script = Script(turn("RATE", 0.9), turn("RATE", 0.9), turn("RATE", 0.25))
    with running(lab_folder, script, rows=3) as driver:
        driver.join()
    assert "experiment 1" in script.briefs[2].complaint
    assert [row[4] for row in rows(lab_folder)[1:]] == ["baseline", "RATE to 0.9", "RATE to 0.25"]


def test_a_run_that_touches_a_locked_file_is_invalid(new_lab: Callable[..., Path]) -> None:
    train = TRAIN.replace("steps = 5\n", "steps = 5\nif WIDTH == 9:\n    open('prepare.py', 'w').write('x = 1')\n")
    folder = new_lab(train=train)
    with running(folder, Script(turn("WIDTH", 9)), rows=2) as driver:
        driver.join()
    assert [row[3] for row in rows(folder)[1:]] == ["keep", "invalid"]
    # Under bubblewrap it cannot be: the attempt is what is named.
    assert re.search("change.* prepare.py|prepare.py was changed", state_of(folder, "t").experiments[1].reason)


def test_a_baseline_without_a_score_pauses_with_what_to_do(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train="raise SystemExit('no data')\n")
    with running(folder, Script()) as driver:
        state = driver.wait(lambda s: s.paused)
    assert state.paused is not None
    assert "no data" in state.paused.reason
    assert "--new" in state.paused.reason


def test_a_table_that_somebody_else_wrote_is_left_alone(lab_folder: Path) -> None:
    (lab_folder / "results.tsv").write_text("commit\tval_bpb\nmine\t1.0\n")
    with running(lab_folder, Script(), rows=1) as driver:
        driver.join()
    assert (lab_folder / "results.tsv").read_text() == "commit\tval_bpb\nmine\t1.0\n"
    assert len((lab_folder / ".autoresearch/t/results.tsv").read_text().splitlines()) == 2


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_in_the_tables_place_stops_nothing(lab_folder: Path, kind: str) -> None:
    path = lab_folder / "results.tsv"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with running(lab_folder, Script(), rows=1) as driver:
        driver.join()
    assert path.is_dir() if kind == "folder" else path.is_fifo()
    assert len((lab_folder / ".autoresearch/t/results.tsv").read_text().splitlines()) == 2


def test_notes_and_an_edited_program_reach_the_next_request(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=ASK)
    script = Script(turn("RATE", 0.25))
    with running(folder, script) as driver:
        state = driver.wait(lambda s: len(s.experiments) > 1 and s.experiments[1].stage is Stage.REVIEW)
        (folder / "program.md").write_text("# Another program\n")
        driver.engine.send(cmd.Note("try the width"))
        driver.engine.send(cmd.Veto(1, state.experiments[1].commit, "no"))
        driver.wait(lambda s: len(script.briefs) > 1)
    assert script.briefs[1].program == "# Another program\n"
    assert script.briefs[1].notes == ("try the width",)
    assert driver.state.program != state.program
    files = labs.find(folder).session("t")
    assert files.program(driver.state.program).read_text() == "# Another program\n"
    assert files.program(state.program).is_file()


def test_a_note_is_taken_back_before_it_is_sent_and_not_after(new_lab: Callable[..., Path]) -> None:
    script = Script(turn("RATE", 0.25))
    folder = new_lab(settings=ASK)
    with running(folder, script) as driver:
        state = driver.wait(lambda s: len(s.experiments) > 1 and s.experiments[1].stage is Stage.REVIEW)
        driver.engine.send(cmd.Note("try the width"))
        driver.engine.send(cmd.Note("smaller steps"))
        waiting = driver.wait(lambda s: len(s.waiting_notes) == 2).waiting_notes
        driver.engine.send(cmd.WithdrawNote(waiting[0].seq))
        driver.wait(lambda s: len(s.waiting_notes) == 1)
        driver.engine.send(cmd.WithdrawNote(waiting[0].seq))  # twice
        refused = driver.wait(lambda s: s.refused is not None).refused
        driver.engine.send(cmd.Veto(1, state.experiments[1].commit, "no"))
        driver.wait(lambda s: len(script.briefs) > 1)
        driver.engine.send(cmd.WithdrawNote(waiting[1].seq))
        late = driver.wait(lambda s: s.refused is not refused).refused
    stream = labs.find(folder).session("t").researcher_log.read_text().splitlines()
    said = [line for line in stream if line.startswith("❯ ")]
    taken = "❯ note taken back: try the width"
    assert said == ["❯ note: try the width", "❯ note: smaller steps", taken, "❯ #1 vetoed: no"]
    assert stream.index("── experiment 1 ──") < stream.index(taken) < stream.index("── experiment 2 ──")
    assert script.briefs[1].notes == ("smaller steps",)
    assert refused is not None
    assert late == ev.CommandRefused("withdraw_note", "the researcher has that note already, or it was taken back")
    assert driver.state.notes == ("smaller steps",)


def test_a_branch_that_somebody_moved_is_explained_not_overwritten(lab_folder: Path) -> None:
    with running(lab_folder, Script(), rows=1) as driver:
        driver.join()
    git(lab_folder, "commit", "--quiet", "--allow-empty", "--message=other")
    git(lab_folder, "branch", "-f", "autoresearch/t", "main")
    moved = git(lab_folder, "rev-parse", "autoresearch/t")
    again = Driver(lab_folder, Script(turn("RATE", 0.25)))
    again.start()
    state = again.wait(lambda s: s.trouble)
    again.detach()
    assert state.trouble is not None
    assert "moved" in state.trouble.what
    assert "git branch -f" in state.trouble.what
    assert git(lab_folder, "rev-parse", "autoresearch/t") == moved


def test_the_table_has_the_labs_metric_and_no_formula(new_lab: Callable[..., Path]) -> None:
    """Under its own name in the header; and what an agent calls its idea is text in every spreadsheet."""
    settings = SETTINGS.replace("[run]\n", "[metric]\nname = \"val_rmse\"\npattern = '^val_bpb:\\s+(\\S+)'\n\n[run]\n")

    def formula(brief: Brief) -> Proposal:
        text = brief.files["train.py"].replace("RATE = 0.5", "RATE = 0.25")
        return Proposal('=HYPERLINK("http://x.test";"lower")', "because", {"train.py": text})

    folder = new_lab(settings=settings)
    Engine(Session(labs.find(folder), "t"), Script(formula), headless=True, rows=2).run()
    header, _, row = rows(folder)
    assert header == ["commit", "val_rmse", "memory_gb", "status", "description"]
    assert row[4] == '\'=HYPERLINK("http://x.test";"lower")'
    table = parse((folder / "results.tsv").read_text(), "val_rmse")
    assert [(each.value, each.description, each.flags) for each in table] == [
        (e.value, e.description, ()) for e in state_of(folder, "t").table
    ]
    assert problems(folder, "t") == []
