"""A session played again: the same facts, in a folder of their own, as fast as asked."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import journal
from autoresearch_tui.engine.fold import fold_all
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab
from autoresearch_tui.replay import LONGEST_GAP, Growth, Replay
from autoresearch_tui.settings import Settings
from tests.cockpit.nights import Night

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
    night.now = night.now.replace(hour=23, minute=50)
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

    def gaps(records: tuple[ev.Record, ...]) -> list[float]:
        times = [datetime.fromisoformat(record.time).timestamp() for record in records]
        return [b - a for a, b in pairwise(times)]

    running = [isinstance(record.event, ev.RunStarted) for record in old[:-1]]
    for was, now, run in zip(gaps(old), gaps(new), running, strict=True):
        assert now == pytest.approx(was / 10 if run else min(was / 10, LONGEST_GAP), abs=0.005)
    assert max(clock.waits) <= LONGEST_GAP
    player.stop()


def test_the_log_grows_evenly_while_its_run_goes_on(tmp_path: Path) -> None:
    player, clock, _ = played(tmp_path, 10)
    during = [size for size in clock.sizes if size < len(LOG)]
    assert len(during) > 200
    steps = [b - a for a, b in pairwise(during)]
    assert max(steps) < len(LOG) / 100
    player.stop()


def test_a_deadline_stays_as_far_ahead_as_it_was(tmp_path: Path) -> None:
    player, _, lab = played(tmp_path, 10)

    def ahead(one: Lab) -> float:
        for record in journal.read(one.session("nov20").journal):
            if isinstance(record.event, ev.ReviewOpened):
                left = datetime.fromisoformat(record.event.deadline) - datetime.fromisoformat(record.time)
                return left.total_seconds()
        raise AssertionError

    assert ahead(player.lab) == pytest.approx(ahead(lab) / 10, abs=0.01)
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
