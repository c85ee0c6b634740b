"""Trouble outside the loop: a full disk, jumping clocks, an accelerator that is gone or taken, stale locks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autoresearch_tui.engine import backoff, launching, preconditions, presence
from autoresearch_tui.engine.backoff import TroubleError
from autoresearch_tui.engine.preconditions import Preconditions
from autoresearch_tui.engine.presence import Presence
from autoresearch_tui.engine.proposing import lessons
from autoresearch_tui.engine.results_table import render
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session.clock import ClockWatch, Reading, due
from autoresearch_tui.session.state import Stage
from tests.cockpit.fakes import FakeSession
from tests.conftest import SETTINGS, TRAIN, git, make_lab
from tests.engine.test_loop import Driver, Script, running, turn
from tests.fakes.nvml import FakeGpu, FakeNvml
from tests.faults.engines import is_running
from tests.history import problems, state_of
from tests.waiting import wait_for


class Clocks:
    """A machine whose clocks the test sets."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.stepped = 0.0

    def read(self) -> Reading:
        awake = time.monotonic()
        return Reading(awake + self.slept + self.stepped, awake, awake + self.slept)


@pytest.mark.parametrize(
    ("slept", "stepped", "said"),
    [(3600, 0, "suspended for 3600 s"), (0, 900, "set forward by 900 s"), (0, -900, "set back by 900 s")],
)
def test_a_run_that_was_not_timed_as_the_others_is_run_again(
    new_lab: Callable[..., Path], slept: float, stepped: float, said: str
) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0"))
    clocks = Clocks()
    driver = Driver(folder, Script(), rows=1, clocks=ClockWatch(clocks.read))
    driver.start()
    driver.wait(lambda s: s.running and (folder / ".autoresearch/t/runs/0000/started.json").exists())
    clocks.slept, clocks.stepped = slept, stepped
    assert said in driver.wait(lambda s: s.experiments[0].invalidated).experiments[0].invalidated
    assert driver.join() == "finished"
    baseline = state_of(folder, "t").experiments[0]
    assert (baseline.outcome, baseline.attempt, baseline.invalidated) == ("keep", 2, "")
    assert problems(folder, "t") == []


def test_a_clock_that_was_set_back_changes_no_row(tmp_path: Path) -> None:
    """The table and the lessons are in the order of the journal, whatever the times in it say."""
    session = FakeSession(tmp_path / "lab")
    session.begin()
    for name, value, verdict in (("baseline", 1.0, "keep"), ("second", 1.1, "discard"), ("third", 0.9, "keep")):
        session.whole(name, value, verdict)
        session.now -= 7200
    state = state_of(session.lab.root, session.tag)
    assert [e.description for e in state.table] == ["baseline", "second", "third"]
    assert [row.split("\t")[4] for row in render(state).splitlines()[1:]] == ["baseline", "second", "third"]
    known = lessons.entries(state)
    before = lessons.update("", {number: known[number] for number in (0, 1)}, 2)
    assert lessons.update(before, lessons.entries(state, lessons.noted(before)), 3).count("## #") == 3


def test_a_clock_that_was_set_back_delays_no_retry() -> None:
    def moment(seconds: float) -> str:
        return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()

    assert not due(moment(-10), 60)
    assert due(moment(-70), 60)
    assert not due(moment(-70), None)
    assert due(moment(3600), 60)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many KiB; calling again changes its size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def size(kib: int) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={kib}k"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip("mounting a small file system needs root")
        mounted = True
        return folder

    yield size
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


@pytest.mark.parametrize("spare", [12, 24, 48, 160])
def test_a_full_disk_at_any_write_loses_nothing(
    small_disk: Callable[[int], Path], spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preconditions, "MIN_FREE_BYTES", 0)
    monkeypatch.setattr(launching, "MIN_FREE_BYTES", 0)
    monkeypatch.setattr(backoff, "LAST_SECONDS", 1.0)
    disk = small_disk(4096)
    lab = make_lab(disk / "lab")
    used = sum(path.lstat().st_blocks for path in disk.rglob("*")) // 2
    small_disk(used + spare)
    driver = Driver(lab, Script(turn("RATE", 0.25), turn("WIDTH", 9)), rows=3)
    driver.start()
    wait_for(lambda: driver.troubled or driver.outcome, what="the full disk")
    small_disk(65536)
    assert driver.join() == "finished"
    assert problems(lab, "t") == []
    assert len(state_of(lab, "t").table) == 3


@pytest.fixture
def flip(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A folder that is made read-only (`ro`) and writable (`rw`) by mounts; what is open for writing stays so."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*words: str) -> bool:
        return subprocess.run([*words, str(folder)], capture_output=True, check=False).returncode == 0

    def turn_to(way: str) -> Path:
        if way == "rw":
            mount("umount", "--lazy")
        elif not mount("mount", "--bind", str(folder)):
            pytest.skip("mounting needs root")
        else:  # busy while somebody has a file open for writing there
            wait_for(lambda: mount("mount", "-o", "remount,bind,ro"), what="the read-only mount")
        return folder

    yield turn_to
    turn_to("rw")


@pytest.mark.parametrize("moment", ["in a run", "between runs"])
def test_a_disk_that_is_read_only_for_a_while(
    flip: Callable[[str], Path], moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preconditions, "MIN_FREE_BYTES", 0)
    monkeypatch.setattr(launching, "MIN_FREE_BYTES", 0)
    monkeypatch.setattr(backoff, "LAST_SECONDS", 1.0)
    lab = make_lab(flip("rw") / "lab", train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.5"))
    stuck = threading.Event()

    def hesitate(brief: Brief) -> Proposal:
        stuck.wait(20)
        return turn("RATE", 0.25)(brief)

    with running(lab, Script(hesitate), rows=2) as driver:
        if moment == "in a run":
            driver.wait(lambda s: s.running and is_running(lab / ".autoresearch/t/runs/0000"))
        else:
            driver.wait(lambda s: s.best and not s.running)
        flip("ro")
        stuck.set()
        met = driver.wait(lambda s: s.trouble, 30).trouble
        before = state_of(lab, "t").table
        flip("rw")
        assert driver.join() == "finished"
    assert met is not None
    assert "ead-only file system" in met.what
    assert problems(lab, "t") == []
    after = state_of(lab, "t").table
    assert after[: len(before)] == before
    assert [e.outcome for e in after] == ["keep", "keep"]


def test_little_space_is_said_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditions, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(TroubleError, match="MiB are free"):
        Preconditions(tmp_path).check()


def test_the_loop_waits_for_a_taken_accelerator_and_goes_on(lab_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(FakeGpu(held={4242: 30 << 30}))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with running(lab_folder, Script(), rows=1) as driver:
        state = driver.wait(lambda s: s.trouble)
        assert state.trouble is not None
        assert "4242" in state.trouble.what
        nvml.gpus[0].held = {}
        assert driver.join() == "finished"
    assert driver.state.trouble is None


@pytest.mark.parametrize("setting", ['env = { CUDA_VISIBLE_DEVICES = "1" }', "share_accelerator = true"])
def test_a_lab_beside_a_stranger_runs(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(FakeGpu(held={4242: 30 << 30}), FakeGpu()))
    folder = new_lab(settings=SETTINGS.replace("[run]\n", f"[run]\n{setting}\n"))
    with running(folder, Script(), rows=1) as driver:
        assert driver.join() == "finished"
    assert driver.state.trouble is None


def test_a_run_that_crashes_with_its_accelerator_is_run_again_when_that_is_back(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0") + "if PAUSE > 1: raise SystemExit(1)\n")
    with running(folder, Script(turn("PAUSE", 1.5)), rows=2) as driver:
        driver.wait(lambda s: s.running and s.running.number == 1)
        nvml.gone = True
        state = driver.wait(lambda s: s.trouble, 30)
        assert state.trouble is not None
        assert "accelerator is lost" in state.trouble.what
        assert state.experiments[1].outcome is None
        nvml.gone = False
        assert driver.join() == "finished"
    assert (driver.state.experiments[1].attempt, driver.state.experiments[1].outcome) == (2, "crash")
    assert problems(folder, "t") == []


def test_a_run_that_a_full_disk_ended_is_run_again_once(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 2.0"))
    room = iter((1 << 60, 0))  # what the first run and the second must find free

    def check(_surroundings: Preconditions, _device: str = "") -> None:
        monkeypatch.setattr(launching, "MIN_FREE_BYTES", next(room))

    monkeypatch.setattr(Preconditions, "check", check)
    driver = Driver(folder, Script(), rows=1)
    driver.start()
    assert driver.join() == "finished"
    baseline = state_of(folder, "t").experiments[0]
    assert (baseline.attempt, baseline.outcome) == (2, "keep")
    assert problems(folder, "t") == []


def test_a_run_that_was_stopped_and_then_lost_is_run_again_all_the_same(new_lab: Callable[..., Path]) -> None:
    """What a human stopped is not held against it."""
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0"))
    run = folder / ".autoresearch/t/runs/0000"
    driver = Driver(folder, Script(), rows=1)
    driver.start()
    driver.wait(lambda s: s.running and (run / "started.json").exists())
    driver.engine.send(cmd.Pause(stop_run=True))
    driver.wait(lambda s: s.paused and s.experiments[0].stage is Stage.APPROVED)
    driver.engine.send(cmd.Resume())
    driver.wait(lambda s: s.experiments[0].attempt == 2 and is_running(run))
    os.kill(int((run / "run.lock").read_text()), signal.SIGKILL)
    assert driver.join() == "finished"
    baseline = state_of(folder, "t").experiments[0]
    assert (baseline.attempt, baseline.infrastructure_retries, baseline.outcome) == (3, 1, "keep")
    assert problems(folder, "t") == []


def test_a_lock_that_a_killed_git_left_on_our_branch_is_mended(lab_folder: Path) -> None:
    lock = lab_folder / ".git/refs/heads/autoresearch/t.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    os.utime(lock, (0, 0))
    repo = GitRepo(lab_folder)
    repo.set_ref("refs/heads/autoresearch/t", repo.head())
    assert git(lab_folder, "rev-parse", "autoresearch/t") == repo.head()
    assert not lock.exists()


def test_a_lock_that_somebody_holds_now_is_waited_for(lab_folder: Path) -> None:
    lock = lab_folder / ".git/refs/heads/autoresearch/t.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    with running(lab_folder, Script(), rows=1) as driver:
        state = driver.wait(lambda s: s.trouble)
        assert state.trouble is not None
        assert "delete it" in state.trouble.remedy
        lock.unlink()
        assert driver.join() == "finished"
    assert problems(lab_folder, "t") == []


def test_a_branch_that_is_checked_out_meanwhile_is_not_moved(lab_folder: Path) -> None:
    git(lab_folder, "config", "user.name", "Ada")
    with running(lab_folder, Script(), rows=2) as driver:
        driver.wait(lambda s: s.asks and s.best)
        git(lab_folder, "checkout", "--quiet", "autoresearch/t")
        driver.engine.send(cmd.Stop(now=True))
        driver.join()
    driver = Driver(lab_folder, Script(turn("RATE", 0.25)), rows=2)
    driver.start()
    state = driver.wait(lambda s: s.trouble)
    assert state.trouble is not None
    assert "is checked out" in state.trouble.what
    assert git(lab_folder, "status", "--porcelain", "--untracked-files=no") == ""
    git(lab_folder, "checkout", "--quiet", "main")
    assert driver.join() == "finished"
    assert problems(lab_folder, "t") == []


def test_attempts_that_git_has_thrown_away_do_not_stop_the_session(lab_folder: Path) -> None:
    with running(lab_folder, Script(turn("RATE", 0.25), turn("WIDTH", 2)), rows=3) as driver:
        driver.join()
    git(lab_folder, "update-ref", "-d", "refs/autoresearch/t/0002")
    git(lab_folder, "gc", "--quiet", "--prune=now")
    with running(lab_folder, Script(turn("WIDTH", 9)), rows=4) as driver:
        assert driver.join() == "finished"
        refused = driver.state.refused
    assert refused is not None
    assert "0002 is gone from the repository" in refused.why


def test_a_deleted_branch_comes_back(lab_folder: Path) -> None:
    with running(lab_folder, Script(turn("RATE", 0.25)), rows=2) as driver:
        driver.join()
    git(lab_folder, "branch", "--quiet", "-D", "autoresearch/t")
    with running(lab_folder, Script(), rows=2) as driver:
        driver.join()
    assert problems(lab_folder, "t") == []


def test_a_journal_that_is_deleted_under_the_engine_is_noticed(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0"))
    driver = Driver(folder, Script())
    driver.start()
    driver.wait(lambda s: s.running)
    (folder / ".autoresearch/t/journal.jsonl").unlink()
    wait_for(lambda: "deleted while in use" in driver.engine.blocked, what="noticing")
    driver.engine.send(cmd.Stop(now=True))
    assert driver.join() == "stopped"


# ── a stop is obeyed in every state ─────────────────────────────────────────────────────────────────────────────────


def in_trouble(driver: Driver) -> None:
    wait_for(lambda: driver.troubled, what="the trouble")


@pytest.mark.parametrize("now", [True, False])
def test_a_stop_is_obeyed_where_a_session_cannot_begin(lab_folder: Path, now: bool) -> None:
    git(lab_folder, "branch", "autoresearch/t", git(lab_folder, "commit-tree", "HEAD^{tree}", "-m", "another's"))
    driver = Driver(lab_folder, Script(), rows=3)
    driver.start()
    in_trouble(driver)
    driver.engine.send(cmd.Stop(now=now))
    assert driver.join(20) == "stopped"
    assert state_of(lab_folder, "t").stopping == ("now" if now else "after")


@pytest.mark.parametrize("now", [True, False])
def test_a_stop_is_obeyed_while_a_run_goes_on_and_git_refuses(new_lab: Callable[..., Path], now: bool) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.5"))
    driver = Driver(folder, Script(turn("PAUSE", 20.0 if now else 2.0)), rows=3)
    driver.start()
    driver.wait(lambda s: s.running and s.running.number == 1 and is_running(folder / ".autoresearch/t/runs/0001"))
    (folder / ".git/refs/autoresearch/t/0002.lock").write_text("")
    driver.engine.send(cmd.Repeat(0))
    in_trouble(driver)
    driver.engine.send(cmd.Stop(now=now))
    assert driver.join(30) == "stopped"
    assert not is_running(folder / ".autoresearch/t/runs/0001")
    run = state_of(folder, "t").experiments[1]
    assert (run.stage, run.outcome) == ((Stage.APPROVED, None) if now else (Stage.DONE, "discard"))


@pytest.mark.parametrize("now", [True, False])
def test_a_stop_is_obeyed_while_the_journal_cannot_be_written(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, now: bool
) -> None:
    """The run ends, or is waited for; it is run again by the next start, and not held against its proposal."""
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 3.0"))
    driver = Driver(folder, Script(), rows=1)
    driver.start()
    driver.wait(lambda s: s.running and is_running(folder / ".autoresearch/t/runs/0000"))
    with monkeypatch.context() as patch:

        def sync(_file: int) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "fdatasync", sync)
        driver.engine.send(cmd.Note("which cannot be written down"))
        in_trouble(driver)
        assert "journal.jsonl" not in (driver.engine.blocked or "")
        driver.engine.send(cmd.Stop(now=now))
        assert driver.join(30) == "stopped"
        assert not is_running(folder / ".autoresearch/t/runs/0000")
    again = Driver(folder, Script(), rows=1)
    again.start()
    assert again.join() == "finished"
    baseline = state_of(folder, "t").experiments[0]
    assert (baseline.attempt, baseline.outcome) == (2 if now else 1, "keep")
    assert problems(folder, "t") == []


def test_a_stop_that_is_taken_back_in_trouble_is_none(lab_folder: Path) -> None:
    lock = lab_folder / ".git/refs/heads/autoresearch/t.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    with running(lab_folder, Script(), rows=1) as driver:
        in_trouble(driver)
        lock.unlink()
        assert driver.join() == "finished"


# ── a lab that is gone ──────────────────────────────────────────────────────────────────────────────────────────────


def at_rest(driver: Driver, lab: Path) -> None:
    """The baseline is judged, all is written, and the researcher thinks."""
    driver.wait(lambda s: s.best and s.asks and not (lab / ".autoresearch/t/runs/0000/work").exists())


def delete(path: Path) -> None:
    """Whatever the engine still writes there."""
    while path.exists():
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a session of a baseline."""
    lab = make_lab(tmp_path_factory.mktemp("judged") / "lab")
    with running(lab, Script(), rows=1) as driver:
        assert driver.join() == "finished"
    return lab


@pytest.fixture
def judged_lab(judged: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    return shutil.copytree(judged, tmp_path / "lab", symlinks=True)


@pytest.mark.parametrize("what", [".", ".autoresearch", ".autoresearch/t/journal.jsonl", ".git"])
@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_lab_that_is_gone_ends_its_engine(
    judged_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, how: str
) -> None:
    monkeypatch.setattr(presence, "GONE_SECONDS", 0.5)
    driver = Driver(judged_lab, Script(), rows=5)
    driver.start()
    at_rest(driver, judged_lab)
    path = (judged_lab / what).resolve()
    if how == "moved":
        path.rename(tmp_path / "elsewhere")
    else:
        delete(path)
    assert driver.join(20) == "failed"
    assert "was deleted or moved" in driver.engine.why_failed
    assert str(path) in driver.engine.why_failed
    assert what != "." or not judged_lab.exists()


def test_a_lab_that_is_put_back_goes_on(judged_lab: Path, tmp_path: Path) -> None:
    stuck = threading.Event()

    def late(brief: Brief) -> Proposal:
        stuck.wait(30)
        return turn("RATE", 0.25)(brief)

    with running(judged_lab, Script(late), rows=2) as driver:
        at_rest(driver, judged_lab)
        judged_lab.rename(tmp_path / "elsewhere")
        driver.wait(lambda s: s.trouble)
        (tmp_path / "elsewhere").rename(judged_lab)
        stuck.set()
        assert driver.join() == "finished"
    assert problems(judged_lab, "t") == []


def test_a_network_disk_is_waited_for_with_a_limit(small_disk: Callable[[int], Path]) -> None:
    lab = make_lab(small_disk(4096) / "lab")
    journal = lab / "journal.jsonl"
    journal.touch()
    now = [0.0]
    looked = Presence(lab, lab / ".git", journal, monotonic=lambda: now[0])
    assert looked.lost() == ""
    subprocess.run(["umount", "--lazy", str(lab.parent)], check=True)
    with pytest.raises(TroubleError, match="is away"):
        looked.require()
    now[0] += presence.GONE_SECONDS * 2
    assert looked.lost() == ""
    now[0] += presence.AWAY_SECONDS
    assert "away for 30 min; mount it again" in looked.lost()


def test_a_locked_file_that_is_deleted_is_named_with_the_way_back(lab_folder: Path) -> None:
    stuck = threading.Event()

    def late(brief: Brief) -> Proposal:
        stuck.wait(30)
        return turn("RATE", 0.25)(brief)

    with running(lab_folder, Script(late), rows=2) as driver:
        driver.wait(lambda s: s.best and not s.running)
        (lab_folder / "prepare.py").unlink()
        stuck.set()
        met = driver.wait(lambda s: s.trouble).trouble
        assert met is not None
        assert met.what == f"{lab_folder / 'prepare.py'}: No such file or directory"
        assert "`git checkout -- prepare.py`" in met.remedy
        git(lab_folder, "checkout", "--", "prepare.py")
        assert driver.join() == "finished"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/lab/x"), "/lab/x: No space left on device; free some disk space"),
        (FileExistsError(17, "File exists", b"/x"), "/x: File exists; a file is where a folder belongs; move it away"),
        (OSError(30, "Read-only file system", "/lab/x"), "/lab/x: Read-only file system; remount it for writing"),
        (OSError(28, "No space left on device"), "No space left on device; free some disk space"),
        (TroubleError("a GPU is taken", "wait"), "a GPU is taken; wait"),
        (OSError("odd"), "odd"),
    ],
)  # fmt: skip
def test_an_error_of_the_system_in_one_line(error: Exception, said: str) -> None:
    assert backoff.line(error) == said
