"""A session played again: the same facts, in a folder of their own, as fast as asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.report.replay import LONGEST_GAP, SLOWEST, Growth, Replay
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal
from autoresearch_tui.session.fold import fold_all
from autoresearch_tui.util.errors import UserError
from tests.cockpit.fakes import FakeSession
from tests.cockpit.nights import Night
from tests.conftest import git
from tests.e2e.terminal import Terminal
from tests.night import real_night

LOG = b"".join(b"\rstep %05d | loss: 3.0" % n for n in range(1000))


class FakeTime:
    """Waiting takes no time; what is seen in between is written down."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self.log: Path | None = None
        self.sizes: list[int] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        if self.log is not None and self.log.exists():
            self.sizes.append(self.log.stat().st_size)
        return False


def recorded(root: Path, night: Night) -> Lab:
    lab = Lab(root / "lab", Settings())
    files = lab.session("nov20")
    files.folder.mkdir(parents=True)
    lab.program.write_text("# Program\n")
    files.journal.write_bytes(b"".join(journal.encode(record) for record in night.records))
    files.researcher_log.write_bytes(b"thinking\n" * 100)
    for number in range(night.count):
        folder = files.run(number)
        folder.folder.mkdir(parents=True)
        folder.diff.write_text(f"diff {number}\n")
        folder.log.write_bytes(LOG)
        folder.exit.write_text("{}")
        folder.score.write_text("{}")
        (folder.folder / "train.py").write_text("LR = 1\n")
    return lab


def short_night() -> Night:
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    number = night.propose(base)
    night.review(number, "approve-low-risk", "2026-11-20T23:59:59.000Z")
    night.moment = night.moment.replace(hour=23, minute=50)
    night.launch(number)
    night.finish(number, "discard", 0.999)
    return night


def played(root: Path, speed: float) -> tuple[Replay, FakeTime, Lab]:
    lab = recorded(root, short_night())
    clock = FakeTime()
    player = Replay(lab, "nov20", speed, monotonic=clock.monotonic, wait=clock.wait)
    clock.log = player.lab.session("nov20").run(0).log
    player.start()
    assert player.finished.wait(60)
    return player, clock, lab


def test_the_same_state_and_the_same_files_come_out(tmp_path: Path) -> None:
    player, _, lab = played(tmp_path, 10)
    files, source = player.lab.session("nov20"), lab.session("nov20")
    state = fold_all(journal.read(files.journal))
    then = fold_all(journal.read(source.journal))
    assert [(e.number, e.outcome, e.value) for e in state.experiments] == [
        (e.number, e.outcome, e.value) for e in then.experiments
    ]
    for number in (0, 1):
        for name in ("diff.patch", "run.log", "exit.json", "score.json", "train.py"):
            assert (files.run(number).folder / name).read_bytes() == (source.run(number).folder / name).read_bytes()
    assert player.lab.program.read_text() == "# Program\n"
    assert files.researcher_log.read_bytes() == source.researcher_log.read_bytes()
    player.stop()
    assert not player.lab.root.exists() and source.journal.exists()


def test_time_is_divided_and_gaps_between_runs_are_cut_short(tmp_path: Path) -> None:
    player, clock, lab = played(tmp_path, 10)
    old, new = (journal.read(one.session("nov20").journal) for one in (lab, player.lab))
    assert [record.time for record in new] == [record.time for record in old]
    times = [datetime.fromisoformat(record.time).timestamp() for record in old]
    running = [isinstance(record.event, ev.RunStarted) for record in old[:-1]]
    gaps = [(b - a) / 10 for a, b in pairwise(times)]
    assert max(gaps) > LONGEST_GAP
    expected = sum(gap if run else min(gap, LONGEST_GAP) for gap, run in zip(gaps, running, strict=True))
    assert clock.now - 1000 == pytest.approx(expected, abs=0.01)
    assert player.clock() == pytest.approx(times[-1], abs=0.001)
    player.stop()


def test_the_log_grows_evenly_while_its_run_goes_on(tmp_path: Path) -> None:
    player, clock, _ = played(tmp_path, 10)
    during = [size for size in clock.sizes if size < len(LOG)]
    assert len(during) > 200
    steps = [b - a for a, b in pairwise(during)]
    assert max(steps) < len(LOG) / 100
    player.stop()


class Watched(FakeTime):
    """Writes down how much of each log there is, at every wait."""

    def __init__(self) -> None:
        super().__init__()
        self.files: SessionFiles | None = None
        self.seen: list[tuple[float, dict[int, int]]] = []

    def wait(self, seconds: float) -> bool:
        super().wait(seconds)
        assert self.files is not None
        paths = {number: self.files.run(number).log for number in range(20)}
        logs = {number: path.stat().st_size for number, path in paths.items() if path.exists()}
        self.seen.append((self.now, logs))
        return False


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_every_log_grows_as_it_did_whatever_is_recorded_meanwhile(tmp_path: Path, devices: int) -> None:
    night = real_night(tmp_path / "lab", experiments=9, devices=devices)
    assert night.lab is not None
    files = night.files
    for number in range(night.count):
        if files.run(number).exit.exists():
            files.run(number).log.write_bytes(LOG)
    clock, speed = Watched(), 10
    player = Replay(night.lab, night.tag, speed, monotonic=clock.monotonic, wait=clock.wait)
    clock.files = player.lab.session(night.tag)
    player.start()
    assert player.finished.wait(60)
    assert max(sum(0 < size < len(LOG) for size in logs.values()) for _, logs in clock.seen) == devices
    spans: dict[int, float] = {}
    for record in night.records:
        match record.event:
            case ev.RunStarted(number=number):
                spans[number] = -datetime.fromisoformat(record.time).timestamp()
            case ev.RunEnded(number=number):
                spans[number] += datetime.fromisoformat(record.time).timestamp()
    assert len(spans) > devices
    for number, span in spans.items():
        sizes = [(now, logs[number]) for now, logs in clock.seen if 0 < logs.get(number, 0) < len(LOG)]
        # From next to nothing to next to everything, in even steps, for as long as the run was recorded to last.
        assert sizes[0][1] < len(LOG) / 50 and sizes[-1][1] > len(LOG) * 0.98
        assert sizes[-1][0] - sizes[0][0] == pytest.approx(span / speed, rel=0.05)
        began, first = sizes[0]
        for now, size in sizes:
            assert size - first == pytest.approx(len(LOG) * (now - began) * speed / span, abs=len(LOG) / 50)
    player.stop()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def numbers(player: Replay) -> list[tuple[int, str]]:
    state = fold_all(journal.read(player.lab.session("nov20").journal))
    return [(e.number, e.status) for e in state.experiments]


def test_a_step_goes_to_the_next_verdict_and_pauses_there(tmp_path: Path) -> None:
    lab = recorded(tmp_path, short_night())
    records = journal.read(lab.session("nov20").journal)
    verdicts = [datetime.fromisoformat(r.time).timestamp() for r in records if isinstance(r.event, ev.VerdictGiven)]
    player = Replay(lab, "nov20", 0.001)
    player.start()
    for count, verdict in enumerate(verdicts, 1):
        assert player.step()
        until(lambda now=verdict: player.clock() == pytest.approx(now, abs=0.001))  # type: ignore[misc]
        assert [status for _, status in numbers(player)] == ["keep", "discard"][:count]
        assert player.paused
        assert player.lab.session("nov20").run(count - 1).log.read_bytes() == LOG
    assert not player.step()
    player.stop()


def test_it_goes_to_an_experiment_a_share_or_a_time_and_back(tmp_path: Path) -> None:
    lab = recorded(tmp_path, short_night())
    records = journal.read(lab.session("nov20").journal)
    began, ended = (datetime.fromisoformat(records[n].time).timestamp() for n in (0, -1))
    starts = [datetime.fromisoformat(r.time).timestamp() for r in records if isinstance(r.event, ev.RunStarted)]
    player = Replay(lab, "nov20", 0.001)
    player.start()
    player.pause()
    log = player.lab.session("nov20").run(0).log

    def at(seconds: float) -> Callable[[], bool]:
        return lambda: abs(player.clock() - seconds) < 0.01

    assert player.seek("100%") == ""
    until(player.finished.is_set)
    assert at(ended)() and numbers(player) == [(0, "keep"), (1, "discard")]
    assert "the replay has ended" in player.standing()
    assert player.seek("#0") == ""
    until(at(starts[0]))
    assert numbers(player) == [(0, "running")] and not log.exists()
    assert not player.lab.session("nov20").run(0).exit.exists()
    stream = player.lab.session("nov20").researcher_log  # written after the clock was set
    until(lambda: stream.exists() and stream.stat().st_size < 900)
    assert player.seek("1") == ""
    until(at(starts[1]))
    assert numbers(player) == [(0, "keep"), (1, "running")] and log.read_bytes() == LOG
    assert player.seek(f"{(starts[0] + 100 - began) / (ended - began):.9%}") == ""
    until(at(starts[0] + 100))
    assert 0 < log.stat().st_size < len(LOG)
    when = datetime.fromtimestamp(starts[1]).astimezone().replace(second=0, microsecond=0) + timedelta(minutes=1)
    assert player.seek(f"{when:%H:%M}") == ""
    until(at(when.timestamp()))
    player.pause()
    assert player.seek("0%") == ""
    until(at(began))
    player.seek("100%")
    until(player.finished.is_set)
    assert journal.read(player.lab.session("nov20").journal) == records
    player.stop()


@pytest.mark.parametrize(
    "where", ["", "#", "x", "#99", "-1", "101%", "-1%", "nan%", "inf%", "1e999%", "25:99", "é%", "9" * 5000]
)
def test_where_it_cannot_go_is_said(tmp_path: Path, where: str) -> None:
    player = Replay(recorded(tmp_path, short_night()), "nov20", 0.001)
    player.start()
    assert player.seek(where)
    assert player.clock() - datetime.fromisoformat(short_night().records[0].time).timestamp() < 1
    player.stop()


def test_a_pause_stands_still_and_the_speed_has_bounds(tmp_path: Path) -> None:
    player = Replay(recorded(tmp_path, short_night()), "nov20", 60)
    player.pause()
    player.start()
    before = player.clock()
    player.faster(2)
    assert "120×, paused" in player.standing()
    for _ in range(100):
        player.faster(0.5)
    assert player.speed == SLOWEST
    for _ in range(100):
        player.faster(2)
    assert player.clock() == before and not player.finished.is_set()
    player.pause()
    assert player.finished.wait(60)
    player.stop()


def test_stopping_in_the_middle_is_quick_and_leaves_nothing(tmp_path: Path) -> None:
    lab = recorded(tmp_path, short_night())
    player = Replay(lab, "nov20", 0.001)
    player.start()
    assert len(journal.read(player.lab.session("nov20").journal)) >= 1
    player.stop()
    assert player.finished.is_set()
    assert not player.lab.root.exists()


def test_what_cannot_be_played_is_said(tmp_path: Path) -> None:
    lab = recorded(tmp_path, short_night())
    for speed in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match="--speed must be more than 0"):
            Replay(lab, "nov20", speed)
    with pytest.raises(UserError, match="no such session"):
        Replay(lab, "nov21", 1)
    files = lab.session("nov20")
    lines = files.journal.read_bytes().splitlines(keepends=True)
    files.journal.write_bytes(b"".join([lines[0], b"x", *lines[1:]]))
    with pytest.raises(UserError, match="line 2 is damaged"):
        Replay(lab, "nov20", 1)
    files.journal.write_bytes(b"")
    with pytest.raises(UserError, match="nothing has happened"):
        Replay(lab, "nov20", 1)


def test_a_file_that_is_missing_is_left_out(tmp_path: Path) -> None:
    growth = Growth(tmp_path / "none", tmp_path / "copy")
    growth.to(1)
    assert not (tmp_path / "copy").exists()


def test_the_end_of_a_replay_is_said_on_the_screen(tmp_path: Path) -> None:
    session = FakeSession(tmp_path / "lab")
    session.begin()
    session.whole("baseline", 1.0, "keep")
    session.lab.root.joinpath("prepare.py").write_text("")
    git(session.lab.root, "init", "--quiet")
    with Terminal("replay", str(session.lab.root), "--speed", "1000000", columns=80, lines=24) as terminal:
        terminal.wait("read only: the replay has ended")
        terminal.wait("1 kept of 1")
