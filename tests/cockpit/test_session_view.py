"""Facts in, by offset: a long journal in slices, a damaged one, a stream that is cut in the middle of a letter."""

from __future__ import annotations

import os
import resource
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoresearch_tui.cockpit import session_view as bridge_module
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.lab.engine_lock import LabLock
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.report import standing
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import prior_results, snapshots
from autoresearch_tui.session.fold import fold_all
from autoresearch_tui.session.journal import Journal, read
from autoresearch_tui.session.state import State
from autoresearch_tui.session.status import status
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, night
from tests.night import Night, prior_rows, real_night


def test_a_long_journal_in_slices(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "READ_BYTES", 2048)
    night(session)
    bridge = Bridge(session.lab, session.tag, None)
    polls = 0
    while bridge.poll():
        polls += 1
    assert polls > 5
    assert bridge.reading is None
    assert bridge.state.seq == len(read(session.files.journal))
    assert not bridge.poll()
    session.add(ev.NoteGiven("more"))
    assert bridge.poll()
    assert bridge.state.notes == ("more",)


def test_a_watched_session_whose_engine_has_died_is_called_so_as_by_the_status_command(session: FakeSession) -> None:
    night(session)
    moment = 0.0
    bridge = Bridge(session.lab, session.tag, None, clock=session.clock, monotonic=lambda: moment)
    bridge.poll()
    lock = LabLock(session.lab.lock, headless=True, tag=session.tag, wait_seconds=0)
    assert status(bridge.view()).now.text.startswith("starting #7")
    lock.release()
    moment = 2.0
    answers = status(bridge.view())
    assert answers.now.text == "no engine is running: the last one died; #7 had not ended"
    said = standing.as_object(standing.look(session.lab.root, session.tag))
    assert (said["now"], said["next"]) == (answers.now.text, answers.next.text)


def test_the_screen_waits_until_all_is_read(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "READ_BYTES", 2048)
    night(session)

    async def story(driver: Driver) -> None:
        assert "#8 ADAM_BETAS" in driver.text()
        assert "reading" not in driver.text()

    drive(session, None, story)


def test_ticks_do_not_multiply_while_a_long_journal_is_read(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        waiting: list[object] = []
        monkeypatch.setattr(driver.app.bridge, "poll", lambda: False)
        monkeypatch.setattr(bridge_module.Bridge, "reading", 0.5)
        monkeypatch.setattr(driver.app, "call_later", waiting.append)
        for _ in range(10):
            driver.app.tick()
        assert len(waiting) == 1
        monkeypatch.undo()

    drive(session, None, story)


def test_a_damaged_journal_is_told(session: FakeSession) -> None:
    night(session)
    data = session.files.journal.read_bytes()
    session.files.journal.write_bytes(data.replace(b"MATRIX_LR", b"MATRIX_XX", 1))
    bridge = Bridge(session.lab, session.tag, None)
    assert bridge.poll()
    assert "the checksum does not match" in bridge.problem
    assert not bridge.poll()


def test_commands_go_to_the_host_only(session: FakeSession, host: FakeHost) -> None:
    assert Bridge(session.lab, session.tag, host).send(cmd.Pause())
    assert host.sent == [cmd.Pause()]
    assert not Bridge(session.lab, session.tag, None).send(cmd.Pause())


def test_a_stream_cut_in_the_middle_of_a_letter(session: FakeSession) -> None:
    bridge = Bridge(session.lab, session.tag, None)
    assert bridge.read_stream() == ""
    text = "größer 🚀".encode()
    for cut in range(len(text)):
        session.files.researcher_log.write_bytes(text[:cut])
        first = bridge.read_stream()
        session.files.researcher_log.write_bytes(text)
        assert first + bridge.read_stream() == text.decode()
        bridge = Bridge(session.lab, session.tag, None)


@contextmanager
def full_disk() -> Iterator[None]:
    """Files can be made, and nothing be written to them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_seen_is_kept_where_there_is_no_room_for_more(session: FakeSession, host: FakeHost) -> None:
    night(session)
    bridge = Bridge(session.lab, session.tag, host)
    while bridge.poll():
        pass
    bridge.write_seen()
    seen = bridge.state.seq
    session.add(ev.NoteGiven("more"))
    bridge.poll()
    with full_disk():
        bridge.write_seen()
    again = Bridge(session.lab, session.tag, host)
    while again.poll():
        pass
    assert again.left_at is not None
    assert again.left_at.seq == seen < again.state.seq


def opened(bridge: Bridge, polls: int = 400) -> Bridge:
    """A screen that has read all there is; fails if it takes for ever."""
    for _ in range(polls):
        if bridge.reading is None and not bridge.poll():
            return bridge
        bridge.poll()
    raise AssertionError(f"still reading, at record {bridge.state.seq}")


@pytest.mark.parametrize("rows", [650, 1000, 20_000])
def test_a_long_history_opens(tmp_path: Path, rows: int) -> None:
    session = real_night(tmp_path / "lab", experiments=3, prior=rows, devices=2)
    bridge = opened(Bridge(Lab(tmp_path / "lab", Settings()), session.tag, None))
    assert len(bridge.state.prior) == rows
    assert bridge.state == session.state


def test_a_history_in_one_record_as_older_versions_wrote_it_opens(tmp_path: Path) -> None:
    night = Night(tmp_path / "lab")
    rows = prior_rows(1000, 300)
    night.add(ev.HistoryRead("results.tsv", prior_results.to_rows(rows), 0), ev.NoteGiven("x" * 500_000))
    assert len(night.journal) > 4 * bridge_module.READ_BYTES
    bridge = opened(Bridge(Lab(tmp_path / "lab", Settings()), night.tag, None))
    assert bridge.state.prior == rows
    assert bridge.state.notes == ("x" * 500_000,)


def test_what_is_left_out_of_a_long_history_is_named(session: FakeSession) -> None:
    session.begin()
    session.history(prior_rows(60), left_out=19_000)
    session.whole("baseline", 0.9979, "keep")

    async def story(driver: Driver) -> None:
        assert "before this session: the newest 60 of 19,060" in driver.text()

    drive(session, None, story)


def test_a_record_that_its_writer_takes_back_is_forgotten(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(session)
    journal = Journal(session.files.journal)
    bridge = opened(Bridge(session.lab, session.tag, None))
    whole = bridge.state

    def sync(_file: int) -> None:
        bridge.poll()
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", sync)
        with pytest.raises(OSError, match="Input/output error"):
            journal.append(ev.NoteGiven("never said"))
    assert bridge.state.notes == ("never said",)
    bridge.poll()
    assert (bridge.state, bridge.problem) == (whole, "")
    journal.append(ev.NoteGiven("said"))
    bridge.poll()
    assert (bridge.state.notes, bridge.problem) == (("said",), "")
    journal.close()


def test_a_journal_that_was_repaired_is_read_again(session: FakeSession) -> None:
    night(session)
    data = session.files.journal.read_bytes()
    session.files.journal.write_bytes(data.replace(b"MATRIX_LR", b"MATRIX_XX", 1))
    bridge = Bridge(session.lab, session.tag, None)
    bridge.poll()
    assert bridge.problem
    half = session.files.journal.with_suffix(".partial")
    half.write_bytes(data)
    half.replace(session.files.journal)
    opened(bridge)
    assert bridge.problem == ""
    assert bridge.state == session.state


def test_a_run_is_seen_however_many_proposals_come_after_it(session: FakeSession) -> None:
    """65 vetoes during one run: a short deadline with `unattended = "veto"`, or a budget of six hours."""
    session.begin()
    session.whole("baseline", 0.9979, "keep")
    number = session.propose("the long one")
    session.approve(number)
    session.start(number)
    for each in range(100):
        vetoed = session.propose(f"idea {each}")
        session.review(vetoed)
        session.veto(vetoed, "not now")
    assert [e.number for e in session.state.in_flight] == [number]
    assert session.state.running is not None
    shown = opened(Bridge(session.lab, session.tag, None)).shown_run()
    assert shown is not None
    assert shown.number == number
    session.end(number, 0.99, "keep")
    shown = opened(Bridge(session.lab, session.tag, None)).shown_run()
    assert shown is not None
    assert shown.number == number


def test_a_cockpit_begins_with_the_snapshot_and_knows_what_was_seen_before_it(tmp_path: Path) -> None:
    session = real_night(tmp_path / "lab", experiments=30)
    lines = session.journal.splitlines(keepends=True)

    def snapshot(seq: int) -> None:
        data = b"".join(lines[:seq])
        snapshots.Writer(session.files, None).keep(fold_all(session.records[:seq]), len(data), zlib.crc32(data), [])

    assert session.lab is not None
    snapshot(20)
    before = Bridge(session.lab, session.tag, FakeHost())
    for record in session.records[20:40]:
        before.state = fold_all([record], before.state)
    before._caught_up = True
    before.write_seen()  # the human leaves after 40 records
    snapshot(len(lines) - 5)
    again = Bridge(session.lab, session.tag, FakeHost())
    assert again.state.seq == len(lines) - 5
    while again.poll():
        pass
    assert again.state == fold_all(session.records)
    assert again.left_at == fold_all(session.records[:40])


def test_a_snapshot_of_other_bytes_is_shown_no_longer_than_it_takes_to_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = real_night(tmp_path / "lab", experiments=30)
    assert session.lab is not None
    data, path = session.journal, session.files.journal
    snapshots.Writer(session.files, None).keep(fold_all(session.records), len(data), zlib.crc32(data), [])
    monkeypatch.setattr(bridge_module, "PROOF_BYTES", len(data) // 3)
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    bridge = Bridge(session.lab, session.tag, None)
    assert bridge.state.seq == len(session.records)
    for _ in range(6):
        bridge.poll()
    assert bridge.state == State()
    assert "line 1" in bridge.problem or "checksum" in bridge.problem
    path.write_bytes(data)
    again = Bridge(session.lab, session.tag, None)
    for _ in range(6):
        again.poll()
    assert again.state == fold_all(session.records) and not again.problem
